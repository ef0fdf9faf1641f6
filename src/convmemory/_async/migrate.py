"""The schema: which version a database has, and how it gets to this library's."""

from __future__ import annotations

from typing import Any, Final

from psycopg import AsyncConnection, errors, sql

from convmemory.errors import SchemaOutdated
from convmemory.storage.sql_and_lua import migrations
from convmemory.storage.sql_and_lua import sql as statement

_LOCK: Final = 0x636F6E766D656D  # "convmem": one migration at a time in a database


async def installed_version(conn: AsyncConnection[Any], schema: str) -> int | None:
    """The version of the schema in this database; ``None`` when it is not there."""
    query = sql.SQL(statement("schema_version")).format(schema=sql.Identifier(schema))
    try:
        row = await (await conn.execute(query, prepare=False)).fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return None
    return int(row[0]) if row else None


async def check_not_newer(conn: AsyncConnection[Any], schema: str) -> int | None:
    """The version of the schema, or ``SchemaOutdated`` when this library is the older of the two."""
    found = await installed_version(conn, schema)
    if found is not None and found > len(migrations()):
        raise SchemaOutdated(schema, found, len(migrations()))
    return found


async def install(conn: AsyncConnection[Any], schema: str) -> list[str]:
    """Apply the missing migrations in one transaction under a lock, however long it takes; their names in order."""
    async with conn.transaction():
        await conn.execute(statement("lift_limits"), prepare=False)
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK], prepare=False)
        await _execute(conn, statement("bootstrap"), schema)
        done = await check_not_newer(conn, schema) or 0
        for migration in migrations()[done:]:
            await _execute(conn, migration.sql, schema)
            note = sql.SQL("INSERT INTO {}.schema_migrations (version, name) VALUES (%s, %s)")
            await conn.execute(
                note.format(sql.Identifier(schema)), [migration.version, migration.name], prepare=False
            )
    return [f"{m.version:04d}_{m.name}" for m in migrations()[done:]]


async def _execute(conn: AsyncConnection[Any], text: Any, schema: str) -> None:
    await conn.execute(sql.SQL(text).format(schema=sql.Identifier(schema)), prepare=False)
