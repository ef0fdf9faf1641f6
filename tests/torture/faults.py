"""What is done to the servers, the network and the workers, and to which tier each of it is a fault."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from fix_proxy import Proxy
from redis.exceptions import RedisError

from torture.crew import Crew
from torture.sentinel import SentinelSet
from torture.servers import Hot, Postgres, family, wait_for

REDIS, POSTGRES = "redis", "postgres"
BALLAST = "ballast"


@dataclass
class Scene:
    """Everything a fault can be done to."""

    postgres: Postgres
    redis: Hot
    postgres_proxy: Proxy
    redis_proxy: Proxy
    crew: Crew
    schema: str
    prefix: str
    chance: random.Random
    sentinels: SentinelSet | None = None

    def rest(self, low: float, high: float) -> None:
        time.sleep(self.chance.uniform(low, high))


@dataclass(frozen=True)
class Kind:
    """A kind of fault: ``act`` returns when the tier can be used again, ``after`` makes ready for the next one.

    Those of one lane come one after the other; those of different lanes may overlap.
    """

    name: str
    lane: str
    tiers: frozenset[str]
    act: Callable[[Scene], str | None]
    after: Callable[[Scene], None] | None = None


def kill_postgres(scene: Scene) -> None:
    """kill -9 of the server and of all its backends."""
    scene.postgres.kill()
    scene.rest(0.2, 1.0)
    scene.postgres.start()


def kill_backend(scene: Scene) -> None:
    """kill -9 of one backend: PostgreSQL ends all the others and recovers by itself."""
    victims = family(scene.postgres.pid)[1:]
    with suppress(ProcessLookupError):
        os.kill(victims[-1], 9)
    scene.rest(0.05, 0.1)
    wait_for(scene.postgres.answers, 20, "PostgreSQL did not recover from a killed backend")


def stop_postgres(scene: Scene) -> None:
    """SIGSTOP for longer than every deadline of a client."""
    with scene.postgres.stopped():
        scene.rest(3.5, 4.5)


def kill_redis(scene: Scene) -> None:
    """kill -9; it comes back empty, as without persistence."""
    scene.redis.kill()
    scene.rest(0.0, 0.8)
    scene.redis.forget()
    scene.redis.start()


def rewind_redis(scene: Scene) -> None:
    """kill -9; it comes back with an append-only file whose last part is lost: with windows of a while ago."""
    sizes = scene.redis.sizes()
    scene.rest(0.1, 0.9)
    scene.redis.kill()
    scene.redis.cut_back(sizes)
    scene.rest(0.0, 0.3)
    scene.redis.start()


def stop_redis(scene: Scene) -> None:
    """SIGSTOP for longer than every deadline: what was sent meanwhile is carried out afterwards."""
    with scene.redis.stopped():
        scene.rest(0.5, 2.0)


def _cut(proxy: Proxy, scene: Scene) -> None:
    """Connections are reset: where a reply was due (so that what it answers happened), and in the middle of anything."""
    for _ in range(8):
        proxy.mode = "cut_reply"
        scene.rest(0.05, 0.15)
        proxy.mode = "pass"
        proxy.reset_all()
        scene.rest(0.0, 0.1)


def cut_postgres(scene: Scene) -> None:
    _cut(scene.postgres_proxy, scene)


def cut_redis(scene: Scene) -> None:
    _cut(scene.redis_proxy, scene)


@contextmanager
def _mode(proxy: Proxy, mode: str) -> Any:
    proxy.mode = mode
    try:
        yield
    finally:
        proxy.mode = "blackhole"
        proxy.reset_all()
        proxy.mode = "pass"
        proxy.reset_all()  # no connection that lost bytes may go on with the next ones


def delay_postgres(scene: Scene) -> None:
    """Requests and replies arrive after the client has given up waiting."""
    scene.postgres_proxy.latency = 2.0
    with _mode(scene.postgres_proxy, "latency"):
        scene.rest(3.5, 4.5)


def delay_redis(scene: Scene) -> None:
    """Requests and replies arrive after the client has given up waiting, and drivers may try again."""
    scene.redis_proxy.latency = 0.25
    with _mode(scene.redis_proxy, "latency"):
        scene.rest(1.0, 2.0)


def part_redis(scene: Scene) -> None:
    """Some workers cannot reach Redis, the others can."""
    with _mode(scene.redis_proxy, scene.chance.choice(("blackhole", "drop_replies"))):
        scene.rest(0.8, 2.0)


def part_postgres(scene: Scene) -> None:
    """Some workers cannot reach PostgreSQL, the others can."""
    with _mode(scene.postgres_proxy, scene.chance.choice(("blackhole", "drop_replies", "refuse"))):
        scene.rest(1.0, 2.5)


def exhaust_pool(scene: Scene) -> None:
    """Rows that many want stay locked, until every connection of every pool waits for one of them."""
    with suppress(psycopg.Error), scene.postgres.connect() as conn, conn.transaction():
        table = psycopg.sql.Identifier(scene.schema, "conversations")
        busy = psycopg.sql.SQL("SELECT 1 FROM {} ORDER BY updated_at DESC LIMIT 12 FOR UPDATE").format(table)
        conn.execute(busy)
        scene.rest(2.2, 2.8)


def fill_disk(scene: Scene) -> None:
    """Not a byte is left where PostgreSQL keeps its data and its log."""
    ballast = scene.postgres.directory / BALLAST
    try:
        _fill(ballast)
        scene.rest(1.0, 1.5)
    finally:
        ballast.unlink()
    if not scene.postgres.alive:
        scene.postgres.start()
    wait_for(scene.postgres.answers, 20, "PostgreSQL did not recover from a full disk")


def _fill(path: Path) -> None:
    """Take every byte that is free, and what becomes free meanwhile."""
    with path.open("wb") as file:
        taken = 0
        for piece in (_free(path), *([1 << 16] * 64), *([1 << 12] * 16)):
            with suppress(OSError):
                os.posix_fallocate(file.fileno(), taken, piece)
                taken += piece


def _free(path: Path) -> int:
    space = os.statvfs(path)
    return space.f_bavail * space.f_frsize


def flush(scene: Scene) -> None:
    """FLUSHALL, twice in a row at least."""
    for _ in range(scene.chance.randint(2, 5)):
        _redis(scene, "FLUSHALL")
        scene.rest(0.0, 0.1)


def _evict(policy: str) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        """Memory for a fraction of the windows, and somebody who fills it."""
        used = int(_redis(scene, "INFO", "memory").get("used_memory", 1 << 21))
        _redis(scene, "CONFIG", "SET", "maxmemory-policy", policy)
        _redis(scene, "CONFIG", "SET", "maxmemory", str(used + (64 << 10)))
        try:
            for at in range(scene.chance.randint(10, 20)):
                _redis(scene, "SET", f"ballast:{at}", "x" * (16 << 10), "PX", "3000")
                scene.rest(0.02, 0.08)
        finally:
            _redis(scene, "CONFIG", "SET", "maxmemory", "0")

    return act


def expire(scene: Scene) -> None:
    """Windows end their life in the middle of whatever goes on."""
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        keys = list(
            _redis(scene, "SCAN", "0", "MATCH", f"{scene.prefix}history:*", "COUNT", "1000") or [0, []]
        )[1]
        for key in scene.chance.sample(keys, min(len(keys), 12)):
            _redis(scene, "PEXPIRE", key, str(scene.chance.randint(1, 20)))
        scene.rest(0.0, 0.05)


def _redis(scene: Scene, *words: str) -> Any:
    """One command past every proxy; nothing where Redis is away, as it may be."""
    with suppress(RedisError):
        return scene.redis.client.execute_command(*words)
    return {}


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


def _kind(name: str, lane: str, act: Callable[[Scene], str | None], *tiers: str) -> Kind:
    return Kind(name, lane, frozenset(tiers), act, mend if act is fail_over else None)


KINDS = {
    kind.name: kind
    for kind in (
        _kind("kill-postgres", "server", kill_postgres, POSTGRES),
        _kind("kill-backend", "server", kill_backend, POSTGRES),
        _kind("stop-postgres", "server", stop_postgres, POSTGRES),
        _kind("kill-redis", "server", kill_redis, REDIS),
        _kind("rewind-redis", "server", rewind_redis, REDIS),
        _kind("stop-redis", "server", stop_redis, REDIS),
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
        _kind("kill-worker", "worker", kill_worker),
        _kind("crash-worker", "worker", crash_worker),
        _kind("stop-worker", "worker", stop_worker),
        _kind("jump-clock", "worker", jump_clock),
        _kind("fail-over", "sentinel", fail_over, REDIS),
    )
}
