"""The proof at the end of a replay: what PostgreSQL holds, compared with what was told, message by message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage
from replay_app import owner
from replay_formats import Talk

from convmemory import ConversationMemory, ConversationNotFound, Message

PAGE = 500


@dataclass(slots=True)
class Found:
    """How what is stored differs from what was told, in messages."""

    told: int = 0
    lost: int = 0
    duplicated: int = 0
    disordered: int = 0
    unequal: int = 0

    @property
    def perfect(self) -> bool:
        """Whether every message is there once, in its place, equal in every field."""
        return not (self.lost or self.duplicated or self.disordered or self.unequal)

    def __str__(self) -> str:
        return (
            f"{self.told - self.lost} of {self.told} messages, {self.lost} lost, {self.duplicated} duplicated,"
            f" {self.disordered} out of order, {self.unequal} unequal"
        )


def verify(memory: ConversationMemory, talks: Sequence[Talk], run: str) -> Found:
    """Compare all that PostgreSQL holds of the talks with what was told."""
    found = Found()
    for talk in talks:
        compare(talk.messages, list(stored(memory, talk.name, owner(run, talk))), found)
    return found


def compare(told: Sequence[BaseMessage], rows: Sequence[Message], found: Found) -> None:
    """Add one conversation's differences to ``found``; a row that nobody told counts as a duplicate."""
    place = {message.id: at for at, message in enumerate(told)}
    held: dict[str | None, Message] = {}
    for row in rows:
        name = row.message.id
        if name not in place or held.setdefault(name, row) is not row:
            found.duplicated += 1
    order = [place[name] for name in held]
    found.told += len(told)
    found.lost += len(told) - len(held)
    found.disordered += sum(at != right for at, right in zip(order, sorted(order), strict=True))
    found.unequal += sum(not same(told[place[name]], row) for name, row in held.items())


def same(message: BaseMessage, row: Message) -> bool:
    """Whether a message came back as it went in: its role, its class and every field."""
    back = row.message
    if row.role != message.type or type(back) is not type(message):
        return False
    return back == message and back.model_dump() == message.model_dump()


def stored(memory: ConversationMemory, name: str, user: str) -> Iterator[Message]:
    """All stored messages of a conversation, page by page; none where it was never made."""
    try:
        yield from memory.iter_messages(name, user_id=user, batch=PAGE)
    except ConversationNotFound:
        return
