"""Chat Completions dicts: what goes in comes out equal, by way of a message and of its stored form."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from convmemory.dialects.message_likes import as_messages
from convmemory.dialects.openai_chat import CHAT_KEY, chat_messages
from convmemory.drafts import drafts_of
from convmemory.encoding.codec import decode, encode
from convmemory.errors import InvalidArgument

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}


def function(name: str = "look", arguments: str = '{"a": 1}', **more) -> dict:
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def asks(*calls: dict, content: object = None) -> dict:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


PLAIN = [
    {"role": "user", "content": "hi"},
    {"role": "user", "content": ""},
    {"role": "user", "content": "hi", "name": "ada"},
    {"role": "system", "content": "be brief"},
    {"role": "developer", "content": "be brief"},
    {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
    {"role": "assistant", "content": "yes"},
    {"role": "assistant", "content": "yes", "name": "bot"},
    {"role": "assistant", "content": ""},
    asks(function(), content="one moment"),
    {"role": "tool", "content": "42", "tool_call_id": "c1"},
    {"role": "tool", "content": [{"type": "text", "text": "42"}], "tool_call_id": "c1"},
    {"role": "user", "content": [{"type": "text", "text": "what is this?"}, PICTURE]},
    {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
    {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]},
    {"role": "user", "content": [{"type": "file", "file": {"file_id": "f1"}}]},
    {
        "role": "user",
        "content": [{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:;base64,AA"}}],
    },
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    {"role": "function", "name": "look", "content": "42"},
]
"""What a LangChain message says by itself."""

EXACT = [
    asks(function()),  # no content at all, which LangChain has as empty text
    {"role": "assistant", "tool_calls": [function()]},
    asks(function(arguments='{"a":1}')),  # white space is the model's
    asks(function(arguments="")),
    asks(function(arguments="{bad")),
    asks(function(arguments='["no", "object"]')),
    asks(function("one"), function("two", arguments="{bad", id="c2"), function("three", id="c3")),
    asks({"id": "c1", "type": "custom", "custom": {"name": "grep", "input": "needle"}}),
    asks(function(index=0)),
    {"role": "assistant", "content": None, "refusal": "no"},
    {"role": "assistant", "content": None, "audio": {"id": "a1"}},
    {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
    {"role": "assistant", "content": "yes", "annotations": [{"type": "url_citation"}]},
    {"role": "user", "content": None},
    {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
    {"role": "user", "content": [{"type": "thinking", "thinking": "odd, but the caller's own"}]},
]
"""What it does not, so that the dict is kept beside it."""


def through(told: dict) -> list[dict]:
    """A dict, saved and read."""
    [message] = as_messages(told)
    encoded = encode(message)
    return chat_messages([decode(encoded.body, encoded.content)])


@pytest.mark.parametrize("told", PLAIN + EXACT, ids=json.dumps)
def test_a_dict_comes_out_as_it_went_in(told):
    given_ = copy.deepcopy(told)

    assert through(told) == [given_]
    assert told == given_


@pytest.mark.parametrize("told", PLAIN, ids=json.dumps)
def test_an_ordinary_dict_is_stored_once(told):
    [message] = as_messages(told)

    assert CHAT_KEY not in message.additional_kwargs


@given(
    st.sampled_from(["user", "assistant", "system", "developer"]),
    st.text() | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}), min_size=1),
    st.dictionaries(st.sampled_from(["name", "refusal", "annotations", "audio", "extra"]), JSON),
)
def test_any_dict_that_is_taken_comes_out_equal(role, content, more):
    told = {"role": role, "content": content, **more}
    try:
        [message] = as_messages(told)
    except InvalidArgument:
        return
    encoded = encode(message)
    found = chat_messages([decode(encoded.body, encoded.content)])

    assert found == [{name: value for name, value in told.items() if value is not None}]


@given(st.text(), st.text())
def test_any_arguments_of_a_call_come_out_equal(name, arguments):
    told = asks(function(name, arguments))

    assert through(told) == [told]


def test_fields_an_sdk_fills_with_none_are_left_out():
    told = {"role": "assistant", "content": "yes", "refusal": None, "tool_calls": None, "audio": None}

    assert through(told) == [{"role": "assistant", "content": "yes"}]


def test_the_id_is_the_messages_own_and_not_the_apis():
    [message] = as_messages({"role": "user", "content": "hi", "id": "m1"})

    assert message == HumanMessage("hi", id="m1")
    assert chat_messages([message]) == [{"role": "user", "content": "hi"}]


def test_calls_are_calls_for_langchain_too():
    [message] = as_messages(asks(function(), function("two", "{bad", id="c2")))
    [custom] = as_messages(
        asks({"id": "c1", "type": "custom", "custom": {"name": "grep", "input": "needle"}})
    )

    assert [(c["name"], c["args"], c["id"]) for c in message.tool_calls] == [("look", {"a": 1}, "c1")]
    assert [(c["name"], c["args"], c["id"]) for c in message.invalid_tool_calls] == [("two", "{bad", "c2")]
    assert [(c["name"], c["args"]) for c in custom.tool_calls] == [("grep", {"__arg1": "needle"})]


def test_an_object_of_the_sdk_is_taken_as_it_is():
    chat = pytest.importorskip("openai.types.chat")
    reply = chat.ChatCompletionMessage(role="assistant", content=None, tool_calls=[function()])
    answer = chat.ChatCompletion.model_validate(
        {
            "id": "1",
            "created": 1,
            "model": "m",
            "object": "chat.completion",
            "choices": [
                {"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": "yes"}}
            ],
        }
    )

    [draft] = drafts_of(reply)
    assert chat_messages([draft.message]) == [{"role": "assistant", "tool_calls": [function()]}]
    assert [d.message for d in drafts_of([reply, answer.choices[0].message])][1] == AIMessage("yes")


def test_a_message_that_was_changed_does_not_bring_its_old_dict_back():
    [message] = as_messages(asks(function(arguments='{"secret":1}'), content="the secret"))
    redacted = message.model_copy(update={"content": "[gone]", "tool_calls": []})

    assert chat_messages([redacted]) == [{"role": "assistant", "content": "[gone]"}]


@pytest.mark.parametrize(
    "kept", [5, [], {"role": "nobody", "content": "x"}, {"role": "assistant", "content": 5}]
)
def test_what_a_caller_puts_in_the_place_of_the_dict_is_not_believed(kept):
    assert chat_messages([AIMessage("yes", additional_kwargs={CHAT_KEY: kept})]) == [
        {"role": "assistant", "content": "yes"}
    ]


WHEN = {"when": datetime(2026, 1, 2, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (HumanMessage("hi", id="1"), {"role": "user", "content": "hi"}),
        (AIMessageChunk("yes"), {"role": "assistant", "content": "yes"}),
        (SystemMessage("brief"), {"role": "system", "content": "brief"}),
        (ChatMessage(role="narrator", content="dusk"), {"role": "narrator", "content": "dusk"}),
        (FunctionMessage(name="f", content="1"), {"role": "function", "name": "f", "content": "1"}),
        (
            ToolMessage("42", tool_call_id="c1", artifact=object()),
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ),
        (
            AIMessage([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]),
            {"role": "assistant", "content": [{"type": "text", "text": "yes"}]},
        ),
        (AIMessage([{"type": "reasoning", "reasoning": "hm"}]), {"role": "assistant", "content": ""}),
        (
            HumanMessage([{"type": "image", "base64": "AA", "mime_type": "image/png"}]),
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}],
            },
        ),
        (
            HumanMessage(["said", {"type": "text"}]),
            {"role": "user", "content": "said"},
        ),  # a block without its text
        (
            AIMessage("", invalid_tool_calls=[{"name": "f", "args": "{", "id": "c1", "error": None}]),
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{"}}],
            },
        ),
        (
            AIMessage("", tool_calls=[{"name": "f", "args": WHEN, "id": "c1"}]),
            asks(function("f", '{"when": "2026-01-02T00:00:00+00:00"}'), content=""),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_langchains_own_messages_are_told_as_openai_takes_them(message, told):
    assert chat_messages([message]) == [told]


def test_results_inside_a_human_message_are_messages_of_their_own():
    blocks = [{"type": "tool_result", "tool_use_id": n, "content": n} for n in ("c1", "c2")]

    assert [m["tool_call_id"] for m in chat_messages([HumanMessage(blocks)])] == ["c1", "c2"]


def test_calls_that_were_stored_one_by_one_are_one_message():
    said, one, two = asks(function(), content="let me see"), asks(function(id="c2")), asks(function(id="c3"))
    results = [{"role": "tool", "content": name, "tool_call_id": name} for name in ("c1", "c2", "c3")]
    told = [said, one, two, *results, asks(function(id="c4")), results[0], one]
    found = chat_messages(as_messages(told))

    assert [[call["id"] for call in m.get("tool_calls", ())] for m in found] == [
        ["c1", "c2", "c3"], [], [], [], ["c4"], [], ["c2"]
    ]  # fmt: skip
    assert found[0] == {**said, "tool_calls": [function(), function(id="c2"), function(id="c3")]}
    assert said == asks(function(), content="let me see")


def test_what_was_never_said_is_not_told():
    assert chat_messages([RemoveMessage(id="1")]) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"role": "assistant"},
        {"role": "user"},
        {"role": "user", "tool_calls": [function()]},
        {"role": "user", "content": "x", "tool_calls": [function()]},
        {"role": "nobody", "content": "x"},
        {"role": 5, "content": "x"},
        {"role": "user", "content": 5},
        {"role": "tool", "content": "no id"},
        {"role": "assistant", "content": None, "tool_calls": 5},
        {"role": "assistant", "content": None, "tool_calls": [5]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": None}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "custom": {"name": "f"}}]},
        {"role": "assistant", "content": None, "tool_calls": [function(name=5)]},
        [{"role": "user", "content": "fine"}, {"role": "user", "content": {"type": "text"}}],
    ],
    ids=json.dumps,
)
def test_a_dict_that_is_no_message_is_refused_by_name(bad):
    with pytest.raises(InvalidArgument, match=r"^messages: item \d \(dict\) ") as caught:
        as_messages(bad)
    assert caught.value.argument == "messages"
    assert "fine" not in str(caught.value)
