"""Connections to PostgreSQL: bounded in time, checked before use, opened only when asked."""

from __future__ import annotations

import os
import time
import weakref
from asyncio import CancelledError
from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar, Final, Self, TypeVar

import psycopg
from psycopg import AsyncClientCursor, AsyncConnection, AsyncCursor, waiting
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from convmemory._async.prober import AsyncProber
from convmemory.errors import ConfigurationError
from convmemory.settings import Settings
from convmemory.storage.sql_and_lua import sql as statement
from convmemory.tiers.driver_errors import POSTGRES, out_of_reach, takes_no_writes, translated
from convmemory.tiers.forks import let_go
from convmemory.tiers.socket_checks import NOTICEABLE, DeadlineExceeded, idle_connection_closed, within
from convmemory.tiers.turns import AsyncTurns
from convmemory.tiers.waiting import aend, aquietly, asleep, atold_to_end

RV = TypeVar("RV")
NAME: Final = "convmemory"
"""What connections and pools are called, in the server's list and in logs."""
MIGRATION: Final = 86_400.0
"""Seconds a connection waits for a step of a migration: a day, so that one whose server vanished ends after all."""
_FORM: Final = "postgresql://user@host:5432/name, a password percent-encoded"
_WAIT: Final = 0.1
"""Seconds after which a waiting connection looks at its deadline."""
_RECONNECT: Final = 0.5
"""Seconds between two attempts of the pool to connect to a server that is away."""
_DOUBT_EVERY: Final = 1.0
"""Seconds between two times that all connections are given up for one that takes no writes."""
_AT_A_TIME: Final = 3
"""Statements that wait for one conversation at most, and no more than half the pool: the others are other people's."""
_BUSY: Final = "the conversation is busy: other writes to it were waiting all the time"
_ENCODINGS: Final = ("UTF8", "SQL_ASCII")
"""Encodings of a database that can hold every character; the second keeps the bytes it is given."""
_REPORTED: Final = (("DateStyle", "ISO, MDY"), ("TimeZone", "UTC"), ("standard_conforming_strings", "on"))
"""Settings that every server reports; poolers go by that, and keep them for each client."""
_BEFORE: Final = 2
"""Results that come before the statement's own of ``frame.sql``."""
_KNOWS_PRIMARIES: Final = 140_000
"""The version of libpq that can ask for a primary; before, it can ask for a session that takes writes."""
_KEEPALIVE: Final = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""What finds a vanished server within a minute, where no statement waits for it."""
_SETTLED: Final = 1.0
_GLANCE: Final = 0.002
"""Seconds that opening waits for the pool at most, and between two looks at it."""


class AsyncBoundedConnection(AsyncConnection[Any]):
    """A connection on which nothing waits longer than the statement time-out, whatever the server does.

    What the statements here lean on is asked for and not hoped for: the role, the database, the server and the
    environment may all say otherwise. A session of its own is told once. Behind a pooler in transaction mode the session
    is somebody else's next, so there each statement brings what it needs, in the same message.
    """

    deadline = 10.0
    limits: Mapping[str, str] = {"statement_timeout": "10000", "lock_timeout": "1000"}
    """What the server is told, in milliseconds."""
    framed: dict[bytes, bytes]
    """What is sent for a statement behind a pooler; the same for all connections of a class."""
    doubted = float("-inf")
    """When a server was last found that takes no writes; whoever connected before may be connected to another like it."""
    begun = 0.0
    """When this connection was begun."""
    shared = False
    """Whether the server's session is somebody else's next."""
    refused = 0
    """How many of this class could not be made so far."""
    made: ClassVar[weakref.WeakSet[AsyncBoundedConnection]] = weakref.WeakSet()
    """Those of this class that are there."""
    silent = 0.0
    """When the last statement was sent that nobody answered; whoever has not been heard of since may be cut off, too."""
    heard = 0.0
    """When the server was last heard of on this connection."""
    _cursor: AsyncCursor[Any] | None = None

    @classmethod
    async def connect(cls, *args: Any, **kwargs: Any) -> Self:
        """Connect as the base class does, ask for what is needed, and count what fails."""
        began = time.monotonic()
        try:
            conn = await super().connect(*args, **kwargs)
            conn.begun = began
            try:
                await conn.settle()
            except BaseException:
                await conn.close()
                raise
        except psycopg.OperationalError:
            cls.refused += 1
            raise
        conn.heard = time.monotonic()
        cls.made.add(conn)
        return conn

    async def settle(self) -> None:
        """Ask for what every statement leans on.

        Raises:
            ConfigurationError: The database is of an encoding that cannot hold every message.
        """
        asked = {"pid": self.pgconn.backend_pid, **self.limits}
        cursor = await self.execute(statement("session_settings"), asked, prepare=False)
        [(own, encoding)] = await cursor.fetchall()
        if encoding not in _ENCODINGS:
            raise ConfigurationError(
                f"DATABASE_URL: the encoding of this database is {encoding}, which cannot hold every message;"
                " use one made with ENCODING 'UTF8'"
            )
        await self.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
        await self.set_read_only(False)
        if not own:
            self.shared = True
            self.prepare_threshold = None  # what one session has prepared the next has not
            if any(self.info.parameter_status(name) != value for name, value in _REPORTED):
                await self.execute(statement("shared_settings"), prepare=False)

    async def run(
        self, query: bytes, parameters: Mapping[str, Any], *, fetch: bool, brief: bool = False
    ) -> Sequence[Any]:
        """Execute a statement and fetch its rows; ``brief`` ones share one cursor, which is not made anew each time.

        A cursor holds on to its last result, so only an answer of a few numbers may be brief.
        """
        try:
            if self.shared:
                return await self._run_framed(query, parameters, fetch=fetch)
            cursor = self._cursor or self.cursor() if brief else self.cursor()
            await cursor.execute(query, parameters)
            if brief:
                self._cursor = cursor
            return await cursor.fetchall() if fetch else []
        except psycopg.Error as error:
            await self._part(error)
            raise

    async def commit(self) -> None:
        """Commit, where anything was begun: the pool asks for it after every statement."""
        if self.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            await super().commit()

    async def _part(self, error: psycopg.Error) -> None:
        """Hang up on a server that is shutting down or takes no writes: the primary may be another one by now.

        So it may be for all that connected before now, which is hung up on before it is used; once a second at most, or a
        server that takes no writes for long would be connected to for each of them.
        """
        now = time.monotonic()
        if takes_no_writes(error) and now - self.doubted > _DOUBT_EVERY:
            type(self).doubted = now
        if takes_no_writes(error) or out_of_reach(error):
            await self.close()

    async def _run_framed(self, query: bytes, parameters: Mapping[str, Any], *, fetch: bool) -> Sequence[Any]:
        """Send a statement in a transaction that brings its settings along: one message, one round trip."""
        framed = self.framed.get(query)
        if framed is None:
            framed = b";\n".join((statement("frame").encode(), query, b"COMMIT"))
            self.framed[query] = framed
        cursor = AsyncClientCursor(self)  # several statements in one message take no parameters on the server
        await cursor.execute(framed, {**parameters, **self.limits})
        for _ in range(_BEFORE):
            cursor.nextset()
        return await cursor.fetchall() if fetch else []

    async def wait(
        self, gen: Generator[Any, Any, RV], interval: float = _WAIT, *args: Any, **kwargs: Any
    ) -> RV:
        """Wait for a driver's generator with the deadline around it; a caller who cannot wait gets away at once.

        The base class would ask the server to cancel, and wait for it for up to ten seconds. So the socket is
        closed instead: what the server makes of the statement is as unknown as it was.
        """
        began = time.monotonic()
        try:
            bounded = within(gen, self.deadline, self.pgconn.socket)
            found: RV = await waiting.wait_async(bounded, self.pgconn.socket, interval, *args, **kwargs)
        except BaseException as error:
            if isinstance(error, DeadlineExceeded) or not isinstance(error, Exception):
                self.pgconn.finish()
                if time.monotonic() - began > NOTICEABLE:
                    type(self).silent = began
            raise
        self.heard = time.monotonic()
        return found

    @property
    def usable(self) -> bool:
        """Whether it may be used: the server has not hung up, nor was it silent or without writes on another since."""
        fresh = self.heard >= self.silent and self.begun > self.doubted
        return fresh and not idle_connection_closed(self.pgconn)


def connection_class(settings: Settings) -> type[AsyncBoundedConnection]:
    """A connection class with these time-outs."""
    limits = {"statement_timeout": settings.statement_timeout, "lock_timeout": settings.lock_timeout}
    told = {name: str(max(1, round(seconds * 1000))) for name, seconds in limits.items()}
    own = {"deadline": settings.statement_timeout, "limits": told, "framed": {}, "made": weakref.WeakSet()}
    return type("AsyncBoundedConnection", (AsyncBoundedConnection,), own)


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


class WorkEnded(BaseException):
    """The cancellation of a pool's worker, under a name that the pool does not take for a failure to connect."""


class AsyncPool(AsyncConnectionPool[AsyncBoundedConnection]):
    """A pool whose workers can be cancelled."""

    @classmethod
    async def worker(cls, q: Any) -> None:
        """Do what the pool has to do, as the base class does."""
        try:
            await super().worker(AsyncTaskQueue(q))  # type: ignore[arg-type]  # all it does is get
        except WorkEnded:
            raise CancelledError from None

    async def _connect(self, *args: Any, **kwargs: Any) -> AsyncBoundedConnection:
        try:
            return await super()._connect(*args, **kwargs)
        except CancelledError:
            raise WorkEnded from None


class AsyncPostgresHome:
    """The connections of one process and event loop: a pool, opened by the first call that wants one."""

    def __init__(self, conninfo: str, settings: Settings, prober: AsyncProber) -> None:
        self.prober = prober
        self.kind = connection_class(settings)
        self.pool = open_pool(conninfo, settings, self.kind)
        self.turns = AsyncTurns(max(1, min(_AT_A_TIME, settings.pool_max // 2)), settings.pool_timeout, _BUSY)
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
    def busy(self) -> bool:
        """Whether all connections there may be are there, and so in the hands of others if none is to be had."""
        return sum(not conn.closed for conn in list(self.kind.made)) >= self.pool.max_size

    async def leave(self) -> None:
        """Close the pool; at the end of an event loop its workers are gone, and cannot be waited for."""
        self.prober.stop()
        ended = atold_to_end()
        try:
            await self.pool.close()
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


async def connect(conninfo: str, settings: Settings, named: str | None = None) -> AsyncBoundedConnection:
    """One connection outside the pool, in autocommit mode; ``named`` is what an error calls the URL.

    Raises:
        ConfigurationError: The URL is not one that libpq understands.
        StorageUnavailable: Nobody answers, or not in time; a wrong password is told here.
    """
    kind = connection_class(settings)
    with translated(POSTGRES, "connect"):
        try:
            return await kind.connect(_checked(conninfo), **connection_options(conninfo, settings))
        except psycopg.ProgrammingError:  # its text quotes the URL, password and all
            name = named or settings.name_of("database_url")
            raise ConfigurationError(f"{name}: not a PostgreSQL URL ({_FORM}){_hint(conninfo)}") from None


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


def connection_options(conninfo: str, settings: Settings) -> dict[str, Any]:
    """How every connection is made, where the URL says nothing of it; libpq counts whole seconds and takes 1 for 2.

    A server that is a replica is left alone: what it has may be old, and nothing can be written there. Of several hosts the
    one is taken that is the primary now.
    """
    try:
        said = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        said = {}  # `connect` tells what is wrong with it
    primary = "primary" if psycopg.pq.version() >= _KNOWS_PRIMARIES else "read-write"
    unless_said = _KEEPALIVE | {
        "target_session_attrs": os.environ.get("PGTARGETSESSIONATTRS") or primary,
    }
    return {name: value for name, value in unless_said.items() if said.get(name) is None} | {
        "autocommit": True,
        "prepare_threshold": settings.prepare_threshold,
        "connect_timeout": max(2, round(settings.connect_timeout)),
        "application_name": NAME,
        "client_encoding": "utf8",
    }


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
