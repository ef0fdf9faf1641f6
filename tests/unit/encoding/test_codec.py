"""The codec: what goes in comes back equal, or says what it lost; what others wrote cannot hurt a reader."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
    messages_from_dict,
)

from convmemory.encoding.codec import decode, encode, pack, pack_row
from convmemory.encoding.message_classes import CLASSES
from convmemory.encoding.storable_text import clean_text

from .any_values import values
from .both_ways import both_ways, columns
from .hard_messages import EXACT, ORDINARY, USAGE, changed, with_stored, with_value
from .likeness import unlike
from .lossy_messages import Opaque

# What goes in comes back


@pytest.mark.parametrize("name", EXACT)
def test_comes_back_equal_in_every_type_and_order(name):
    message = EXACT[name]
    assert not encode(message).lossy
    for back in both_ways(message):
        assert unlike(message, back) is None
        assert not message.id or back.id == message.id


@pytest.mark.parametrize("name", ORDINARY)
def test_equals_as_langchain_compares(name):
    assert all(back == ORDINARY[name] for back in both_ways(ORDINARY[name]))


def test_the_comparison_catches_an_encoder_that_is_not_good_enough():
    def plain_json(message):
        [back] = messages_from_dict(json.loads(json.dumps([message_to_dict(message)])))
        return back

    wrong = []
    for name, message in EXACT.items():
        try:
            back = plain_json(message)
        except (TypeError, ValueError, RecursionError):
            back = None
        if unlike(message, back):
            wrong.append(name)
    assert {"value tuple", "value int keys", "value bytes", "value Decimal", "tool calls taken out"} <= set(
        wrong
    )
    assert len(wrong) > 40


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (True, 1), (1, 1.0), (0.0, -0.0), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ((1,), [1]), ({1}, {1.0}),
        (datetime(2026, 1, 1, fold=1), datetime(2026, 1, 1)),  # noqa: DTZ001
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
        (HumanMessage("x", a=1), HumanMessage("x", a=True)), (Document("x"), Document("x", metadata={"a": 1})),
    ],
)  # fmt: skip
def test_the_comparison_sees_what_equality_does_not(a, b):
    assert unlike(a, b)
    assert unlike(a, a) is None


@settings(max_examples=150)
@given(st.text(st.characters()), values(), values())
def test_any_message_of_known_values_is_exact(content, one, other):
    for message in (
        ToolMessage(content, tool_call_id="t", artifact=one, additional_kwargs={"v": other}),
        AIMessage([content, {"type": "text", "text": other}], response_metadata={"v": one}, extra=other),
    ):
        assert not encode(message).lossy
        for back in both_ways(message):
            assert unlike(message, back) is None


# What is stored


@pytest.mark.parametrize(
    ("message", "body", "content"),
    [
        (HumanMessage("hi"), '{"c":"HumanMessage"}', "hi"),
        (AIMessage("hi", id="é"), '{"c":"AIMessage","d":{"id":"é"}}', "hi"),
        (AIMessage("hi", id="é", usage_metadata=USAGE), '{"c":"AIMessage","u":[1,2,3],"d":{"id":"é"}}', "hi"),
        (AIMessage("hi", usage_metadata={**USAGE, "more": 1}), '{"c":"AIMessage","d":{"usage_metadata":{"input_tokens":1,"output_tokens":2,"total_tokens":3,"more":1}}}', "hi"),
        (ToolMessage("r", tool_call_id="t"), '{"c":"ToolMessage","d":{"tool_call_id":"t"}}', "r"),
        (HumanMessage(["a", "b"]), '{"c":"HumanMessage","t":["a","b"]}', "a\nb"),
        (HumanMessage("a\0"), '{"c":"HumanMessage","t":{"$cm":"str","v":"YQA="}}', "a"),
        (with_value((1, 2.0)), '{"c":"HumanMessage","d":{"additional_kwargs":{"v":{"$cm":"tuple","v":[1,{"$cm":"float","v":"0x1.0000000000000p+1"}]}}}}', "x"),
        (with_value({1: b"a"}), '{"c":"HumanMessage","d":{"additional_kwargs":{"v":{"$cm":"map","v":[[1,{"$cm":"bytes","v":"YQ=="}]]}}}}', "x"),
        (with_value(Opaque()), '{"c":"HumanMessage","d":{"additional_kwargs":{"v":"<an opaque thing>"}},"l":["additional_kwargs.v"]}', "x"),
    ],
)  # fmt: skip
def test_the_format_stays_as_it_was(message, body, content):
    stored = encode(message)
    assert (stored.body, stored.content) == (body, content)


def test_rows_of_the_first_version_are_read_by_every_later_one():
    def reads(value, stored):
        return unlike(
            decode(with_stored(f'{{"$cm":{stored}}}'), ""), HumanMessage("", additional_kwargs={"v": value})
        )

    assert reads("\ud800", '"str","v":"7aCA"') is None
    assert reads(-255, '"int","v":"-0xff"') is None
    assert reads(math.inf, '"float","v":"inf"') is None
    assert reads(frozenset({1}), '"frozenset","v":[1]') is None
    assert reads(date(2026, 1, 2), '"date","v":"2026-01-02"') is None
    assert reads(time(1, fold=1), '"time","v":["01:00:00",1,null]') is None
    assert reads(timedelta(1, 2, 3), '"timedelta","v":[1,2,3]') is None
    assert reads(UUID(int=1), '"uuid","v":"00000000-0000-0000-0000-000000000001"') is None
    assert reads(Document("d"), '"document","v":{"id":null,"page_content":"d","metadata":{}}') is None
    paris = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Paris"), fold=1)
    assert reads(paris, '"datetime","v":["2026-10-25T02:30:00+01:00",1,"Europe/Paris"]') is None
    assert decode('{"v":1,"c":"HumanMessage","later":1}', "x") == HumanMessage("x")


def test_a_zone_this_host_does_not_know_is_read_as_its_offset():
    stored = '{"$cm":"datetime","v":["2026-01-01T00:00:00+02:00",0,"Europe/Atlantis"]}'
    back = decode(with_stored(stored), "")
    assert back.additional_kwargs["v"] == datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize("name", EXACT)
def test_a_redis_entry_needs_no_more_than_the_row(name):
    stored = encode(EXACT[name])
    assert pack(stored) == pack_row(stored.body, stored.content)
    exact = type(EXACT[name].content) is str and clean_text(EXACT[name].content) == EXACT[name].content
    assert ("\n" in pack(stored).decode()) is exact


@pytest.mark.parametrize("kind", CLASSES.values())
def test_a_chunk_has_the_role_of_the_whole(kind):
    blank = (
        kind(id="1") if kind.__name__ == "RemoveMessage" else kind("x", role="r", name="n", tool_call_id="t")
    )
    assert encode(blank).role == kind.__name__.removesuffix("Chunk").removesuffix("Message").lower()


def test_queryable_copy():
    stored = encode(
        AIMessage(
            [{"type": "text", "text": "a\0"}, {"type": "reasoning", "reasoning": "no"}, "b", {"text": "c"}],
            name="bot",
            response_metadata={"model_name": "m-1", "model": "other"},
            tool_calls=[{"name": "f", "args": {}, "id": "1"}, {"name": "g\0", "args": {}, "id": "2"}],
            usage_metadata=USAGE,
        )
    )
    assert (stored.role, stored.content, stored.tokens) == ("ai", "a\nb\nc", 3)
    assert stored.facts == {"name": "bot", "model": "m-1", "tool_calls": ["f", "g"]}
    failed = encode(ToolMessage("r", tool_call_id="t", status="error", response_metadata={"model": "m"}))
    assert failed.facts == {"model": "m", "tool_call_id": "t", "status": "error"}
    assert encode(ToolMessage("r", tool_call_id="t")).facts == {"tool_call_id": "t"}
    assert encode(HumanMessage("x", name="n" * 5_000)).facts == {"name": "n" * 1_000}


@pytest.mark.parametrize(
    "message", [HumanMessage("x"), AIMessage("x", id="1"), SystemMessage("x", additional_kwargs={"a": 1})]
)
def test_nothing_to_say_is_none(message):
    stored = encode(message)
    assert stored.facts is None
    assert stored.tokens is None
    assert not stored.lossy


@pytest.mark.parametrize("total", [None, -1, True, "3", 2**31, 1.5])
def test_a_total_that_is_no_count_is_no_count(total):
    assert encode(changed(AIMessage("x"), usage_metadata={"total_tokens": total})).tokens is None


def test_values_alike_are_not_taken_for_defaults():
    for value in (False, 0, 0.0, (), "", {}, []):
        message = ToolMessage("r", tool_call_id="t", artifact=value)
        assert unlike(decode(*columns(encode(message))), message) is None


def test_messages_read_share_nothing():
    stored = encode(AIMessage("x"))
    first, second = decode(*columns(stored)), decode(*columns(stored))
    first.additional_kwargs["a"] = 1
    first.tool_calls.append(1)
    assert second == AIMessage("x")


def test_a_message_read_behaves_like_one_built():
    back = decode(*columns(encode(AIMessage("x", id="1", extra=5))))
    assert back.model_fields_set == {"content", "id", "extra"}
    assert back.extra == 5
    assert back.model_copy(update={"id": "2"}).id == "2"
    assert back.model_dump() == AIMessage("x", id="1", extra=5).model_dump()
    assert (back + HumanMessage("y")).messages[0] is back
    assert type(back).model_validate(back) is back


# What ``message.text`` gives is a text


@pytest.mark.parametrize("text", ["hello", "nul \0", "half \ud800", ""], ids=ascii)
def test_the_text_of_a_message_is_kept_as_a_text_wherever_it_stands(text, caplog):
    said = AIMessage(text).text
    assert type(said) is not str
    holder = AIMessage(
        [{"type": "text", "text": said}, "x"],
        tool_calls=[{"name": "look", "args": {"q": said, "more": [said, (said,), {said}]}, "id": "1"}],
        additional_kwargs={"last": {said: said}},
    )
    plain = HumanMessage("x")
    answer = ToolMessage("x", tool_call_id="1", artifact=said)
    for message in (holder, plain, answer):
        message.id = message.name = said
    plain.content = answer.content = answer.tool_call_id = said
    chunk = AIMessage("x").model_copy(update={"content": said})

    for message in (holder, plain, answer, chunk):
        assert not encode(message).lossy
        for back in both_ways(message):
            assert back == message
            assert said not in kinds_of(back.model_dump())
    assert not caplog.records


def kinds_of(value):
    """The texts in a value that are no plain ``str``."""
    if isinstance(value, dict):
        return [odd for pair in value.items() for one in pair for odd in kinds_of(one)]
    if isinstance(value, (list, tuple, set)):
        return [odd for one in value for odd in kinds_of(one)]
    return [value] if isinstance(value, str) and type(value) is not str else []
