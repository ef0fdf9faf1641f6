"""Items of the Responses API: any of them comes back equal, and is a message people and models can make sense of."""

from __future__ import annotations

import copy
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from convmemory.dialects.message_likes import as_messages
from convmemory.dialects.openai_chat import chat_messages
from convmemory.dialects.openai_responses import ITEM_KEY, items_of, read_item
from convmemory.encoding.codec import decode, encode
from convmemory.errors import InvalidArgument
from convmemory.storage.titles import title_from

TEXTS = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def reply(*parts: dict, **more) -> dict:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [*parts],
        **more,
    }


SAID = {"type": "output_text", "text": "twenty days", "annotations": [], "logprobs": []}
PICTURE = {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"}
SIMPLE: list[tuple[dict, type[BaseMessage], str]] = [
    ({"role": "user", "content": "hi"}, HumanMessage, "hi"),
    ({"role": "user", "content": [{"type": "input_text", "text": "look"}, PICTURE]}, HumanMessage, "look"),
    ({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}, HumanMessage, ""),
    (
        {"role": "user", "content": [{"type": "input_image", "file_id": "f", "detail": "auto"}]},
        HumanMessage,
        "",
    ),
    ({"role": "system", "content": "be brief"}, SystemMessage, "be brief"),
    ({"role": "developer", "content": "be brief"}, SystemMessage, "be brief"),
    ({"role": "assistant", "content": "yes"}, AIMessage, "yes"),
    ({"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": 1}'}, AIMessage, ""),
    ({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{bad"}, AIMessage, ""),
    ({"type": "function_call_output", "call_id": "c", "output": "42"}, ToolMessage, "42"),
    (
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [{"type": "input_text", "text": "42"}, PICTURE],
        },
        ToolMessage,
        "42",
    ),
]
"""What a message says by itself."""

EXACT: list[tuple[dict, type[BaseMessage], str]] = [
    ({"role": "user", "content": "hi", "type": "message"}, HumanMessage, "hi"),
    (reply(SAID), AIMessage, "twenty days"),
    (reply(SAID, {"type": "refusal", "refusal": "no more"}), AIMessage, "twenty days\nno more"),
    (reply(), AIMessage, ""),
    (
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}', "id": "fc"},
        AIMessage,
        "",
    ),
    ({"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}, AIMessage, ""),
    (
        {
            "type": "reasoning",
            "id": "rs",
            "summary": [{"type": "summary_text", "text": "so"}],
            "content": None,
        },
        AIMessage,
        "so",
    ),
    ({"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "zz"}, AIMessage, "[reasoning]"),
    (
        {"type": "web_search_call", "id": "w", "status": "completed", "action": {"query": "q"}},
        AIMessage,
        "[web_search_call]",
    ),
    ({"type": "mcp_approval_response", "approval_request_id": "m", "approve": True}, AIMessage, None),
    ({"type": "custom_tool_call", "call_id": "c", "name": "grep", "input": "needle"}, AIMessage, ""),
    ({"type": "custom_tool_call_output", "call_id": "c", "output": "hay"}, ToolMessage, "hay"),
    ({"type": "shell_call", "id": "s", "call_id": "c", "action": {"commands": ["ls"]}}, AIMessage, ""),
    (
        {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "a.txt", "stderr": ""}]},
        ToolMessage,
        '[{"stdout": "a.txt", "stderr": ""}]',
    ),
    ({"type": "local_shell_call_output", "id": "l", "output": "done"}, ToolMessage, "done"),
    ({"type": "compaction", "encrypted_content": "zz"}, AIMessage, "[compaction]"),
    ({"id": "msg_9"}, AIMessage, "[item_reference]"),
    ({"type": "of next year", "call_id": 5, "x": [1]}, AIMessage, "[of next year]"),
    # what it lacks is the SDK's affair
    ({"type": "function_call", "call_id": "c"}, AIMessage, "[function_call]"),
    ({"type": "of_next_year_output", "output": None}, AIMessage, None),
    ({"type": "reasoning", "id": "rs", "summary": 5}, AIMessage, "[reasoning]"),
    ({"role": "user", "content": None}, HumanMessage, ""),
    ({"role": "user"}, HumanMessage, ""),
    ({"role": "user", "content": ["bare"]}, HumanMessage, "[message]"),
    ({"role": "user", "content": [{"text": "hi"}]}, HumanMessage, "hi"),
    ({"role": "user", "content": [{"text": 5}]}, HumanMessage, None),
    ({"role": "user", "content": 5}, HumanMessage, "[message]"),
    ({"role": "user", "content": {"text": "hi"}}, HumanMessage, "[message]"),
    ({"role": "system", "content": [{"text": "rules"}]}, SystemMessage, "rules"),
    ({"role": "developer", "content": [5]}, SystemMessage, "[message]"),
    ({"role": "assistant", "content": 5}, AIMessage, "[message]"),
    ({"__enc__": 1, "v": 1, "kid": "k", "payload": "sealed"}, AIMessage, "[item]"),
    ({"content": "x"}, AIMessage, "[item]"),
    ({"role": 5}, AIMessage, "[item]"),
    ({"role": "critic", "content": "hm"}, ChatMessage, "hm"),
    ({"role": "tool", "content": "42", "tool_call_id": "c"}, ChatMessage, "42"),
]
"""What it does not, so that the item is kept beside it."""


def stored(message: BaseMessage) -> BaseMessage:
    encoded = encode(message)
    return decode(encoded.body, encoded.content)


@pytest.mark.parametrize(
    ("item", "kind", "text"), SIMPLE + EXACT, ids=lambda value: json.dumps(value, default=str)
)
def test_an_item_comes_back_equal_and_reads_as_what_it_is(item, kind, text):
    before = copy.deepcopy(item)
    message = stored(read_item(item))

    assert items_of(message) == [before]
    assert item == before
    assert type(message) is kind
    assert text is None or encode(message).content == text


@pytest.mark.parametrize("item", [item for item, _, _ in SIMPLE], ids=json.dumps)
def test_an_ordinary_item_is_stored_once(item):
    assert ITEM_KEY not in read_item(item).additional_kwargs


@given(
    st.dictionaries(
        TEXTS | st.sampled_from(["content", "output", "summary", "call_id", "id", "arguments"]), JSON
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.sampled_from(["user", "assistant", "system", "developer", "critic"]),
            "type": st.sampled_from(
                ["message", "reasoning", "function_call", "function_call_output", "x_call"]
            ),
            "call_id": TEXTS,
        },
    ).filter(bool),
)
def test_whatever_an_item_holds_it_comes_back_equal(about, named):
    item = about | named
    if not any(isinstance(item.get(name), str) for name in ("role", "type", "id")):
        item["type"] = "message"

    assert items_of(stored(read_item(item))) == [item]


def test_an_item_gives_the_message_no_id():
    twice = [read_item({"role": "assistant", "content": "x", "id": "__fake_id__"}) for _ in range(2)]

    assert [message.id for message in twice] == [None, None]  # an id would have the second one left out


def test_calls_and_results_are_a_pair_for_langchain():
    call = read_item({"type": "shell_call", "id": "s", "call_id": "c", "action": {"commands": ["ls"]}})
    custom = read_item({"type": "custom_tool_call", "call_id": "c", "name": "grep", "input": "needle"})
    result = read_item({"type": "shell_call_output", "call_id": "c", "output": []})

    assert [(c["name"], c["args"], c["id"]) for c in call.tool_calls] == [
        ("shell", {"action": {"commands": ["ls"]}}, "c")
    ]
    assert custom.tool_calls[0]["args"] == {"__arg1": "needle"}
    assert result.tool_call_id == "c"


def test_the_first_thing_a_user_says_makes_a_title():
    assert (
        title_from(read_item({"role": "user", "content": [{"type": "input_text", "text": "Vacation?"}]}))
        == "Vacation?"
    )


def test_a_message_that_was_changed_does_not_bring_its_old_item_back():
    message = read_item(reply({"type": "output_text", "text": "my secret", "annotations": []}))

    assert items_of(message.model_copy(update={"content": "[gone]"})) == [
        {"role": "assistant", "content": "[gone]"}
    ]


TWO = [{"name": "f", "args": {}, "id": "1"}, {"name": "g", "args": {"a": "ä"}, "id": "2"}]
PNG = {"type": "image_url", "image_url": "data:image/png;base64,AA"}


@pytest.mark.parametrize(
    ("message", "items"),
    [
        (HumanMessage("hi", name="ada"), [{"role": "user", "content": "hi"}]),
        (
            HumanMessage([{"type": "text", "text": "this"}, PNG]),
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "this"},
                        {"type": "input_image", "image_url": PNG["image_url"]},
                    ],
                }
            ],
        ),
        (SystemMessage("brief"), [{"role": "system", "content": "brief"}]),
        (AIMessage("yes"), [{"role": "assistant", "content": "yes"}]),
        (AIMessage(""), [{"role": "assistant", "content": ""}]),
        (AIMessage([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), [{"role": "assistant", "content": "a\nb"}]),
        (
            AIMessage("one moment", tool_calls=TWO),
            [
                {"role": "assistant", "content": "one moment"},
                {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
                {"type": "function_call", "call_id": "2", "name": "g", "arguments": '{"a": "ä"}'},
            ],
        ),
        (
            AIMessage("", tool_calls=TWO[:1]),
            [{"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}],
        ),
        (ToolMessage("42", tool_call_id="1"), [{"type": "function_call_output", "call_id": "1", "output": "42"}]),
        (ChatMessage(role="narrator", content="dusk"), [{"role": "user", "content": "dusk"}]),
        (FunctionMessage(name="f", content="1"), [{"role": "user", "content": "1"}]),
        (RemoveMessage(id="1"), []),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_langchain_stored_is_items_too(message, items):
    assert items_of(stored(message)) == items


def test_chat_dicts_are_items_and_items_are_chat_dicts():
    chat = [
        {"role": "user", "content": "find it"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "grep", "input": "x"}}]},
        {"role": "tool", "content": "found", "tool_call_id": "c"},
        {"role": "assistant", "content": None, "refusal": "no"},
    ]  # fmt: skip
    items = [item for message in as_messages(chat) for item in items_of(stored(message))]

    assert items == [
        {"role": "user", "content": "find it"},
        {"type": "custom_tool_call", "call_id": "c", "name": "grep", "input": "x"},
        {"type": "function_call_output", "call_id": "c", "output": "found"},
        {"role": "assistant", "content": "no"},
    ]
    assert [m["role"] for m in chat_messages(map(read_item, items))] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


@pytest.mark.parametrize("bad", [None, 5, "hi", [], object(), HumanMessage("hi"), [("role", "user")]])
def test_what_is_no_item_is_refused_by_name(bad):
    with pytest.raises(InvalidArgument, match=r"^items: must be dicts of the Responses API") as caught:
        read_item(bad)
    assert caught.value.argument == "items"


class Word(str):
    """A text that is a little more, as an enum's member is."""

    __slots__ = ()


def deep(levels):
    inner = []
    for _ in range(levels):
        inner = [inner]
    return inner


@pytest.mark.parametrize(
    "content",
    [b"hi", (1, 2), {1}, Decimal("1.5"), Word("hi"), [{"n": 2**80}], deep(95)],
)
def test_what_python_has_beyond_json_comes_back_equal_too(content):
    item = {"role": "user", "content": content}

    assert items_of(stored(read_item(item))) == [item]


@pytest.mark.parametrize(
    "content",
    [object(), [{"type": "input_text", "text": "hi", "by": object()}], deep(97), deep(400), deep(5_000)],
)
def test_what_would_come_back_as_something_else_is_refused(content):
    with pytest.raises(InvalidArgument, match=r"^items: 'content' holds what would not come back equal"):
        read_item({"role": "user", "content": content})
