"""Connections to PostgreSQL: bounded in time, checked before use, opened only when asked."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, ClassVar, Final, Self, TypeVar

import psycopg
from psycopg import AsyncClientCursor, AsyncConnection, AsyncCursor, waiting
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_to_dict

from convmemory.encoding.storable_text import storable
from convmemory.errors import ConfigurationError
from convmemory.settings import Settings
from convmemory.storage.adapters import OWN
from convmemory.storage.sql_and_lua import sql as statement
from convmemory.tiers.asking import aanswer
from convmemory.tiers.driver_errors import POSTGRES, describe, out_of_reach, takes_no_writes, translated
from convmemory.tiers.socket_checks import NOTICEABLE, DeadlineExceeded, idle_connection_closed, within

RV = TypeVar("RV")
NAME: Final = "convmemory"
"""What connections and pools are called, in the server's list and in logs."""
MIGRATION: Final = 86_400.0
"""Seconds a connection waits for a step of a migration: a day, so that one whose server vanished ends after all."""
_FORM: Final = "postgresql://user@host:5432/name, a password percent-encoded"
_WAIT: Final = 0.1
"""Seconds after which a waiting connection looks at its deadline."""
_DOUBT_EVERY: Final = 1.0
"""Seconds between two times that all connections are given up for one that takes no writes."""
ENCODINGS: Final = ("UTF8", "SQL_ASCII")
"""Encodings of a database that can hold every character; the second keeps the bytes it is given."""
_REPORTED: Final = (("DateStyle", "ISO, MDY"), ("TimeZone", "UTC"), ("standard_conforming_strings", "on"))
"""Settings that every server reports; poolers go by that, and keep them for each client."""
_BEFORE: Final = 2
"""Results that come before the statement's own of ``frame.sql``."""
_KNOWS_PRIMARIES: Final = 140_000
"""The version of libpq that can ask for a primary; before, it can ask for a session that takes writes."""
_KEEPALIVE: Final = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""What finds a vanished server within a minute, where no statement waits for it."""


class AsyncBoundedConnection(AsyncConnection[Any]):
    """A connection on which nothing waits longer than the statement time-out, whatever the server does.

    What the statements here lean on is asked for and not hoped for: the role, the database, the server and the
    environment may all say otherwise. A session of its own is told once. Behind a pooler in transaction mode the session
    is somebody else's next, so there each statement brings what it needs, in the same message.
    """

    deadline = 10.0
    limits: Mapping[str, str] = {"statement_timeout": "10000", "lock_timeout": "1000"}
    """What the server is told, in milliseconds."""
    framed: dict[str, str]
    """What is sent for a statement behind a pooler; the same for all connections of a class."""
    doubted = float("-inf")
    """When a server was last found that takes no writes; whoever connected before may be connected to another like it."""
    begun = 0.0
    """When this connection was begun."""
    shared = False
    """Whether the server's session is somebody else's next."""
    refused = 0
    """How many of this class could not be made so far."""
    why = "the server did not answer"
    """What was wrong with the last of these."""
    made: ClassVar[weakref.WeakSet[AsyncBoundedConnection]] = weakref.WeakSet()
    """Those of this class that are there."""
    silent = 0.0
    """When the last statement was sent that nobody answered; whoever has not been heard of since may be cut off, too."""
    heard = 0.0
    """When the server was last heard of on this connection."""
    ask_password: ClassVar[Callable[[], Any] | None] = None
    """Asked for the password of each new connection, where it is one that expires."""
    _cursor: AsyncCursor[Any] | None = None

    @classmethod
    async def connect(cls, *args: Any, **kwargs: Any) -> Self:
        """Connect as the base class does, ask for what is needed, and count what fails."""
        began = time.monotonic()
        try:
            if cls.ask_password is not None:
                kwargs["password"] = await _password(cls.ask_password, cls.deadline)
            conn = await super().connect(*args, **kwargs)
            conn.begun = began
            try:
                await conn.settle()
            except BaseException:
                await conn.close()
                raise
        except psycopg.OperationalError as error:
            cls.refused += 1
            cls.why = describe(error)
            raise
        conn.heard = time.monotonic()
        cls.made.add(conn)
        return conn

    @property
    def adapters(self) -> AdaptersMap:
        """How values are sent and read here: what an application registers with the driver is for its own connections."""
        if self._adapters is None:
            self._adapters = AdaptersMap(OWN)
        return self._adapters

    def lend(self, owner: object) -> None:
        """Be of a caller's own connection: it stays open after use, and nothing of its session is changed."""
        self.shared = True
        self.prepare_threshold = None
        self._autocommit = True
        self._isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # whatever the session's is
        self._read_only = False
        self._pool: Any = owner
        self.begun = self.heard = time.monotonic()
        self.made.add(self)

    async def settle(self) -> None:
        """Ask for what every statement leans on.

        Raises:
            ConfigurationError: The database is of an encoding that cannot hold every message.
        """
        asked = {"pid": self.pgconn.backend_pid, **self.limits}
        cursor = await self.execute(statement("session_settings"), asked, prepare=False)
        [(own, encoding)] = await cursor.fetchall()
        if encoding not in ENCODINGS:
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
        self, query: str, parameters: Mapping[str, Any], *, fetch: bool, brief: bool = False
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

    async def _run_framed(self, query: str, parameters: Mapping[str, Any], *, fetch: bool) -> Sequence[Any]:
        """Send a statement in a transaction that brings its settings along: one message, one round trip."""
        framed = self.framed.get(query)
        if framed is None:
            framed = ";\n".join((statement("frame"), query, "COMMIT"))
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
            if isinstance(error, DeadlineExceeded) or not isinstance(error, psycopg.Error):
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


async def _password(ask: Callable[[], Any], seconds: float) -> str:
    """The password for a new connection; whatever keeps it from being had keeps the connection from being made."""
    try:
        found = await aanswer(ask, seconds)
    except Exception as error:
        raise psycopg.OperationalError(f"password() raised {type(error).__name__}") from error
    if not isinstance(found, str):
        raise psycopg.OperationalError(f"password() must give a string, not {type(found).__name__}")
    if not storable(found):  # the driver's own error would quote it
        raise psycopg.OperationalError("password() must not give NUL characters or lone surrogates")
    return found


def connection_class(
    settings: Settings, password: Callable[[], Any] | None = None
) -> type[AsyncBoundedConnection]:
    """A connection class with these time-outs, whose connections ask for their password where that is given."""
    limits = {"statement_timeout": settings.statement_timeout, "lock_timeout": settings.lock_timeout}
    told = {name: str(max(1, round(seconds * 1000))) for name, seconds in limits.items()}
    own: dict[str, Any] = {"deadline": settings.statement_timeout, "limits": told, "framed": {}}
    own |= {"made": weakref.WeakSet(), "ask_password": password and staticmethod(password)}
    return type("AsyncBoundedConnection", (AsyncBoundedConnection,), own)


async def connect(
    conninfo: str,
    settings: Settings,
    named: str | None = None,
    password: Callable[[], Any] | None = None,
) -> AsyncBoundedConnection:
    """One connection outside the pool, in autocommit mode; ``named`` is what an error calls the URL.

    Raises:
        ConfigurationError: The URL is not one that libpq understands.
        StorageUnavailable: Nobody answers, or not in time; a wrong password is told here.
    """
    kind = connection_class(settings, password)
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
