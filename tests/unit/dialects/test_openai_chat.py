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

from api_rules import openai_refuses
from convmemory.dialects.message_likes import as_messages
from convmemory.dialects.openai_chat import CHAT_KEY, chat_messages, is_chat
from convmemory.drafts import drafts_of
from convmemory.encoding.codec import decode, encode
from convmemory.errors import InvalidArgument
from convmemory.windows.tool_pairing import in_order

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
    {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
    {"role": "assistant", "content": "yes", "reasoning_content": "what others' servers want back"},
    {"role": "function", "name": "look", "content": None},
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
    given_ = {name: value for name, value in told.items() if value is not None}

    assert openai_refuses(found) == []
    if is_chat(given_):
        assert found == [given_]


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
    "kept",
    [
        5,
        [],
        {"role": "nobody", "content": "x"},
        {"role": "assistant", "content": 5},
        {"role": "assistant", "content": "yes", "refusal": 5},
    ],
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
        (
            ChatMessage(role="the narrator", content="dusk"),
            {"role": "user", "name": "the_narrator", "content": "dusk"},
        ),
        (ChatMessage(role="model", content="dusk"), {"role": "assistant", "content": "dusk"}),
        (HumanMessage("hi", name="Ada Lovelace"), {"role": "user", "name": "Ada_Lovelace", "content": "hi"}),
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
            {"role": "user", "content": [{"type": "text", "text": "said"}]},
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


OTHERS = {
    "anthropic's own tools": AIMessage(
        [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
            {"type": "text", "text": "found", "citations": []},
        ]
    ),
    "v1 tools": AIMessage(
        content_blocks=[
            {"type": "text", "text": "found"},
            {"type": "server_tool_call", "id": "s", "name": "web_search", "args": {}},
            {"type": "server_tool_result", "tool_call_id": "s", "status": "success"},
            {"type": "non_standard", "value": {"z": 1}},
            {"type": "reasoning", "reasoning": "hm"},
        ]
    ),
    "openai's own tools": AIMessage(
        [{"type": "image_generation_call", "id": "i", "result": "AA"}, {"type": "text", "text": "found"}]
    ),
    "gemini's code": AIMessage(
        [
            {"type": "executable_code", "executable_code": "1", "language": 1},
            {"type": "text", "text": "found"},
        ]
    ),
}


@pytest.mark.parametrize("message", OTHERS.values(), ids=list(OTHERS))
def test_what_a_provider_did_by_itself_is_left_out_and_what_it_said_is_told(message):
    assert chat_messages([message]) == [{"role": "assistant", "content": [{"type": "text", "text": "found"}]}]


SHOT = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
CALLS = {
    "anthropic": {"type": "tool_use", "id": "c1", "name": "look", "input": {"a": 1}},
    "responses": {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c1",
        "name": "look",
        "arguments": '{"a": 1}',
    },
    "gemini": {"function_call": {"id": "c1", "name": "look", "args": {"a": 1}}},
    "bedrock": {"toolUse": {"toolUseId": "c1", "name": "look", "input": {"a": 1}}},
    "v1": {"type": "tool_call", "id": "c1", "name": "look", "args": {"a": 1}},
}


@pytest.mark.parametrize("block", CALLS.values(), ids=list(CALLS))
@pytest.mark.parametrize("with_fields", [False, True])
def test_a_call_in_a_block_is_a_call(block, with_fields):
    fields = {"tool_calls": [{"name": "look", "args": {"a": 1}, "id": "c1"}]} if with_fields else {}

    assert chat_messages([AIMessage([{"type": "text", "text": "wait"}, block], **fields)]) == [
        asks(function(), content=[{"type": "text", "text": "wait"}])
    ]


@pytest.mark.parametrize(
    ("block", "content"),
    [
        ({"type": "tool_result", "tool_use_id": "c1", "content": "r"}, "r"),
        ({"type": "tool_result", "tool_use_id": "c1"}, ""),
        (
            {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "r"}, SHOT]},
            [{"type": "text", "text": "r"}, {"type": "text", "text": "[image]"}],
        ),
        ({"type": "function_call_output", "call_id": "c1", "output": "r"}, "r"),
        ({"function_response": {"id": "c1", "name": "f", "response": {"a": 1}}}, '{"a": 1}'),
    ],
)
def test_a_result_in_a_block_is_a_result(block, content):
    words = {"type": "text", "text": "and hurry"}
    result = {"role": "tool", "tool_call_id": "c1", "content": content}

    assert chat_messages([HumanMessage([block])]) == [result]
    assert chat_messages([HumanMessage([words, block])]) == [result, {"role": "user", "content": [words]}]
    assert openai_refuses([asks(function()), result]) == []


MEDIA = [
    ({"type": "video", "url": "http://localhost/v"}, {"type": "text", "text": "[video]"}),
    ({"type": "image_url", "image_url": "data:,"}, {"type": "image_url", "image_url": {"url": "data:,"}}),
    (
        {"type": "image_url", "image_url": {"url": "u", "detail": "original"}},
        {"type": "image_url", "image_url": {"url": "u"}},
    ),
    (SHOT, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}),
    (
        {"type": "image", "source": {"type": "url", "url": "u"}},
        {"type": "image_url", "image_url": {"url": "u"}},
    ),
    (
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}},
        {"type": "file", "file": {"filename": "document", "file_data": "data:application/pdf;base64,AA"}},
    ),
    (
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "t"}},
        {"type": "text", "text": "t"},
    ),
    (
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "text", "text": "[document]"},
    ),
    (
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "flac"}},
        {"type": "text", "text": "[input_audio]"},
    ),
    ({"type": "image", "source": {}}, {"type": "text", "text": "[image]"}),
]


@pytest.mark.parametrize(("block", "part"), MEDIA)
def test_a_picture_stays_one_for_a_user_and_is_named_where_it_cannot(block, part):
    beside = {"type": "text", "text": "look"}
    found = chat_messages([HumanMessage([beside, block, PICTURE])])

    assert found == [{"role": "user", "content": [beside, part, PICTURE]}]
    assert openai_refuses(found) == []
    told = chat_messages(
        [ToolMessage([beside, block], tool_call_id="c1"), SystemMessage([beside, block]), AIMessage([block])]
    )
    assert openai_refuses([asks(function()), *told]) == []
    assert told[0]["content"][0] == told[1]["content"][0] == beside


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "text",
                    "id",
                    "call_id",
                    "image_url",
                    "url",
                    "file",
                    "source",
                    "data",
                    "content",
                    "name",
                ]
            ),
            inner
            | st.sampled_from(
                ["text", "tool_use", "tool_result", "image_url", "image", "file", "document", "base64"]
            ),
            max_size=4,
        )
    ),
    max_leaves=6,
)
speakers = st.sampled_from(
    [HumanMessage, AIMessage, SystemMessage, lambda c: ToolMessage(c, tool_call_id="c")]
)


contents = st.lists(st.text(max_size=3) | anything.filter(lambda one: isinstance(one, dict)), max_size=4)


@given(st.lists(st.builds(lambda speak, content: speak(content), speakers, contents), max_size=4))
def test_no_content_makes_a_request_the_api_refuses(messages):
    assert openai_refuses(chat_messages(in_order(messages))) == []


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
