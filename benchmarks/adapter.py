"""What an adapter wraps a library in: the few things a chat turn does with its memory.

A library that can only load everything does so in ``window`` and cuts, because that is what its user pays. Async
adapters have the same methods as coroutines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.messages import BaseMessage
from texts import Turn

USER = "u0"
WINDOW = 6
POOL = 16
"""Database connections; the same for everybody."""


class Unsupported(Exception):
    """The library has no such thing."""


class Adapter:
    name = "?"
    is_async = False
    ours = False
    """Whether it is this library."""
    limit = "LIMIT redis+pg"
    """The adapter its ratios are taken against."""
    database: str | None = None
    uses_redis = False

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def open(self) -> Any:
        """Connect, and make what tables are needed."""

    def close(self) -> Any:
        """Close what ``open`` opened."""

    def seed(self, conversation: str, messages: list[BaseMessage]) -> Any:
        """Store a whole conversation."""
        raise NotImplementedError

    def settle(self, conversation: str) -> Any:
        """Undo what tells a conversation that was seeded at once from one that grew turn by turn."""

    def window(self, conversation: str) -> Any:
        """The newest ``WINDOW`` messages, oldest first."""
        raise NotImplementedError

    def append(self, conversation: str, turn: Turn) -> Any:
        """Store a turn; back when the library calls it stored."""
        raise NotImplementedError

    def everything(self, conversation: str) -> Any:
        """All messages, oldest first."""
        raise NotImplementedError

    def history(self, conversation: str) -> Any:
        """A LangChain chat history, made as the library's documentation makes one for a request."""
        raise Unsupported(conversation)

    def text_of(self, message: Any) -> str:
        return message.content

    def kept(self, conversation: str, make: Callable[[str], Any]) -> Any:
        """The library's object for a conversation, made once."""
        if conversation not in self._made:
            self._made[conversation] = make(conversation)
        return self._made[conversation]

    def forget(self, conversation: str) -> None:
        """Drop that object, as a server does between two requests."""
        self._made.pop(conversation, None)
