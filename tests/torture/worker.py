"""A worker: one process whose lanes (threads, or tasks of one loop) share a memory, as an application's requests do."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine

from convmemory import AsyncConversationMemory, ConfigurationError, ConversationMemory, StorageUnavailable
from fix_memory import Awaited
from torture import clients, crash, variants
from torture.workload import Job, Lane, Log, blocking_sleep

LANES = 4


def work(job: Job) -> None:
    """The life of a worker process, until SIGTERM: SIGUSR1 arms the crash, SIGUSR2 makes its clock jump."""
    stopping, clock = threading.Event(), Clock(job.seed)
    chance = random.Random(f"{job.seed} {job.name}")
    logging.disable(logging.CRITICAL)  # what the library says of each fault is right, and too much here
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: crash.arm(chance.randint(1, 12)))
    signal.signal(signal.SIGUSR2, lambda *_: clock.jump())
    crash.install()
    variants.install(job.variant)
    log = Log(job.log)
    if job.mode == "async":
        asyncio.run(_awaited(job, log, stopping))
    else:
        _blocking(job, log, stopping)


class Clock:
    """The wall clock of this process, which jumps by up to a day and goes on from there."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._travel: Any = None

    def jump(self) -> None:
        if self._travel is not None:
            self._travel.stop()
        there = datetime.now(UTC) + timedelta(hours=self._random.uniform(-24, 24))
        self._travel = time_machine.travel(there, tick=True)
        self._travel.start()


def _blocking(job: Job, log: Log, stopping: threading.Event) -> None:
    memory = ConversationMemory.from_url(job.postgres, _redis(job, "sync"), **job.settings)
    drive(_opened(Awaited(memory), blocking_sleep))
    with closing(memory):
        lanes = [Lane(job, number, Awaited(memory), log) for number in range(LANES)]
        threads = [
            threading.Thread(target=lambda lane=lane: drive(lane.run(stopping)), daemon=True)
            for lane in lanes
        ]
        for thread in threads:
            thread.start()
        while not stopping.wait(0.2):
            pass
        for thread in threads:
            thread.join(15)
        _farewell(memory, job, log)


async def _awaited(job: Job, log: Log, stopping: threading.Event) -> None:
    memory = AsyncConversationMemory.from_url(job.postgres, _redis(job, "async"), **job.settings)
    await _opened(memory, asyncio.sleep)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(memory.close)
        await asyncio.gather(*(Lane(job, number, memory, log).run(stopping) for number in range(LANES)))
        _farewell(memory, job, log)


def _redis(job: Job, mode: str) -> Any:
    """The hot tier of a worker, if it has one."""
    return clients.redis_tier(job.redis, mode, job.settings["redis_timeout"]) if job.redis else None


async def _opened(memory: Any, rest: Any) -> None:
    """Open a memory, as a service does that is started while a server is away, or is set to lose things: again and again."""
    while True:
        try:
            return await memory.open()
        except (StorageUnavailable, ConfigurationError):
            await rest(0.2)


def _farewell(memory: Any, job: Job, log: Log) -> None:
    if memory.redis is not None:
        log.note("bye", by=job.name, counters=memory.redis.health.figures())


def drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run to its end what never waits for a loop."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("a blocking lane waited for a loop")
