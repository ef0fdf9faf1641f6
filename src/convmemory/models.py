"""The values that come out of a memory, and go into FastAPI, JSON and pickle as they are: frozen pydantic models."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Generic, Literal, Self, TypeVar, overload
from uuid import UUID

from langchain_core.messages import BaseMessage, RemoveMessage
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    computed_field,
)

from convmemory.dialects.message_likes import as_messages
from convmemory.encoding.codec import decode, encode
from convmemory.errors import InvalidArgument

T = TypeVar("T")

_set = object.__setattr__

_WANTED: Final = {
    "dict": "must be a mapping",
    "string": "must be a string",
    "int": f"must be a whole number from 0 to {2**31 - 1:,}",
    "greater": f"must be a whole number from 0 to {2**31 - 1:,}",
    "less": f"must be a whole number from 0 to {2**31 - 1:,}",
    "float": "must be a number or None",
    "datetime": "must be a datetime with a time zone",
    "timezone": "must be a datetime with a time zone",
    "model": "must be a RetrievedContext",
    "tuple": "must be a list",
}
"""What would be right, by the first word of what pydantic calls the error."""
_BARE: Final[dict[str, Any]] = {
    "tokens_used": None,
    "latency_ms": None,
    "contexts": (),
    "metadata": None,
    "created_at": None,
}
_ONLY_MESSAGE: Final = {"message"}  # shared: a frozen model never adds to it
_OPENAI_ROLES: Final = {"human": "user", "ai": "assistant"}
_MOST: Final = 2**31 - 1  # a PostgreSQL integer


class _Value(BaseModel):
    """What all values have in common: frozen, quiet about what they hold, and told of wrong input in our words."""

    model_config = ConfigDict(
        frozen=True, hide_input_in_errors=True, ser_json_inf_nan="strings", arbitrary_types_allowed=True
    )

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            # pydantic's own text is left out on purpose: it is about this class, and callers gave an argument
            raise _first_problem(error) from None

    @classmethod
    def built(cls, **fields: Any) -> Self:
        """Make one of fields that are right already, all of them: nothing is checked, copied or set to a default."""
        value = cls.__new__(cls)
        _set(value, "__dict__", fields)
        _set(value, "__pydantic_fields_set__", set(fields))
        _set(value, "__pydantic_extra__", None)
        _set(value, "__pydantic_private__", None)
        return value


def _first_problem(error: ValidationError) -> InvalidArgument:
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "value"
    kind = problem["type"].partition("_")[0]
    said = _WANTED.get(kind) or problem["msg"].removeprefix("Value error, ")
    return InvalidArgument(where, said[:1].lower() + said[1:])


def _plain_number(value: Any) -> Any:
    """Vector stores give scores of number types of their own."""
    if value is None or isinstance(value, (str, bytes)):
        return value
    try:
        return float(value)
    except TypeError as error:
        raise ValueError("must be a number or None") from error


def _whole_number(value: Any) -> int:
    """An int, or a number type that is one, as numpy has; ``True`` and ``"7"`` are none."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(_WANTED["int"])
    return operator.index(value)


def _as_dict(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _as_message(value: Any) -> BaseMessage:
    if isinstance(value, BaseMessage) and not isinstance(value, RemoveMessage):
        return value
    if isinstance(value, Mapping) and "body" in value:
        return decode(str(value["body"]), str(value.get("content", "")))
    try:
        messages = as_messages(value)
    except InvalidArgument as error:
        raise ValueError(str(error).removeprefix(f"{error.argument}: ")) from error
    if len(messages) != 1:
        raise ValueError(f"must be one message, not {len(messages)}")
    return messages[0]


def _as_stored(message: BaseMessage) -> dict[str, str]:
    encoded = encode(message)
    return {"role": encoded.role, "content": encoded.content, "body": encoded.body}


Metadata = Annotated[dict[Any, Any], BeforeValidator(_as_dict)]
"""Anything JSON can hold, by name; what it cannot hold is stored as text."""

Count = Annotated[int, BeforeValidator(_whole_number), Field(ge=0, le=_MOST)]
"""A whole number that fits a PostgreSQL integer."""

AnyMessage = Annotated[
    BaseMessage,
    PlainValidator(_as_message),
    PlainSerializer(_as_stored),
    WithJsonSchema({"type": "object", "properties": {"role": {"type": "string"}, "content": {}}}),
]
"""A LangChain message, or anything ``save_message`` takes for one; as JSON and as a dict it is the stored form, which loses nothing."""


class Session(_Value):
    """A user's visit: lives in Redis for ``SESSION_TTL_MINUTES`` after its last use.

    Times are UTC. ``conversation_id`` is the conversation the session is in, as the caller named it.
    Whoever knows ``id`` holds the session.
    """

    id: str
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


class RetrievedContext(_Value):
    """A document the answer leaned on: stored beside its message, in the order given.

    ``score`` is the retriever's own figure, whatever its scale; NaN and infinity are kept.
    """

    content: str
    doc_id: str | None = None
    score: Annotated[float | None, BeforeValidator(_plain_number)] = None
    metadata: Metadata = Field(default_factory=dict)

    def __init__(
        self,
        content: str,
        doc_id: str | None = None,
        score: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(content=content, doc_id=doc_id, score=score, metadata=metadata or {})


class Draft(_Value):
    """A message on its way in, with what only the caller knows of it.

    ``message`` is a LangChain message or anything ``save_message`` takes for one. ``tokens_used`` defaults to the
    message's own ``usage_metadata``, ``created_at`` (with a time zone) to the time of the commit; ``latency_ms`` is in
    milliseconds; ``metadata`` must be JSON.
    """

    message: AnyMessage
    tokens_used: Count | None = None
    latency_ms: Count | None = None
    contexts: tuple[RetrievedContext, ...] = ()
    metadata: Metadata | None = None
    created_at: AwareDatetime | None = None

    def __init__(  # noqa: PLR0917 - in the order in which a message is told of
        self,
        message: Any,
        tokens_used: int | None = None,
        latency_ms: int | None = None,
        contexts: Sequence[RetrievedContext] = (),
        metadata: Mapping[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> None:
        super().__init__(
            message=message,
            tokens_used=tokens_used,
            latency_ms=latency_ms,
            contexts=contexts,
            metadata=metadata,
            created_at=created_at,
        )

    @classmethod
    def bare(cls, message: BaseMessage) -> Self:
        """A message of which nothing more is known: what most appends are made of, so it costs next to nothing."""
        draft = cls.__new__(cls)
        _set(draft, "__dict__", {"message": message, **_BARE})
        _set(draft, "__pydantic_fields_set__", _ONLY_MESSAGE)
        _set(draft, "__pydantic_extra__", None)
        _set(draft, "__pydantic_private__", None)
        return draft


class Message(_Value):
    """A stored message with what PostgreSQL knows of it.

    ``seq`` counts from 1 without gaps; ``role`` is LangChain's word (``human``, ``ai``, ``system``, ``tool``) and
    ``openai_role`` Chat Completions'; ``latency_ms`` is in milliseconds; ``content`` is the text, ``body`` the lossless
    encoding of everything else, from which ``message`` makes the LangChain message when asked for.
    """

    id: UUID
    conversation_id: str
    seq: int
    role: str
    content: str
    tokens_used: int | None = None
    latency_ms: int | None = None
    created_at: datetime
    metadata: Metadata = Field(default_factory=dict)
    contexts: tuple[RetrievedContext, ...] = ()
    body: str = Field(repr=False)

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
        """Whether some part of the message came back as text instead of what it was (``metadata["lossy"]`` says which)."""
        return "lossy" in self.metadata


class Conversation(_Value):
    """One conversation of one user.

    ``id`` is the name the caller gave (or the UUID as text); ``uuid`` is the row's key. ``title_source`` is ``"none"``,
    ``"auto"`` or ``"user"``; ``version`` grows with every change. ``messages`` is filled by
    ``get_conversation(..., messages=True)``, oldest first, and ``None`` everywhere else.
    """

    id: str
    uuid: UUID
    user_id: str
    dept_id: str | None = None
    title: str | None = None
    title_source: str = "none"
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


class Appended(_Value):
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
    def seqs(self) -> tuple[int, ...]:
        """The position of each message given."""
        return tuple(message.seq for message in self.messages)


class Page(_Value, Generic[T]):
    """At most ``limit`` items, to walk, index and count like a list; ``next_cursor`` fetches the page after it.

    ``next_cursor`` is ``None`` exactly where nothing comes after. A slice is a tuple of items: a part of a page has no
    page after it. As JSON it is ``{"items": [...], "next_cursor": ...}``.
    """

    items: tuple[T, ...] = ()
    next_cursor: str | None = None

    def __init__(self, items: Iterable[T] = (), next_cursor: str | None = None) -> None:
        super().__init__(items=tuple(items), next_cursor=next_cursor)

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


class TierReport(_Value):
    """How one tier does, as this process sees it.

    ``breaker`` is ``"closed"`` or ``"open"`` (the tier is left alone and asked in the background);
    ``figures`` holds counters since the process began, for PostgreSQL the pool's statistics, and what only a tier
    that answers can say.
    """

    tier: str
    reachable: bool
    breaker: str
    problem: str | None = None
    last_failure: datetime | None = None
    figures: Metadata = Field(default_factory=dict)


class Check(_Value):
    """What ``check()`` found: a report a tier; ``redis`` is ``None`` where there is no Redis tier.

    ``status`` is ``"ok"``; ``"degraded"`` when only Redis is away: conversations are served, slower, and sessions are
    not; ``"down"`` when PostgreSQL is. A readiness probe asks ``ok``, an alert asks ``status``.
    """

    postgres: TierReport
    redis: TierReport | None = None

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def status(self) -> Literal["ok", "degraded", "down"]:
        """One word for both tiers."""
        if not self.postgres.reachable:
            return "down"
        return "ok" if self.redis is None or self.redis.reachable else "degraded"

    @property
    def ok(self) -> bool:
        """Whether conversations can be read and written: also when only Redis is away."""
        return self.status != "down"

    @property
    def degraded(self) -> bool:
        """Whether Redis is away: what is served comes from PostgreSQL, and there are no sessions."""
        return self.status == "degraded"
