"""What a step costs: milliseconds, and round trips to each tier."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import convmemory


@dataclass(frozen=True, slots=True)
class Cost:
    """One step: how long it took in milliseconds, and how often it went to each tier (``None``: not counted)."""

    step: str
    ms: float
    redis: int | None = None
    postgres: int | None = None


@dataclass
class Meter:
    """Counts what is sent over a Redis client's connections, and statements by the pool's own statistics."""

    store: convmemory.PostgresStore
    client: Any = None
    costs: list[Cost] = field(default_factory=list)
    _sent: int = 0

    def __post_init__(self) -> None:
        if self.client is not None:
            pool = self.client.connection_pool
            pool.connection_class = self._counting(pool.connection_class)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the block as one step, with its round trips; the store must be open."""
        sent, statements = self._sent, self._statements()
        with self.time(name):
            yield
        asked = self._statements() - statements
        self.costs[-1] = replace(self.costs[-1], redis=self._sent - sent, postgres=asked)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Measure only how long the block takes."""
        start = perf_counter()
        yield
        self.costs.append(Cost(name, (perf_counter() - start) * 1000))

    def _statements(self) -> int:
        return int(self.store.figures().get("requests_num", 0))  # absent before the first

    def _counting(self, connection: type[Any]) -> type[Any]:
        meter = self

        class Counting(connection):  # type: ignore[misc]  # whatever the client uses
            def send_packed_command(self, *arguments: Any, **options: Any) -> None:
                meter._sent += 1
                super().send_packed_command(*arguments, **options)

        return Counting
