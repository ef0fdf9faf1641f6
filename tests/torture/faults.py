"""What is done to the data in Redis and to the workers, and the list of all faults."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import LiteralString

import psycopg
from psycopg import sql

from torture.outages import (
    copy_redis,
    cut_postgres,
    cut_redis,
    delay_postgres,
    delay_redis,
    exhaust_pool,
    fill_disk,
    kill_backend,
    kill_postgres,
    kill_redis,
    outlast_journals,
    part_postgres,
    part_redis,
    restart_redis,
    rewind_redis,
    stop_postgres,
    stop_redis,
)
from torture.scene import COPY, POSTGRES, REDIS, Kind, Scene


def flush(scene: Scene) -> None:
    """FLUSHALL, twice in a row at least."""
    for _ in range(scene.chance.randint(2, 5)):
        scene.ask_redis("FLUSHALL")
        scene.rest(0.0, 0.1)


def _evict(policy: str) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        """Memory for a fraction of the windows, and somebody who fills it."""
        used = int(scene.ask_redis("INFO", "memory").get("used_memory", 1 << 21))
        scene.ask_redis("CONFIG", "SET", "maxmemory-policy", policy)
        scene.ask_redis("CONFIG", "SET", "maxmemory", str(used + (64 << 10)))
        try:
            for at in range(scene.chance.randint(10, 20)):
                scene.ask_redis("SET", f"ballast:{at}", "x" * (16 << 10), "PX", "3000")
                scene.rest(0.02, 0.08)
        finally:
            scene.ask_redis("CONFIG", "SET", "maxmemory", "0")
            scene.ask_redis("CONFIG", "SET", "maxmemory-policy", "noeviction")

    return act


def expire(scene: Scene) -> None:
    """Windows end their life in the middle of whatever goes on."""
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        keys = list(
            scene.ask_redis("SCAN", "0", "MATCH", f"{scene.prefix}*history:*:recent", "COUNT", "1000")
            or [0, []]
        )[1]
        for key in scene.chance.sample(keys, min(len(keys), 12)):
            scene.ask_redis("PEXPIRE", key, str(scene.chance.randint(1, 20)))
        scene.rest(0.0, 0.05)


def forget_caches(scene: Scene) -> None:
    """Somebody deletes the rows of caches, as after a restore."""
    for _ in range(scene.chance.randint(1, 3)):
        _by_hand(scene, "DELETE FROM {}.caches")
        scene.rest(0.0, 0.3)


def delete_by_hand(scene: Scene) -> None:
    """Somebody deletes conversations at psql: some of those that are cleared now and then anyway."""
    for _ in range(3):
        _by_hand(scene, "DELETE FROM {}.conversations WHERE external_id ~ 's(6|16|26)$' AND random() < 0.3")
        scene.rest(0.1, 0.3)


def _by_hand(scene: Scene, statement: LiteralString) -> None:
    with suppress(psycopg.Error), scene.postgres.connect() as conn:
        conn.execute(sql.SQL(statement).format(sql.Identifier(scene.schema)))


def kill_worker(scene: Scene) -> None:
    for _ in range(2):
        scene.crew.kill(scene.chance)
        scene.rest(0.1, 0.4)


def crash_worker(scene: Scene) -> None:
    """Workers die between two steps of a store: after the commit and before the publish, say."""
    for _ in range(3):
        scene.crew.crash(scene.chance)
        scene.rest(0.1, 0.3)


def stop_worker(scene: Scene) -> str:
    """SIGSTOP for longer than a lease lasts; returns whose."""
    with scene.crew.stopped(scene.chance) as victim:
        scene.rest(5.2, 6.0)
    return victim


def jump_clock(scene: Scene) -> None:
    for _ in range(3):
        scene.crew.jump(scene.chance)
        scene.rest(0.05, 0.2)


def fail_over(scene: Scene) -> None:
    """kill -9 of the primary; the Sentinels agree on its replica, and it comes back as a replica."""
    assert scene.sentinels
    scene.sentinels.fail_over()


def mend(scene: Scene) -> None:
    assert scene.sentinels
    scene.sentinels.mend()


def promote(scene: Scene) -> None:
    """kill -9 of PostgreSQL's primary; its replica takes over, without the last commits."""
    assert scene.succession
    scene.succession.promote(scene.chance)


def follow(scene: Scene) -> None:
    assert scene.succession
    scene.succession.mend()


OF_JOURNALS = {"outage", "restart-redis"}
"""Faults that only writers to journals have to live with; the others live through worse."""
LOSES = {"kill-redis", "rewind-redis", "flush", "evict-lru", "evict-random", "copy-redis", "fail-over"}
"""Faults in which Redis may lose what it has acknowledged."""
_AFTER = {fail_over: mend, promote: follow}


def _kind(name: str, lane: str, act: Callable[[Scene], str | None], *tiers: str) -> Kind:
    return Kind(name, lane, frozenset(tiers), act, _AFTER.get(act))


KINDS = {
    kind.name: kind
    for kind in (
        _kind("kill-postgres", "server", kill_postgres, POSTGRES),
        _kind("kill-backend", "server", kill_backend, POSTGRES),
        _kind("stop-postgres", "server", stop_postgres, POSTGRES),
        _kind("kill-redis", "server", kill_redis, REDIS),
        _kind("rewind-redis", "server", rewind_redis, REDIS),
        _kind("stop-redis", "server", stop_redis, REDIS),
        _kind("copy-redis", "server", copy_redis, REDIS, COPY),
        _kind("cut-postgres", "server", cut_postgres, POSTGRES),
        _kind("cut-redis", "server", cut_redis, REDIS),
        _kind("delay-postgres", "server", delay_postgres, POSTGRES),
        _kind("delay-redis", "server", delay_redis, REDIS),
        _kind("part-postgres", "server", part_postgres, POSTGRES),
        _kind("part-redis", "server", part_redis, REDIS),
        _kind("exhaust-pool", "server", exhaust_pool, POSTGRES),
        _kind("fill-disk", "server", fill_disk, POSTGRES),
        _kind("flush", "light", flush),
        _kind("evict-lru", "light", _evict("allkeys-lru")),
        _kind("evict-random", "light", _evict("allkeys-random")),
        _kind("expire", "light", expire),
        _kind("forget-caches", "light", forget_caches),
        _kind("delete-by-hand", "light", delete_by_hand),
        _kind("kill-worker", "worker", kill_worker),
        _kind("crash-worker", "worker", crash_worker),
        _kind("stop-worker", "worker", stop_worker),
        _kind("jump-clock", "worker", jump_clock),
        _kind("fail-over", "sentinel", fail_over, REDIS),
        _kind("promote", "succession", promote, POSTGRES),
        _kind("outage", "server", outlast_journals, POSTGRES),
        _kind("restart-redis", "server", restart_redis, REDIS),
    )
}
