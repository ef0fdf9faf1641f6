"""What a protocol is: how it asks, how it tells what happens, and how it shows what is stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from pydantic import BaseModel

from convmemory.api.chat.events import Begun, Event, Over
from convmemory.api.chat.hearing import Hearing
from convmemory.api.chat.places import Asked
from convmemory.models import Conversation, Message

SSE: Final = {
    "Cache-Control": "no-cache, no-transform",
    "Connection": "keep-alive",
    "X-Accel-Buffering": "no",
}
BROKE_OFF: Final = "the answer broke off: try again"
"""All that a client is told of an error in an answer; the log has the rest."""


class Speaker(ABC):
    """Tells one turn in a protocol's words: the frames of its stream, each whole."""

    def __init__(self, begun: Begun) -> None:
        self.begun = begun

    def hearing(self) -> Hearing:
        """Who hears the turn that is told."""
        return Hearing()

    @abstractmethod
    def begin(self) -> str:
        """The turn begins."""

    @abstractmethod
    def say(self, event: Event) -> str:
        """Something happened."""

    def wants_everything(self, over: Over) -> bool:  # noqa: ARG002 - most do not look
        """Whether the end of the turn is told with the whole conversation."""
        return False

    @abstractmethod
    def finish(self, over: Over) -> str:
        """It is over, and stored: to its end, or to where it was stopped."""


class Protocol(ABC):
    """A way of speaking with front ends."""

    headers: ClassVar[Mapping[str, str]] = SSE
    body: ClassVar[type[BaseModel]]

    @abstractmethod
    def asked(self, body: Any) -> Asked:
        """What a request wants."""

    @abstractmethod
    def speaker(self, begun: Begun) -> Speaker:
        """Who tells a turn."""

    @abstractmethod
    def broke_off(self) -> str:
        """What a client is told where an answer broke off."""

    @abstractmethod
    def shown(self, conversation: Conversation, stored: Sequence[Message]) -> Any:
        """What is stored of a conversation, as the front end begins with it."""

    def snapshot(self, asked: Asked, stored: Sequence[Message]) -> str | None:  # noqa: ARG002 - most have none
        """The whole stream for a client that only looks; ``None`` where there is none in the protocol."""
        return None

    def streams(self, accept: str) -> bool:  # noqa: ARG002 - those that have nothing but streams do not look
        """Whether a request is answered with a stream."""
        return True


class Unanswerable(Exception):
    """What a client sent is no turn of the protocol's, and why."""
