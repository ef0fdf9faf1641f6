"""An owner's side: join the servers of a directory, or start them where nobody has.

Whoever locks the directory starts them, and passes the lock on to the supervisor, which holds it until it ends. So
there is never a second pair over the same data; who does not get the lock waits until the servers welcome him.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from convmemory.embedded.plan import CONTROL_SOCKET, LOCK_FILE, RUN_LINK, SUPERVISOR_LOG, Plan, Running
from convmemory.embedded.processes import last_lines
from convmemory.errors import ConfigurationError, StorageError, StorageUnavailable

NAME = "embedded servers"
LONGEST_STOP = 90.0  # seconds; the supervisor itself waits 30 for each server
IMPORT_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to the running servers: they run while this connection is open, or another owner's."""

    running: Running
    connection: socket.socket
    process: int

    def release(self) -> None:
        """Leave; when this was the last owner, return when the servers have ended.

        A forked child only drops its copy: the lease is its parent's.
        """
        with self.connection, suppress(OSError):
            if os.getpid() == self.process:
                self.connection.settimeout(LONGEST_STOP)
                self.connection.shutdown(socket.SHUT_WR)
                self.connection.recv(1)  # nothing comes but the end


def acquire(directory: Path, make_plan: Callable[[], Plan], timeout: float) -> Lease:
    """Return a lease on the servers of ``directory``, started by ``make_plan()`` if they are not running.

    Raises:
        ConfigurationError: the directory cannot be used, or ``make_plan`` found no programs.
        StorageError: a server did not start; says why, with the end of its log.
        StorageUnavailable: they are starting, stopping or out of reach for longer than ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    try:
        while time.monotonic() < deadline:
            if lease := _join(directory, timeout) or _start(directory, make_plan, timeout):
                return lease
            time.sleep(0.01)
    except (PermissionError, FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise ConfigurationError(f"directory: {directory} cannot be used, for {error}") from error
    why = f"those of {directory} are held by a process out of reach (another container?), or busy starting or stopping"
    raise StorageUnavailable(NAME, "join", why)


def _join(directory: Path, timeout: float) -> Lease | None:
    """Return a lease if there are servers that welcome us: those about to stop do not."""
    _refuse_strangers(directory)
    link = directory / RUN_LINK
    with suppress(FileNotFoundError, ConnectionError, TimeoutError):
        # else somebody has made one of its name since
        if link.is_symlink() and _is_ours(place := link.readlink()):
            connection = socket.socket(socket.AF_UNIX)
            return _welcomed(connection, timeout, str(place / CONTROL_SOCKET))
    return None


def _refuse_strangers(directory: Path) -> None:
    """See that nobody else can say what runs here: whoever answers is given every message.

    Raises:
        ConfigurationError: The directory, or what leads from it to the servers, is another user's.
    """
    for path, follow in ((directory, True), (directory / RUN_LINK, False)):
        if not _is_ours(path, follow=follow):
            raise ConfigurationError(
                f"directory: {path} belongs to another user (uid {path.stat(follow_symlinks=follow).st_uid});"
                " servers are started in a directory of one's own, and joined there"
            )


def _is_ours(path: Path, *, follow: bool = False) -> bool:
    """Whether a path is this user's, or nobody's yet."""
    try:
        return path.stat(follow_symlinks=follow).st_uid == os.geteuid()
    except FileNotFoundError:
        return True


def _start(directory: Path, make_plan: Callable[[], Plan], timeout: float) -> Lease | None:
    """Return a lease on servers we started, or None if somebody else holds the directory's lock."""
    lock = _lock(directory)
    if lock is None:
        return None
    try:
        # The supervisor has the same patience, and more to say when it loses it.
        lease = _welcomed(_spawn(make_plan(), lock), timeout + 10)
    except TimeoutError as error:
        raise StorageUnavailable(NAME, "start", f"not ready in {timeout:g} s") from error
    finally:
        os.close(lock)
    if lease is None:
        raise StorageError(NAME, "start", f"the supervisor ended\n{last_lines(directory / SUPERVISOR_LOG)}")
    return lease


def _welcomed(connection: socket.socket, timeout: float, address: str | None = None) -> Lease | None:
    """Return a lease over this connection if the supervisor welcomes us; otherwise close it."""
    try:
        connection.settimeout(timeout)
        if address:
            connection.connect(address)
        running = _hear(connection)
    except BaseException:
        connection.close()
        raise
    if running is None:
        connection.close()
        return None
    return Lease(running, connection, os.getpid())


def _hear(connection: socket.socket) -> Running | None:
    """Return what the supervisor says first, or None if it ends the connection instead.

    Raises:
        StorageError: it says why there are no servers.
    """
    line = b""
    while not line.endswith(b"\n"):
        if not (more := connection.recv(65536)):
            return None
        line += more
    answer = json.loads(line)
    if failed := answer.get("failed"):
        raise StorageError(NAME, "start", failed)
    return Running(**answer["running"])


def _lock(directory: Path) -> int | None:
    """Lock the directory, made if need be, or return None if it is locked (or just being removed)."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_strangers(directory)  # somebody else may have made it just now
    path = directory / LOCK_FILE
    with suppress(FileNotFoundError):
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with suppress(FileNotFoundError, BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        os.close(lock)
    return None


def _spawn(plan: Plan, lock: int) -> socket.socket:
    """Start the supervisor and return our end of the connection that is our lease.

    It gets a session of its own, so that Ctrl-C in the terminal reaches only the program.
    """
    with ExitStack() as on_error, Path(plan.directory, SUPERVISOR_LOG).open("wb") as log:
        ours, theirs = socket.socketpair()
        on_error.enter_context(ours)
        with theirs:
            subprocess.run(  # noqa: S603 - our own module
                [
                    sys.executable,
                    "-m",
                    "convmemory.embedded.supervisor",
                    plan.to_json(),
                    str(theirs.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(IMPORT_ROOT)},
                cwd="/",
                pass_fds=(theirs.fileno(), lock),
                start_new_session=True,
                check=False,
            )
        on_error.pop_all()
    return ours
