"""What comes out of a search: frozen pydantic models, as the other values are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import overload
from uuid import UUID

from convmemory.models import Message
from convmemory.value_fields import Value


class SearchHit(Value):
    """Where words were found: a message, or with ``seq`` ``None`` the title that the user or a model gave a conversation.

    ``conversation_id``, or its row's key ``uuid``, and ``seq`` are where to jump to. ``snippet`` is plain text (HTML is the caller's), and ``highlights`` says
    where the words stand in it, each from and to, in characters. ``rank`` is the share of the query's worth that was found, up to 1.
    """

    conversation_id: str
    uuid: UUID
    title: str | None = None
    seq: int | None = None
    message_id: UUID | None = None
    role: str | None = None
    created_at: datetime
    snippet: str
    highlights: tuple[tuple[int, int], ...] = ()
    rank: float


class Recollection(Value):
    """A message of a past conversation that answers a question, with what was said beside it where that was asked for.

    ``score`` is the share of the question's worth that it and the messages next to it have, up to 1; ``title`` is its conversation's.
    """

    message: Message
    title: str | None = None
    score: float
    beside: tuple[Message, ...] = ()

    @property
    def conversation_id(self) -> str:
        """The conversation it was said in."""
        return self.message.conversation_id

    @property
    def seq(self) -> int:
        """Its place in that conversation."""
        return self.message.place

    @property
    def content(self) -> str:
        """What it says."""
        return self.message.content


class Recalled(Value):
    """What was recalled, best first, to walk, index and count like a list.

    ``below`` says how many messages have words of the question in them, and were left out because their score is below the floor.
    """

    items: tuple[Recollection, ...] = ()
    below: int = 0

    def __iter__(self) -> Iterator[Recollection]:  # type: ignore[override]
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, place: int) -> Recollection: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Recollection, ...]: ...

    def __getitem__(self, place: int | slice) -> Recollection | tuple[Recollection, ...]:
        return self.items[place]
