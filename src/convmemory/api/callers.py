"""Whose memory a request is served from, in either colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

from fastapi import Depends, HTTPException
from starlette.concurrency import run_in_threadpool

from convmemory._async.memory import AsyncConversationMemory
from convmemory._async.retention import AsyncRetention
from convmemory._async.run_relay import AsyncRunRelay
from convmemory._async.tiered import AsyncTieredStore
from convmemory._async.user_memory import AsyncUserMemory
from convmemory._sync.memory import ConversationMemory
from convmemory._sync.run_relay import RunRelay
from convmemory._sync.tiered import TieredStore
from convmemory.errors import InvalidArgument

Memory: TypeAlias = AsyncConversationMemory | ConversationMemory
CurrentUser: TypeAlias = Callable[..., Any]
"""A dependency of the application's own: gives the user's id, or raises what a stranger is answered with."""


class Threaded:
    """A blocking value, each of whose verbs is awaited in a thread of its own."""

    def __init__(self, blocking: Any) -> None:
        self._blocking = blocking

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._blocking, name)
        if not callable(verb):
            return verb

        async def awaited(*arguments: Any, **named: Any) -> Any:
            return await run_in_threadpool(verb, *arguments, **named)

        return awaited


def awaitable(memory: Memory) -> AsyncConversationMemory:
    """The memory, or one that is awaited in its place.

    Raises:
        InvalidArgument: It is no memory.
    """
    if isinstance(memory, AsyncConversationMemory):
        return memory
    if isinstance(memory, ConversationMemory):
        return cast("AsyncConversationMemory", Threaded(memory))
    raise InvalidArgument(
        "memory", f"must be an AsyncConversationMemory or a ConversationMemory, not {type(memory).__name__}"
    )


def retention_of(memory: Memory) -> AsyncRetention:
    """What deletes for good, or what is awaited in its place."""
    if isinstance(memory, AsyncConversationMemory):
        return memory.retention
    return cast("AsyncRetention", Threaded(memory.retention))


def tiers_of(memory: Memory) -> AsyncTieredStore:
    """Both tiers as one, or what is awaited in their place."""
    if isinstance(memory, AsyncConversationMemory):
        return AsyncTieredStore(memory.postgres, memory.redis)
    return cast("AsyncTieredStore", Threaded(TieredStore(memory.postgres, memory.redis)))


def relay_of(memory: Memory) -> AsyncRunRelay:
    """What hands answers on their way to other processes, or what is awaited in its place."""
    if isinstance(memory, AsyncConversationMemory):
        return AsyncRunRelay(AsyncTieredStore(memory.postgres, memory.redis))
    return cast("AsyncRunRelay", Threaded(RunRelay(TieredStore(memory.postgres, memory.redis))))


def caller(memory: Memory, current_user: CurrentUser) -> Callable[..., AsyncUserMemory]:
    """A dependency that gives the memory of the user ``current_user`` names."""

    def mine(user_id: Any = Depends(current_user)) -> AsyncUserMemory:  # noqa: B008 - how FastAPI is told
        if not isinstance(user_id, str) or not user_id:
            raise HTTPException(401, "who is asking is not known", {"WWW-Authenticate": "Bearer"})
        if isinstance(memory, AsyncConversationMemory):
            return memory.for_user(user_id)
        return cast("AsyncUserMemory", Threaded(memory.for_user(user_id)))

    return mine
