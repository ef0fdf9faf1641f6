"""A program without LangChain's runtime: OpenAI's dicts go into the memory and come out of it."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from convmemory import Draft, InvalidArgument

ADA = {"user_id": "ada"}
CALL = {"id": "c1", "type": "function", "function": {"name": "days_left", "arguments": '{"who":"ada"}'}}
TALK = [
    {"role": "developer", "content": "Answer from the HR system."},
    {"role": "user", "content": [{"type": "text", "text": "How many days are left?"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "12"},
    {"role": "assistant", "content": "Twelve.", "name": "hr"},
    {"role": "user", "content": "Book them all."},
    {"role": "assistant", "content": None, "refusal": "That is for your manager to do."},
]


async def test_dicts_come_back_as_they_went_in(memory):
    await memory.save_messages("vacation", TALK, **ADA)

    assert await memory.get_history("vacation", limit=None, format="openai", **ADA) == TALK
    assert await memory.get_history("vacation", limit=4, format="openai", **ADA) == TALK[5:]
    # from the window
    assert await memory.get_history("vacation", limit=4, format="openai", **ADA) == TALK[5:]
    assert (await memory.get_conversation("vacation", **ADA)).title == "How many days are left?"


async def test_the_same_conversation_is_langchains_too(memory):
    await memory.save_messages("vacation", TALK, **ADA)
    found = await memory.get_history("vacation", limit=None, **ADA)

    assert [type(message) for message in found[1:4]] == [HumanMessage, AIMessage, ToolMessage]
    assert found[2].tool_calls[0]["args"] == {"who": "ada"}
    assert await memory.get_history("vacation", limit=None, format="langchain", **ADA) == found


async def test_what_langchain_stored_is_told_in_openais_way(memory):
    calls = [{"name": "days_left", "args": {"who": "ada"}, "id": "c1"}]
    turn = [
        HumanMessage("How many?", id="q"),
        AIMessage("", tool_calls=calls),
        ToolMessage("12", tool_call_id="c1"),
    ]
    await memory.save_messages("vacation", turn, **ADA)
    told = await memory.get_history("vacation", format="openai", **ADA)

    assert told[0] == {"role": "user", "content": "How many?"}
    assert told[1]["tool_calls"][0]["function"] == {"name": "days_left", "arguments": '{"who": "ada"}'}
    assert told[2] == {"role": "tool", "tool_call_id": "c1", "content": "12"}


async def test_one_dict_one_object_and_a_draft_are_messages_as_well(memory):
    reply = pytest.importorskip("openai.types.chat").ChatCompletionMessage(
        role="assistant", content="Booked."
    )
    await memory.save_message("vacation", TALK[5], tokens_used=7, **ADA)
    await memory.save_message("vacation", reply, **ADA)
    await memory.save_messages(
        "vacation", [Draft(HumanMessage("Thanks")), {"role": "assistant", "content": "."}], **ADA
    )

    assert await memory.get_history("vacation", format="openai", **ADA) == [
        TALK[5],
        {"role": "assistant", "content": "Booked."},
        {"role": "user", "content": "Thanks"},
        {"role": "assistant", "content": "."},
    ]
    assert (await memory.get_messages("vacation", **ADA))[0].tokens_used == 7


async def test_a_dict_with_an_id_is_stored_once(memory):
    for _ in range(2):
        await memory.save_messages("vacation", [{**TALK[5], "id": "m1"}], **ADA)

    assert await memory.get_history("vacation", format="openai", **ADA) == [TALK[5]]


async def test_one_bad_dict_and_nothing_is_stored(memory):
    with pytest.raises(InvalidArgument, match=r"^messages: item 1 \(dict\)"):
        await memory.save_messages("vacation", [TALK[1], {"role": "tool", "content": "12"}], **ADA)
    await memory.create_conversation("ada", conversation_id="vacation")

    assert await memory.get_history("vacation", format="openai", **ADA) == []


@pytest.mark.parametrize("name", ["OpenAI", "", None, 5, "gemini", []])
async def test_an_unknown_format_is_refused_before_anything_is_read(memory, name):
    with pytest.raises(InvalidArgument, match=r"^format: must be 'langchain', 'openai' or 'anthropic', not "):
        await memory.get_history("no such conversation", format=name, **ADA)
