"""Bytes a message takes in each server, after ten conversations of 100 turns written turn by turn."""

from __future__ import annotations

import argparse
import time
from typing import Any

import psycopg
import redis
from adapter import Adapter
from servers import database_url, redis_url
from texts import conversation, turns, uuid_of
from timing import finish

CONVERSATIONS = 10
TURNS = 100


def run(adapters: list[Adapter], _options: argparse.Namespace) -> dict[str, Any]:
    print("\nbytes a message of 400 bytes takes")
    return {adapter.name: _measure(adapter) for adapter in adapters}


def _measure(adapter: Adapter) -> dict[str, float]:
    before = _sizes(adapter)
    for at in range(CONVERSATIONS):
        name = uuid_of(f"storage {time.time_ns()} {at}")
        finish(adapter.seed(name, conversation(2)))
        finish(adapter.window(name))
        for turn in turns(TURNS)[1:]:
            finish(adapter.append(name, turn))
    grown = {
        what: (size - before[what]) / (2 * CONVERSATIONS * TURNS) for what, size in _sizes(adapter).items()
    }
    print(f"{adapter.name:28}", *(f"{what} {size:>6.0f}" for what, size in grown.items()))
    return grown


def _sizes(adapter: Adapter) -> dict[str, int]:
    sizes: dict[str, int] = {}
    if adapter.database:
        with psycopg.connect(database_url(adapter.database), autocommit=True) as conn:
            [size] = conn.execute("SELECT pg_database_size(current_database())").fetchone() or [0]
            sizes["PostgreSQL"] = size
    if adapter.uses_redis:
        with redis.Redis.from_url(redis_url()) as client:
            sizes["Redis"] = int(client.info("memory")["used_memory_dataset"])
    return sizes
