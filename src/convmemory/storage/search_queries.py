"""What people type into a search box, taken apart: words, phrases, what must not be there, and scripts without spaces.

Nothing here is SQL or a query in PostgreSQL's own language: a part is plain text, and pairs of characters are letters alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Literal
from unicodedata import category, normalize

from convmemory.encoding.storable_text import clean_text
from convmemory.errors import InvalidArgument

LONGEST_QUERY: Final = 1_000
"""Characters of what is typed into a search box."""
LONGEST_QUESTION: Final = 20_000
"""Characters that are looked at of a text that something is recalled for."""
_MOST_PAIRS: Final = 100
_LONGEST_WORD: Final = 255
UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff]+"
)
"""A run of a script that is written without spaces, or nearly so: the same as in ``words_v1`` in PostgreSQL."""
_WORD: Final = re.compile(r"\W*(\w{3,40})\W*")
_MOST_ALIKE: Final = 8
_TYPED: Final = re.compile(r'(?P<not>-(?!-)|)(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+))')
_JOINS: Final = "_./-@:\\&=~"
"""What a word goes on behind that is being typed; behind other marks it is over (``C++``, ``lisbon?``)."""

Kind = Literal["word", "start", "pairs", "text"]
MAY, MUST, MUST_NOT = 1, 2, -1
"""Signs. Below ``MUST_NOT`` are those of more that must not be there: what has the same one must not be there together."""


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to look for: its kind and sign as ``search_v1`` in PostgreSQL takes them, and its text."""

    kind: Kind
    text: str
    sign: int
    alike: str | None = None
    """The word, where one that is written a little differently counts as well."""


def typed(query: object, *, every: bool = True) -> list[Part]:
    """The parts of what was typed; the last word may go on, unless something stands behind it.

    With ``every`` each of the words must be there, else those of phrases alone.

    Raises:
        InvalidArgument: It is no text, or longer than 1,000 characters.
    """
    text = _text(query, "query", LONGEST_QUERY)
    parts: list[Part] = []
    for found in _TYPED.finditer(text):
        phrase, word = found["phrase"], found["word"]
        sign = MUST_NOT - len(parts) if found["not"] else MUST if every or phrase is not None else MAY
        goes_on = word is not None and found.end() == len(text) and sign > 0 and _goes_on(word)
        found_by = _parts(word or phrase or "", sign, goes_on=goes_on)
        if word is not None and sign > 0 and len(found_by) == 1:
            found_by = [_alike(found_by[0], sum(part.alike is not None for part in parts))]
        parts += found_by
    return parts if any(part.sign > 0 for part in parts) else []


def asked(question: object, named: str = "query") -> list[Part]:
    """The parts of a question, or of any text: each word by itself. ``named`` is the argument that it comes from.

    Raises:
        InvalidArgument: It is no text.
    """
    text = _text(question, named)[:LONGEST_QUESTION]
    runs = UNSPACED.findall(text)
    pairs = [pair for run in runs for pair in (_pairs(run) or [_run(run)])]
    parts = [Part("pairs", pair, MAY) for pair in dict.fromkeys(pairs)][:_MOST_PAIRS]
    words = UNSPACED.sub(" ", text.replace("'", " "))
    return [Part("text", words, MAY), *parts] if words.strip() else parts


def _alike(part: Part, before: int) -> Part:
    """The same for a word that may be written a little differently, unless there are many already."""
    word = _WORD.fullmatch(part.text) if part.kind != "pairs" and before < _MOST_ALIKE else None
    return part if word is None else replace(part, alike=word[1])


def _text(given: object, named: str, longest: int | None = None) -> str:
    """What is asked for, as ``words_v1`` in PostgreSQL writes what was said: in one of the ways in which it can be written."""
    if not isinstance(given, str):
        must = "must be" if named == "query" else "must return"
        raise InvalidArgument(named, f"{must} a text, not {type(given).__name__}")
    if longest is not None and len(given) > longest:
        raise InvalidArgument(named, f"must have at most {longest:,} characters, has {len(given):,}")
    return normalize("NFKC", clean_text(given[:LONGEST_QUESTION])).lstrip()


def _goes_on(word: str) -> bool:
    return word[-1] in _JOINS or category(word[-1])[0] not in "PS"


def _parts(text: str, sign: int, *, goes_on: bool) -> list[Part]:
    """The runs of scripts without spaces, and what stands between them."""
    parts: list[Part] = []
    place = 0
    for run in UNSPACED.finditer(text):
        parts += _words(text[place : run.start()], sign)
        parts.append(Part("pairs", _run(run[0]), sign))
        place = run.end()
    return parts + _words(text[place:], sign, goes_on=goes_on)


def _words(text: str, sign: int, *, goes_on: bool = False) -> list[Part]:
    """Words that stand one behind the other; a long one is nobody's word."""
    words = " ".join(word for word in text.replace("'", " ").split() if len(word.encode()) <= _LONGEST_WORD)
    return [Part("start" if goes_on else "word", words, sign)] if words else []


def _run(run: str) -> str:
    """A run as a query: its pairs one behind the other, or all that begins with the one character."""
    return " <-> ".join(_pairs(run)) if len(run) > 1 else f"'{run}':*"


def _pairs(run: str) -> list[str]:
    return [f"'{run[n : n + 2]}'" for n in range(len(run) - 1)]
