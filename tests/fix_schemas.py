"""PostgreSQL schemas with the library's tables, handed on from test to test: making one costs more than most tests do.

Only what a test left as it was made is handed on: its rows are taken away, and it becomes another installation. A schema
with a table, column, function, trigger or grant that was changed is not used again, nor is one that has been analysed
or has grown, since its plans would be others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from convmemory import PostgresStore, Settings
from fix_servers import DATABASE_URL

MADE_OF = """
WITH space AS (SELECT oid, xmin FROM pg_namespace WHERE nspname = %(schema)s),
relations AS (SELECT c.oid, c.xmin, c.reltuples FROM pg_class AS c JOIN space ON relnamespace = space.oid),
parts AS (
    SELECT oid, 0 AS number, xmin FROM space
    UNION ALL SELECT oid, reltuples, xmin FROM relations
    UNION ALL SELECT attrelid, attnum, a.xmin FROM pg_attribute AS a JOIN relations ON attrelid = relations.oid
    UNION ALL SELECT t.oid, 0, t.xmin FROM pg_trigger AS t JOIN relations ON tgrelid = relations.oid
    UNION ALL SELECT r.oid, 0, r.xmin FROM pg_rewrite AS r JOIN relations ON ev_class = relations.oid
    UNION ALL SELECT p.oid, 0, p.xmin FROM pg_proc AS p JOIN space ON pronamespace = space.oid
    UNION ALL SELECT n.oid, 0, n.xmin FROM pg_constraint AS n JOIN space ON connamespace = space.oid
    UNION ALL SELECT d.oid, 0, d.xmin FROM pg_default_acl AS d JOIN space ON defaclnamespace = space.oid
)
SELECT md5(string_agg(format('%%s %%s %%s', oid, number, xmin), ',' ORDER BY oid, number)) FROM parts
"""
"""Every row of the catalogs that a schema is made of, and which transaction wrote it."""
TABLES = """
SELECT relname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname = %s AND relkind = %s
"""
KEPT = {"installation", "schema_migrations"}
ROOM = 1 << 20
"""Bytes that the tables and indexes of a schema may take to be used again."""


class Schemas:
    """Schemas of one database that nobody uses now, and what each was made of."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._conn = self._connected()
        self._made: dict[str, tuple[object, ...]] = {}
        self._free: list[str] = []

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        found = psycopg.connect(self._url, autocommit=True)
        found.execute("SET session_replication_role = replica; SET lock_timeout = '200ms'")  # no trigger
        return found

    def close(self) -> None:
        self._conn.close()

    def take(self) -> str:
        """The name of a schema with its tables and no row."""
        if self._free:
            return self._free.pop()
        if self._conn.closed:  # a test broke connections
            self._conn = self._connected()
        name = f"t_{uuid4().hex[:12]}"
        PostgresStore(self._url, Settings(db_schema=name)).init_schema()
        self._made[name] = self._state(name)
        return name

    def give_back(self, name: str) -> None:
        """Have the schema used again, if it is as it was made."""
        made = self._made.pop(name)
        try:
            if self._state(name) != made or not self._small(name):
                return
            self._empty(name)
        except psycopg.Error:  # gone, or somebody is still at it
            return
        self._made[name] = made
        self._free.append(name)

    def _state(self, name: str) -> tuple[object, ...]:
        [made] = self._conn.execute(MADE_OF, {"schema": name})
        query = sql.SQL("SELECT version, name, applied_at FROM {}.schema_migrations ORDER BY version")
        return (*made, *self._conn.execute(query.format(sql.Identifier(name))))

    def _small(self, name: str) -> bool:
        size = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace"
        [[bytes_now]] = self._conn.execute(f"{size} WHERE nspname = %s AND relkind = 'r'".encode(), [name])
        return bool(bytes_now <= ROOM)

    def _empty(self, name: str) -> None:
        tables = {table for (table,) in self._conn.execute(TABLES, [name, "r"])} - KEPT
        words = [sql.SQL("DELETE FROM {}").format(sql.Identifier(name, table)) for table in sorted(tables)]
        words += [
            sql.SQL("SELECT setval({}, 1, false)").format(sql.Literal(f"{name}.{sequence}"))
            for (sequence,) in self._conn.execute(TABLES, [name, "S"])
        ]
        rows = sql.SQL("{}").format(sql.Identifier(name, "installation"))
        words += [
            sql.SQL("DELETE FROM {}").format(rows),
            sql.SQL("INSERT INTO {} DEFAULT VALUES").format(rows),
        ]
        self._conn.execute(sql.SQL("; ").join(words))  # one message, one transaction


@pytest.fixture(scope="session")
def schemas(database_url: str) -> Iterator[Schemas]:
    """Those of this worker's database."""
    found = Schemas(database_url)
    yield found
    found.close()


@pytest.fixture
def schema_name(database_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a PostgreSQL schema that is this test's alone; whoever makes it need not drop it.

    Its tables are there already where the test asks for ``schema``.
    """
    if "schema" in request.fixturenames and not DATABASE_URL:
        pool: Schemas = request.getfixturevalue("schemas")
        name = pool.take()
        yield name
        pool.give_back(name)
        return
    name = f"t_{uuid4().hex[:12]}"
    yield name
    if DATABASE_URL:
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def schema(database_url: str, schema_name: str) -> str:
    """The name of a schema that is this test's alone, with its tables."""
    if DATABASE_URL:
        PostgresStore(database_url, Settings(db_schema=schema_name)).init_schema()
    return schema_name
