"""The codec: what goes in comes back equal, or says what it lost; what others wrote cannot hurt a reader."""

from __future__ import annotations

import json
import logging
import math
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
    messages_from_dict,
)

from convmemory.codec import (
    Encoded,
    clean_text,
    decode,
    encode,
    pack,
    pack_row,
    unpack,
)
from convmemory.layouts import CLASSES

from .any_values import values
from .hard_messages import EXACT, ORDINARY, USAGE, changed, nested, with_stored, with_value
from .likeness import unlike
from .lossy_messages import LOSSY, Colour, Hostile, Level, Opaque


def both_ways(message: BaseMessage) -> list[BaseMessage]:
    """The message as PostgreSQL and as Redis would give it back; checks that both can hold it."""
    stored = encode(message)
    for text in (stored.role, stored.content, stored.body, json.dumps(stored.metadata, ensure_ascii=False)):
        assert "\0" not in text
        text.encode()
    assert "\n" not in stored.body
    json.dumps(stored.metadata, allow_nan=False)
    return [decode(stored.body, stored.content), unpack(pack(stored))]


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


@pytest.mark.parametrize("name", LOSSY)
def test_what_cannot_be_kept_is_named(name, caplog):
    message, paths = LOSSY[name]
    with caplog.at_level(logging.WARNING, logger="convmemory.codec"):
        stored = encode(message)
    assert stored.lossy
    assert stored.metadata["lossy"] == paths
    [line] = [record.getMessage() for record in caplog.records]
    assert type(message).__qualname__ in line
    assert all(path in line for path in paths)
    for back in both_ways(message):
        assert back.response_metadata["convmemory_lossy"] == paths
        assert type(back) in CLASSES.values()
        assert back.id is None or isinstance(back.id, str)


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


@settings(max_examples=250, deadline=None)
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
    assert stored.metadata == {"name": "bot", "model": "m-1", "tool_calls": ["f", "g"]}
    failed = encode(ToolMessage("r", tool_call_id="t", status="error", response_metadata={"model": "m"}))
    assert failed.metadata == {"model": "m", "tool_call_id": "t", "status": "error"}
    assert encode(ToolMessage("r", tool_call_id="t")).metadata == {"tool_call_id": "t"}
    assert encode(HumanMessage("x", name="n" * 5_000)).metadata == {"name": "n" * 1_000}


@pytest.mark.parametrize(
    "message", [HumanMessage("x"), AIMessage("x", id="1"), SystemMessage("x", additional_kwargs={"a": 1})]
)
def test_nothing_to_say_is_none(message):
    stored = encode(message)
    assert stored.metadata is None
    assert stored.tokens is None
    assert not stored.lossy


@pytest.mark.parametrize("total", [None, -1, True, "3", 2**31, 1.5])
def test_a_total_that_is_no_count_is_no_count(total):
    assert encode(changed(AIMessage("x"), usage_metadata={"total_tokens": total})).tokens is None


def test_values_alike_are_not_taken_for_defaults():
    for value in (False, 0, 0.0, (), "", {}, []):
        message = ToolMessage("r", tool_call_id="t", artifact=value)
        assert unlike(decode(*_row(encode(message))), message) is None


def _row(stored: Encoded) -> tuple[str, str]:
    return stored.body, stored.content


def test_messages_read_share_nothing():
    stored = encode(AIMessage("x"))
    first, second = decode(*_row(stored)), decode(*_row(stored))
    first.additional_kwargs["a"] = 1
    first.tool_calls.append(1)
    assert second == AIMessage("x")


def test_a_message_read_behaves_like_one_built():
    back = decode(*_row(encode(AIMessage("x", id="1", extra=5))))
    assert back.model_fields_set == {"content", "id", "extra"}
    assert back.extra == 5
    assert back.model_copy(update={"id": "2"}).id == "2"
    assert back.model_dump() == AIMessage("x", id="1", extra=5).model_dump()
    assert (back + HumanMessage("y")).messages[0] is back
    assert type(back).model_validate(back) is back


# What is lost is kept as text


def test_a_class_of_its_own_keeps_its_fields_as_extras():
    back = decode(*_row(encode(LOSSY["class of its own"][0])))
    assert (type(back), back.priority, back.tags) == (HumanMessage, 7, ["a"])


@pytest.mark.parametrize(
    ("name", "role"),
    [("base message", "human"), ("base message of another type", "chat"), ("class beside the table", "chat")],
)
def test_a_class_beside_the_table_is_stored_by_its_type(name, role):
    message, _ = LOSSY[name]
    stored = encode(message)
    assert (stored.role, stored.content) == (role, "hi")
    assert role == "human" or decode(*_row(stored)).role == message.type


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (Opaque(), "<an opaque thing>"),
        (Hostile(), f"<{Hostile.__module__}.Hostile>"),
        ([Hostile()], [f"<{Hostile.__module__}.Hostile>"]),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        ("x" * 20_000, "x" * 20_000),
    ],
)
def test_what_is_kept_instead(value, kept):
    assert decode(*_row(encode(with_value(value)))).additional_kwargs["v"] == kept


def test_a_description_is_bounded_and_storable():
    class Loud:
        def __repr__(self):
            return "a\0\ud800" * 20_000

    back = decode(*_row(encode(with_value(Loud()))))
    assert 5_000 < len(back.additional_kwargs["v"]) <= 10_000
    assert clean_text(back.additional_kwargs["v"]) == back.additional_kwargs["v"]


def test_many_losses_are_counted_and_their_names_are_fit_for_a_log(caplog):
    stored = encode(with_value({f"{at} line\nbreak{'k' * 500}": Opaque() for at in range(1_000)}))
    assert len(stored.metadata["lossy"]) == 21
    assert stored.metadata["lossy"][-1] == "... and 980 more"
    assert len(caplog.text) < 4_000
    assert "\n" not in caplog.records[0].getMessage()


def test_the_warning_never_shows_what_was_said(caplog):
    encode(HumanMessage("a secret", additional_kwargs={"v": [Hostile(), Opaque(), "a secret"]}))
    assert "secret" not in caplog.text
    assert "opaque" not in caplog.text


def test_a_loss_stays_visible_when_the_message_is_stored_again():
    back = decode(*_row(encode(with_value(Opaque()))))
    again = encode(back)
    assert again.metadata["lossy"] == ["additional_kwargs.v"]
    assert decode(*_row(again)) == back
    more = encode(changed(back, name=Opaque()))
    assert more.metadata["lossy"] == ["additional_kwargs.v", "name"]
    assert decode(*_row(more)).response_metadata["convmemory_lossy"] == ["additional_kwargs.v", "name"]


def test_values_that_do_not_fit_are_kept_inside_ones_that_do():
    def back(name):
        return decode(*_row(encode(LOSSY[name][0])))

    assert back("id UUID").id == str(UUID(int=7))
    assert back("id number").id == "5"
    assert back("content None").content == ""
    assert back("content list of numbers").content == ["a", "5"]
    assert back("kwargs list").additional_kwargs == {"value": [1]}
    assert back("tool calls of numbers").tool_calls[0] == {"value": 5}
    assert back("tool calls None").tool_calls == []
    assert back("usage number").usage_metadata == {"value": 5}


class Fighting(HumanMessage):
    """A message whose extras cannot even be looked at."""

    @property
    def model_extra(self):
        raise RuntimeError("no")


def test_an_object_that_fights_back_costs_itself_and_not_the_turn(caplog):
    stored = encode(Fighting("what was said\0", id="1"))
    assert (stored.role, stored.content, stored.metadata) == (
        "human",
        "what was said",
        {"lossy": ["message"]},
    )
    assert decode(*_row(stored)).id == "1"
    assert "Fighting" in caplog.text
    assert "what was said" not in caplog.text
    assert decode(*_row(encode(HumanMessage.__new__(HumanMessage)))).content == ""


def test_a_stack_that_is_nearly_full_costs_the_values_and_not_the_turn():
    message = ToolMessage("what was said", tool_call_id="t", artifact=nested(95))
    limit, depth = sys.getrecursionlimit(), 0
    frame = sys._getframe()
    while frame:
        frame, depth = frame.f_back, depth + 1
    sys.setrecursionlimit(depth + 60)
    try:
        stored = encode(message)
    finally:
        sys.setrecursionlimit(limit)
    assert (stored.role, stored.content) == ("tool", "what was said")
    back = decode(*_row(stored))
    assert (back.tool_call_id, back.response_metadata) == ("t", {"convmemory_lossy": ["message"]})
