"""The part of a text that shows what was found in it, and where in it that stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final
from unicodedata import combining, normalize

_BEGIN, _END, _CUT = "\1", "\2", "\3"
_SNIPPET: Final = 200
_BEFORE: Final = 60
_LOOKED_AT: Final = 5_000
_ACCENTS: Final = re.compile("[\u0300-\u036f]")
_PIECE: Final = re.compile(r"[^\W_]+")

Span = tuple[int, int]


def snippet_of(
    marked: str, sought: Sequence[str] = (), alike: Sequence[str] = (), plain: Sequence[str] = ()
) -> tuple[str, tuple[Span, ...]]:
    """The part of a text where the words found stand closest to its beginning, and where in it they are, from and to.

    ``marked`` has them between marks, as ``marked_v1`` in PostgreSQL sets them; runs of scripts without spaces are ``sought`` in it, and words
    that may be written a little differently are ``alike``. ``plain`` words are marked where there is no mark: inside of names and paths
    PostgreSQL sees none.
    """
    text, spans = _unmarked(marked)
    if sought or alike or not spans:
        folded = _Folded(text)
        for run in sought:
            spans += folded.places(run)
        for word in alike:
            spans += folded.places(word) or folded.likest(word)
        for word in () if spans else plain:
            spans += folded.places(word) or folded.beginnings(_PIECE.findall(word))
    spans = _merged(spans)
    start = 0 if not spans or spans[0][1] <= _SNIPPET else _word_at(text, spans[0][0] - _BEFORE)
    end = len(text) if len(text) <= start + _SNIPPET else _word_end(text, start + _SNIPPET, start)
    inside = tuple((a - start, min(b, end) - start) for a, b in spans if a >= start and a < end)
    return text[start:end], inside


class _Folded:
    """A text in which letters are the same whatever their case, width and accents.

    Some letters become several that way (ß), or none, so that it knows where each came from.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._from: list[int] | None = None
        if text.isascii():
            self._folded = text.lower()
            return
        pieces = [_fold(character) for character in text]
        self._folded = "".join(pieces)
        self._from = [place for place, piece in enumerate(pieces) for _ in piece]

    def places(self, word: str) -> list[Span]:
        """Where a word stands, as a part of another as well."""
        return self._spans(re.finditer(re.escape(sought), self._folded)) if (sought := _fold(word)) else []

    def beginnings(self, words: Iterable[str]) -> list[Span]:
        """Where words begin that begin with one of those."""
        sought = "|".join(re.escape(folded) for word in words if (folded := _fold(word)))
        return self._spans(re.finditer(rf"(?<![^\W_])(?:{sought})", self._folded)) if sought else []

    def likest(self, word: str) -> list[Span]:
        """Where the word stands that is likest to one, if any is like it."""
        words = list(re.finditer(r"\w+", self._folded[:_LOOKED_AT]))
        like = get_close_matches(_fold(word), {found[0] for found in words}, n=1)
        return self._spans(found for found in words if found[0] in like)

    def _spans(self, matches: Iterable[re.Match[str]]) -> list[Span]:
        return [self._span(*found.span()) for found in matches]

    def _span(self, start: int, end: int) -> Span:
        if self._from is None:
            return start, end
        begin, over = self._from[start], self._from[end - 1] + 1
        while over < len(self._text) and combining(self._text[over]):
            over += 1
        return begin, over


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    return _ACCENTS.sub("", normalize("NFKD", normalize("NFKD", text).casefold()))


def _unmarked(marked: str) -> tuple[str, list[Span]]:
    pieces = iter(marked.replace(_CUT, "").split(_BEGIN))
    text, spans = next(pieces), []
    for piece in pieces:
        word, _, rest = piece.partition(_END)
        spans.append((len(text), len(text) + len(word)))
        text += word + rest
    return text, spans


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _word_at(text: str, place: int) -> int:
    """The beginning of the word behind a place, if there is one near."""
    space = text.find(" ", max(place, 0), max(place, 0) + _BEFORE // 2)
    return max(place, 0) if space < 0 else space + 1


def _word_end(text: str, place: int, start: int) -> int:
    space = text.rfind(" ", start + _SNIPPET // 2, place + 1)
    return place if space < 0 else space
