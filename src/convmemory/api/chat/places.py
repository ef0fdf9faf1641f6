"""Where a turn goes: what a client asks for, by the ids of messages, against what is stored.

A client's copy of a conversation is not believed; its ids only tell where the turn belongs. What we name a message by on the
wire finds it again: a row's id, the id a client gave its own message, and ``answer-`` before the id of a question's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, Protocol
from uuid import UUID

from convmemory.ids import message_key
from convmemory.models import Message

ANSWER: Final = "answer-"
PAGE: Final = 1_000

Wish = Literal["say", "edit", "regenerate", "look"]


class UnknownMessage(Exception):
    """A client's copy has a message that is not in the conversation."""


class NoQuestion(Exception):
    """There is nothing to be answered."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client wants, in no protocol's words.

    ``earlier`` are the ids of the messages in front of the last one, and ``message_id`` is the last one's. ``again`` says
    that a message known already was sent again, and is not to be answered anew; without it one that is said in other words
    is an edit.
    """

    wish: Wish
    text: str | None = None
    message_id: str | None = None
    earlier: Sequence[str] = ()
    conversation_id: str | None = None
    session_id: str | None = None
    wants_session: bool = False
    key: str | None = None
    again: bool = False
    client_run: str | None = None

    @property
    def known_by(self) -> str | None:
        """What the request is known by to who sends it again: its key, or else its message; an edit's words as well."""
        if self.key or self.wish != "edit" or self.message_id is None:
            return self.key or self.message_id
        return f"{self.message_id}={sha256((self.text or '').encode('utf-8', 'surrogatepass')).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a turn goes: behind ``after``; ``cuts`` says that more may be there now, which is to go.

    ``question`` is what is asked where that is stored, and ``again`` that it was sent before: if it is answered, that is the
    answer. Else a question is to be stored, under the id ``name`` where it has one, and with the words of ``words`` where
    they are a stored message's.
    """

    after: int
    cuts: bool = False
    question: Message | None = None
    again: bool = False
    name: str | None = None
    words: Message | None = None

    def restated(self) -> Place:
        """The place with its question, if that is stored, taken away and to be stored anew."""
        if self.question is None:
            return self
        return Place(self.question.place - 1, cuts=True, name=wire_id(self.question), words=self.question)


class Rows(Protocol):
    """What is asked of the memory to find a place."""

    async def by_id(self, rows: Iterable[UUID]) -> list[Message]:
        """The messages with these row ids."""

    async def page(self, *, limit: int, before: int | None = None, after: int | None = None) -> list[Message]:
        """A page of messages, oldest first."""


def wire_id(stored: Message) -> str:
    """What a message is called on the wire: as its client called it, or else by its row."""
    named = stored.message.id if stored.role == "human" else None
    return named or str(stored.id)


def answer_id(question: UUID | Message) -> str:
    """What the answer to a question is called where all of it is one message."""
    return f"{ANSWER}{question.id if isinstance(question, Message) else question}"


def rows_named(conversation: UUID, wire: str) -> list[UUID]:
    """The rows that an id on the wire may mean, the one of a client's own id first."""
    found = [message_key(conversation, wire)]
    with suppress(ValueError):
        found.append(UUID(wire.removeprefix(ANSWER)))
    return found


async def place_of(asked: Asked, conversation: UUID, rows: Rows) -> Place:
    """Where the turn goes.

    Raises:
        UnknownMessage: The client's copy has what is not there.
        NoQuestion: There is nothing to answer.
    """
    names = [*asked.earlier, *([asked.message_id] if asked.message_id else [])]
    found = await _found(conversation, names, rows)
    if any(name not in found for name in asked.earlier):
        raise UnknownMessage
    last = found.get(asked.message_id or "")
    if last is not None:
        return await _there(asked, last, rows)
    if asked.text is None:
        raise UnknownMessage if asked.message_id else NoQuestion
    if not asked.earlier:
        return Place(await _end(rows), name=asked.message_id)
    return await _behind(found[asked.earlier[-1]], rows, asked.message_id)


async def _there(asked: Asked, last: Message, rows: Rows) -> Place:
    """The last message is stored: it is asked in other words, or answered anew, or it was sent before."""
    question = await _question(last, rows)
    other = asked.wish == "say" and not asked.again and asked.text != question.content
    if asked.text is not None and (asked.wish == "edit" or other):
        return Place(question.place - 1, cuts=True, name=wire_id(question))
    if asked.wish == "say" and asked.again and last is question:
        return Place(question.place, question=question, again=True)
    place = Place(question.place, cuts=True, question=question)
    # who stores turns does not know again what has no id of its own
    return place.restated() if question.message.id is None else place


async def _found(conversation: UUID, names: Sequence[str], rows: Rows) -> Mapping[str, Message]:
    meant = {name: rows_named(conversation, name) for name in dict.fromkeys(names)}
    if not meant:
        return {}
    there = {one.id: one for one in await rows.by_id({row for some in meant.values() for row in some})}
    return {
        name: next(there[row] for row in some if row in there)
        for name, some in meant.items()
        if any(row in there for row in some)
    }


async def _question(named: Message, rows: Rows) -> Message:
    """The question that is named, or that what is named answers."""
    if named.role == "human":
        return named
    before = named.place
    while page := await rows.page(limit=PAGE, before=before):
        for one in reversed(page):
            if one.role == "human":
                return one
        before = page[0].place
    raise NoQuestion


async def _behind(parent: Message, rows: Rows, name: str | None) -> Place:
    """Behind the turn that a message is of; what was said after it is cut off, as where a question is edited."""
    after = parent.place
    while True:
        page = await rows.page(limit=PAGE, after=after)
        following = next((one for one in page if one.role == "human"), None)
        if following is not None:
            return Place(following.place - 1, cuts=True, name=name)
        after = page[-1].place if page else after
        if len(page) < PAGE:
            return Place(after, name=name)


async def _end(rows: Rows) -> int:
    page = await rows.page(limit=1)
    return page[-1].place if page else 0
