"""The schema: which version a database has, which releases run on it, and how it gets to this library's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NamedTuple

from psycopg import AsyncConnection, errors, sql

from convmemory._async.bring_over import AsyncBringOver
from convmemory.errors import SchemaOutdated, StorageError
from convmemory.storage.rooms import Found, Room, asked_for
from convmemory.storage.sql_and_lua import Migration, latest_version, migrations
from convmemory.storage.sql_and_lua import sql as statement
from convmemory.tiers.driver_errors import POSTGRES
from convmemory.tiers.waiting import asleep

logger = logging.getLogger("convmemory.migrate")

_LOCK: Final = 0x636F6E766D656D  # "convmem": one migration at a time in a database
_PAUSES: Final = (0.2, 0.5, 1, 2, *(5,) * 100)
"""Seconds between two attempts at a migration that found what it needs locked: ten minutes in all."""

_GLANCE: Final = 0.1
"""Seconds between two looks at whether another process is through with its migration."""


_WITHOUT_ROWS: Final = (
    "tables of it are there that schema_migrations says nothing of, as after a restore of a dump without rows: restore the rows of"
    " schema_migrations and installation too, or drop the schema"
)


class Installed(NamedTuple):
    """The version of a schema and the one a release must know to run on it; its installation's id, and the namespace of its names."""

    version: int | None = None
    compatible_from: int = 0
    installation: str | None = None
    names: str | None = None


async def installed(conn: AsyncConnection[Any], schema: str) -> Installed:
    """What there is of the schema in this database."""
    query = sql.SQL(statement("installed")).format(schema=sql.Identifier(schema))
    try:
        row = await (await conn.execute(query, prepare=False)).fetchone()
    except (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName):
        return Installed()
    return Installed(*row) if row else Installed()


async def check_not_newer(conn: AsyncConnection[Any], schema: str, *, warn: bool = False) -> Installed:
    """What there is of the schema, or ``SchemaOutdated`` when this library is too old for it.

    A newer one that older releases run on is told of by a warning, where that is wanted.
    """
    found = await installed(conn, schema)
    _refuse_newer(found.version, found.compatible_from, schema)
    if warn and found.version is not None and found.version > latest_version():
        logger.warning(
            "schema %r is at version %d, newer than this library's %d, which runs on it all the same",
            schema,
            found.version,
            latest_version(),
        )
    return found


def _refuse_newer(version: int | None, compatible_from: int, schema: str) -> None:
    if version is not None and compatible_from > latest_version():
        raise SchemaOutdated(schema, version, latest_version())


async def install(
    conn: AsyncConnection[Any],
    schema: str,
    lock_timeout: float,
    another: Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]],
) -> list[str]:
    """Apply the missing migrations under a lock, each in a transaction of its own; their names in order.

    It takes as long as it needs, but no statement waits longer than ``lock_timeout`` seconds for a lock that others hold, because
    all who come after it would wait as well: it gives way, and is tried again. ``another`` makes a second connection, which holds the
    migrations' own lock where one of them runs in no transaction.
    """
    done = [m.full_name for m in migrations() if await _applied(conn, schema, m, lock_timeout, another)]
    _refuse_newer(*await _newest(conn, schema), schema)
    return done


async def find_room(conn: AsyncConnection[Any], schema: str, room: Room) -> Found:
    """What the database has of a part of the schema that needs an extension."""
    [row] = await (
        await conn.execute(statement("find_room"), asked_for(room, schema), prepare=False)
    ).fetchall()
    return Found(*row)


async def make_room(
    conn: AsyncConnection[Any],
    schema: str,
    room: Room,
    another: Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]],
) -> bool:
    """Make a part of the schema that needs an extension, unless it is there, or the extension is not; whether it was made.

    ``another`` makes a second connection, which holds the migrations' lock: an index is built beside the traffic.
    """
    found = await find_room(conn, schema, room)
    if found.made or found.schema is None:
        return False
    if why := found.lacks(room):
        logger.warning("%s %s", room.setting, why)
        return False
    names = {"schema": sql.Identifier(schema), "extension": sql.Identifier(found.schema)}
    async with another() as guard, guard.transaction():
        while not await _locked(guard):
            await asleep(_GLANCE)
        if (await find_room(conn, schema, room)).made:
            return False
        if not getattr(conn, "shared", False):  # else the session is somebody else's next
            await conn.execute("SET statement_timeout = 0; SET lock_timeout = 0", prepare=False)
        for step in room.steps:
            await conn.execute(sql.SQL(step).format(**names), prepare=False)
    return True


async def _applied(
    conn: AsyncConnection[Any],
    schema: str,
    migration: Migration,
    lock_timeout: float,
    another: Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]],
) -> bool:
    """Apply a migration, unless somebody has; as often as it takes where others hold what it needs."""
    for pause in _PAUSES:
        try:
            if not migration.alone:
                return await _in_transaction(conn, schema, migration, lock_timeout)
            async with another() as guard:
                return await _alone(conn, guard, schema, migration, lock_timeout)
        except errors.LockNotAvailable:
            logger.info("%s waits for a lock that others hold, and is tried again", migration.full_name)
            await asleep(pause)
    return await _in_transaction(conn, schema, migration, lock_timeout)


async def _in_transaction(
    conn: AsyncConnection[Any], schema: str, migration: Migration, lock_timeout: float
) -> bool:
    async with conn.transaction():
        former = await _begun(conn, schema, lock_timeout)
        if await _there(conn, schema, migration):
            return False
        try:
            for text in migration.statements:
                await _execute(conn, text, schema)
        except errors.DuplicateTable as error:
            raise StorageError(POSTGRES, "init_schema", _WITHOUT_ROWS) from error
        if former is not None:
            await former.over()
        await _note(conn, schema, migration)
    return True


async def _alone(
    conn: AsyncConnection[Any],
    guard: AsyncConnection[Any],
    schema: str,
    migration: Migration,
    lock_timeout: float,
) -> bool:
    """Apply what cannot be in a transaction, while another connection's holds the lock.

    That one has no snapshot, so that an index which is built beside the traffic does not wait for it.
    """
    async with guard.transaction():
        await _begun(guard, schema, lock_timeout)
        if await _there(guard, schema, migration):
            return False
        if not getattr(conn, "shared", False):  # else the session is somebody else's next
            await conn.execute("SET statement_timeout = 0; SET lock_timeout = 0", prepare=False)
        for text in migration.statements:
            await _execute(conn, text, schema)
        await _note(guard, schema, migration)
    return True


async def _begun(conn: AsyncConnection[Any], schema: str, lock_timeout: float) -> AsyncBringOver | None:
    """Take the migrations' lock, and have the list of them; a database of 0.1 laid aside, to be brought over.

    Who waited for the lock sees what was applied meanwhile, as the connection's transactions are READ COMMITTED.
    """
    await conn.execute(statement("lift_limits"), prepare=False)
    while not await _locked(conn):
        await asleep(_GLANCE)
    milliseconds = str(max(1, round(lock_timeout * 1000)))
    await conn.execute(statement("limit_locks"), {"lock_timeout": milliseconds}, prepare=False)
    former = None
    [[is_of_0_1]] = await (
        await conn.execute(statement("is_of_0_1"), {"schema": schema}, prepare=False)
    ).fetchall()
    if is_of_0_1:
        former = AsyncBringOver(conn, schema)
        await former.aside()
    await _execute(conn, statement("bootstrap"), schema)
    return former


async def _locked(conn: AsyncConnection[Any]) -> bool:
    """Whether the migrations' lock is ours now.

    An index that is built beside the traffic waits for every snapshot: who waited in the statement would have one, and who
    sent a parameter keeps its own until the next statement.
    """
    asked = sql.SQL("SELECT pg_try_advisory_xact_lock({})").format(_LOCK)
    [[locked]] = await (await conn.execute(asked, prepare=False)).fetchall()
    return bool(locked)


async def _there(conn: AsyncConnection[Any], schema: str, migration: Migration) -> bool:
    version, compatible_from = await _newest(conn, schema)
    _refuse_newer(version, compatible_from, schema)
    return version >= migration.version


async def _newest(conn: AsyncConnection[Any], schema: str) -> tuple[int, int]:
    query = sql.SQL(statement("schema_version")).format(schema=sql.Identifier(schema))
    [[version, compatible_from]] = await (await conn.execute(query, prepare=False)).fetchall()
    return int(version), int(compatible_from)


async def _note(conn: AsyncConnection[Any], schema: str, migration: Migration) -> None:
    told = {
        "version": migration.version,
        "name": migration.name,
        "compatible_from": migration.compatible_from,
    }
    query = sql.SQL(statement("note_migration")).format(schema=sql.Identifier(schema))
    await conn.execute(query, told, prepare=False)


async def _execute(conn: AsyncConnection[Any], text: Any, schema: str) -> None:
    await conn.execute(sql.SQL(text).format(schema=sql.Identifier(schema)), prepare=False)
