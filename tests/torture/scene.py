"""What a fault can be done to, and what a fault is."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from fix_proxy import Proxy
from torture.crew import Crew
from torture.sentinel import SentinelSet
from torture.servers import Hot, Postgres
from torture.succession import Succession

REDIS, POSTGRES, COPY = "redis", "postgres", "copy"
"""The tiers, and the second Redis that some workers are led to."""


@dataclass
class Scene:
    """Everything a fault can be done to."""

    postgres: Postgres
    redis: Hot
    postgres_proxy: Proxy
    redis_proxy: Proxy
    crew: Crew
    schema: str
    prefix: str
    chance: random.Random
    sentinels: SentinelSet | None = None
    succession: Succession | None = None

    def ask_redis(self, *words: str) -> Any:
        """One command past every proxy; nothing where Redis is away, as it may be."""
        with suppress(RedisError):
            return self.redis.client.execute_command(*words)
        return {}

    def rest(self, low: float, high: float) -> None:
        time.sleep(self.chance.uniform(low, high))


@dataclass(frozen=True)
class Kind:
    """A kind of fault: ``act`` returns when the tier can be used again, ``after`` makes ready for the next one.

    Those of one lane come one after the other; those of different lanes may overlap.
    """

    name: str
    lane: str
    tiers: frozenset[str]
    act: Callable[[Scene], str | None]
    after: Callable[[Scene], None] | None = None
