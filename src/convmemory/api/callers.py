"""Whose memory a request is served from, in either colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from fastapi import Depends, HTTPException
from starlette.concurrency import run_in_threadpool

from convmemory._async.memory import AsyncConversationMemory
from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory._async.retention import AsyncRetention
from convmemory._async.run_relay import AsyncRunRelay
from convmemory._async.tiered import AsyncTieredStore
from convmemory._async.user_memory import AsyncUserMemory
from convmemory._sync.memory import ConversationMemory
from convmemory._sync.operators import Operator
from convmemory._sync.run_relay import RunRelay
from convmemory._sync.search import UserSearch
from convmemory._sync.tiered import TieredStore
from convmemory.errors import InvalidArgument

Memory: TypeAlias = AsyncConversationMemory | ConversationMemory
CurrentUser: TypeAlias = Callable[..., Any]
"""A dependency of the application's own: gives the user's id, or raises what a stranger is answered with."""


def checked_login(current_user: object) -> None:
    """See that an application says who is asking: without it the routes would be everybody's.

    Raises:
        InvalidArgument: There is no dependency for it.
    """
    if not callable(current_user):
        raise InvalidArgument(
            "current_user",
            "must be a dependency that gives the id of the user who is asking, as your login knows it",
        )


class Threaded:
    """A blocking value, each of whose verbs is awaited in a thread of its own."""

    def __init__(self, blocking: Any) -> None:
        self._blocking = blocking

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._blocking, name)
        if isinstance(verb, (Operator, UserSearch)):
            return Threaded(verb)
        if not callable(verb):
            return verb

        async def awaited(*arguments: Any, **named: Any) -> Any:
            return await run_in_threadpool(verb, *arguments, **named)

        return awaited


@dataclass(frozen=True, slots=True)
class Served:
    """A memory of either colour, as routes await it."""

    memory: AsyncConversationMemory
    retention: AsyncRetention
    postgres: AsyncPostgresStore
    tiers: AsyncTieredStore
    relay: AsyncRunRelay
    for_user: Callable[[str], AsyncUserMemory]
    run_config: Callable[..., Any]

    @classmethod
    def of(cls, memory: Memory) -> Served:
        """The awaited memory itself, or one whose blocking verbs wait in threads.

        Raises:
            InvalidArgument: It is no memory.
        """
        if isinstance(memory, AsyncConversationMemory):
            tiers = AsyncTieredStore(memory.postgres, memory.redis)
            return cls(
                memory,
                memory.retention,
                memory.postgres,
                tiers,
                AsyncRunRelay(tiers),
                memory.for_user,
                memory.run_config,
            )
        if not isinstance(memory, ConversationMemory):
            raise InvalidArgument(
                "memory",
                f"must be an AsyncConversationMemory or a ConversationMemory, not {type(memory).__name__}",
            )
        blocking = TieredStore(memory.postgres, memory.redis)
        threaded: Any = Threaded
        return cls(
            threaded(memory),
            threaded(memory.retention),
            threaded(memory.postgres),
            threaded(blocking),
            threaded(RunRelay(blocking)),
            lambda user_id: threaded(memory.for_user(user_id)),
            memory.run_config,
        )


def caller(served: Served, current_user: CurrentUser) -> Callable[..., Any]:
    """A dependency that gives the memory of the user ``current_user`` names."""

    async def mine(user_id: Any = Depends(current_user)) -> AsyncUserMemory:  # noqa: B008 - how FastAPI is told
        if not isinstance(user_id, str) or not user_id:
            raise HTTPException(401, "who is asking is not known", {"WWW-Authenticate": "Bearer"})
        return served.for_user(user_id)

    return mine
