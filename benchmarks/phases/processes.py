"""W4 over several processes: what a machine serves when one interpreter's lock is not the limit."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
from typing import Any

from adapter import Adapter
from adapters import opened
from texts import conversation, uuid_of
from timing import finish

from phases import workers

PROCESSES = 4
THREADS = 16
ROUNDS = 3


def run(adapters: list[Adapter], options: argparse.Namespace) -> dict[str, Any]:
    names = [uuid_of(f"W4 {at}") for at in range(len(workers.LENGTHS))]
    chosen = [adapter for adapter in adapters if not adapter.is_async and adapter.database]
    for adapter in chosen:
        for name, length in zip(names, workers.LENGTHS, strict=True):
            finish(adapter.seed(name, conversation(length)))
    slices: dict[str, list[tuple[list[float], float, int]]] = {adapter.name: [] for adapter in chosen}
    for _ in range(ROUNDS):
        for adapter in random.sample(chosen, len(chosen)):
            slices[adapter.name].append(_slice(adapter.name, names, options.seconds))
    print(
        f"\n{PROCESSES} processes of {THREADS} threads: turns a second, p50 and p99 in microseconds, errors"
    )
    return {name: workers.row(name, found) for name, found in slices.items()}


def _slice(name: str, names: list[str], seconds: float) -> tuple[list[float], float, int]:
    """All processes at once; each has connections of its own."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(PROCESSES), context.Queue()
    crew = [
        context.Process(target=_work, args=(name, names[at::PROCESSES], seconds, start, results))
        for at in range(PROCESSES)
    ]
    for process in crew:
        process.start()
    found = [results.get(timeout=seconds + 120) for _ in crew]
    for process in crew:
        process.join()
    taken = [one for each, _, _ in found for one in each]
    return taken, max(lasted for _, lasted, _ in found), sum(errors for _, _, errors in found)


def _work(name: str, names: list[str], seconds: float, start: Any, results: Any) -> None:
    os.environ["BENCHMARK_JOINS"] = "1"
    [adapter] = opened([name], exactly=True)
    for each in names[:THREADS]:
        adapter.window(each)
    start.wait()
    results.put(workers.threads(adapter, [names[at::THREADS] for at in range(THREADS)], seconds))
    adapter.close()
