"""How statements reach PostgreSQL: over the connections of this place, once more where one broke, in time or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import psycopg
from psycopg import sql
from psycopg_pool import PoolTimeout
from pydantic import SecretStr

from convmemory._async.given_pool import AsyncGivenHome, AsyncGivenPool, AsyncGivenPools
from convmemory._async.homes import AsyncHomes
from convmemory._async.migrate import Installed, check_not_newer, install, make_room
from convmemory._async.postgres_connections import MIGRATION, AsyncBoundedConnection, connect
from convmemory._async.postgres_pool import AsyncPool, AsyncPostgresHome
from convmemory._async.prober import AsyncProber
from convmemory.errors import ConfigurationError, NotOpen, StorageError, StorageUnavailable
from convmemory.settings import Settings, libpq_url
from convmemory.storage import postgres_rows, rooms
from convmemory.storage.sql_and_lua import latest_version, read_ahead
from convmemory.storage.sql_and_lua import sql as statement
from convmemory.tiers.asking import aload
from convmemory.tiers.breaker import TierHealth
from convmemory.tiers.driver_errors import (
    POSTGRES,
    NotConnected,
    out_of_reach,
    translated,
    worth_sending_again,
)
from convmemory.tiers.socket_checks import DeadlineExceeded, Deserted
from convmemory.tiers.waiting import aheeded

_ANEW: Final = 1.0
"""Seconds to wait for a connection after a statement that nobody answered: a server that is there takes a new one at once."""
_BRIEF: Final = frozenset({"append", "append_in_life"})
"""Statements that answer with a few numbers, and come so often that a new cursor for each would be felt."""
_LOCKS: Final = frozenset(
    f"{verb}_conversation" for verb in ("clear", "create", "delete", "erase", "update")
) | {
    "annotate_message",
    "append",
    "append_in_life",
    "index_conversation",
    "key_message",
    "pop_message",
    "remove_messages",
    "replace_message",
    "revise_messages",
    "store_entries",
    "store_vectors",
}
"""Statements that wait for the row of their conversation, with a connection in hand."""


class AsyncStatements:
    """Opened and closed, and in between a way to run each statement of ``sql/`` by its name."""

    def __init__(
        self,
        conninfo: Any = None,
        settings: Settings | None = None,
        *,
        password: Callable[[], Any] | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.health = TierHealth(POSTGRES)
        given = None if conninfo is None or isinstance(conninfo, str) else conninfo
        self._given = None if given is None else AsyncGivenPools(given, self.settings)
        url = conninfo if isinstance(conninfo, str) else None
        self._conninfo = SecretStr(libpq_url(url) if url else self.settings.postgres_conninfo())
        self._password = password
        if password is not None and (given is not None or not callable(password)):
            raise ConfigurationError(
                "password: must be a function that is asked for each new connection, and belongs to a URL; a pool has its own"
            )
        self._homes = AsyncHomes(self._new_home, self._forked)
        self._schema = sql.Identifier(self.settings.db_schema)
        self._statements: dict[str, str] = {}
        self.installation: str | None = None
        """Which installation this is: what the first migration drew; ``None`` until somebody has asked."""
        self.former: str | None = None
        """Which one it was, before its schema was made anew."""
        self.names: str | None = None
        """What the rows of named conversations follow from. A copy with an id of its own has the same names."""
        self.drains: Callable[[str], Awaitable[None]] | None = None
        """Has what this process accepted of a user be stored, before a list or a search of that user's; the memory says by whom."""
        self.journals = False
        """Whether writes may wait in journals beside the windows, by what PostgreSQL said last."""
        self.barred: str | None = None
        """Why none may, though this process wants it: its role has not the right to have them wait."""

    async def open(self) -> Self:
        """Connect, and check that the schema is not newer than this library.

        Raises:
            StorageUnavailable: Nobody answers in time, or the password is wrong.
            SchemaOutdated: The schema is newer than this library.
        """
        if self._homes.opened_here:
            return self
        await aload(read_ahead)
        # the connection can break between being made and being used
        with translated(POSTGRES, "open", self._wanted):
            async with self._set_up_on() as conn:
                self._know(await check_not_newer(conn, self.settings.db_schema, warn=True))
                # else the first time that is read looks it up in a file
                await aload(lambda: conn.info.timezone)
            home = self._homes.here()
            await home.open()
            self._homes.open_here()
        self.health.begin_anew()
        return self

    async def close(self) -> None:
        """Close the connections; closing twice does nothing. Another event loop that opened the store keeps its own."""
        await self._homes.close()

    async def init_schema(self) -> list[str]:
        """Create the schema or bring it up to date; names of the migrations that were applied.

        Safe when several processes do it at once, and without the right to create when nothing is missing.
        Migrations take as long as they need, and so does waiting for another process's: no time-out ends them. Of locks that the
        application holds each waits for ``lock_timeout`` seconds at most, then lets others go first and tries again, for ten minutes.
        Parts that need an extension are made where the settings ask for them and PostgreSQL has it, and named after the migrations.
        """
        await aload(read_ahead)
        with translated(POSTGRES, "init_schema", self._wanted):
            async with self._set_up_on(MIGRATION) as conn:
                found = await check_not_newer(conn, self.settings.db_schema)
                self._know(found)
                applied = []
                if found.version is None or found.version < latest_version():
                    applied = await install(
                        conn,
                        self.settings.db_schema,
                        self.settings.lock_timeout,
                        lambda: self._set_up_on(MIGRATION),
                    )
                    self._know(await check_not_newer(conn, self.settings.db_schema))
                return applied + await self._make_rooms(conn)

    async def _make_rooms(self, conn: AsyncBoundedConnection) -> list[str]:
        schema = self.settings.db_schema
        return [
            room.name
            for room in rooms.wanted(self.settings)
            if await make_room(conn, schema, room, lambda: self._set_up_on(MIGRATION))
        ]

    async def installed(self) -> str:
        """Which installation this is: a random id that the first migration drew, and every key in Redis carries.

        Raises:
            SchemaOutdated: The schema is not there.
            StorageError: Somebody has emptied the table that says it.
        """
        return self.installation or await self.ask_who()

    async def ask_who(self) -> str:
        """Ask which installation this is, whatever was known: a schema that was made anew is another. Errors as ``installed``."""
        found = Installed(*(await self._run("installed", {}))[0])
        if found.installation is None:
            raise StorageError(POSTGRES, "installed", "the table installation is empty: restore its row")
        self._know(found)
        return found.installation

    def _know(self, found: Installed) -> None:
        if found.installation != self.installation:
            self.former = self.installation or self.former
            self.names, self.installation = found.names, found.installation

    def _new_home(self) -> AsyncPostgresHome | AsyncGivenHome:
        longest = self.settings.pool_timeout + self.settings.statement_timeout + _ANEW
        prober = AsyncProber(self.health, self._sign_of_life, longest)
        if self._given is not None:
            return AsyncGivenHome(self._given.here(), self.settings, prober)
        return AsyncPostgresHome(self._conninfo.get_secret_value(), self.settings, prober, self._password)

    def _forked(self) -> None:
        """What the other process knew of the server, this one has yet to learn."""
        self.health.begin_at_nothing()

    @property
    def _pool(self) -> AsyncPool | AsyncGivenPool:
        return self._homes.here().pool

    @asynccontextmanager
    async def _set_up_on(self, deadline: float | None = None) -> AsyncIterator[AsyncBoundedConnection]:
        """A connection to set something up on, on which nothing waits longer than ``deadline`` seconds."""
        if self._given is not None:
            async with self._given.here().connection() as lent:
                lent.deadline = deadline or self.settings.statement_timeout
                try:
                    yield lent
                finally:
                    lent.deadline = self.settings.statement_timeout
            return
        named = self.settings.name_of("database_url")
        async with await connect(
            self._conninfo.get_secret_value(), self.settings, named, self._password
        ) as conn:
            conn.deadline = deadline or conn.deadline
            yield conn

    def figures(self) -> dict[str, Any]:
        """What this process knows without asking: its counters, and the pool's statistics."""
        return {**self.health.figures(), **self._pool.get_stats()}

    async def _run(
        self, name: str, parameters: Mapping[str, Any], *, fetch: bool = True, gone: Sequence[Any] = ()
    ) -> Sequence[Any]:
        """Run a statement; once more when its connection broke, since each of them may be repeated.

        ``gone`` stands in for no rows at the second attempt: the first may have deleted them.
        """
        self.look_open()
        if self.health.open and self._homes.here().prober.refuses():
            raise StorageUnavailable(
                POSTGRES, name, "it did not answer a moment ago and is left alone until it does"
            )
        return await self._attempt(name, parameters, fetch=fetch, gone=gone)

    async def _attempt(
        self, name: str, parameters: Mapping[str, Any], *, fetch: bool, gone: Sequence[Any]
    ) -> Sequence[Any]:
        query = self._statements.get(name) or self._compile(name)
        turn = parameters["conversation"].int if name in _LOCKS else None  # a UUID is slow to hash
        with aheeded(), translated(POSTGRES, name, self._wanted, self._heard):
            home = self._homes.here()
            if turn is not None:
                await home.turns.begin(turn)
            try:
                return await self._send(home, query, parameters, fetch=fetch, brief=name in _BRIEF)
            except psycopg.Error as error:
                return await self._send_again(error, home, query, parameters, fetch=fetch) or gone
            finally:
                if turn is not None:
                    home.turns.end(turn)

    async def _send_again(
        self,
        error: psycopg.Error,
        home: AsyncPostgresHome | AsyncGivenHome,
        query: str,
        parameters: Mapping[str, Any],
        *,
        fetch: bool,
    ) -> Sequence[Any]:
        """Send once more what may have been lost with its connection, or may go through on another; raise anything else.

        No answer in time is such a case: a firewall forgets a connection without a word, and a server that is there
        would have refused by then.
        """
        self.look_open()
        if isinstance(error, PoolTimeout) and home.refused != home.refusals:
            raise NotConnected(home.why) from error
        if worth_sending_again(error):
            return await self._send(home, query, postgres_rows.again(parameters), fetch=fetch)
        if not isinstance(error, DeadlineExceeded):
            raise error
        patience = min(_ANEW, self.settings.pool_timeout)
        try:
            return await self._send(
                home, query, postgres_rows.again(parameters), fetch=fetch, patience=patience
            )
        except PoolTimeout:
            raise error from None

    async def _send(
        self,
        home: AsyncPostgresHome | AsyncGivenHome,
        query: str,
        parameters: Mapping[str, Any],
        *,
        fetch: bool,
        brief: bool = False,
        patience: float | None = None,
    ) -> Sequence[Any]:
        if not home.ready:
            await home.open()
        for _ in range(home.pool.max_size + 1):  # a server that restarted leaves every idle connection dead
            async with home.pool.connection(patience) as conn:
                if not conn.usable:
                    await conn.close()  # the pool's own check would sleep before it tries the next one
                    continue
                return await conn.run(query, parameters, fetch=fetch, brief=brief)
        raise psycopg.OperationalError("the server closes every connection it accepts")

    async def _drained_of(self, user_id: str) -> None:
        if self.drains is not None:
            await self.drains(user_id)

    def look_open(self) -> None:
        """See that the store is open.

        Raises:
            NotOpen: It was not opened yet, or was closed.
        """
        if not self._homes.opened:
            raise NotOpen("PostgreSQL: call open() first, and do not use it after close()")

    def _heard(self, error: BaseException | None) -> None:
        """Tell the breaker how it went. A pool is merely busy if nobody was refused since a statement last went through."""
        home = self._homes.here()
        if error is None:
            home.refused = home.refusals
            self.health.succeeded()
            return
        busy = isinstance(error, PoolTimeout) and home.refused == home.refusals
        if isinstance(error, Deserted):  # who gave up on an answer has closed its connection
            busy = home.busy
        if out_of_reach(error) and not busy and self.health.failed(error):
            home.prober.start(at_once=isinstance(error, Deserted))

    async def _sign_of_life(self) -> None:
        self.look_open()
        await self._attempt("count_marks", {}, fetch=True, gone=())

    def _compile(self, name: str) -> str:
        query = sql.SQL(statement(name)).format(schema=self._schema).as_string(None)
        self._statements[name] = query
        return query

    def _wanted(self) -> tuple[str, int]:
        """Which schema, and which version of it, a statement needs."""
        return self.settings.db_schema, latest_version()
