"""The values that come out of a memory, and go into FastAPI, JSON and pickle as they are: frozen pydantic models."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Generic, Literal, Self, TypeAlias, TypeVar, overload
from uuid import UUID

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from pydantic import BeforeValidator, Field, computed_field

from convmemory.encoding.codec import decode
from convmemory.ids import session_handle
from convmemory.value_fields import (
    AnyMessage,
    Count,
    Metadata,
    Milliseconds,
    Moment,
    Score,
    Value,
    set_at_once,
)

T = TypeVar("T")

Telemetry: TypeAlias = bool | Literal["ids", "excerpt", "whole"]
"""What is kept beside replies: nothing (``False``), or figures and of each retrieved document its id and score, an excerpt as
well, or the whole of it (the same as ``True``)."""

_BARE: Final[dict[str, Any]] = {
    "tokens_used": None,
    "latency_ms": None,
    "contexts": (),
    "metadata": None,
    "facts": None,
    "created_at": None,
}
_LOSSES: Final = '"l":'  # what the codec writes of a message that lost something
_ONLY_MESSAGE: Final = {"message"}  # shared: a frozen model never adds to it
_OPENAI_ROLES: Final = {"human": "user", "ai": "assistant"}


class Session(Value):
    """A user's visit: lives in Redis for ``SESSION_TTL_MINUTES`` after its last use.

    Times are UTC. ``conversation_id`` is the conversation the session is in, as the caller named it.
    Whoever knows ``id`` acts as the user, so a list of sessions has the ``handle`` in its place.
    """

    id: str = Field(repr=False)
    user_id: str
    dept_id: str | None = None
    created_at: datetime
    last_active: datetime
    conversation_id: str | None = None
    metadata: Metadata = Field(default_factory=dict)

    @property
    def session_id(self) -> str:
        """The same as ``id``, as arguments call it."""
        return self.id

    @property
    def handle(self) -> str:
        """What lists name this session by: ``end_session`` takes it, and nothing else does."""
        return session_handle(self.id)


class RetrievedContext(Value):
    """A document the answer leaned on: stored beside its message, in the order given.

    ``score`` is the retriever's own figure, whatever its scale; NaN and infinity are kept.
    """

    content: str
    doc_id: str | None = None
    score: Score = None
    metadata: Metadata = Field(default_factory=dict)

    def __init__(
        self,
        content: str,
        doc_id: str | None = None,
        score: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            content=content, doc_id=doc_id, score=score, metadata={} if metadata is None else metadata
        )

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # as of every value

    @classmethod
    def of_document(cls, document: Document) -> Self:
        """A retrieved document as it is stored; its score is looked for in its metadata."""
        metadata = dict(document.metadata or {})
        named = document.id or metadata.get("doc_id") or metadata.get("id")
        return cls.built(
            content=str(document.page_content),
            doc_id=None if named is None else str(named),
            score=next(_numbers(metadata), None),
            metadata=metadata,
        )


SCORES: Final = ("score", "relevance_score", "similarity_score", "_score", "@search.score")
"""Where retrievers and rerankers leave a document's score, in its metadata."""


def _numbers(metadata: Mapping[Any, Any]) -> Iterator[float]:
    for name in SCORES:
        try:
            number = float(metadata[name])
        except Exception:  # noqa: BLE001, S112 - a vector store's own type, or none at all: the next name may have one
            continue
        if math.isfinite(number):
            yield number


def _with_documents(contexts: Any) -> Any:
    if not isinstance(contexts, (list, tuple)):
        return contexts
    return [RetrievedContext.of_document(c) if isinstance(c, Document) else c for c in contexts]


class Draft(Value):
    """A message on its way in, with what only the caller knows of it.

    ``message`` is a LangChain message or anything ``save_message`` takes for one. ``tokens_used`` defaults to the
    message's own ``usage_metadata``, ``created_at`` (with a time zone) to the time of the commit; ``latency_ms`` is in
    milliseconds; ``metadata`` must be JSON. ``facts`` is what a run tells of it (its model, its tokens), and laid over what the
    message tells itself.
    """

    message: AnyMessage
    tokens_used: Count | None = None
    latency_ms: Milliseconds | None = None
    contexts: Annotated[tuple[RetrievedContext, ...], BeforeValidator(_with_documents)] = ()
    metadata: Metadata | None = None
    facts: Metadata | None = None
    created_at: Moment | None = None

    def __init__(  # noqa: PLR0917 - in the order in which a message is told of
        self,
        message: Any,
        tokens_used: int | None = None,
        latency_ms: float | None = None,
        contexts: Sequence[RetrievedContext | Document] = (),
        metadata: Mapping[str, Any] | None = None,
        created_at: datetime | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            message=message,
            tokens_used=tokens_used,
            latency_ms=latency_ms,
            contexts=contexts,
            metadata=metadata,
            facts=facts,
            created_at=created_at,
        )

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # as of every value

    @classmethod
    def bare(cls, message: BaseMessage) -> Self:
        """A message of which nothing more is known: what most appends are made of, so it costs next to nothing."""
        draft = cls.__new__(cls)
        set_at_once(draft, "__dict__", {"message": message, **_BARE})
        set_at_once(draft, "__pydantic_fields_set__", _ONLY_MESSAGE)
        set_at_once(draft, "__pydantic_extra__", None)
        set_at_once(draft, "__pydantic_private__", None)
        return draft


def is_bare(draft: Draft) -> bool:
    """Whether a draft was made by ``Draft.bare``: then nothing but its message needs to be looked at."""
    return draft.model_fields_set is _ONLY_MESSAGE


class Message(Value):
    """A stored message with what PostgreSQL knows of it.

    ``seq`` grows from 1 with every message, and is never given twice; it is ``None`` while the message is ``pending``: accepted, and
    not in PostgreSQL yet, which gives it (only where ``durability`` or ``journal`` allows that). ``role`` is LangChain's word (``human``, ``ai``, ``system``, ``tool``) and
    ``openai_role`` Chat Completions'; ``latency_ms`` is in milliseconds; ``content`` is the text, ``body`` the lossless
    encoding of everything else, from which ``message`` makes the LangChain message when asked for. ``metadata`` is the
    caller's, and ``facts`` what the library noted: ``model``, ``tool_calls`` by name, ``lossy`` and the like.
    """

    id: UUID
    conversation_id: str
    seq: int | None
    pending: bool = False
    role: str
    content: str
    tokens_used: int | None = None
    latency_ms: int | None = None
    created_at: datetime
    metadata: Metadata = Field(default_factory=dict)
    facts: Metadata = Field(default_factory=dict)
    contexts: tuple[RetrievedContext, ...] = ()
    body: str = Field(repr=False)

    @property
    def place(self) -> int:
        """``seq`` as a number that places can be compared by: 0 while the message is pending."""
        return self.seq or 0

    @property
    def message(self) -> BaseMessage:
        """The LangChain message, equal to the one that was stored; a new object each time."""
        return decode(self.body, self.content)

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def openai_role(self) -> str:
        """The role in the words of Chat Completions: ``user``, ``assistant``, ``system``, ``tool``."""
        if self.role == "chat":
            return str(getattr(self.message, "role", self.role))
        return _OPENAI_ROLES.get(self.role, self.role)

    @property
    def lossy(self) -> bool:
        """Whether some part of the message came back as text instead of what it was (``facts["lossy"]`` says which)."""
        return _LOSSES in self.body and "l" in json.loads(self.body)


class Conversation(Value):
    """One conversation of one user.

    ``id`` is the name the caller gave (or the UUID as text); ``uuid`` is the row's key. ``title_source`` is ``"none"``,
    ``"auto"``, ``"model"`` or ``"user"``; ``version`` grows with every change. One that is ``archived`` is put away: lists leave it out.
    ``messages`` is filled by ``get_conversation(..., messages=True)``, oldest first, and ``None`` everywhere else.
    """

    id: str
    uuid: UUID
    user_id: str
    dept_id: str | None = None
    title: str | None = None
    title_source: str = "none"
    archived: bool = False
    pinned: bool = False
    message_count: int = 0
    version: int = 0
    created_at: datetime
    updated_at: datetime
    metadata: Metadata = Field(default_factory=dict)
    messages: tuple[Message, ...] | None = None

    @property
    def conversation_id(self) -> str:
        """The same as ``id``, as messages, sessions and arguments call it."""
        return self.id


class Appended(Value):
    """What one ``save_messages`` did: the messages as they are stored now, in the order given.

    A message that was there already is the one that was stored then; ``stored`` counts the new ones.
    It is 0 as well when the reply to a committed batch was lost and the batch sent again: that is no failure.
    ``version`` is the conversation's, ``None`` where there was nothing to save.
    """

    conversation_id: str
    version: int | None
    stored: int
    messages: tuple[Message, ...]

    @property
    def seqs(self) -> tuple[int | None, ...]:
        """The position of each message given; ``None`` while it is pending."""
        return tuple(message.seq for message in self.messages)


class Erased(Value):
    """What an erasure or a pruning has deleted so far, or in all: a receipt that names nobody.

    ``rows`` counts by table; ``windows`` those that lay in the Redis this process uses (in any other they are dropped before they
    are served again), and ``sessions`` those that were alive.
    """

    rows: dict[str, int] = Field(default_factory=dict)
    windows: int = 0
    sessions: int = 0


class Page(Value, Generic[T]):
    """At most ``limit`` items, to walk, index and count like a list; ``next_cursor`` fetches the page after it.

    ``next_cursor`` is ``None`` exactly where nothing comes after. A slice is a tuple of items: a part of a page has no
    page after it. As JSON it is ``{"items": [...], "next_cursor": ...}``.
    """

    items: tuple[T, ...] = ()
    next_cursor: str | None = None

    def __init__(self, items: Iterable[T] = (), next_cursor: str | None = None) -> None:
        super().__init__(items=tuple(items), next_cursor=next_cursor)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # as of every value

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]
        return iter(self.items)

    def __repr__(self) -> str:
        return f"Page({list(self.items)!r}, next_cursor={self.next_cursor!r})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        """Equal to a page of the same items and cursor, and to a list of the same items."""
        if isinstance(other, (list, tuple)):
            return self.items == tuple(other)
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # it may hold what has none

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process under a name that can be looked up there."""
        return (Page, (self.items, self.next_cursor))

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, item: object) -> bool:
        return item in self.items

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[T, ...]: ...

    def __getitem__(self, place: int | slice) -> T | tuple[T, ...]:
        return self.items[place]


class TierReport(Value):
    """How one tier does, as this process sees it.

    ``breaker`` is ``"closed"``, ``"open"`` (the tier is left alone and asked in the background) or ``"refused"``: Redis
    answers, but does not allow or tell what ``problem`` names, and windows are left alone where they need it.
    ``figures`` holds counters since the process began, for PostgreSQL the pool's statistics, and what only a tier
    that answers can say.
    """

    tier: str
    reachable: bool
    breaker: str
    problem: str | None = None
    last_failure: datetime | None = None
    figures: Metadata = Field(default_factory=dict)


class Check(Value):
    """What ``check()`` found: a report a tier; ``redis`` is ``None`` where there is no Redis tier.

    ``status`` is ``"ok"``; ``"degraded"`` when only Redis is away, or refuses what is needed: conversations are served, slower,
    and sessions may not be; ``"down"`` when PostgreSQL is. A readiness probe asks ``ok``, an alert asks ``status``.
    """

    postgres: TierReport
    redis: TierReport | None = None

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def status(self) -> Literal["ok", "degraded", "down"]:
        """One word for both tiers."""
        if not self.postgres.reachable:
            return "down"
        whole = self.redis is None or (self.redis.reachable and self.redis.breaker != "refused")
        return "ok" if whole else "degraded"

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        """Whether conversations can be read and written: also when only Redis is away."""
        return self.status != "down"

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def degraded(self) -> bool:
        """Whether Redis is away: what is served comes from PostgreSQL, and there are no sessions."""
        return self.status == "degraded"
