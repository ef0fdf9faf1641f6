"""What has no exact encoding: kept as text, named, and never at the cost of the turn."""

from __future__ import annotations

import logging
import sys
from uuid import UUID

import pytest
from hypothesis import given, settings
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from convmemory.encoding.codec import decode, encode
from convmemory.encoding.message_classes import CLASSES
from convmemory.encoding.storable_text import clean_text

from .any_values import odd_values
from .both_ways import both_ways, columns
from .hard_messages import TOOL_CALL, changed, nested, with_value
from .likeness import unlike
from .lossy_messages import LOSSY, Changing, Colour, Growing, Hostile, Level, Opaque


@pytest.mark.parametrize("name", LOSSY)
def test_what_cannot_be_kept_is_named(name, caplog):
    message, paths = LOSSY[name]
    with caplog.at_level(logging.WARNING, logger="convmemory.encoding.codec"):
        stored = encode(message)
    assert stored.lossy
    assert stored.facts["lossy"] == paths
    [line] = [record.getMessage() for record in caplog.records]
    assert type(message).__qualname__ in line
    assert all(path in line for path in paths)
    for back in both_ways(message):
        assert back.response_metadata["convmemory_lossy"] == paths
        assert type(back) in CLASSES.values()
        assert back.id is None or isinstance(back.id, str)


def test_a_class_of_its_own_keeps_its_fields_as_extras():
    back = decode(*columns(encode(LOSSY["class of its own"][0])))
    assert (type(back), back.priority, back.tags) == (HumanMessage, 7, ["a"])


@pytest.mark.parametrize(
    ("name", "role"),
    [("base message", "human"), ("base message of another type", "chat"), ("class beside the table", "chat")],
)
def test_a_class_beside_the_table_is_stored_by_its_type(name, role):
    message, _ = LOSSY[name]
    stored = encode(message)
    assert (stored.role, stored.content) == (role, "hi")
    assert role == "human" or decode(*columns(stored)).role == message.type


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
    assert decode(*columns(encode(with_value(value)))).additional_kwargs["v"] == kept


def test_a_description_is_bounded_and_storable():
    class Loud:
        def __repr__(self):
            return "a\0\ud800" * 20_000

    back = decode(*columns(encode(with_value(Loud()))))
    assert 5_000 < len(back.additional_kwargs["v"]) <= 10_000
    assert clean_text(back.additional_kwargs["v"]) == back.additional_kwargs["v"]


def test_many_losses_are_counted_and_their_names_are_fit_for_a_log(caplog):
    stored = encode(with_value({f"{at} line\nbreak{'k' * 500}": Opaque() for at in range(1_000)}))
    assert len(stored.facts["lossy"]) == 21
    assert stored.facts["lossy"][-1] == "... and 980 more"
    assert len(caplog.text) < 4_000
    assert "\n" not in caplog.records[0].getMessage()


def test_the_warning_never_shows_what_was_said(caplog):
    encode(HumanMessage("a secret", additional_kwargs={"v": [Hostile(), Opaque(), "a secret"]}))
    assert "secret" not in caplog.text
    assert "opaque" not in caplog.text


def test_a_loss_stays_visible_when_the_message_is_stored_again():
    back = decode(*columns(encode(with_value(Opaque()))))
    again = encode(back)
    assert again.facts["lossy"] == ["additional_kwargs.v"]
    assert decode(*columns(again)) == back
    more = encode(changed(back, name=Opaque()))
    assert more.facts["lossy"] == ["additional_kwargs.v", "name"]
    assert decode(*columns(more)).response_metadata["convmemory_lossy"] == ["additional_kwargs.v", "name"]


def test_values_that_do_not_fit_are_kept_inside_ones_that_do():
    def back(name):
        return decode(*columns(encode(LOSSY[name][0])))

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
    assert stored.facts == {"lossy": ["class", "extras"]}
    assert decode(*columns(stored)).id == "1"
    assert decode(*columns(stored)).content == "what was said\0"
    assert "Fighting" in caplog.text
    assert "what was said" not in caplog.text
    assert decode(*columns(encode(HumanMessage.__new__(HumanMessage)))).content == ""


@pytest.mark.parametrize(
    ("name", "odd", "plain"),
    [
        ("additional_kwargs", Changing(a=1), {"a": 1}),
        ("usage_metadata", Changing(total_tokens=5), {"total_tokens": 5}),
        ("tool_calls", [Changing(name="f", id="1")], [{"name": "f", "id": "1"}]),
        ("tool_calls", Growing([TOOL_CALL]), [TOOL_CALL]),
        ("content", [Changing(type="text", text="t")], [{"type": "text", "text": "t"}]),
        ("content", Growing(["t"]), ["t"]),
    ],
)
def test_a_part_that_cannot_be_walked_is_kept_as_what_it_is_made_of(name, odd, plain):
    message = AIMessage(
        "x", invalid_tool_calls=[{"name": "g", "args": "", "id": "2", "error": ""}], id="a", extra=(1,)
    )
    stored = encode(changed(message, **{name: odd}))
    back = decode(*columns(stored))
    assert stored.facts["lossy"][0].startswith(name)
    assert unlike(getattr(back, name), plain) is None
    assert (type(back), back.id, back.extra) == (AIMessage, "a", (1,))
    assert back.invalid_tool_calls == message.invalid_tool_calls


def stack_depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame := frame.f_back:
        depth += 1
    return depth


@pytest.mark.parametrize("room", [*range(22, 40, 2), *range(40, 300, 20)])
def test_a_stack_that_is_nearly_full_costs_the_deep_value_and_not_the_turn(room):
    message = ToolMessage(
        "what was said", tool_call_id="t", artifact=nested(95), extra={"a": (1,)}, **{"$cm": 1}
    )
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(stack_depth() + room)
    try:
        stored = encode(message)
    finally:
        sys.setrecursionlimit(limit)
    assert (stored.role, stored.content) == ("tool", "what was said")
    back = decode(*columns(stored))
    assert stored.lossy or room > 150
    if stored.lossy:
        lost = back.response_metadata["convmemory_lossy"]
        assert {"$cm", "artifact"} <= set(lost) <= {"$cm", "artifact", "extra"}
        assert room < 40 or "extra" not in lost
    else:
        assert unlike(message, back) is None
    assert (back.tool_call_id, type(back)) == ("t", ToolMessage)


def test_a_response_that_cannot_be_walked_is_searched_all_the_same():
    assert encode(changed(AIMessage("x"), response_metadata=Changing(model="m"))).facts["model"] == "m"


@settings(max_examples=100)
@given(odd_values(), odd_values())
def test_whatever_was_written_can_be_read(one, other):
    for message in (
        ToolMessage("what was said", tool_call_id="t", artifact=one, extra=other),
        changed(
            AIMessage("what was said", id="1"), additional_kwargs=one, tool_calls=other, usage_metadata=one
        ),
        changed(HumanMessage("x"), content=one, response_metadata=other, id=one, name=other),
    ):
        for back in both_ways(message):
            assert type(back) is type(message)
            assert "convmemory_unreadable" not in back.response_metadata
            assert back.content == message.content or type(message) is HumanMessage
