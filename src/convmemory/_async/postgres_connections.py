"""Connections to PostgreSQL: bounded in time, checked before use, opened only when asked."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from convmemory.errors import ConfigurationError
from convmemory.settings import Settings
from convmemory.tiers.driver_errors import POSTGRES, translated
from convmemory.tiers.socket_checks import within

RV = TypeVar("RV")
MIGRATION: Final = 86_400.0
"""Seconds a connection waits for a step of a migration: a day, so that one whose server vanished ends after all."""
_FORM: Final = "postgresql://user@host:5432/name, a password percent-encoded"
_WAIT: Final = 0.1
"""Seconds after which a waiting connection looks at its deadline."""
_RECONNECT: Final = 0.5
"""Seconds between two attempts of the pool to connect to a server that is away."""


class AsyncBoundedConnection(AsyncConnection[Any]):
    """A connection on which nothing waits longer than the statement time-out, whatever the server does."""

    deadline = 10.0
    refused = 0
    """How many of this class could not be made so far."""
    _cursor: AsyncCursor[Any] | None = None

    @classmethod
    async def connect(cls, *args: Any, **kwargs: Any) -> Self:
        """Connect as the base class does, and count what fails."""
        try:
            return await super().connect(*args, **kwargs)
        except psycopg.OperationalError:
            cls.refused += 1
            raise

    async def run(
        self, query: bytes, parameters: Mapping[str, Any], *, fetch: bool, brief: bool = False
    ) -> Sequence[Any]:
        """Execute a statement and fetch its rows; ``brief`` ones share one cursor, which is not made anew each time.

        A cursor holds on to its last result, so only an answer of a few numbers may be brief.
        """
        cursor = self._cursor or self.cursor() if brief else self.cursor()
        await cursor.execute(query, parameters)
        if brief:
            self._cursor = cursor
        return await cursor.fetchall() if fetch else []

    async def wait(
        self, gen: Generator[Any, Any, RV], interval: float = _WAIT, *args: Any, **kwargs: Any
    ) -> RV:
        """Wait for a driver's generator as the base class does, with the deadline around it."""
        found: RV = await super().wait(within(gen, self.deadline), interval, *args, **kwargs)
        return found


def connection_class(seconds: float) -> type[AsyncBoundedConnection]:
    """A connection class with this statement time-out, in seconds."""
    return type("AsyncBoundedConnection", (AsyncBoundedConnection,), {"deadline": seconds})


async def connect(conninfo: str, settings: Settings, named: str = "DATABASE_URL") -> AsyncBoundedConnection:
    """One connection outside the pool, in autocommit mode; ``named`` is what an error calls the URL.

    Raises:
        ConfigurationError: The URL is not one that libpq understands.
        StorageUnavailable: Nobody answers, or not in time; a wrong password is told here.
    """
    kind = connection_class(settings.statement_timeout)
    with translated(POSTGRES, "connect"):
        try:
            return await kind.connect(_checked(conninfo), **connection_options(settings))
        except psycopg.ProgrammingError:  # its text quotes the URL, password and all
            raise ConfigurationError(f"{named}: not a PostgreSQL URL ({_FORM}){_hint(conninfo)}") from None


def _hint(conninfo: str) -> str:
    """What else it may be, told by its scheme alone."""
    if conninfo.startswith(("redis", "unix:", "valkey")):
        return "; it is the URL of a Redis"
    return "; is each option after the '?' one of libpq's?" if "?" in conninfo else ""


def _checked(conninfo: str) -> str:
    """A URL, if no piece of a password stands in for its host or port: the driver's error would tell it."""
    said = conninfo_to_dict(conninfo)
    ports = str(said.get("port") or "").split(",")
    if "@" in str(said.get("host")) or not all(port.isdecimal() for port in ports if port):
        raise psycopg.ProgrammingError
    return conninfo


def connection_options(settings: Settings) -> dict[str, Any]:
    """How every connection is made; libpq counts whole seconds and takes 1 for 2."""
    return {
        "autocommit": True,
        "prepare_threshold": settings.prepare_threshold,
        "connect_timeout": max(2, round(settings.connect_timeout)),
        "application_name": "convmemory",
    }


def open_pool(conninfo: str, settings: Settings) -> AsyncConnectionPool[AsyncBoundedConnection]:
    """A pool that is not open yet; whoever takes a connection looks whether it is alive.

    While the server is away it is asked every ``_RECONNECT`` seconds. Left to itself the pool would ask less and
    less often, then not at all, and who waits for a connection would wait in vain.
    """
    return AsyncConnectionPool(
        conninfo,
        connection_class=connection_class(settings.statement_timeout),
        kwargs=connection_options(settings),
        min_size=settings.pool_min,
        max_size=max(settings.pool_min, settings.pool_max),
        timeout=settings.pool_timeout,
        reconnect_timeout=_RECONNECT,
        reconnect_failed=AsyncConnectionPool.check,
        configure=_limit_statements(settings),
        open=False,
        name="convmemory",
    )


def _limit_statements(settings: Settings) -> Any:
    """What a new connection is told: nothing behind a transaction pooler, where a session is somebody else's next."""
    if settings.prepare_threshold is None:
        return None
    limit = sql.SQL("SET statement_timeout = {}").format(
        sql.Literal(round(settings.statement_timeout * 1000))
    )

    async def configure(conn: AsyncBoundedConnection) -> None:
        await conn.execute(limit, prepare=False)

    return configure
