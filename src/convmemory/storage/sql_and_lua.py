"""The SQL and the Lua, kept as files and each read once.

A statement is ``sql/NAME.sql``, a script ``lua/NAME.lua`` of one key, or of two of one conversation, a step of the schema
``sql/migrations/NNNN_what.sql``, a part of it that needs an extension ``sql/rooms/NAME.sql``. A script whose header says ``-- calls NAME`` has that script as a function of keys and arguments. Each begins with a comment: purpose, parameters with units, result. It is for people,
and is left out of what servers are sent; a step of the schema keeps it, for whoever has it printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, LiteralString

_CALLS: Final = re.compile(r"^-- calls +(\w+(?: \w+)*)$", re.MULTILINE)
"""Where a script says which others are functions in it."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from schema ``version - 1`` to ``version``; a released step never changes.

    Releases that know the schema up to ``compatible_from`` run on what it makes; its first line says so (``-- compatible: 1``).
    One whose second line is ``-- transaction: none`` is ``alone``: its ``statements`` are sent one by one, each ending a line with a
    semicolon, and may be sent again after one that failed.
    """

    version: int
    name: str
    sql: LiteralString
    compatible_from: int
    alone: bool = False

    @property
    def full_name(self) -> str:
        """The name of its file."""
        return f"{self.version:04d}_{self.name}"

    @property
    def statements(self) -> list[LiteralString]:
        """What is sent at once: all of it, or each statement by itself."""
        return self.sql.rstrip().removesuffix(";").split(";\n") if self.alone else [self.sql]


@cache
def sql(name: str) -> LiteralString:
    """Return the statement in ``sql/{name}.sql``.

    It goes through ``psycopg.sql.SQL(...).format(schema=...)``: ``{schema}`` is the only placeholder and a
    literal brace is doubled. A text that ships with the package is as literal as one in a module.
    """
    return _without_header(_text(f"sql/{name}.sql"))


@cache
def lua(name: str) -> str:
    """Return the script in ``lua/{name}.lua``, with those in front of it that it calls: one text for each rule of the protocol."""
    text = _text(f"lua/{name}.lua")
    called = _CALLS.search(text)
    inside = [
        f"local function {one}(KEYS, ARGV)\n{lua(one)}end\n" for one in (called[1].split() if called else ())
    ]
    return "".join([*inside, _without_header(text)])


@cache
def migrations() -> tuple[Migration, ...]:
    """Return the steps of the schema in order; their versions are 1, 2, 3 and so on without a gap."""
    names = sorted(entry.name for entry in files("convmemory").joinpath("sql/migrations").iterdir())
    return tuple(_migration(name.removesuffix(".sql")) for name in names if name.endswith(".sql"))


@cache
def read_ahead() -> None:
    """Read every statement, script and step now: whoever opens a file waits, which an event loop must not."""
    for folder, kind, read in (
        ("sql", ".sql", sql),
        ("sql/from_0_1", ".sql", sql),
        ("sql/rooms", ".sql", sql),
        ("lua", ".lua", lua),
    ):
        _, _, below = folder.partition("/")
        for entry in files("convmemory").joinpath(folder).iterdir():
            if entry.name.endswith(kind):
                name = entry.name.removesuffix(kind)
                read(f"{below}/{name}" if below else name)
    migrations()


def latest_version() -> int:
    """Return the version of the schema this library works on: that of the last migration."""
    return migrations()[-1].version


def _migration(name: str) -> Migration:
    version, _, what = name.partition("_")
    return migration_of(int(version), what, _text(f"sql/migrations/{name}.sql"))


def migration_of(version: int, name: str, text: LiteralString) -> Migration:
    """Read what a step's first lines say of it; one that says nothing runs with no release before its own."""
    first, _, rest = text.partition("\n")
    _, told, oldest = first.partition("-- compatible: ")
    return Migration(
        version, name, text, int(oldest) if told else version, rest.startswith("-- transaction: none\n")
    )


def _without_header(text: LiteralString) -> LiteralString:
    while text.startswith("--"):
        _, _, text = text.partition("\n")
    return text


def _text(path: str) -> LiteralString:
    return files("convmemory").joinpath(path).read_text(encoding="utf-8")
