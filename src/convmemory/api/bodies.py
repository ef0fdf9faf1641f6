"""What a client sends, and a message as it is answered with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from convmemory.encoding.storable_text import clean_json, clean_text
from convmemory.models import Conversation, Message, RetrievedContext
from convmemory.value_fields import Value

Metadata = Annotated[
    dict[str, Any], Field(description="anything JSON can hold", examples=[{"channel": "web"}])
]
Name = Annotated[str, Field(min_length=1, max_length=255)]


def written(found: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """An answer of what ``message_found`` and the like tell, as it is sent.

    What is stored was looked at when it was; FastAPI would look at each value of it once more, which takes longer than to
    find it. OpenAPI has the form of it from the route's ``response_model``.
    """
    return Response(to_json(found, inf_nan_mode="strings"), headers=headers, media_type="application/json")


class Body(BaseModel):
    """What a client may send: nothing that is not described."""

    model_config = ConfigDict(extra="forbid")


class NewConversation(Body):
    """A conversation to be made; everything may be left out."""

    id: Name | None = Field(
        default=None, description="a UUID or a name of the user's own", examples=["vacation"]
    )
    title: str | None = Field(default=None, examples=["Vacation policy"])
    dept_id: Name | None = Field(default=None, examples=["hr"])
    metadata: Metadata | None = None
    exists: Literal["return", "update", "error"] = Field(
        default="return", description="what to do with one of that id that is there"
    )


class Changes(Body):
    """What is to be changed of a conversation; what is left out stays, and ``null`` takes away."""

    title: str | None = Field(
        default=None, description="`null` for an automatic one again", examples=["Days off in summer"]
    )
    dept_id: Name | None = None
    archived: bool = Field(default=False, description="put away, so that lists leave it out", examples=[True])
    pinned: bool = Field(default=False, description="to stand in front of the others", examples=[True])
    metadata: dict[str, Any] = Field(
        default_factory=dict,
        description="laid over what is there; a name with `null` is taken out",
        examples=[{"channel": None, "rating": 5}],
    )

    def given(self) -> dict[str, Any]:
        """What was sent, and only that."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class NewMessage(Body):
    """A message to be stored."""

    role: Literal["user", "human", "assistant", "ai", "system"] = Field(examples=["user"])
    content: str = Field(examples=["What is the vacation policy?"])
    metadata: Metadata | None = None
    tokens_used: int | None = Field(default=None, ge=0, le=2**31 - 1)
    latency_ms: float | None = Field(default=None, ge=0, le=2**31 - 1, description="milliseconds")
    contexts: list[RetrievedContext] = Field(default_factory=list, max_length=1_000)

    def known(self) -> dict[str, Any]:
        """What is known of it besides who says what."""
        found = {name: getattr(self, name) for name in ("metadata", "tokens_used", "latency_ms", "contexts")}
        return {**found, "created_at": None}


class Notes(Body):
    """What is to be noted of a message."""

    metadata: Metadata = Field(
        description="laid over what is there; a name with `null` is taken out", examples=[{"liked": True}]
    )


class LastPlace(Body):
    """Behind which message everything goes."""

    after: int = Field(ge=0, le=2**62, description="the `seq` of the last message that stays; 0 for none")


class Removed(BaseModel):
    """How many messages there were."""

    removed: int


class NewSession(Body):
    """A session to be begun."""

    dept_id: Name | None = None
    conversation_id: Name | None = Field(default=None, description="the conversation the user is in")
    metadata: Metadata | None = None


class SessionChanges(Body):
    """What is to be noted in a session; it lives on either way."""

    conversation_id: Name | None = None
    metadata: Metadata | None = None


class MessageFound(Value):
    """A stored message."""

    id: UUID
    conversation_id: str
    seq: int | None = Field(
        description="its place: grows with every message; null while it is `pending`", examples=[12]
    )
    pending: bool = Field(
        default=False,
        description="whether it is accepted and waits for the database, which gives it its place",
    )
    role: str = Field(description="in LangChain's words", examples=["human"])
    openai_role: str = Field(description="in the words of Chat Completions", examples=["user"])
    content: str = Field(examples=["What is the vacation policy?"])
    tool_calls: list[dict[str, Any]] = Field(default_factory=list, description="the tools an answer asks for")
    tool_call_id: str | None = Field(default=None, description="which call this is the result of")
    tokens_used: int | None = None
    latency_ms: int | None = Field(default=None, description="milliseconds")
    created_at: datetime
    metadata: dict[str, Any] = Field(description="the caller's")
    facts: dict[str, Any] = Field(description="what the library noted", examples=[{"model": "gpt-4.1"}])
    contexts: list[RetrievedContext]

    @classmethod
    def of(cls, stored: Message) -> Self:
        """A stored message as a client sees it."""
        return cls.built(**message_found(stored))


class Messages(BaseModel):
    """A page of messages, oldest first."""

    items: list[MessageFound]


class ConversationFound(Value):
    """A conversation, and its messages where it was asked for alone."""

    id: str = Field(examples=["vacation"])
    uuid: UUID
    dept_id: str | None = Field(examples=["hr"])
    title: str | None = Field(examples=["Vacation policy"])
    title_source: str = Field(description="`none`, `auto`, `model` or `user`", examples=["auto"])
    archived: bool = Field(description="put away")
    pinned: bool = Field(description="to stand in front of the others")
    message_count: int = Field(examples=[12])
    version: int = Field(description="grows with every change", examples=[14])
    created_at: datetime
    updated_at: datetime = Field(description="when its messages last changed")
    metadata: dict[str, Any] = Field(examples=[{"channel": "web"}])
    messages: list[MessageFound] | None = None

    @classmethod
    def of(cls, found: Conversation) -> Self:
        """A conversation as its owner sees it."""
        said = None if found.messages is None else [MessageFound.of(one) for one in found.messages]
        return cls.built(**{**conversation_found(found), "messages": said})


class Conversations(BaseModel):
    """A page of conversations, the one spoken in last first; ``next_cursor`` is ``null`` where nothing comes after."""

    items: list[ConversationFound]
    next_cursor: str | None
    count: int | None = Field(default=None, description="on all pages, where it was asked for")


class ConversationOwned(ConversationFound):
    """A conversation as an operator sees it, with whose it is."""

    user_id: str = Field(examples=["ada"])


class EverybodysConversations(BaseModel):
    """A page of conversations, whoever's they are."""

    items: list[ConversationOwned]
    next_cursor: str | None
    count: int | None = Field(default=None, description="on all pages, where it was asked for")


def message_found(stored: Message) -> dict[str, Any]:
    """The fields of a ``MessageFound``."""
    # most call no tool and answer none, and need not be decoded to tell
    calls, answers = _tools_of(stored.message) if "tool_call" in stored.body else ([], None)
    return {
        "id": stored.id,
        "conversation_id": stored.conversation_id,
        "seq": stored.seq,
        "pending": stored.pending,
        "role": stored.role,
        "openai_role": stored.openai_role,
        "content": stored.content,
        "tool_calls": calls,
        "tool_call_id": answers,
        "tokens_used": stored.tokens_used,
        "latency_ms": stored.latency_ms,
        "created_at": stored.created_at,
        "metadata": stored.metadata,
        "facts": stored.facts,
        "contexts": list(stored.contexts),
    }


def _tools_of(said: Any) -> tuple[list[Any], str | None]:
    """The tools that a message asks for, and the call it answers, as JSON has words for them."""
    answers = getattr(said, "tool_call_id", None)
    calls = [clean_json(call) for call in getattr(said, "tool_calls", None) or ()]
    return calls, None if answers is None else clean_text(answers)


def conversation_found(found: Conversation) -> dict[str, Any]:
    """The fields of a ``ConversationFound``."""
    return {
        "id": found.id,
        "uuid": found.uuid,
        "dept_id": found.dept_id,
        "title": found.title,
        "title_source": found.title_source,
        "archived": found.archived,
        "pinned": found.pinned,
        "message_count": found.message_count,
        "version": found.version,
        "created_at": found.created_at,
        "updated_at": found.updated_at,
        "metadata": found.metadata,
        "messages": None if found.messages is None else [message_found(one) for one in found.messages],
    }


def owned_found(found: Conversation) -> dict[str, Any]:
    """The fields of a ``ConversationOwned``."""
    return {**conversation_found(found), "user_id": found.user_id}
