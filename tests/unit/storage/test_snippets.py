"""The part of a text that shows what was found, and where in it that stands."""

import unicodedata

import pytest

from convmemory.storage.snippets import snippet_of

WIDE = "".join(chr(ord(letter) + 0xFEE0) for letter in "ABC123")


@pytest.mark.parametrize(
    ("text", "sought", "shown"),
    [
        ("in İstanbul, at last", "istanbul", "İstanbul"),
        ("die Straße", "strasse", "Straße"),
        ("die STRASSE", "straße", "STRASSE"),
        (unicodedata.normalize("NFD", "im Café"), "café", unicodedata.normalize("NFD", "Café")),
        (unicodedata.normalize("NFD", "im Café"), "cafe", unicodedata.normalize("NFD", "Café")),
        (WIDE, "abc123", WIDE),
        ("ﾃﾞｰﾀ", "データ", "ﾃﾞｰﾀ"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ", "Σίσυφος"),
        ("see src/app/models.py", "app/models.py", "app/models.py"),
        ("we use C# a lot, see", "C#", "C#"),
        ("we use C, see abc", "C++", "C"),
        ("שלום עולם", "עולם", "עולם"),
        ("a\r\nneedle\r\n", "needle", "needle"),
    ],
)
def test_a_word_is_marked_however_it_is_written(text, sought, shown):
    for how in ({"plain": [sought]}, {"alike": [sought]}):
        snippet, spans = snippet_of(text, **how)
        assert snippet == text
        if "alike" not in how or sought != "C++":
            assert [snippet[a:b] for a, b in spans] == [shown]


def test_of_a_long_text_whole_words_around_what_was_found_are_shown_and_marked_where_they_are():
    words = [f"word{number}" for number in range(400)]
    words[200] = "needle"
    text = " ".join(words)

    snippet, spans = snippet_of(text, plain=["needle"])

    assert [snippet[a:b] for a, b in spans] == ["needle"]
    assert set(snippet.split()) <= set(words), "none is cut in two"
    assert 0 < text.index(snippet) < text.index("needle")
    assert not snippet.startswith(" ")


def test_where_no_word_ends_near_it_is_cut_anywhere():
    text = "a" * 1_000 + "needle" + "b" * 1_000

    snippet, spans = snippet_of(text, plain=["needle"])

    assert [snippet[a:b] for a, b in spans] == ["needle"]
    assert len(snippet) < 1_000


def test_what_the_parser_was_given_between_is_no_part_of_it():
    assert snippet_of("\3a <\3b>\1wo\2\3rd") == ("a <b>word", ((5, 7),))
    assert snippet_of("\3") == ("", ())
