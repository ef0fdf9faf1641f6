"""The pair the suite runs over: the embedded servers, or whatever the environment names (see scripts/matrix).

CONVMEMORY_TEST_DATABASE_URL, CONVMEMORY_TEST_REDIS_URL   the servers
CONVMEMORY_TEST_REDIS_ADMIN_URL      Redis for the tests' own looks, where the other URL's user may do little
CONVMEMORY_TEST_REDIS_RETURNS=1      a Redis that is shut down comes back, or another takes over
CONVMEMORY_PREPARE_THRESHOLD=none    behind a pooler in transaction mode
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import RedisCluster
from redis.sentinel import SentinelConnectionPool

from convmemory import Settings
from convmemory._sync.redis_connections import RedisLink
from convmemory.ids import conversation_key
from fix_memory import Keyspace, MakeMemory, installation, namespace
from fix_servers import REDIS_URL, same_binaries
from torture.servers import READY, Hot, wait_for

from .pairs import Returning

Outage = Callable[[str, str], None]


@pytest.fixture
def as_set() -> dict[str, Any]:
    """The settings these servers need."""
    return {"prepare_threshold": Settings.from_env().prepare_threshold}


@pytest.fixture
async def memory(schema: str, make_memory: MakeMemory, as_set: dict[str, Any]) -> Any:
    return await make_memory(**as_set)


@pytest.fixture
def keyspace(redis_url: str, key_prefix: str, database_url: str, schema_name: str) -> Iterator[Keyspace]:
    with _admin(os.environ.get("CONVMEMORY_TEST_REDIS_ADMIN_URL") or redis_url) as client:
        yield Keyspace(client, key_prefix, lambda: installation(database_url, schema_name))


@pytest.fixture
def mortal_redis(tmp_path: Path, redis_url: str) -> Iterator[str]:
    """The URL of a Redis that may be shut down: it comes back by itself."""
    returns = os.environ.get("CONVMEMORY_TEST_REDIS_RETURNS", "0")
    if returns == "1":
        yield redis_url
        return
    if REDIS_URL and not returns:
        pytest.skip("this Redis does not come back with all that was set up in it")
    with same_binaries():
        server = Hot(tmp_path / "redis", "--appendonly", "yes")
    server.start()
    with ExitStack() as stack:
        stack.callback(server.end)
        stack.enter_context(Returning([server]))
        yield server.url


@pytest.fixture
def shut_down(mortal_redis: str, key_prefix: str, database_url: str, schema_name: str) -> Iterator[Outage]:
    """Shut down the server that holds a conversation's window; it returns, or another takes over."""
    with _admin(mortal_redis) as client:

        def shut(conversation_id: str, user_id: str) -> None:
            keyspace = Keyspace(client, key_prefix, lambda: installation(database_url, schema_name))
            key = conversation_key(conversation_id, user_id)
            key.settle(namespace(database_url, schema_name))
            window = keyspace.window(key.uuid)
            if isinstance(client, RedisCluster):
                client.get_redis_connection(client.get_node_from_key(window)).shutdown(nosave=True)
                return
            if isinstance(client.connection_pool, SentinelConnectionPool):
                wait_for(
                    lambda: _has_an_heir(client.connection_pool), READY, "no replica is fit to take over"
                )
            client.shutdown(nosave=True)

        yield shut


def _has_an_heir(pool: SentinelConnectionPool) -> bool:
    """Whether every Sentinel knows a replica that could take over."""
    asked = (one.sentinel_slaves(pool.service_name) for one in pool.sentinel_manager.sentinels)
    return all(any(not r["is_sdown"] and r["master-link-status"] == "ok" for r in found) for found in asked)


class _admin:  # noqa: N801 - reads as a word: `with _admin(url) as client:`
    """A client past the library's own, of whatever kind of Redis the URL names."""

    def __init__(self, url: str) -> None:
        self._link = RedisLink(url, Settings(redis_timeout=5))

    def __enter__(self) -> Any:
        return self._link.client()

    def __exit__(self, *_error: object) -> None:
        self._link.close()
