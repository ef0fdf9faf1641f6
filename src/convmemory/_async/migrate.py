"""The schema: which version a database has, and how it gets to this library's."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from psycopg import AsyncConnection, errors, sql

from convmemory.errors import SchemaOutdated
from convmemory.storage.sql_and_lua import latest_version, migrations
from convmemory.storage.sql_and_lua import sql as statement

_LOCK: Final = 0x636F6E766D656D  # "convmem": one migration at a time in a database


class Installed(NamedTuple):
    """The version of a schema, the id of the installation it is, and the namespace of its names; ``None`` when it is not there."""

    version: int | None = None
    installation: str | None = None
    names: str | None = None


async def installed(conn: AsyncConnection[Any], schema: str) -> Installed:
    """What there is of the schema in this database."""
    query = sql.SQL(statement("installed")).format(schema=sql.Identifier(schema))
    try:
        row = await (await conn.execute(query, prepare=False)).fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return Installed()
    return Installed(int(row[0]), *row[1:]) if row else Installed()


async def check_not_newer(conn: AsyncConnection[Any], schema: str) -> Installed:
    """What there is of the schema, or ``SchemaOutdated`` when this library is the older of the two."""
    found = await installed(conn, schema)
    _not_newer(found.version, schema)
    return found


def _not_newer(version: int | None, schema: str) -> int | None:
    if version is not None and version > latest_version():
        raise SchemaOutdated(schema, version, latest_version())
    return version


async def install(conn: AsyncConnection[Any], schema: str) -> list[str]:
    """Apply the missing migrations in one transaction under a lock, however long it takes; their names in order.

    Who waited for the lock sees what was applied meanwhile, as the connection is one of ``connect``: READ COMMITTED.
    """
    async with conn.transaction():
        await conn.execute(statement("lift_limits"), prepare=False)
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK], prepare=False)
        await _execute(conn, statement("bootstrap"), schema)
        done = _not_newer(await _applied(conn, schema), schema) or 0
        for migration in migrations()[done:]:
            await _execute(conn, migration.sql, schema)
            note = sql.SQL("INSERT INTO {}.schema_migrations (version, name) VALUES (%s, %s)")
            await conn.execute(
                note.format(sql.Identifier(schema)), [migration.version, migration.name], prepare=False
            )
    return [f"{m.version:04d}_{m.name}" for m in migrations()[done:]]


async def _applied(conn: AsyncConnection[Any], schema: str) -> int:
    query = sql.SQL(statement("schema_version")).format(schema=sql.Identifier(schema))
    row = await (await conn.execute(query, prepare=False)).fetchone()
    return int(row[0]) if row else 0


async def _execute(conn: AsyncConnection[Any], text: Any, schema: str) -> None:
    await conn.execute(sql.SQL(text).format(schema=sql.Identifier(schema)), prepare=False)
