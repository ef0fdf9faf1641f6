"""The SQL and the Lua, kept as files and each read once.

A statement is ``sql/NAME.sql``, a script ``lua/NAME.lua`` of one key, a step of the schema
``sql/migrations/NNNN_what.sql``. Each begins with a comment: purpose, parameters with units, result. It is for people,
and is left out of what servers are sent; a step of the schema keeps it, for whoever has it printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import LiteralString


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from schema ``version - 1`` to ``version``; a released step never changes."""

    version: int
    name: str
    sql: LiteralString


@cache
def sql(name: str) -> LiteralString:
    """Return the statement in ``sql/{name}.sql``.

    It goes through ``psycopg.sql.SQL(...).format(schema=...)``: ``{schema}`` is the only placeholder and a
    literal brace is doubled. A text that ships with the package is as literal as one in a module.
    """
    return _without_header(_text(f"sql/{name}.sql"))


@cache
def lua(name: str) -> str:
    """Return the script in ``lua/{name}.lua``; it takes one key."""
    return _without_header(_text(f"lua/{name}.lua"))


@cache
def migrations() -> tuple[Migration, ...]:
    """Return the steps of the schema in order; their versions are 1, 2, 3 and so on without a gap."""
    names = sorted(entry.name for entry in files("convmemory").joinpath("sql/migrations").iterdir())
    return tuple(_migration(name.removesuffix(".sql")) for name in names if name.endswith(".sql"))


@cache
def read_ahead() -> None:
    """Read every statement, script and step now: whoever opens a file waits, which an event loop must not."""
    for folder, read in (("sql", sql), ("lua", lua)):
        for entry in files("convmemory").joinpath(folder).iterdir():
            if entry.name.endswith(f".{folder}"):
                read(entry.name.removesuffix(f".{folder}"))
    migrations()


def latest_version() -> int:
    """Return the version of the schema this library works on: that of the last migration."""
    return migrations()[-1].version


def _migration(name: str) -> Migration:
    version, _, what = name.partition("_")
    return Migration(int(version), what, _text(f"sql/migrations/{name}.sql"))


def _without_header(text: LiteralString) -> LiteralString:
    while text.startswith("--"):
        _, _, text = text.partition("\n")
    return text


def _text(path: str) -> LiteralString:
    return files("convmemory").joinpath(path).read_text(encoding="utf-8")
