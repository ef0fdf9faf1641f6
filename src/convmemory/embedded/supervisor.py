"""The process that owns the servers: ``python -m convmemory.embedded.supervisor PLAN LEASE``.

It starts the servers, answers every owner that connects to its control socket, and stops them when the last of
those connections ends: an owner that dies, however it dies, ends its connection by dying. The first owner's
connection (the descriptor LEASE) is inherited, and so is the locked file that makes this the only supervisor.
On SIGHUP it starts again what has ended meanwhile: an owner may stop a server to see what comes of that.
Standard library only, so that it starts fast.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from convmemory.embedded.plan import (
    CONTROL_SOCKET,
    LOCK_FILE,
    LOGS,
    POSTGRES_DATA,
    REDIS_DATA,
    SUPERVISOR_LOG,
    Plan,
    Running,
    greeting,
    refusal,
)
from convmemory.embedded.postgres import Cluster
from convmemory.embedded.processes import ServerProcess
from convmemory.embedded.redis import redis_server
from convmemory.embedded.runtime import published, runtime_directory
from convmemory.errors import StorageError


def main() -> None:
    """Leave the owner's process tree, then run the servers for as long as somebody holds a lease."""
    os.umask(0o077)
    plan, leases = Plan.from_json(sys.argv[1]), [socket.socket(fileno=int(sys.argv[2]))]
    if os.fork():
        os._exit(0)  # the owner waits for this process only, and so has no child left to reap
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, _leave)
    try:
        with scratch(plan), runtime_directory() as runtime, servers(plan, runtime) as running:
            _run(plan, runtime, running, leases)
    except (StorageError, OSError) as error:
        _say(leases[0], refusal(error))


@contextmanager
def scratch(plan: Plan) -> Iterator[None]:
    """Remove what the block makes in the directory of scratch servers; what was there before stays."""
    directory = Path(plan.directory)
    before = {path.name for path in directory.iterdir()}
    try:
        yield
    finally:
        if not (plan.durable or POSTGRES_DATA in before):
            made = {POSTGRES_DATA, REDIS_DATA, *LOGS} - before
            for name in (*made, f"{POSTGRES_DATA}.new", SUPERVISOR_LOG):
                _remove(directory / name)
            _remove(directory / LOCK_FILE)  # last: from here on the directory is another start's
            with suppress(OSError):
                directory.rmdir()  # unless there is something else in it


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def servers(plan: Plan, runtime: Path) -> Iterator[Running]:
    """Start the servers, PostgreSQL's first preparation and Redis at the same time, and stop them in the end.

    Raises:
        StorageError: one of them did not start.
    """
    sockets, redis_socket = runtime / "postgres", runtime / "redis.sock"
    processes = {"supervisor": os.getpid()}
    with ExitStack() as stopping:
        started: list[ServerProcess] = []

        def start(name: str, server: ServerProcess) -> None:
            server.start()
            stopping.callback(server.end)
            started.append(server)
            processes[name] = server.process.pid

        if plan.redis_binary:
            start("redis", redis_server(plan, plan.redis_binary, redis_socket))
        cluster = Cluster.prepare(plan, runtime)
        sockets.mkdir(mode=0o700)
        cluster.account.give(sockets)
        start("postgres", cluster.server(plan, sockets))
        for server in started:
            server.wait_until_ready(plan.timeout)
        signal.signal(signal.SIGHUP, lambda *_: start_again(started))
        yield Running(
            postgres_sockets=str(sockets),
            redis_socket=str(redis_socket) if plan.redis_binary else None,
            redis_wanted=plan.redis_wanted,
            durable=plan.durable,
            description=plan.description,
            processes=processes,
        )


def start_again(started: list[ServerProcess]) -> None:
    """Start those of the servers that have ended, without waiting for them."""
    for server in started:
        if server.process.poll() is not None:
            with suppress(StorageError):  # whoever stopped it waits for it, and says so
                server.start()


def _run(plan: Plan, runtime: Path, running: Running, leases: list[socket.socket]) -> None:
    welcome = greeting(running)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(runtime / CONTROL_SOCKET))
            listener.listen(64)
            with published(Path(plan.directory), runtime):
                _say(leases[0], welcome)
                attend(listener, leases, welcome)
    finally:
        for stop in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(stop, signal.SIG_IGN)  # already stopping


def attend(listener: socket.socket, leases: list[socket.socket], welcome: bytes) -> None:
    """Welcome owners until the last one leaves.

    An owner says nothing; that his side of the connection ends is his farewell. The last one's stays open, in
    ``leases``, because he waits for the end of ours. Newcomers come first: who is welcomed finds running servers.
    """
    with selectors.DefaultSelector() as selector:
        for connection in (listener, *leases):
            selector.register(connection, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if listener in ready:
                newcomer, _ = listener.accept()
                _say(newcomer, welcome)
                selector.register(newcomer, selectors.EVENT_READ)
                leases.append(newcomer)
            for lease in [lease for lease in leases if lease in ready]:
                if len(leases) == 1:
                    return
                selector.unregister(lease)
                leases.remove(lease)
                lease.close()


def _say(lease: socket.socket, line: bytes) -> None:
    with suppress(OSError):  # an owner that has gone is noticed where its lease is read
        lease.sendall(line)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
