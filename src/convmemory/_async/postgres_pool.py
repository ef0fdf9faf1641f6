"""The pool of one process and event loop over PostgreSQL, opened only when asked, and ended whatever state it is in."""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from psycopg_pool import AsyncConnectionPool

from convmemory._async.postgres_connections import (
    NAME,
    AsyncBoundedConnection,
    connection_class,
    connection_options,
)
from convmemory._async.prober import AsyncProber
from convmemory.settings import Settings
from convmemory.tiers.forks import let_go
from convmemory.tiers.turns import AsyncTurns
from convmemory.tiers.waiting import aend, aquietly, asleep, atold_to_end

_RECONNECT: Final = 0.5
"""Seconds between two attempts of the pool to connect to a server that is away."""
_AT_A_TIME: Final = 3
"""Statements that wait for one conversation at most, and no more than half the pool: the others are other people's."""
_BUSY: Final = "the conversation is busy: other writes to it were waiting all the time"
_SETTLED: Final = 1.0
_GLANCE: Final = 0.002
"""Seconds that opening waits for the pool at most, and between two looks at it."""


class AsyncTaskQueue:
    """The queue of a pool's worker, which ends with its event loop.

    A worker that is cancelled while it connects takes that for a failure to connect, and would wait for its next
    task for ever: ``asyncio.run`` with it.
    """

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    async def get(self) -> Any:
        """The next task; ``CancelledError`` when the worker was told to end."""
        if atold_to_end():
            raise CancelledError
        return await self._queue.get()


class AsyncAlarm:
    """What wakes a pool's scheduler, which ends with its event loop as well.

    Until Python 3.12 a scheduler that is cancelled just as something is scheduled is woken and not cancelled, and goes on waiting:
    ``asyncio.run`` with it, where a program ends while its pool is being opened.
    """

    def __init__(self, event: Any) -> None:
        self._event = event

    def __getattr__(self, name: str) -> Any:
        return getattr(self._event, name)

    def clear(self) -> None:
        """Be told of what comes next; ``CancelledError`` when the scheduler was told to end."""
        if atold_to_end():
            raise CancelledError
        self._event.clear()


class WorkEnded(BaseException):
    """The cancellation of a pool's worker, under a name that the pool does not take for a failure to connect."""


class AsyncPool(AsyncConnectionPool[AsyncBoundedConnection]):
    """A pool whose workers and scheduler can be cancelled."""

    def _start_workers(self) -> None:
        scheduler: Any = self._sched
        scheduler._event = AsyncAlarm(scheduler._event)  # noqa: SLF001 - it has no other name
        super()._start_workers()

    @classmethod
    async def worker(cls, q: Any) -> None:
        """Do what the pool has to do, as the base class does."""
        try:
            await super().worker(AsyncTaskQueue(q))  # type: ignore[arg-type]  # all it does is get
        except WorkEnded:
            raise CancelledError from None

    def __del__(self) -> None:
        # Python 3.14 waits for no thread as it ends; and not all pools have one
        with suppress(RuntimeError, AttributeError):
            super().__del__()

    async def _connect(self, *args: Any, **kwargs: Any) -> AsyncBoundedConnection:
        try:
            return await super()._connect(*args, **kwargs)
        except CancelledError:
            raise WorkEnded from None


class AsyncPostgresHome:
    """The connections of one process and event loop: a pool, opened by the first call that wants one."""

    def __init__(
        self,
        conninfo: str,
        settings: Settings,
        prober: AsyncProber,
        password: Callable[[], Any] | None = None,
    ) -> None:
        self.prober = prober
        self.kind = connection_class(settings, password)
        self.pool = open_pool(conninfo, settings, self.kind)
        self.turns = turns_of(settings, settings.pool_max)
        self.ready = False
        self.refused = 0
        """How many connections had been refused when a statement last went through."""

    async def open(self) -> None:
        """Have the pool begin to connect, and wait a moment for the connections it begins with.

        Whoever wants one before it is there makes the pool grow; and a program may end at once, while connecting is
        hard to end.
        """
        await self.pool.open()
        self.ready = True
        refused, deadline = self.kind.refused, time.monotonic() + _SETTLED
        while self.pool.get_stats()["pool_available"] < self.pool.min_size and self.kind.refused == refused:
            if time.monotonic() > deadline:
                break
            await asleep(_GLANCE)
        aquietly(NAME)

    @property
    def refusals(self) -> int:
        """How many connections could not be made so far."""
        return self.kind.refused

    @property
    def why(self) -> str:
        """What was wrong with the last of these."""
        return self.kind.why

    @property
    def busy(self) -> bool:
        """Whether all connections there may be are there, and so in the hands of others if none is to be had."""
        return sum(not conn.closed for conn in list(self.kind.made)) >= self.pool.max_size

    async def leave(self) -> None:
        """Close the pool; at the end of an event loop its workers are gone, and cannot be waited for.

        So they are where a memory is collected that nobody closed: they were collected with it.
        """
        self.prober.stop()
        ended = atold_to_end()
        try:
            await self.pool.close()
        except RuntimeError:
            self.drop()
        except CancelledError:
            self.drop()
            if atold_to_end() and not ended:
                raise

    def drop(self) -> None:
        """Close every connection where it stands."""
        self._forget_the_pool()
        for work in (*getattr(self.pool, "_workers", ()), getattr(self.pool, "_sched_runner", None)):
            if work is not None:
                aend(work)
        for conn in list(self.kind.made):
            conn.pgconn.finish()

    def disown(self) -> None:
        """Give up the connections of another process: the server must not hear of it."""
        self._forget_the_pool()
        for conn in list(self.kind.made):
            if not conn.closed:
                let_go(conn.pgconn.socket)

    def _forget_the_pool(self) -> None:
        self.prober.stop()
        self.pool._closed = True  # noqa: SLF001 - or its finalizer waits for workers that are gone


def turns_of(settings: Settings, connections: int) -> AsyncTurns:
    """How many statements wait for one conversation, with so many connections."""
    return AsyncTurns(max(1, min(_AT_A_TIME, connections // 2)), settings.pool_timeout, _BUSY)


def open_pool(conninfo: str, settings: Settings, kind: type[AsyncBoundedConnection]) -> AsyncPool:
    """A pool that is not open yet; whoever takes a connection looks whether it is alive.

    While the server is away it is asked every ``_RECONNECT`` seconds. Left to itself the pool would ask less and
    less often, then not at all, and who waits for a connection would wait in vain.
    """
    return AsyncPool(
        conninfo,
        connection_class=kind,
        kwargs=connection_options(conninfo, settings),
        min_size=settings.pool_min,
        max_size=max(settings.pool_min, settings.pool_max),
        timeout=settings.pool_timeout,
        reconnect_timeout=_RECONNECT,
        reconnect_failed=AsyncConnectionPool.check,
        open=False,
        name=NAME,
    )
