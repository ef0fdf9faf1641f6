from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

pytest.importorskip("fastapi", reason="not installed beside the package alone")
pytest.importorskip("markdown_it", reason="not installed beside the package alone")

from convmemory.api.bodies import written
from convmemory.api.chat.events import PartGrew
from convmemory.api.chat.hearing import Hearing
from convmemory.api.viewer.shown import message_shown
from convmemory.encoding.codec import encode
from convmemory.models import Message

HALF = "\ud83d"
"""Of a surrogate pair: what was cut in two in the middle of a character, and no UTF-8 can say."""
THOUGHTS = {
    "Anthropic's blocks": AIMessage([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "a"}]),
    "LangChain's blocks": AIMessage([{"type": "reasoning", "reasoning": "Hm."}, "a"]),
    "OpenAI's summary": AIMessage(
        [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"type": "text", "text": "a"},
        ]
    ),
    "a field beside the text": AIMessage("a", additional_kwargs={"reasoning_content": "Hm."}),
}


def stored(message: BaseMessage) -> Message:
    encoded = encode(message)
    return Message(
        id=UUID(int=1),
        conversation_id="c",
        seq=1,
        role=encoded.role,
        content=encoded.content,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        body=encoded.body,
    )


@pytest.mark.parametrize("said", THOUGHTS.values(), ids=THOUGHTS)
def test_what_a_model_thought_is_shown_as_it_was_streamed(said):
    streamed = [event.text for event in Hearing().hear(said) if isinstance(event, PartGrew)]

    assert message_shown(stored(said))["reasoning"] == "Hm."
    assert streamed == ["Hm.", "a"]


@pytest.mark.parametrize(
    "said",
    [
        AIMessage([{"type": "thinking", "thinking": f"Hm{HALF}"}, f"a{HALF}"]),
        AIMessage(f"a{HALF}", tool_calls=[{"name": HALF, "args": {HALF: HALF}, "id": HALF}]),
        ToolMessage(HALF, tool_call_id=f"c{HALF}", name=HALF),
    ],
    ids=["thoughts", "calls", "a result"],
)
def test_half_a_character_is_no_error_of_the_page(said):
    [shown] = json.loads(written({"items": [message_shown(stored(said))]}).body)["items"]

    assert "\ufffd" in json.dumps(shown, ensure_ascii=False)
