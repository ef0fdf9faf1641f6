"""The torture run itself: ten seconds of it in each colour, and what it must not let pass.

The whole of it: ``scripts/torture --seconds 300``. Every known mistake: ``scripts/test -m torture``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from convmemory import ConversationMemory
from convmemory._sync.tiered import TieredStore
from convmemory.drafts import drafts_of
from convmemory.ids import ConversationKey, conversation_key
from torture.mutants import MUTANTS
from torture.naive import NaiveStore

pytestmark = pytest.mark.usefixtures("unmeasured")
ROOT = Path(__file__).parents[2]
QUICK = ("kill-redis", "kill-backend", "flush", "expire", "kill-worker", "crash-worker", "jump-clock")


def torture(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(ROOT / name) for name in ("src", "tests"))
    environment = {"CONVMEMORY_BINARIES": "wheels"} | os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-m", "torture", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=280)


def report(run: subprocess.CompletedProcess[str], file: Path) -> dict[str, Any]:
    assert file.exists(), run.stderr
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_library_keeps_its_promise(mode: str, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    run = torture("--seconds", "10", "--mode", mode, "--only", ",".join(QUICK), "--json", str(file))
    found = report(run, file)
    assert found["first"] == []
    assert set(found["violations"].values()) == {0}
    assert found["failures"] == []
    assert {row["kind"] for row in found["faults"]} == set(QUICK)
    assert found["operations"]["append"] > 20  # hundreds, where nobody else uses the machine
    assert found["operations"]["read from Redis"] > 5
    assert (run.returncode, run.stderr) == (0, "")


def test_it_does_with_writers_to_journals(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    kinds = "flush,kill-worker,restart-redis,kill-backend"
    run = torture("--seconds", "8", "--journals", "--only", kinds, "--json", str(file))
    found = report(run, file)
    assert found["first"] == []
    assert found["failures"] == []
    assert found["operations"]["append"] > 10
    assert run.returncode == 0


def test_the_naive_cache_breaks_it_within_seconds(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    run = torture("--seconds", "3", "--only", "none", "--naive", "--json", str(file))
    violations = report(run, file)["violations"]
    assert violations["stale"] + violations["lost"] > 0
    assert run.returncode == 1


def test_an_unknown_fault_is_refused() -> None:
    run = torture("--only", "earthquake")
    assert run.returncode == 1
    assert "no such fault: earthquake" in run.stderr


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_still_finds_what_it_changes(name: str, redis_url: str) -> None:
    mutant = MUTANTS[name]
    assert mutant.rewritten() or mutant.restated() or mutant.remade() or mutant.store
    with Redis.from_url(redis_url) as server:
        for text in mutant.rewritten().values():
            server.script_load(text)  # which compiles it


STORES = [NaiveStore, *(mutant.store for mutant in MUTANTS.values() if mutant.store)]


@pytest.mark.parametrize("store", STORES)
def test_a_store_in_the_librarys_place_takes_what_the_librarys_takes(store: type[TieredStore]) -> None:
    changed = [name for name in vars(store) if name in dir(TieredStore) and not name.startswith("__")]
    assert changed or "__init__" in vars(store)
    for name in changed:
        given = [
            one for one in signature(getattr(TieredStore, name)).parameters.values() if one.name != "self"
        ]
        named = {one.name: None for one in given if one.kind is one.KEYWORD_ONLY}
        plain = [one.name for one in given if one.kind is one.POSITIONAL_OR_KEYWORD]
        signature(getattr(store, name)).bind(None, *plain, **named)


@pytest.mark.parametrize("store", STORES)
def test_a_store_in_the_librarys_place_fails_nobody(
    store: type[TieredStore], database_url: str, redis_url: str, schema: str, key_prefix: str
) -> None:
    """Or what is caught is that it does not work, and not what it does wrong."""
    drafts = drafts_of([("human", "hi"), ("ai", "ho")])

    def key() -> ConversationKey:
        """Made anew for each call, as a history makes it: what row a name means is not known yet."""
        return conversation_key("c", "ana")

    settings = {"db_schema": schema, "key_prefix": key_prefix}
    with ConversationMemory.from_url(database_url, redis_url, **settings) as memory:
        tiered = store(memory.postgres, memory.redis)
        for _ in range(21):  # one of them does it now and then
            tiered.append(key(), drafts, dept_id=None, since=None, idempotency_key=None)
            assert tiered.read(key(), 6, 200).entries
            assert tiered.read(key(), 200, 200, 2).entries
            assert tiered.read(key(), None, 200).entries
        tiered.clear(key())
        tiered.append(key(), drafts)
        tiered.delete(key())
        assert memory.redis is not None
        assert memory.redis.health.counters.failures == memory.postgres.health.counters.failures == 0


@pytest.mark.torture
def test_every_known_mistake_is_caught_and_the_library_is_not() -> None:
    run = torture("--prove", "all")
    assert run.returncode == 0, run.stdout + run.stderr
    lines = [line for line in run.stdout.splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in lines] == ["library", "journals", "naive", *MUTANTS]
