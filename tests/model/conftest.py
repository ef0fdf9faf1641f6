"""A world for each test: real servers, and a stage on which nothing moves unless it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from uuid import uuid4

import psycopg
import pytest

from convmemory import PostgresStore, Settings
from model.hot import HeldRun, Hot
from model.world import HARD, World

MakeWorld = Callable[..., World]
CLOCKS = ("tiered", "lookout", "reading", "journaling", "journal_scripts", "draining")
SLEEPERS = ("prober", "draining")
AGES = 600_000


@pytest.fixture(scope="session")
def model_schema(database_url: str) -> Iterator[str]:
    """A schema with its tables, for every world of this worker."""
    name = f"t_{uuid4().hex[:12]}"
    PostgresStore(database_url, Settings(db_schema=name)).init_schema()
    yield name
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def make_world(
    database_url: str, model_schema: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeWorld]:
    """A function that makes a world; without a Redis of its own, over the one all tests share."""
    loop = asyncio.new_event_loop()
    worlds: list[World] = []

    def make(hot: Hot | None = None, kind: type[World] = World, **about: object) -> World:
        prefix = f"t{uuid4().hex[:12]}:"
        settings = Settings(
            db_schema=model_schema,
            key_prefix=prefix,
            max_history_messages=2,
            hard_max_messages=HARD,
            pool_max=2,
        )
        hot = hot or HeldRun(request.getfixturevalue("redis_url"), prefix, **about)
        world = kind(loop, database_url, settings, hot)
        worlds.append(world)
        for module in CLOCKS:
            monkeypatch.setattr(f"convmemory._async.{module}.time", world)
        for module in SLEEPERS:
            monkeypatch.setattr(f"convmemory._async.{module}.asleep", world.asleep)
        monkeypatch.setattr("convmemory.windows.telling.LEASE", AGES)
        # who is cancelled here is a process that ends: it marks nothing behind anybody
        monkeypatch.setattr("convmemory._async.untold.AsyncUntold.broke_off", lambda *_: None)
        return world

    yield make
    for world in worlds:
        world.close()
    loop.close()
