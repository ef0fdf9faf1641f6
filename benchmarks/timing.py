"""Calling, timing and summing up."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

from adapter import Adapter

LOOP = asyncio.new_event_loop()


def finish(value: Any) -> Any:
    """A call's result, awaited on the one loop where it is a coroutine."""
    return LOOP.run_until_complete(value) if inspect.isawaitable(value) else value


def sample(adapter: Adapter, operation: Callable[[], Any], count: int, seconds: float) -> list[float]:
    """How long up to ``count`` calls took, in seconds each; stops after the call that passes ``seconds``."""
    if adapter.is_async:
        return LOOP.run_until_complete(_sample_async(operation, count, seconds))
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < count and (not taken or time.perf_counter() < end):
        start = time.perf_counter()
        operation()
        taken.append(time.perf_counter() - start)
    return taken


async def _sample_async(operation: Callable[[], Any], count: int, seconds: float) -> list[float]:
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < count and (not taken or time.perf_counter() < end):
        start = time.perf_counter()
        await operation()
        taken.append(time.perf_counter() - start)
    return taken


def summary(seconds: list[float]) -> dict[str, float]:
    """Median and p99 in microseconds, nearest rank."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {
        "p50": ordered[len(ordered) // 2] * 1e6,
        "p99": ordered[min(last, int(0.99 * len(ordered)))] * 1e6,
        "n": len(ordered),
    }
