"""What a process of the demo plays on: an open memory over both tiers, a meter, and somebody to talk to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import convmemory
from convmemory._sync.redis_connections import redis_from_url
from convmemory.cli.demo.meter import Meter
from convmemory.cli.demo.talk import Talk
from convmemory.embedded import EmbeddedServers
from convmemory.settings import Settings


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that one process of the demo needs; ``client`` is ``None`` where it has no Redis."""

    settings: Settings
    memory: convmemory.ConversationMemory
    client: Any
    meter: Meter
    talk: Talk

    def ask(self, question: str, step: str) -> str:
        """Ask within the conversation, measured as ``step``."""
        with self.meter.step(step):
            return str(self.talk.ask_within(self.memory, question).text)


@contextmanager
def staged(database_url: str, client: Any, talk: Talk, **settings: Any) -> Iterator[Stage]:
    """Set the stage over servers that run: connect, and make the tables if they are not there.

    Raises:
        ConfigurationError: Redis cannot be used as the ``settings`` want.
        StorageUnavailable: PostgreSQL does not answer.
    """
    found = Settings(database_url=database_url, redis_host="", **settings)
    store = convmemory.PostgresStore(settings=found)
    memory = convmemory.ConversationMemory(store, client and convmemory.RedisStore(client, found))
    meter = Meter(store, client)
    with meter.time("connect, and make the tables"):
        memory.init_schema()
        memory.open()
    with memory:
        yield Stage(found, memory, client, meter, talk)


@contextmanager
def redis_of(servers: EmbeddedServers) -> Iterator[Any]:
    """A client of the servers' Redis, or of one inside this process where there is none."""
    with closing(
        servers.fake_redis() if servers.redis_url is None else redis_at(servers.redis_url)
    ) as client:
        yield client


def redis_at(url: str) -> Any:
    """A client for a URL, with the library's own time-outs."""
    return redis_from_url(url, Settings())
