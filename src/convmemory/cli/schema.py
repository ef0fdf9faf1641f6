"""``convmemory init`` and ``convmemory schema``: the tables, made, printed or compared, and the rights on them."""

from __future__ import annotations

import json
from typing import Annotated, Final

from psycopg import sql
from typer import Argument, Typer, echo

from convmemory._sync.migrate import Installed, installed
from convmemory._sync.postgres_connections import connect
from convmemory.cli.commands import Command, Commands
from convmemory.cli.connect import (
    AsJson,
    DatabaseUrl,
    Embedded,
    Place,
    RedisUrl,
    SchemaName,
    memory_over,
    read_settings,
)
from convmemory.errors import SchemaOutdated
from convmemory.settings import Settings
from convmemory.storage.rooms import wanted
from convmemory.storage.sql_and_lua import latest_version, migrations
from convmemory.storage.sql_and_lua import sql as statement
from convmemory.tiers.driver_errors import POSTGRES, translated

app: Final = Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Print the SQL of the schema, or of the rights on it, or compare a database with it.",
)
_GRANTS: Final = (
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
    "REVOKE INSERT, UPDATE, DELETE ON {schema}.schema_migrations FROM {role}",
    "REVOKE INSERT, UPDATE, DELETE ON {schema}.installation FROM {role}",
    "GRANT UPDATE (journals) ON {schema}.installation TO {role}",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role}",
)
"""The least an application needs. That writes may wait in Redis is noted by the first of its processes which wants it."""


def init(
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Create the tables, or bring them up to date.

    Safe to run at every deployment: several at once take turns, and when nothing is missing nothing is done.
    With `--json` it prints an object with `schema`, `version` and `applied`, the names of the migrations that ran.

    For example:

    ```
    DATABASE_URL=postgresql://app@db/app convmemory init
    convmemory init --embedded ./data
    ```
    """
    with Place(database_url, redis_url, embedded, schema).settings(new=True) as settings:
        applied = memory_over(settings).init_schema()
        _tell_what_search_lacks(settings)
    if as_json:
        echo(
            json.dumps({"schema": settings.db_schema, "version": latest_version(), "applied": list(applied)})
        )
        return
    for name in applied:
        echo(f"applied {name}")
    echo(f"schema {settings.db_schema} is current (version {latest_version()})")


def _tell_what_search_lacks(settings: Settings) -> None:
    """Say which of the settings of search ask for an extension that is not there: without a word nobody would know."""
    rooms = wanted(settings)
    if not rooms:
        return
    with memory_over(settings) as memory:
        figures = memory.check().postgres.figures
    for room in rooms:
        if (said := figures.get(room.setting, "on")) != "on":
            echo(f"convmemory: {settings.name_of(room.setting)} {said}", err=True)


@app.command("print", cls=Command)
def print_(schema: SchemaName = None) -> None:
    """Print the SQL that makes the schema in an empty database; needs no server.

    For those whose database is changed by somebody else, or by other tools. Each step is a transaction, and notes
    what it did, so that `convmemory init` and `convmemory schema check` find the schema current. What needs an extension
    comes last where CONVMEMORY_SEARCH_TYPOS or CONVMEMORY_SEARCH_VECTORS asks for it, as if it were in the schema public.

    For example:

    ```
    convmemory schema print --schema chat > schema.sql
    convmemory schema print | psql -v ON_ERROR_STOP=1 mydatabase
    ```
    """
    chosen = {} if schema is None else {"db_schema": schema}
    settings = read_settings(**chosen)
    name = sql.Identifier(settings.db_schema)
    note = sql.SQL("INSERT INTO {}.schema_migrations (version, name, compatible_from) VALUES ({}, {}, {})")
    _echo(sql.SQL(statement("bootstrap")).format(schema=name))
    for migration in migrations():
        steps = [sql.SQL(text).format(schema=name) for text in migration.statements]
        steps.append(note.format(name, migration.version, migration.name, migration.compatible_from))
        _echo(*steps if migration.alone else (sql.SQL("BEGIN"), *steps, sql.SQL("COMMIT")))
    for room in wanted(settings):
        names = {"schema": name, "extension": sql.Identifier("public")}
        _echo(*(sql.SQL(step).format(**names) for step in room.steps))


def _echo(*steps: sql.Composable) -> None:
    for step in steps:
        echo(step.as_string(None).rstrip().removesuffix(";") + ";\n")


@app.command(cls=Command)
def grants(
    role: Annotated[
        str, Argument(metavar="ROLE", show_default=False, help="The role that the application connects as.")
    ],
    schema: SchemaName = None,
) -> None:
    """Print the SQL that gives a role the rights which an application needs, and no others; needs no server.

    Whoever owns the schema runs it, after `convmemory init`: once, and again after an upgrade that brings tables.

    For example:

    ```
    convmemory schema grants app | psql -v ON_ERROR_STOP=1 mydatabase
    ```
    """
    settings = read_settings(**({} if schema is None else {"db_schema": schema}))
    names = {"schema": sql.Identifier(settings.db_schema), "role": sql.Identifier(role)}
    for grant in _GRANTS:
        echo(sql.SQL(grant).format(**names).as_string(None) + ";")


@app.command(cls=Command)
def check(
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say whether this version runs on the schema of a database: status 0 if so, else 1 and what mends it.

    With `--json` it prints an object with `schema`, `version` and `latest`, the one that this version would make.

    For example:

    ```
    convmemory schema check && ./serve
    ```
    """
    with Place(database_url, redis_url, embedded, schema).settings() as settings:
        found = _installed(settings)
    if found.version is None or found.version < latest_version() or found.compatible_from > latest_version():
        raise SchemaOutdated(settings.db_schema, found.version, latest_version())
    if as_json:
        echo(json.dumps({"schema": settings.db_schema, "version": found.version, "latest": latest_version()}))
        return
    state = "current" if found.version == latest_version() else "newer than this library, which runs on it"
    echo(f"schema {settings.db_schema} is {state} (version {found.version})")


def _installed(settings: Settings) -> Installed:
    with (
        connect(settings.postgres_conninfo(), settings) as connection,
        translated(POSTGRES, "check the schema"),
    ):
        return installed(connection, settings.db_schema)
