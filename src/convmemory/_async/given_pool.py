"""A caller's own pool of connections to PostgreSQL: lent for one statement at a time, left as it was, and never closed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection
from psycopg.types.datetime import TimestamptzLoader
from psycopg_pool import AsyncConnectionPool

from convmemory._async.postgres_connections import ENCODINGS, AsyncBoundedConnection, connection_class
from convmemory._async.postgres_pool import turns_of
from convmemory._async.prober import AsyncProber
from convmemory.errors import ConfigurationError, NotOpen
from convmemory.settings import Settings
from convmemory.tiers.waiting import ahere

_NEEDED: Final = {
    "client_encoding": ("UTF8",),
    "server_encoding": ENCODINGS,
    "standard_conforming_strings": ("on",),
}
"""What the server says of each connection that statements and answers are written for; every other setting they bring along."""


class InUtc(TimestamptzLoader):
    """Times in UTC, whatever zone the caller's connections are in."""

    def load(self, data: Any) -> datetime:
        """Read a time."""
        return super().load(data).astimezone(UTC)


def given_pool(pool: Any) -> AsyncConnectionPool[Any]:
    """A caller's own pool, if it is one of this colour.

    Raises:
        ConfigurationError: It is of the other colour, or no pool at all.
    """
    if not isinstance(pool, AsyncConnectionPool):
        kind = type(pool)
        raise ConfigurationError(
            "postgres: must be a URL, or a pool of psycopg_pool: an AsyncConnectionPool for a store that is awaited, a"
            f" blocking one for one that blocks; {kind.__module__.partition('.')[0]}.{kind.__qualname__} does not fit here"
        )
    return pool


class AsyncGivenPool:
    """The pool, as statements see it: each connection under the time-outs of the settings while it is lent.

    A connection's own row factory, adapters, autocommit and session are its owner's. So it is looked at through another object over the
    same socket, and each statement brings what it needs in a transaction of its own, in the same message.
    """

    def __init__(self, pool: AsyncConnectionPool[Any], settings: Settings) -> None:
        self._pool = pool
        self._kind = connection_class(settings)
        self._patience = settings.pool_timeout
        self._lent: WeakKeyDictionary[AsyncConnection[Any], AsyncBoundedConnection] = WeakKeyDictionary()
        self.max_size = pool.max_size or 1  # of a pool that keeps none: however many there may be

    def look_open(self) -> None:
        """See that the pool is open.

        Raises:
            NotOpen: Its owner has not opened it yet, or has closed it.
        """
        if self._pool.closed:
            raise NotOpen(
                "postgres: the pool that was given is not open: its owner opens it first, and closes it last"
            )

    @asynccontextmanager
    async def connection(self, patience: float | None = None) -> AsyncIterator[AsyncBoundedConnection]:
        """Lend a connection, within ``patience`` seconds or the settings' ``pool_timeout``."""
        self.look_open()
        theirs = await self._pool.getconn(self._patience if patience is None else patience)
        try:
            async with self._ours(theirs) as ours:
                yield ours
        finally:
            await self._pool.putconn(theirs)

    def get_stats(self) -> dict[str, int]:
        """The pool's own figures."""
        return self._pool.get_stats()

    def _ours(self, theirs: AsyncConnection[Any]) -> AsyncBoundedConnection:
        found = self._lent.get(theirs)
        if found is None:
            for name, right in _NEEDED.items():
                told = theirs.info.parameter_status(name)
                if told not in right:
                    raise ConfigurationError(
                        f"postgres: the pool's connections have {name} = {told}; it must be {right[0]}"
                    )
            if not str(theirs.info.parameter_status("DateStyle")).startswith("ISO"):
                raise ConfigurationError(
                    "postgres: the pool's connections must have DateStyle = ISO, as every new one has"
                )
            handlers = theirs.pgconn.notice_handler, theirs.pgconn.notify_handler
            found = self._lent[theirs] = self._kind(theirs.pgconn)
            theirs.pgconn.notice_handler, theirs.pgconn.notify_handler = handlers
            found.lend(self)
            found.adapters.register_loader("timestamptz", InUtc)
        return found


class AsyncGivenHome:
    """The place a given pool is used in: the process and event loop of its first use, which are its owner's."""

    ready = True

    def __init__(self, pool: AsyncGivenPool, settings: Settings, prober: AsyncProber) -> None:
        self.prober = prober
        self.pool = pool
        self.turns = turns_of(settings, pool.max_size)
        self.refused = 0
        """How many connections had been refused when a statement last went through."""

    async def open(self) -> None:
        """See that the pool is open."""
        self.pool.look_open()

    @property
    def refusals(self) -> int:
        """How many connections the pool could not make so far."""
        return self.pool.get_stats().get("connections_errors", 0)

    @property
    def why(self) -> str:
        """Where to read what was wrong with the last of these."""
        return "the log of psycopg.pool says why"

    @property
    def busy(self) -> bool:
        """Whether all its connections are in the hands of others."""
        return self.pool.get_stats().get("pool_available", 0) == 0

    async def leave(self) -> None:
        """Leave it open: it is its owner's."""
        self.prober.stop()

    def drop(self) -> None:
        """The same, without waiting."""
        self.prober.stop()

    def disown(self) -> None:
        """The same, in a process that inherited it."""
        self.prober.stop()


class AsyncGivenPools:
    """A given pool, and where it was first used: in no other process or event loop may it be."""

    def __init__(self, pool: Any, settings: Settings) -> None:
        self._pool = AsyncGivenPool(given_pool(pool), settings)
        self._place: tuple[int, Any] | None = None

    def here(self) -> AsyncGivenPool:
        """The pool.

        Raises:
            ConfigurationError: This is not where it was first used.
        """
        place = (os.getpid(), ahere())
        self._place = self._place or place
        if self._place != place:
            raise ConfigurationError(
                "postgres: the pool that was given belongs to another process or event loop: make a pool and a memory for each, or"
                " give the memory a URL"
            )
        return self._pool
