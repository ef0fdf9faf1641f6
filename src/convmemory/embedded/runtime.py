"""The short private directory of the sockets.

A unix socket's path may have about 100 characters and some file systems have no sockets at all, so they never
live in the data directory: that holds a link, ``run``, to where they are.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convmemory.embedded.plan import RUN_LINK
from convmemory.errors import StorageError

PREFIX = "convmemory-"
LONGEST_PLACE = 55  # characters; the longest name we put below it has 42


@contextmanager
def runtime_directory() -> Iterator[Path]:
    """Make a private directory for sockets, and remove it afterwards.

    Root's may be entered, not listed, by others: PostgreSQL's account has to pass through it.

    Raises:
        StorageError: no temporary directory can be used.
    """
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_place()))
    if os.geteuid() == 0:
        path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def published(directory: Path, runtime: Path) -> Iterator[None]:
    """Let other programs find ``runtime`` from ``directory``, for as long as the block runs."""
    link = directory / RUN_LINK
    _forget(link)
    link.symlink_to(runtime)
    try:
        yield
    finally:
        link.unlink(missing_ok=True)


def _place() -> str:
    """Return the first temporary directory that is short, ours to write, and open to PostgreSQL's account."""
    places = [tempfile.gettempdir(), "/tmp", "/var/tmp"]  # noqa: S108 - only ever for a directory made by mkdtemp
    for place in places:
        usable = len(place) <= LONGEST_PLACE and os.access(place, os.W_OK | os.X_OK)
        if usable and (os.geteuid() != 0 or _open_to_others(Path(place))):
            return place
    why = f"no temporary directory for sockets: tried {', '.join(places)}; set TMPDIR to a short one"
    raise StorageError("supervisor", "start", why)


def _open_to_others(path: Path) -> bool:
    return all(step.stat().st_mode & stat.S_IXOTH for step in (path, *path.parents))


def _forget(link: Path) -> None:
    """Remove what a supervisor left that was killed itself; a link we do not recognise is only unlinked."""
    if not link.is_symlink():
        return
    stale = link.readlink()
    if stale.name.startswith(PREFIX) and stale.is_dir() and stale.lstat().st_uid == os.geteuid():
        shutil.rmtree(stale, ignore_errors=True)
    link.unlink()
