"""A conversation's automatic title: the first thing the human said, short enough for a list."""

from __future__ import annotations

import re
import unicodedata

from langchain_core.messages import BaseMessage

from convmemory.encoding.searchable import text_of
from convmemory.encoding.storable_text import clean_text

_LONGEST = 60
_SHORTEST = 30  # a word that would leave less than this is cut instead
_GLANCE = 150  # characters of a message that are looked at; enough for nearly all
_READ = 500  # where most of those were no text
_ELLIPSIS = "…"
_JOINER = "\u200d"
_DROPPED = re.compile(
    r"[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff0-\ufffb]"
)  # turn text round, or say nothing
_SENTENCE = re.compile("(?:[.!?…।؟۔]+[\"'”’»)\\]]*(?=\\s|$)|[。！？｡．]+[」』”’）]*)")  # noqa: RUF001 - CJK


def title_from(message: BaseMessage) -> str | None:
    """Make a title of a message's text; ``None`` where it has none.

    It is the first sentence, or about 60 characters cut at a word and ended with an ellipsis; white space
    is folded and control characters are gone. The result fits a PostgreSQL text column and one line.
    """
    said = text_of(message.content).lstrip()
    text = _one_line(clean_text(said[:_GLANCE]))
    if len(text) <= _LONGEST and len(said) > _GLANCE:
        text = _one_line(clean_text(said[:_READ]))
    if not text:
        return None
    if len(text) <= _LONGEST:
        end = _SENTENCE.search(text)
        return text[: end.end()] if end else text
    end = _SENTENCE.search(text, 0, _LONGEST + 1)  # where this ends, text goes on: what ends there was cut
    return text[: end.end()] if end and end.end() <= _LONGEST else _cut(text)


def _one_line(text: str) -> str:
    words = " ".join((text if text.isascii() else _DROPPED.sub("", text)).split())
    if words.isprintable():  # the usual case, and every append pays for it
        return words
    return "".join(c for c in words if unicodedata.category(c) != "Cc").strip()


def _cut(text: str) -> str:
    room = _LONGEST - len(_ELLIPSIS)
    space = text.rfind(" ", 0, room + 1)
    end = space if space >= _SHORTEST else _whole_character(text, room)
    return text[:end].rstrip(" ,;:-–—、，") + _ELLIPSIS  # noqa: RUF001 - dashes and CJK commas as well


def _whole_character(text: str, end: int) -> int:
    """Move a cut back so that it does not part a sign from its marks, nor an emoji from its other half."""
    while end > 1 and (_continues(text[end]) or text[end - 1] == _JOINER):
        end -= 1
    flags = len(text[:end]) - len(text[:end].rstrip(_FLAG_LETTERS))
    return end - 1 if flags % 2 and text[end] in _FLAG_LETTERS else end


def _continues(character: str) -> bool:
    if character.isascii():
        return False
    skin_tone = "\U0001f3fb" <= character <= "\U0001f3ff"
    return skin_tone or character == _JOINER or unicodedata.category(character).startswith("M")


_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
