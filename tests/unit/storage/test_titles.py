"""A title is one line that says what the conversation began with."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from convmemory.encoding.storable_text import clean_text
from convmemory.storage.titles import made_title, title_from, title_request

FAMILY = "\U0001f468‍\U0001f469‍\U0001f467"
FLAG = "\U0001f1e9\U0001f1ea"
WAVE = "\U0001f44b\U0001f3fd"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("How do I reset my password? It fails.", "How do I reset my password?"),
        ("Version 3.5 is out. Nice", "Version 3.5 is out."),
        ("see example.com/a.b now", "see example.com/a.b now"),
        ('He said "go." Then he left', 'He said "go."'),
        ("Really?! Yes", "Really?!"),
        (" " * 5_000 + "far in", "far in"),
        ("\u200f" * 140 + "behind what says nothing, is it found?", "behind what says nothing, is it found?"),
        ("  hello \n\t world  ", "hello world"),
        ("no end", "no end"),
        ("...", "..."),
        ("日本の首都はどこですか。教えてください", "日本の首都はどこですか。"),
        ("本当？はい", "本当？"),  # noqa: RUF001 - as it is written
        ("「行け。」と言った", "「行け。」"),
        ("नमस्ते। आप", "नमस्ते।"),
        ("\x1b[31mred\x07", "[31mred"),
        ("\u202eevil\u2066", "evil"),
        ("a\0b\ud800", "ab�"),
        ("\U0001f600", "\U0001f600"),
    ],
)
def test_the_first_sentence(text, title):
    assert title_from(HumanMessage(text)) == title


@pytest.mark.parametrize("text", ["", "   \n", "\0", "\x07\x1b", "\u202e", []])
def test_no_text_is_no_title(text):
    assert title_from(HumanMessage(text)) is None


def test_the_text_of_blocks():
    blocks = [{"type": "image", "url": "http://x"}, {"type": "text", "text": "What is this?"}, "And that?"]
    assert title_from(HumanMessage(blocks)) == "What is this?"
    assert title_from(HumanMessage(blocks[:1])) is None


def test_a_long_sentence_is_cut_at_a_word():
    title = title_from(
        HumanMessage("please explain the difference between a process and a thread, with examples")
    )
    assert title == "please explain the difference between a process and a…"
    assert title_from(HumanMessage("x" * 61)) == "x" * 59 + "…"
    assert title_from(HumanMessage("x" * 60)) == "x" * 60
    assert title_from(HumanMessage("word, " + "x" * 100)) == "word, " + "x" * 53 + "…"


@pytest.mark.parametrize("sign", [FAMILY, FLAG, WAVE, "e\u0301", "क्षि", "❤️"])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "abcd", "abcde"])
def test_a_cut_parts_no_sign_from_its_marks(sign, before):
    title = title_from(HumanMessage(before + sign * 60))
    signs = title.removeprefix(before).removesuffix("…")
    assert len(title) <= 60
    assert len(signs) > 40
    assert signs.replace(sign, "") == "" or sign == "क्षि"
    assert unicodedata.category((sign * 60)[len(signs)])[0] != "M"


def test_a_text_of_nothing_but_marks_still_ends():
    assert len(title_from(HumanMessage("\u0301" * 500))) <= 60
    assert len(title_from(HumanMessage("\u200d" * 500))) <= 60


@given(st.text(st.characters(), max_size=200))
def test_any_title_is_one_short_storable_line(text):
    title = title_from(HumanMessage(text))
    if title is not None:
        assert 0 < len(title) <= 60
        assert title == clean_text(title) == title.strip()
        assert not any(unicodedata.category(c) in {"Cc", "Zl", "Zp"} for c in title)


def test_a_huge_text_is_not_read_to_its_end():
    assert title_from(HumanMessage("a " * 5_000_000)) == ("a " * 30).strip() + "…"


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Days off", "Days off"),
        ('"Days off"', "Days off"),
        ("**Days off**\n\nbecause you asked about them", "Days off"),
        ("\n# „Urlaub im Sommer“\n", "Urlaub im Sommer"),
        ("「夏の休暇」", "夏の休暇"),
        ("User's own title", "User's own title"),
        ("a\u202eb\0c\x1b[31m", "abc[31m"),
        (AIMessage([{"type": "text", "text": "In blocks"}]), "In blocks"),
        ("word " * 100, ("word " * 20).strip()[:98] + "…"),
        ("", None),
        ('"" \n  \n**', None),
        (None, None),
        (7, None),
        (AIMessage(""), None),
    ],
)
def test_what_a_model_says_is_one_line_without_what_it_puts_around(said, title):
    found = made_title(said)

    if title is not None and title.endswith("…"):
        assert found is not None
        assert len(found) <= 100
        assert found.endswith("…")
    else:
        assert found == title


@given(st.text(max_size=400))
def test_a_made_title_fits_a_row_and_a_line(said):
    found = made_title(said)

    assert found is None or (0 < len(found) <= 100 and "\n" not in found and clean_text(found) == found)


def test_a_model_is_shown_who_said_what_and_no_more_than_it_needs():
    turn = [
        SystemMessage("Be kind."),
        HumanMessage("x" * 5_000),
        AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "t"}]),
        ToolMessage("secret result", tool_call_id="t"),
        AIMessage("done"),
    ]
    [told, shown] = title_request(turn)

    assert told.type == "system"
    assert shown.content == f"User: {'x' * 2_000}\n\nAssistant: done"
