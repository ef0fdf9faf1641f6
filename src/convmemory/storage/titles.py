"""A conversation's title: the first thing the human said, short enough for a list; or what a model is asked for, and says."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeGuard

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from convmemory.encoding.searchable import text_of
from convmemory.encoding.storable_text import clean_text
from convmemory.ids import ConversationKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.runnables import Runnable

_LONGEST = 60
_SHORTEST = 30  # a word that would leave less than this is cut instead
_GLANCE = 150  # characters of a message that are looked at; enough for nearly all
_READ = 500  # where most of those were no text
_ELLIPSIS = "…"
_JOINER = "\u200d"
# turn text round, or say nothing
_DROPPED = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff0-\ufffb]")
_SENTENCE = re.compile("(?:[.!?…।؟۔]+[\"'”’»)\\]]*(?=\\s|$)|[。！？｡．]+[」』”’）]*)")  # noqa: RUF001 - CJK


Titles: TypeAlias = "Runnable[Any, Any] | Callable[[list[BaseMessage]], Any]"
"""A model (any runnable that takes messages), which is asked for a title; or a function of the first turn's messages that gives one,
or may be awaited for it."""


def is_model(titles: object) -> TypeGuard[Runnable[Any, Any]]:
    """Whether it is a runnable. Who has one has loaded their class, which takes half a second that nobody else need wait."""
    module = sys.modules.get("langchain_core.runnables.base")
    return module is not None and isinstance(titles, module.Runnable)


class TitleKeeper(Protocol):
    """Who is told what may lead to another title."""

    def answered(self, key: ConversationKey) -> None:
        """Somebody was answered in a conversation."""

    def changed(self, key: ConversationKey) -> None:
        """Messages of a conversation were changed or deleted."""


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


_ASKED: Final = (
    "Write a title for this conversation: at most six words, in its own language, as a heading in a list. "
    "Answer with the title alone, without quotes."
)
_SPEAKERS: Final = {"human": "User", "ai": "Assistant"}
_SHOWN: Final = 2_000  # characters of a message: a title needs no more
_MADE: Final = 100  # characters of a title that a model made
_GLANCE_AT_MADE: Final = 5_000  # characters that are looked through for it
_AROUND: Final = " \t#*_`'\"“”„‚‘’«»「」『』"  # noqa: RUF001 - what models put around one


def title_request(turn: Sequence[BaseMessage]) -> list[BaseMessage]:
    """What a model is sent that is to make a title of a conversation's first turn."""
    told = [(_SPEAKERS.get(one.type), text_of(one.content)[:_SHOWN].strip()) for one in turn]
    transcript = "\n\n".join(f"{speaker}: {text}" for speaker, text in told if speaker and text)
    return [SystemMessage(_ASKED), HumanMessage(transcript)]


def made_title(said: object) -> str | None:
    """The title in what a model or a function has said; ``None`` where there is none in it.

    It is the first line that says something, without quotes and marks around it, and at most 100 characters.
    """
    text = text_of(said.content) if isinstance(said, BaseMessage) else said
    if not isinstance(text, str):
        return None
    lines = (_one_line(clean_text(line)).strip(_AROUND) for line in text[:_GLANCE_AT_MADE].splitlines())
    title = next((line for line in lines if line), None)
    return title if title is None or len(title) <= _MADE else _cut(title, _MADE)


def _one_line(text: str) -> str:
    words = " ".join((text if text.isascii() else _DROPPED.sub("", text)).split())
    if words.isprintable():  # the usual case, and every append pays for it
        return words
    return "".join(c for c in words if unicodedata.category(c) != "Cc").strip()


def _cut(text: str, longest: int = _LONGEST) -> str:
    room = longest - len(_ELLIPSIS)
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
