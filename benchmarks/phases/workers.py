"""W4: turns a second from many workers at once (threads, or tasks for async adapters) on 300 conversations."""

from __future__ import annotations

import argparse
import asyncio
import random
import threading
import time
from collections import defaultdict
from typing import Any

from adapter import Adapter
from texts import conversation, turns, uuid_of
from timing import LOOP, finish, summary

LENGTHS = [10] * 210 + [50] * 75 + [200] * 15
Slice = tuple[list[float], float, int]
"""Seconds of every turn, seconds in all, errors."""


def run(adapters: list[Adapter], options: argparse.Namespace) -> dict[str, Any]:
    names = [uuid_of(f"W4 {at}") for at in range(len(LENGTHS))]
    for adapter in adapters:
        for name, length in zip(names, LENGTHS, strict=True):
            finish(adapter.seed(name, conversation(length)))
            finish(adapter.settle(name))
    random.shuffle(names)
    return {
        str(workers): _table(adapters, names, workers, options.seconds)
        for workers in options.workers or [16, 64]
    }


def _table(adapters: list[Adapter], names: list[str], workers: int, seconds: float) -> dict[str, Any]:
    slices: dict[str, list[Slice]] = defaultdict(list)
    for _ in range(3):
        for adapter in adapters:
            shares = [names[at::workers] for at in range(workers)]
            slices[adapter.name].append(
                LOOP.run_until_complete(tasks(adapter, shares, seconds))
                if adapter.is_async
                else threads(adapter, shares, seconds)
            )
    print(f"\n{workers} workers: turns a second, p50 and p99 in microseconds, errors")
    return {adapter.name: row(adapter.name, slices[adapter.name]) for adapter in adapters}


def row(name: str, slices: list[Slice]) -> dict[str, float]:
    rates = sorted(len(taken) / seconds for taken, seconds, _ in slices)
    found = summary([one for taken, _, _ in slices for one in taken])
    found |= {"turns_per_s": rates[1], "errors": sum(errors for _, _, errors in slices)}
    print(
        f"{name:28}{found['turns_per_s']:>9.0f}{found['p50']:>11.0f}{found['p99']:>11.0f}{found['errors']:>7}"
    )
    return found


def threads(adapter: Adapter, shares: list[list[str]], seconds: float) -> Slice:
    taken: list[float] = []
    errors: list[Exception] = []
    start = time.perf_counter()

    def work(mine: list[str]) -> None:
        while time.perf_counter() < start + seconds:
            name, begin = random.choice(mine), time.perf_counter()
            try:
                adapter.forget(name)
                adapter.window(name)
                adapter.append(name, random.choice(turns()))
            except Exception as error:
                errors.append(error)
            else:
                taken.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=work, args=[share]) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken, time.perf_counter() - start, len(errors)


async def tasks(adapter: Adapter, shares: list[list[str]], seconds: float) -> Slice:
    taken: list[float] = []
    errors: list[Exception] = []
    start = time.perf_counter()

    async def work(mine: list[str]) -> None:
        while time.perf_counter() < start + seconds:
            name, begin = random.choice(mine), time.perf_counter()
            try:
                adapter.forget(name)
                await adapter.window(name)
                await adapter.append(name, random.choice(turns()))
            except Exception as error:
                errors.append(error)
                await asyncio.sleep(0)
            else:
                taken.append(time.perf_counter() - begin)

    await asyncio.gather(*map(work, shares))
    return taken, time.perf_counter() - start, len(errors)
