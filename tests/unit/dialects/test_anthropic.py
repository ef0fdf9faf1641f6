"""Anthropic's dicts: what the Messages API takes, by the types of its own SDK, and what comes out as it went in."""

from __future__ import annotations

import copy
from datetime import UTC, datetime

import pytest
from anthropic.types import Message, TextBlockParam
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from pydantic import TypeAdapter

from api_rules import anthropic_refuses
from convmemory.dialects.anthropic import AnthropicMessages, anthropic_messages
from convmemory.dialects.message_likes import as_messages
from convmemory.encoding.codec import decode, encode
from convmemory.windows.tool_pairing import in_order


def text(words):
    return {"type": "text", "text": words}


def use(name="t1", **more):
    return {"type": "tool_use", "id": name, "name": "look", "input": {"a": 1}, **more}


def result(name="t1", content="r", **more):
    return {"type": "tool_result", "tool_use_id": name, "content": content, **more}


PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}}
SEARCH = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [
            {
                "type": "web_search_result",
                "title": "t",
                "url": "u",
                "encrypted_content": "c",
                "page_age": None,
            }
        ],
    },
]
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}

TALKS = [
    [{"role": "user", "content": "hi"}],
    [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "bye"}],
    [{"role": "user", "content": [text("what is this?"), PNG, PDF]}],
    [{"role": "user", "content": [text("see"), {"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}}]}],
    [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [THOUGHT, text("let me look"), use(), use("t2")]},
        {"role": "user", "content": [result(), result("t2", [text("r"), PNG], is_error=True), text("and hurry")]},
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}, text("done")]},
    ],
    [{"role": "user", "content": "go"}, {"role": "assistant", "content": [*SEARCH, text("found")]}],
    [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [use(input={})]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1"}]},
    ],
]  # fmt: skip


def stored(messages: list[BaseMessage]) -> list[BaseMessage]:
    return [decode(encoded.body, encoded.content) for encoded in map(encode, messages)]


@pytest.mark.parametrize("talk", TALKS)
def test_dicts_come_out_as_they_went_in(talk):
    given_ = copy.deepcopy(talk)
    found = anthropic_messages(in_order(stored(as_messages(talk))))

    assert found == given_
    assert talk == given_
    assert anthropic_refuses(found) == []
    assert found.system == []


def test_calls_in_a_dict_are_calls_for_langchain_too():
    [reply, results] = as_messages(
        [{"role": "assistant", "content": [use()]}, {"role": "user", "content": [result()]}]
    )

    assert [(c["name"], c["args"], c["id"]) for c in reply.tool_calls] == [("look", {"a": 1}, "t1")]
    assert isinstance(results, HumanMessage)
    assert (encode(results).role, reply.additional_kwargs) == ("tool", {})  # and the dict is stored once


REPLY = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "content": [{**text("one moment"), "citations": None}, use()],
    "usage": {
        "input_tokens": 5,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 10,
        "output_tokens": 3,
    },
}


@pytest.mark.parametrize("reply", [REPLY, Message.model_validate(REPLY)], ids=["dict", "object"])
def test_an_answer_of_the_sdk_is_taken_as_it_is(reply):
    [message] = as_messages(reply)

    assert (message.id, message.text, message.tool_calls[0]["id"]) == ("msg_1", "one moment", "t1")
    assert message.response_metadata == {"model_name": "claude", "stop_reason": "tool_use"}
    assert message.usage_metadata == {
        "input_tokens": 35,
        "output_tokens": 3,
        "total_tokens": 38,
        "input_token_details": {"cache_read": 20, "cache_creation": 10},
    }
    talk = anthropic_messages([HumanMessage("go"), *stored([message]), ToolMessage("r", tool_call_id="t1")])
    assert talk[1] == {"role": "assistant", "content": [text("one moment"), use()]}
    assert anthropic_refuses(talk) == []


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": None}, "?"])
def test_an_answer_may_not_tell_what_it_cost(usage):
    [message] = as_messages({**REPLY, "usage": usage})

    assert message.usage_metadata is None


def test_system_texts_stand_apart():
    found = anthropic_messages(
        [
            SystemMessage("be brief"),
            HumanMessage("hi"),
            SystemMessage([text("and kind"), text(" ")]),
            ChatMessage(role="developer", content="!"),
            RemoveMessage(id="1"),
        ]
    )

    assert isinstance(found, AnthropicMessages)
    assert found == [{"role": "user", "content": "hi"}]
    assert found.system == [text("be brief"), text("and kind"), text("!")]
    assert all(TypeAdapter(TextBlockParam).validate_python(block, strict=True) for block in found.system)


def calls(*names, **more):
    return AIMessage(
        "", tool_calls=[{"name": "look", "args": {"a": 1}, "id": name} for name in names], **more
    )


WHEN = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (calls("t1"), [use()]),
        (AIMessage("wait", tool_calls=calls("t1").tool_calls), [text("wait"), use()]),
        (AIMessage([text("wait"), use(index=0, input="", partial_json='{"a"')], tool_calls=calls("t1").tool_calls),
         [text("wait"), use()]),
        (AIMessage([{"type": "tool_call", "id": "t1", "name": "look", "args": {"a": 1}}, text("wait")]), [use(), text("wait")]),
        (AIMessage([{"type": "function_call", "call_id": "t1", "id": "fc", "name": "look", "arguments": '{"a":1}'}]), [use()]),
        (AIMessage("", invalid_tool_calls=[{"name": "look", "args": "{", "id": "t1", "error": "e"}]),
         [use(input={"arguments": "{"})]),
        (AIMessage("", tool_calls=[{"name": "look", "args": {"when": WHEN}, "id": "t1"}]),
         [use(input={"when": "2026-01-02T00:00:00+00:00"})]),
        (AIMessage([{"type": "reasoning", "reasoning": "hm", "extras": {"signature": "s"}}, text("a")]), [THOUGHT, text("a")]),
        (AIMessage([{"type": "reasoning", "reasoning": "hm"}, text("a")]), [text("a")]),
        (AIMessage([{"type": "thinking", "thinking": "hm"}, text("a")]), [text("a")]),
        (AIMessageChunk([{**text("a"), "index": 0}]), [text("a")]),
        (AIMessage([{"type": "image", "base64": "AA", "mime_type": "image/png"}]), [text("[image]")]),
        (AIMessage([{**SEARCH[0], "index": 1, "input": "", "partial_json": '{"query": "x"}'}, SEARCH[1]]), SEARCH),
        (AIMessage([{"type": "server_tool_call", "id": "s", "name": "n", "args": {}}, text("a")]), [text("a")]),
        (AIMessage([{**text("a"), "citations": [{"type": "char_location", "cited_text": "c", "document_index": 0,
                    "document_title": None, "start_char_index": 0, "end_char_index": 1, "file_id": None}]}]),
         [{**text("a"), "citations": [{"type": "char_location", "cited_text": "c", "document_index": 0,
                    "document_title": None, "start_char_index": 0, "end_char_index": 1}]}]),
        (AIMessage([{**text("a"), "citations": []}, {**text("b"), "cache_control": {"type": "ephemeral"}}]),
         [text("a"), text("b")]),
        (AIMessage("yes", name="bot"), "yes"),
        (ChatMessage(role="model", content="yes"), "yes"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_an_assistant_said(message, content):
    asked = [block for block in content if block["type"] == "tool_use"] if isinstance(content, list) else []
    results = [ToolMessage("r", tool_call_id=block["id"]) for block in asked]
    [_, told, *_] = found = anthropic_messages([HumanMessage("go"), message, *results])

    assert told == {"role": "assistant", "content": content}
    assert anthropic_refuses(found) == []


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (HumanMessage("hi", id="1", name="ada"), "hi"),
        (HumanMessage(["hi", text(""), {"type": "input_text", "text": "there"}]), [text("hi"), text("there")]),
        (ChatMessage(role="narrator", content="dusk"), "dusk"),
        (FunctionMessage(name="f", content="1"), "1"),
        (HumanMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]), [PNG]),
        (HumanMessage([{"type": "input_image", "image_url": "https://e.org/a.png"}]),
         [{"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}}]),
        (HumanMessage([{"type": "image", "base64": "AA", "mime_type": "image/png"}]), [PNG]),
        (HumanMessage([{"type": "image", "url": "https://e.org/a.png"}]),
         [{"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}}]),
        (HumanMessage([{"type": "image", "base64": "AA", "mime_type": "image/tiff"}]), [text("[image]")]),
        (HumanMessage([{"type": "image_url", "image_url": "file:///a"}]), [text("[image_url]")]),
        (HumanMessage([{"type": "file", "base64": "AA", "mime_type": "application/pdf"}]), [PDF]),
        (HumanMessage([{"type": "file", "url": "https://e.org/a", "mime_type": "application/pdf"}]),
         [{"type": "document", "source": {"type": "url", "url": "https://e.org/a"}}]),
        (HumanMessage([{"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}]), [PDF]),
        (HumanMessage([{"type": "file", "file": {"file_id": "f"}}]), [text("[file]")]),
        (HumanMessage([{"type": "image"}, {"type": "video", "url": "u"}, {"type": "odd"}, {"type": 5}]),
         [text("[image]"), text("[video]")]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_a_user_said(message, content):
    found = anthropic_messages([message])

    assert found == [{"role": "user", "content": content}]
    assert anthropic_refuses(found) == []


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (ToolMessage("r", tool_call_id="t1"), result()),
        (ToolMessage("no", tool_call_id="t1", status="error"), result(content="no", is_error=True)),
        (ToolMessage("", tool_call_id="t1", status="error"), result(content="failed", is_error=True)),
        (ToolMessage("", tool_call_id="t1"), {"type": "tool_result", "tool_use_id": "t1"}),
        (ToolMessage([text("r"), {"type": "image_url", "image_url": "data:image/png;base64,AA"}, {"type": "audio"}],
                     tool_call_id="t1"), result(content=[text("r"), PNG, text("[audio]")])),
        (HumanMessage([{"type": "function_call_output", "call_id": "t1", "output": "r"}]), result()),
        (HumanMessage([{"function_response": {"id": "t1", "name": "look", "response": {"b": WHEN}}}]),
         result(content='{"b": "2026-01-02T00:00:00+00:00"}')),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_a_tool_answered(message, told):
    found = anthropic_messages([HumanMessage("go"), calls("t1"), message])

    assert found[2] == {"role": "user", "content": [told]}
    assert anthropic_refuses(found) == []


def test_the_sides_take_turns():
    found = anthropic_messages(
        [
            AIMessage("How can I help?"),
            HumanMessage("one"),
            HumanMessage([text("two")]),
            AIMessage(""),
            calls("t1"),
            calls("t2"),
            ToolMessage("r", tool_call_id="t1"),
            HumanMessage("wait"),
            ToolMessage("r", tool_call_id="t2"),
            AIMessage(" "),
        ]
    )

    assert [one["role"] for one in found] == ["user", "assistant", "user", "assistant", "user"]
    assert found[2]["content"] == [text("one"), text("two")]
    assert found[3]["content"] == [use(), use("t2")]
    assert found[4]["content"] == [result(), result("t2"), text("wait")]
    assert anthropic_refuses(found) == []


def test_ids_are_the_apis_own_characters_and_each_is_there_once():
    turns = [
        [
            HumanMessage("q"),
            calls("functions.f:0"),
            ToolMessage("r", tool_call_id="functions.f:0"),
            AIMessage("a"),
        ]
        for _ in range(3)
    ]
    found = anthropic_messages([message for turn in turns for message in turn])
    ids = [
        block["id"] for one in found for block in one["content"] if isinstance(block, dict) and "id" in block
    ]
    answered = [
        b["tool_use_id"]
        for one in found
        for b in one["content"]
        if isinstance(b, dict) and "tool_use_id" in b
    ]

    assert ids == answered == ["functions_f_0", "functions_f_0_2", "functions_f_0_3"]
    assert anthropic_refuses(found) == []


def test_a_slice_is_a_plain_list():
    found = anthropic_messages([SystemMessage("s"), HumanMessage("hi")])

    assert found[:1] == [{"role": "user", "content": "hi"}]
    assert (type(found), type(found[:1])) == (AnthropicMessages, list)
    assert anthropic_messages([]) == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(
        st.sampled_from(["type", "text", "id", "call_id", "tool_use_id", "image_url", "url", "source", "data", "content", "name"]),
        inner | st.sampled_from(["text", "tool_use", "tool_result", "image", "document", "base64", "thinking", "reasoning"]),
        max_size=4,
    ),
    max_leaves=6,
)  # fmt: skip
speakers = st.sampled_from(
    [HumanMessage, AIMessage, SystemMessage, lambda c: ToolMessage(c, tool_call_id="c")]
)
contents = st.text(max_size=3) | st.lists(
    st.text(max_size=3) | anything.filter(lambda one: isinstance(one, dict)), max_size=4
)


@given(st.lists(st.builds(lambda speak, content: speak(content), speakers, contents), max_size=5))
def test_no_content_makes_a_request_the_api_refuses(messages):
    assert anthropic_refuses(anthropic_messages(in_order(messages))) == []
