"""Servers that die, stand still or have no room left, and connections that break, stall or lead nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg import sql

from fix_proxy import Proxy
from torture.scene import Scene
from torture.servers import READY, family, wait_for

BALLAST = "ballast"


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
    wait_for(scene.postgres.answers, READY, "PostgreSQL did not recover from a killed backend")


def stop_postgres(scene: Scene) -> None:
    """SIGSTOP for longer than every deadline of a client."""
    with scene.postgres.stopped():
        scene.rest(2.2, 2.4)


def outlast_journals(scene: Scene) -> None:
    """SIGSTOP for longer than a journal has room for what the busiest conversations are told."""
    with scene.postgres.stopped():
        scene.rest(6.0, 8.0)


def restart_redis(scene: Scene) -> None:
    """kill -9; it comes back with everything that it had acknowledged."""
    scene.redis.kill()
    scene.rest(0.0, 0.3)
    scene.redis.start()


def kill_redis(scene: Scene) -> None:
    """kill -9; it comes back empty, as without persistence."""
    scene.redis.kill()
    scene.rest(0.0, 0.8)
    scene.redis.forget()
    scene.redis.start()


def rewind_redis(scene: Scene) -> None:
    """kill -9; it comes back with an append-only file whose last part is lost: with windows of a while ago."""
    sizes = scene.redis.sizes()
    scene.rest(0.1, 0.6)
    scene.redis.kill()
    scene.redis.cut_back(sizes)
    scene.rest(0.0, 0.3)
    scene.redis.start()


def stop_redis(scene: Scene) -> None:
    """SIGSTOP for longer than every deadline: what was sent meanwhile is carried out afterwards."""
    with scene.redis.stopped():
        scene.rest(0.5, 1.5)


def copy_redis(scene: Scene) -> None:
    """The name some workers know leads to a copy of Redis for a while, and back; both are alive."""
    with scene.redis.copied(promoted=scene.chance.random() < 0.5) as copy:
        scene.redis_proxy.lead_to(copy.url)
        scene.rest(2.0, 3.0)  # longer than everybody has until the next look
        scene.redis_proxy.lead_to(scene.redis.url)


def _cut(proxy: Proxy, scene: Scene) -> None:
    """Connections are reset: where a reply was due (so that what it answers happened), and in the middle of anything."""
    for _ in range(6):
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
def _mode(proxy: Proxy, mode: str) -> Iterator[None]:
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
    scene.postgres_proxy.latency = 0.9
    with _mode(scene.postgres_proxy, "latency"):
        scene.rest(2.0, 2.2)


def delay_redis(scene: Scene) -> None:
    """Requests and replies arrive after the client has given up waiting, and drivers may try again."""
    scene.redis_proxy.latency = 0.25
    with _mode(scene.redis_proxy, "latency"):
        scene.rest(0.8, 1.4)


def part_redis(scene: Scene) -> None:
    """Some workers cannot reach Redis, the others can."""
    with _mode(scene.redis_proxy, scene.chance.choice(("blackhole", "drop_replies"))):
        scene.rest(0.6, 1.4)


def part_postgres(scene: Scene) -> None:
    """Some workers cannot reach PostgreSQL, the others can."""
    with _mode(scene.postgres_proxy, scene.chance.choice(("blackhole", "drop_replies", "refuse"))):
        scene.rest(0.8, 1.6)


def exhaust_pool(scene: Scene) -> None:
    """Rows that many want stay locked, until every connection of every pool waits for one of them."""
    with suppress(psycopg.Error), scene.postgres.connect() as conn, conn.transaction():
        table = sql.Identifier(scene.schema, "conversations")
        busy = sql.SQL("SELECT 1 FROM {} ORDER BY updated_at DESC LIMIT 12 FOR UPDATE").format(table)
        conn.execute(busy)
        scene.rest(1.4, 1.6)


def fill_disk(scene: Scene) -> None:
    """Not a byte is left where PostgreSQL keeps its data and its log."""
    ballast = scene.postgres.directory / BALLAST
    try:
        _fill(ballast)
        scene.rest(0.6, 1.0)
    finally:
        ballast.unlink()
    if not scene.postgres.alive:
        scene.postgres.start()
    wait_for(scene.postgres.answers, READY, "PostgreSQL did not recover from a full disk")


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
