"""PostgreSQL of running servers stopped and started again, whoever owns them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from convmemory.embedded.plan import POSTGRES_DATA, POSTGRES_LOG
from convmemory.embedded.postgres import STATUS_LINE
from convmemory.embedded.processes import last_lines
from convmemory.errors import StorageError

LONGEST: Final = 60.0
"""Seconds that PostgreSQL has to end, or to start."""


def stop_postgres(directory: Path) -> None:
    """Have the server over ``directory`` roll back what is open, and end.

    Raises:
        StorageError: It does not end in time.
    """
    note = _note(directory)
    if note:
        with suppress(ProcessLookupError):
            os.kill(int(note[0]), signal.SIGINT)
    _wait(lambda: not _note(directory), directory, "stop")


def start_postgres(directory: Path, supervisor: int) -> None:
    """Have the supervisor start the server that has ended.

    Raises:
        StorageError: It does not answer in time.
    """
    os.kill(supervisor, signal.SIGHUP)
    _wait(lambda: _is_ready(_note(directory)), directory, "start")


def _note(directory: Path) -> list[str]:
    """What a running server says of itself; nothing where there is none."""
    with suppress(FileNotFoundError):
        return (directory / POSTGRES_DATA / "postmaster.pid").read_text().splitlines()
    return []


def _is_ready(note: list[str]) -> bool:
    return len(note) > STATUS_LINE and note[STATUS_LINE].startswith("ready")


def _wait(done: Callable[[], bool], directory: Path, what: str) -> None:
    deadline = time.monotonic() + LONGEST
    while not done():
        if time.monotonic() > deadline:
            log = last_lines(directory / POSTGRES_LOG)
            raise StorageError("PostgreSQL", what, f"not done in {LONGEST:g} s\n{log}")
        time.sleep(0.005)
