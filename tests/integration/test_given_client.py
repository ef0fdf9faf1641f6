"""Ready clients of redis-py: whatever they were told, one like them stands in, with connections of the memory's own."""

from __future__ import annotations

import asyncio
import json
import os
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from convmemory import AsyncRedisStore, ConfigurationError, ConversationMemory, RedisStore
from fix_memory import texts
from fix_servers import same_binaries
from torture.servers import Hot

PATIENT = {"blocking": Retry(ConstantBackoff(4), 5), "awaited": AsyncRetry(ConstantBackoff(4), 5)}


def client(colour, url, **options):
    return (redis.asyncio if colour == "awaited" else redis).Redis.from_url(url, **options)


async def warm(memory) -> None:
    await memory.save_message("c", "user", "hello", user_id="ana")
    for _ in range(2):
        await memory.get_history("c", user_id="ana")
    assert memory.redis.health.counters.hits


@pytest.mark.parametrize("mode", ["refuse", "blackhole"])
async def test_a_client_that_waits_and_tries_again_for_long_holds_nobody_up(
    schema, make_memory, colour, redis_proxy, mode
):
    patient = client(colour, redis_proxy.url, retry=PATIENT[colour], retry_on_error=[redis.TimeoutError])
    memory = await make_memory(redis=patient, redis_timeout=0.3)
    await warm(memory)
    redis_proxy.mode = mode
    redis_proxy.reset_all()
    began = time.monotonic()
    seen = [texts(await memory.get_history("c", user_id="ana")) for _ in range(5)]

    assert seen == [["hello"]] * 5
    assert time.monotonic() - began < 4  # one more attempt of the client's own would be as long
    assert memory.redis.health.open


async def test_a_client_keeps_the_time_out_that_it_was_given(schema, make_memory, colour, redis_proxy):
    memory = await make_memory(redis=client(colour, redis_proxy.url, socket_timeout=0.2), redis_timeout=60)
    await warm(memory)
    redis_proxy.mode = "drop_replies"
    began = time.monotonic()

    assert texts(await memory.get_history("c", user_id="ana")) == ["hello"]
    assert time.monotonic() - began < 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.parametrize(
    "pool", [redis.ConnectionPool, type("Pool", (redis.ConnectionPool,), {})], ids=["plain", "own"]
)
def test_forked_processes_do_not_share_the_one_connection_of_a_client(
    schema, database_url, redis_url, key_prefix, pool
):
    alone = redis.Redis(connection_pool=pool.from_url(redis_url), single_connection_client=True)
    with ConversationMemory.from_url(
        database_url, alone, db_schema=schema, key_prefix=key_prefix, redis_timeout=5
    ) as memory:
        for user in ("ana", "bob"):
            memory.save_message("c", "user", user, user_id=user)
        children = [forked(memory, user) for user in ("ana", "bob")]
        assert [found(child) for child in children] == [["ana"], ["bob"]]
        assert texts(memory.get_history("c", user_id="ana")) == ["ana"]
    assert alone.ping()
    alone.close()


def forked(memory, user):
    """A process that reads for a second; what it saw that was not its user's alone, or whose words these are."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            said, end = {user}, time.monotonic() + 1
            while time.monotonic() < end:
                said |= set(texts(memory.get_history("c", user_id=user)))
                session = memory.create_session(user)
                said.add(memory.get_session(session.session_id).user_id)
        except BaseException as error:
            said = {repr(error)}
        os.write(writer, json.dumps(sorted(said)).encode())
        os._exit(0)
    os.close(writer)
    return pid, reader


def found(child):
    pid, reader = child
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(said)


def test_a_client_of_one_connection_serves_threads_beside_each_other(
    schema, database_url, redis_url, key_prefix
):
    alone = redis.Redis.from_url(redis_url, single_connection_client=True)
    places = {"db_schema": schema, "key_prefix": key_prefix, "redis_timeout": 5}
    with ConversationMemory.from_url(database_url, alone, **places) as memory, ThreadPoolExecutor(8) as pool:
        users = [f"u{number % 8}" for number in range(80)]
        sessions = list(pool.map(memory.create_session, users))
        assert [memory.get_session(one.session_id).user_id for one in sessions] == users
    alone.close()


@pytest.mark.parametrize("store", [RedisStore, AsyncRedisStore])
def test_what_only_looks_like_a_client_is_refused(store):
    """Clients of other libraries have the same verbs, and errors of their own, which nobody here knows."""

    class Blocking:
        """One of another library."""

        def execute_command(self): ...

        def pipeline(self): ...

    class Awaited(Blocking):
        """One of another library, awaited."""

        async def execute_command(self): ...

    with pytest.raises(ConfigurationError, match="does not fit here"):
        store(Awaited() if store is AsyncRedisStore else Blocking())


@pytest.fixture
def pair(tmp_path):
    with same_binaries():
        servers = [Hot(tmp_path / name, "--appendonly", "no") for name in ("one", "two")]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.end()


@pytest.mark.parametrize("given", [False, True])
async def test_a_name_that_moves_is_followed_though_connections_to_the_former_primary_live_on(
    schema, make_memory, make_proxy, colour, pair, given
):
    """As with a managed Redis behind a name: what was the primary takes no writes, and hangs up on nobody."""
    one, two = pair
    proxy = make_proxy(one.url)
    memory = await make_memory(redis=client(colour, proxy.url) if given else proxy.url, redis_timeout=5)
    await warm(memory)
    session = await memory.create_session("ana")
    await asyncio.gather(*(memory.get_session(session.session_id) for _ in range(5)))

    proxy.lead_to(two.url, cut=False)
    one.client.replicaof("127.0.0.1", str(two.port))
    deadline = time.monotonic() + 30
    hits = memory.redis.health.counters.hits
    while memory.redis.health.counters.hits == hits:
        assert time.monotonic() < deadline, await memory.check()
        assert texts(await memory.get_history("c", user_id="ana")) == ["hello"]
        await asyncio.sleep(0.05)
    assert await memory.create_session("ana")


async def test_the_first_call_after_all_connections_were_cut_goes_through(
    schema, make_memory, colour, redis_proxy
):
    memory = await make_memory(redis=client(colour, redis_proxy.url), redis_timeout=5)
    await asyncio.gather(*(memory.create_session("ana") for _ in range(5)))
    for _ in range(5):
        redis_proxy.reset_all()
        assert await memory.create_session("ana")
    assert memory.redis.health.counters.failures == 0
