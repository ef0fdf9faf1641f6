"""CPU of a turn by where it is spent: this process, PostgreSQL, Redis, as the operating system accounts for it.

A turn is a read of the window and an append of two messages, from so many workers at once. Wall time on a machine that is
shared tells little; what a turn makes each of the three compute tells what a full machine can serve.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
from collections import defaultdict
from pathlib import Path
from typing import Any

import psycopg
import redis
from adapter import Adapter
from servers import redis_url
from texts import conversation, uuid_of
from timing import LOOP, finish

from phases import workers

CONVERSATIONS = 128
ROUNDS = 5
PLACES = ("user", "system", "PostgreSQL", "Redis")


def run(adapters: list[Adapter], options: argparse.Namespace) -> dict[str, Any]:
    names = [uuid_of(f"cpu {at}") for at in range(CONVERSATIONS)]
    adapters = [adapter for adapter in adapters if not adapter.name.startswith("floor")]
    for adapter in adapters:
        for name in names:
            finish(adapter.seed(name, conversation(20)))
            finish(adapter.settle(name))
            finish(adapter.window(name))
    return {
        str(count): _table(adapters, names, count, options.seconds / 2)
        for count in options.workers or [1, 4, 16, 64]
    }


def _table(adapters: list[Adapter], names: list[str], count: int, seconds: float) -> dict[str, Any]:
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    shares = [names[at::count] for at in range(count)]
    for _ in range(ROUNDS):
        for adapter in random.sample(adapters, len(adapters)):
            found[adapter.name].append(_measured(adapter, shares, seconds))
    print(f"\n{count} workers: microseconds of CPU a turn, and turns a second; all places beside the limit's")
    rows = {name: _median(slices) for name, slices in found.items()}
    for adapter in adapters:
        row = rows[adapter.name]
        base = rows.get(adapter.limit)
        ratio = f"x{row['all'] / base['all']:.2f}" if base else ""
        cells = "".join(f"{place} {row[place]:6.0f}  " for place in PLACES)
        print(f"{adapter.name:28}{cells}all {row['all']:6.0f} {ratio:>6}  {row['turns_per_s']:7.0f}/s")
    return rows


def _measured(adapter: Adapter, shares: list[list[str]], seconds: float) -> dict[str, float]:
    before, mine = _spent(), resource.getrusage(resource.RUSAGE_SELF)
    taken, lasted, _ = (
        LOOP.run_until_complete(workers.tasks(adapter, shares, seconds))
        if adapter.is_async
        else workers.threads(adapter, shares, seconds)
    )
    now, after = resource.getrusage(resource.RUSAGE_SELF), _spent()
    turns, found = max(1, len(taken)), dict.fromkeys(PLACES, 0.0)
    found["user"] = (now.ru_utime - mine.ru_utime) / turns * 1e6
    found["system"] = (now.ru_stime - mine.ru_stime) / turns * 1e6
    for (pid, place), spent in after.items():
        found[place] += (spent - before.get((pid, place), 0)) / turns / 1000
    return found | {"all": sum(found.values()), "turns_per_s": turns / lasted}


def _median(slices: list[dict[str, float]]) -> dict[str, float]:
    return {name: sorted(one[name] for one in slices)[len(slices) // 2] for name in slices[0]}


def _spent() -> dict[tuple[int, str], int]:
    """Nanoseconds that each process of the two servers, which run on this machine, was on a CPU so far."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as conn:
        postmaster = _parent(conn.info.backend_pid)
    with redis.Redis.from_url(redis_url()) as client:
        known = {client.info("server")["process_id"]: "Redis"}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and postmaster > 1 and _parent(int(entry.name)) == postmaster:
            known[int(entry.name)] = "PostgreSQL"
    return {(pid, place): _on_cpu(pid) for pid, place in known.items()}


def _parent(pid: int) -> int:
    """The process that started this one; 0 where it has ended, or runs elsewhere."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _on_cpu(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()[0])
    except OSError:
        return 0
