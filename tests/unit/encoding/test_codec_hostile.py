"""Reading rows that others wrote: whatever they hold, a message of the table comes back, and nothing is raised."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage, ChatMessage

from convmemory.encoding.codec import decode, encode, unpack
from convmemory.encoding.message_classes import CLASSES
from convmemory.encoding.searchable import text_of

from .hard_messages import nested, with_stored, with_value
from .likeness import unlike

BAD_TAGS = [
    '{"$cm":"int","v":"zz"}', '{"$cm":"int","v":5}', '{"$cm":"float","v":"0x1p999999"}', '{"$cm":"float","v":1}',
    '{"$cm":"bytes","v":"!"}', '{"$cm":"str","v":"gA=="}', '{"$cm":"datetime","v":"yesterday"}',
    '{"$cm":"datetime","v":["2026-01-01",0,"../../etc/passwd"]}', '{"$cm":"datetime","v":["2026-01-01",2,null]}',
    '{"$cm":"decimal","v":"x"}', '{"$cm":"uuid","v":"x"}', '{"$cm":"uuid","v":1}', '{"$cm":"set","v":[[]]}',
    '{"$cm":"map","v":[[[],1]]}', '{"$cm":"map","v":[[1]]}', '{"$cm":"map","v":["abc"]}', '{"$cm":"tuple","v":1}',
    '{"$cm":"timedelta","v":[1e400,0,0]}', '{"$cm":"timedelta","v":[999999999999,0,0]}', '{"$cm":"timedelta","v":[]}',
    '{"$cm":"document","v":{"page_content":5}}', '{"$cm":"document","v":{}}', '{"$cm":"document","v":[]}',
    '{"$cm":"os.system","v":"true"}', '{"$cm":["int"],"v":1}', '{"$cm":null}', '{"$cm":"int"}', '{"$cm":{"$cm":"int","v":"0x1"},"v":1}',
]  # fmt: skip
BAD_BODIES = [
    "", " ", "null", "[]", '"x"', "5", "{", "{}", "nonsense", '{"c":"HumanMessage"', '{"c":"HumanMessage"}x',
    '{"c":null}', '{"c":5}', '{"c":[]}', '{"c":{}}', '{"c":"BaseMessage"}', '{"c":"os.system"}', '{"c":"object"}',
    '{"c":"langchain_core.messages.HumanMessage"}', '{"c":"__class__"}', '{"v":2,"c":"HumanMessage"}',
    '{"v":null,"c":"HumanMessage"}', '{"v":[],"c":"HumanMessage"}', '{"c":"ToolMessage"}', '{"c":"ChatMessage"}',
    '{"c":"FunctionMessage"}', '{"c":"HumanMessage","t":5}', '{"c":"HumanMessage","t":null}',
    '{"c":"HumanMessage","t":[5]}', '{"c":"HumanMessage","d":[]}', '{"c":"HumanMessage","d":5}',
    '{"c":"HumanMessage","d":"ab"}', '{"c":"HumanMessage","d":null}', '{"c":"HumanMessage","d":{"type":"ai"}}',
    '{"c":"HumanMessage","d":{"type":null}}', '{"c":"HumanMessage","d":{"id":5}}', '{"c":"HumanMessage","d":{"content":5}}', '{"c":"HumanMessage","d":{"content":[]}}', '{"c":"HumanMessage","d":{"type":"human"}}',
    '{"c":"HumanMessage","d":{"additional_kwargs":[]}}', '{"c":"AIMessage","d":{"response_metadata":null}}',
    '{"c":"AIMessage","d":{"tool_calls":[5]}}', '{"c":"AIMessage","d":{"tool_calls":{}}}',
    '{"c":"AIMessage","d":{"tool_calls":[{"id":[]}]}}', '{"c":"AIMessage","d":{"tool_calls":[{"name":{}}]}}',
    '{"c":"AIMessage","u":[1,2]}', '{"c":"AIMessage","u":[1,2,"3"]}', '{"c":"AIMessage","u":"123"}', '{"c":"AIMessage","u":null}',
    '{"c":"AIMessage","d":{"usage_metadata":5}}', '{"c":"ToolMessage","d":{"tool_call_id":null}}',
    '{"c":"HumanMessage","d":{"id":' + "9" * 5_000 + "}}", '{"c":"HumanMessage","l":5}', '{"$cm":"tuple","v":[]}',
    "[" * 100_000, '{"c":"HumanMessage","d":{"x":' + "[" * 100_000 + "]" * 100_000 + "}}",
    '{"c":"HumanMessage","d":{"x":' + '{"$cm":"tuple","v":[' * 50_000 + "]}" * 50_000 + "}}",
    *map(with_stored, BAD_TAGS), *(f'{{"c":"HumanMessage","{part}":{tag}}}' for tag in BAD_TAGS for part in "dt"),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(BAD_BODIES)))
def test_a_row_that_cannot_be_read_is_a_visible_placeholder(at):
    for back in (
        decode(BAD_BODIES[at], "what was said"),
        unpack(f"{BAD_BODIES[at]}\nwhat was said".encode()),
    ):
        assert type(back) is ChatMessage
        assert (back.role, back.content) == ("unreadable", "what was said")
        reason = back.response_metadata["convmemory_unreadable"]
        assert 5 < len(reason) <= 200
        again = encode(back)
        assert unlike(decode(again.body, again.content), back) is None


@pytest.mark.parametrize(
    "entry",
    [b"", b"\n", b"\xff", b"\xff\n\xfe", b'{"c":"HumanMessage"}', b"{}\n", b'{"c":"HumanMessage"}\n\xff'],
)
def test_a_redis_entry_that_was_cut_short_is_a_placeholder(entry):
    back = unpack(entry)
    assert back.role == "unreadable"
    assert back.content


def test_a_placeholder_says_so_where_there_is_no_text():
    assert decode("", "").content == "[unreadable message]"
    assert decode(None, None).content == "[unreadable message]"
    assert (
        "format version 7"
        in decode('{"v":7,"c":"HumanMessage"}', "").response_metadata["convmemory_unreadable"]
    )


def test_deep_values_of_the_allowed_depth_are_read_from_a_deep_stack():
    stored = encode(with_value(tuple(nested(90))))

    def deeper(levels):
        return deeper(levels - 1) if levels else decode(stored.body, stored.content)

    assert deeper(300) == with_value(tuple(nested(90)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([*CLASSES, "map"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["c", "d", "t", "l", "v", "$cm", "id", "content", "type"]) | st.text(), inner)
        | st.fixed_dictionaries({"$cm": st.sampled_from(["int", "map", "set", "datetime", "document", "str"]), "v": inner})
        | st.fixed_dictionaries({"c": st.sampled_from([*CLASSES])}, optional={"d": inner, "t": inner, "l": inner})
    ),
    max_leaves=10,
)  # fmt: skip
field_names = st.sampled_from([
    "content", "type", "id", "name", "additional_kwargs", "response_metadata", "tool_calls", "invalid_tool_calls",
    "usage_metadata", "tool_call_id", "artifact", "status", "role", "tool_call_chunks", "chunk_position", "cls", "x",
])  # fmt: skip


def assert_harmless(back: BaseMessage) -> None:
    assert type(back) in CLASSES.values()
    assert isinstance(back.content, (str, list))
    repr(back)
    encode(back)
    text_of(back.content)


@settings(max_examples=150)
@given(json_values, st.text(st.characters()))
def test_reading_any_json_gives_a_message_of_the_table(value, content):
    assert_harmless(decode(json.dumps(value), content))


@settings(max_examples=150)
@given(st.sampled_from([*CLASSES]), st.dictionaries(field_names, json_values), st.text(st.characters()))
def test_reading_any_fields_gives_a_message_of_the_table(kind, fields, content):
    back = decode(json.dumps({"c": kind, "d": fields}), content)
    assert_harmless(back)
    if back.type != "chat":
        assert back.content == content


@settings(max_examples=150)
@given(st.text(st.characters()), st.text(st.characters()), st.binary())
def test_reading_any_text_gives_a_message_of_the_table(body, content, entry):
    assert_harmless(decode(body, content))
    assert_harmless(unpack(entry))
