"""What happens in a turn, in no protocol's words: what a runnable streams on one side, what a front end is sent on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

from convmemory.encoding.text_blocks import Kind
from convmemory.models import Message


@dataclass(frozen=True, slots=True)
class MessageBegan:
    """Another message of the assistant's begins; ``name`` is the id LangChain has for it, if it has one."""

    name: str | None
    after_results: bool = False
    """Whether tools have answered since the one before: a step is over."""


@dataclass(frozen=True, slots=True)
class PartBegan:
    """Text or reasoning begins."""

    part: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class PartGrew:
    """A piece of it."""

    part: str
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class PartEnded:
    """It is whole."""

    part: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class CallBegan:
    """A tool is about to be called."""

    call: str
    tool: str


@dataclass(frozen=True, slots=True)
class CallGrew:
    """A piece of what it is called with, as JSON."""

    call: str
    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """What it is called with; ``why_not`` where that cannot be read."""

    call: str
    tool: str
    arguments: Any
    told: bool = False
    """Whether the arguments have been told piece by piece."""
    why_not: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """What the tool answered; ``name`` is the id LangChain has for the message."""

    call: str
    tool: str
    content: str
    failed: bool
    name: str | None = None


Event: TypeAlias = MessageBegan | PartBegan | PartGrew | PartEnded | CallBegan | CallGrew | Called | Answered


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn as it begins: where it is, and who asks for it."""

    run_id: str
    conversation_id: str
    conversation: UUID
    question: UUID
    """The row of what the user said."""
    session_id: str | None = None
    client_run: str | None = None
    """What the client calls the run."""


@dataclass(frozen=True, slots=True)
class Over:
    """A turn as it ended: what is stored of it, its question first."""

    begun: Begun
    stored: Sequence[Message] = field(default_factory=tuple)
    stopped: bool = False
    everything: Sequence[Message] | None = None
    """The newest of the whole conversation, for who asked for them."""

    @property
    def answers(self) -> list[Message]:
        """What was said and done in answer."""
        return [one for one in self.stored if one.role != "human"]

    @property
    def figures(self) -> dict[str, Any]:
        """What is told of the turn beside its words, in the words of the REST router."""
        tokens = [one.tokens_used for one in self.answers if one.tokens_used is not None]
        latency = [one.latency_ms for one in self.answers if one.latency_ms is not None]
        return {
            "conversation_id": self.begun.conversation_id,
            "session_id": self.begun.session_id,
            "question_id": str(self.begun.question),
            "message_ids": [str(one.id) for one in self.answers],
            "tokens_used": sum(tokens) if tokens else None,
            "latency_ms": sum(latency) if latency else None,
        }
