"""What PostgreSQL can hold, made of what it cannot."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convmemory.encoding.storable_text import clean_json, clean_text, outline

from .any_values import values
from .hard_messages import nested
from .lossy_messages import BadZone, Colour, Hostile, Level, Opaque, circle


@pytest.mark.parametrize(
    ("given_text", "cleaned"),
    [
        ("a\0b", "ab"),
        ("\ud83d\ude00", "\U0001f600"),
        ("a\ud800b", "a�b"),
        ("\udc00", "�"),
        ("é\0\ud800", "é�"),
        ("é", "é"),
    ],
)
def test_clean_text(given_text, cleaned):
    assert clean_text(given_text) == cleaned


@given(st.text(st.characters()))
def test_clean_text_is_storable_and_leaves_storable_text_alone(text):
    cleaned = clean_text(text)
    assert "\0" not in cleaned
    assert cleaned.encode().decode() == cleaned
    assert clean_text(cleaned) == cleaned
    assert cleaned == text or "\0" in text or any("\ud800" <= c <= "\udfff" for c in text)


def test_clean_text_is_plain():
    assert type(clean_text(Colour.RED)) is str
    assert clean_text(Colour.RED) == "red"


def test_clean_json():
    when = datetime(2026, 1, 1, tzinfo=UTC)
    assert clean_json({1: (1, {2}), "a\0": math.nan, Colour.RED: Level.HIGH, None: when, "i": -math.inf}) == {
        "1": [1, [2]],
        "a": "nan",
        "red": 3,
        "None": "2026-01-01T00:00:00+00:00",
        "i": "-inf",
    }
    assert clean_json([Opaque(), UUID(int=1), 10**400, 10**5000, b"a", True]) == [
        "<an opaque thing>",
        str(UUID(int=1)),
        hex(10**400),
        hex(10**5000),
        "b'a'",
        True,
    ]
    assert clean_json(circle())[0] == 1
    assert len(json.dumps(clean_json(nested(5_000)))) < 200


@settings(max_examples=150)
@given(values())
def test_clean_json_is_what_jsonb_takes(value):
    text = json.dumps(clean_json(value), allow_nan=False, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in text.replace("\\\\", "")


def test_clean_json_never_raises():
    class Sly(dict):
        def items(self):
            raise RuntimeError("no")

    when = datetime(2026, 1, 1, tzinfo=BadZone())
    assert clean_json({"a": when, "b": Sly(), "c": Hostile()}) == {
        "a": outline(when),
        "b": "{}",
        "c": f"<{Hostile.__module__}.Hostile>",
    }
