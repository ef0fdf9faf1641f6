"""The values that come out of a memory: plain, frozen, free of drivers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from convmemory.ids import session_handle

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """A user's visit: lives in Redis for ``SESSION_TTL_MINUTES`` after its last use.

    Times are UTC. ``conversation_id`` is the conversation the session is in, as the caller named it.
    Whoever knows ``session_id`` acts as the user, so a list has the ``handle`` in its place.
    """

    session_id: str
    user_id: str
    dept_id: str | None
    created_at: datetime
    last_active: datetime
    conversation_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def handle(self) -> str:
        """What lists name this session by: ``end_session`` takes it, and nothing else does."""
        return session_handle(self.session_id)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation of one user, without its messages.

    ``conversation_id`` is the name the caller gave (or the UUID as text); ``uuid`` is the row's key.
    ``title_source`` is ``"none"``, ``"auto"`` or ``"user"``; ``version`` grows with every change.
    """

    conversation_id: str
    uuid: UUID
    user_id: str
    dept_id: str | None
    title: str | None
    title_source: str
    message_count: int
    version: int
    created_at: datetime
    updated_at: datetime
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetrievedContext:
    """A document the answer leaned on: stored beside its message, in the order given."""

    content: str
    doc_id: str | None = None
    score: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft:
    """A message on its way in, with what only the caller knows of it.

    ``tokens_used`` defaults to the message's own ``usage_metadata``, ``created_at`` to the time of the
    commit; ``latency_ms`` is in milliseconds; ``metadata`` must be JSON.
    """

    message: BaseMessage
    tokens_used: int | None = None
    latency_ms: int | None = None
    contexts: Sequence[RetrievedContext] = ()
    metadata: Mapping[str, Any] | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message with what PostgreSQL knows of it.

    ``seq`` counts from 1 without gaps; ``latency_ms`` is in milliseconds; ``lossy`` marks a message that
    could not be encoded in full (``metadata["lossy"]`` names the parts kept as text).
    """

    id: UUID
    seq: int
    role: str
    content: str
    message: BaseMessage
    tokens_used: int | None
    latency_ms: int | None
    created_at: datetime
    metadata: Mapping[str, Any]
    contexts: tuple[RetrievedContext, ...] = ()

    @property
    def lossy(self) -> bool:
        """Whether some part of the message came back as text instead of what it was."""
        return "lossy" in self.metadata


@dataclass(frozen=True, slots=True)
class Appended:
    """What one append did: the conversation's new ``version`` and the ``seq`` of each message given.

    A message that was there already keeps the ``seq`` it had; ``stored`` counts the new ones.
    It is 0 as well when the reply to a committed batch was lost and the batch sent again: that is no failure.
    """

    conversation_id: str
    version: int
    seqs: tuple[int, ...]
    stored: int


class Page(list[T]):
    """A list of at most ``limit`` items; ``next_cursor`` fetches the page after it, ``None`` at the end."""

    def __init__(self, items: Iterable[T] = (), next_cursor: str | None = None) -> None:
        super().__init__(items)
        self.next_cursor = next_cursor


@dataclass(frozen=True, slots=True)
class TierReport:
    """How one tier does, as this process sees it.

    ``breaker`` is ``"closed"`` or ``"open"`` (the tier is left alone and asked in the background);
    ``figures`` holds counters since the process began, for PostgreSQL the pool's statistics, and what only a tier
    that answers can say.
    """

    tier: str
    reachable: bool
    breaker: str
    problem: str | None
    last_failure: datetime | None
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """What ``check()`` found: a report a tier; ``redis`` is ``None`` where there is no Redis tier."""

    postgres: TierReport
    redis: TierReport | None

    @property
    def ok(self) -> bool:
        """Whether every tier answers."""
        return self.postgres.reachable and (self.redis is None or self.redis.reachable)
