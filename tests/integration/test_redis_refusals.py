"""A Redis that answers and is not all it should be: busy with us, or allowing less than windows and sessions need."""

import asyncio
import logging
import re
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import redis
import redis.asyncio
from redis import Redis

from convmemory import (
    AsyncConversationMemory,
    AsyncRedisStore,
    ConfigurationError,
    RedisStore,
    StorageError,
    StorageUnavailable,
)
from convmemory.windows import trust
from fix_memory import texts

NEEDED = "+@all"
PAGE = Path(__file__).parents[2] / "docs/how-to/production.md"


@pytest.fixture
def limited(redis_url):
    """A function that makes a user who may do everything but these; the URL that connects as them."""
    made = []

    def make(*rules):
        name = f"u{uuid4().hex[:8]}"
        with Redis.from_url(redis_url) as admin:
            admin.execute_command("ACL", "SETUSER", name, "on", ">pw", "~*", NEEDED, *rules)
        made.append(name)
        parts = urlsplit(redis_url)
        if parts.scheme == "unix":
            return f"{redis_url}?username={name}&password=pw"
        return parts._replace(netloc=f"{name}:pw@{parts.netloc.rpartition('@')[2]}").geturl()

    yield make
    with Redis.from_url(redis_url) as admin:
        for name in made:
            admin.execute_command("ACL", "DELUSER", name)


async def used(memory, times=5):
    """Write and read some, and see that nothing is missing."""
    for number in range(times):
        await memory.save_message("c", "user", f"{number}", user_id="ana")
        assert texts(await memory.get_history("c", 1, user_id="ana")) == [f"{number}"]


@pytest.mark.parametrize(
    "rules", [["-info"], ["-hmget"], ["-hdel", "-hset"], ["-time"], ["-@write"], ["-eval", "-evalsha"]]
)
async def test_what_is_refused_is_said_once_and_told_by_check(schema, make_memory, limited, caplog, rules):
    memory = await make_memory(redis=limited(*rules))
    with caplog.at_level(logging.WARNING, "convmemory"):
        await used(memory)
        await memory.check()
        told = [record.getMessage() for record in caplog.records]
        await used(memory)
        found = await memory.check()

    assert told
    assert len({line.partition(":")[0] for line in told}) == len(told), "once each"
    assert [record.getMessage() for record in caplog.records] == told, "and not again"
    assert (found.status, found.ok) == ("degraded", True)
    assert found.redis.problem
    assert found.redis.breaker in ("refused", "open")
    assert "pw" not in found.redis.problem


async def test_sessions_work_where_only_windows_are_refused(schema, make_memory, limited):
    memory = await make_memory(redis=limited("-info"))
    await used(memory)
    session = await memory.create_session("ana")

    assert (await memory.get_session(session.id)).user_id == "ana"
    found = (await memory.check()).redis
    assert (found.reachable, found.breaker) == (True, "refused")
    assert "INFO" in found.problem


@pytest.mark.parametrize("ack", ["everysec", "always"])
async def test_what_the_page_says_is_all_that_writes_which_wait_need(
    schema, make_memory, redis_url, limited, caplog, ack
):
    page = PAGE.read_text("utf-8")
    [least] = re.findall(r"^ACL SETUSER app on >password ~convmemory:\* (.*)$", page, re.MULTILINE)
    [journals, always] = re.findall(
        r"every process needs `(.*)` too, .*\"always\"` also `(.*)`,$", page, re.MULTILINE
    )[0]
    with Redis.from_url(redis_url) as admin:
        before = {name: admin.config_get(name)[name] for name in ("appendonly", "appendfsync")}
        admin.config_set("appendonly", "yes")
        admin.config_set("appendfsync", ack)
        admin.acl_log_reset()
    more = always.split() if ack == "always" else []
    rules = ["-@all", *least.split(), *journals.split(), *more]
    try:
        memory = await make_memory(redis=limited(*rules), durability="journal", journal_ack=ack)
        for number in range(5):
            said = await memory.save_message("c", "user", f"{number}", user_id="ana")
            assert texts(await memory.get_history("c", 1, user_id="ana")) == [f"{number}"]
        assert said.pending
        assert await memory.journals.waiting() is not None
        await memory.journals.drain()
        assert (await memory.check()).status == "ok"
        assert not [record for record in caplog.records if "refuses" in record.getMessage()]
    finally:
        with Redis.from_url(redis_url) as admin:
            for name, value in before.items():
                admin.config_set(name, value)


async def test_what_waits_is_not_said_to_be_a_matter_of_sessions(schema, make_memory, limited, caplog):
    memory = await make_memory(redis=limited("-hlen"), durability="journal", journal_ack="memory")
    for number in range(3):
        await memory.save_message("c", "user", f"{number}", user_id="ana")
        await memory.get_history("c", user_id="ana")
        await memory.save_message("c", "user", f"{number} again", user_id="ana")

    assert len(await memory.get_messages("c", user_id="ana")) == 6
    assert "to accept messages, and writes that wait need it: HLEN" in caplog.text
    assert "sessions" not in caplog.text


async def test_a_fresh_check_finds_what_windows_will_need(schema, make_memory, limited):
    for command in ("hmget", "hget", "hdel", "time"):
        memory = await make_memory(redis=limited(f"-{command}"))
        found = await memory.check()
        assert (found.status, found.redis.breaker) == ("degraded", "refused")
        assert command.upper() in found.redis.problem
    assert (await (await make_memory()).check()).status == "ok"


async def test_a_full_redis_is_said_once_and_what_to_do_is_told(schema, make_memory, keyspace, caplog):
    memory = await make_memory()
    await used(memory, 1)
    keyspace.client.config_set("maxmemory", 1)
    try:
        with caplog.at_level(logging.WARNING, "convmemory"):
            await used(memory)
            with pytest.raises(StorageUnavailable, match="maxmemory"):
                await memory.create_session("ana")
            assert "maxmemory" in (await memory.check()).redis.problem
            told = [record.getMessage() for record in caplog.records if record.name == "convmemory.redis"]
        assert len(told) == 1
        assert "maxmemory" in told[0]
    finally:
        keyspace.client.config_set("maxmemory", 0)
    assert (await memory.check()).status == "ok"


async def test_while_windows_are_refused_redis_is_not_asked_for_them(schema, make_memory, redis_proxy):
    memory = await make_memory(redis=redis_proxy.url)
    await used(memory, 2)
    memory.redis._calls.heard("window_read", redis.exceptions.NoPermissionError("no"))

    with redis_proxy.counting() as counted:
        await memory.get_history("c", user_id="ana")
    assert counted.requests == 0


async def test_windows_are_used_again_when_they_are_allowed(schema, make_memory, redis_url, limited):
    url = limited("-hmget")
    memory = await make_memory(redis=url)
    await used(memory, 2)
    assert memory.redis.health.counters.hits == 0
    name = url.partition("username=")[2].partition("&")[0] or urlsplit(url).username
    with Redis.from_url(redis_url) as admin:
        admin.execute_command("ACL", "SETUSER", name, "+hmget")
    assert (await memory.check()).status == "ok"  # which asks for what windows need

    await used(memory, 3)
    await memory.get_history("c", user_id="ana")
    await memory.get_history("c", user_id="ana")
    assert memory.redis.health.counters.hits > 0


async def test_300_tasks_are_no_outage(schema, database_url, redis_url, key_prefix, caplog, monkeypatch):
    monkeypatch.setattr(trust, "OLDEST_LOOK", 60.0)  # a machine may be as busy as we are
    # a machine may be as busy as we are
    places = {"db_schema": schema, "key_prefix": key_prefix, "redis_timeout": 5}
    async with AsyncConversationMemory.from_url(database_url, redis_url, **places) as memory:
        for number in range(10):
            await memory.save_message(f"c{number}", "user", "hello", user_id="ana")
            await memory.get_history(f"c{number}", user_id="ana")

        async def work(number):
            for _ in range(5):
                await memory.get_history(f"c{number % 10}", user_id="ana")
            await memory.create_session("ana")

        await asyncio.gather(*(work(number) for number in range(300)))
        counters, pool = memory.redis.health.counters, memory.redis._client.connection_pool
        assert (counters.failures, counters.dirty_marks, memory.redis.health.open) == (0, 0, False)
        assert counters.hits >= 1_400
        assert pool._in_use_connections == set()
        assert len(pool._available_connections) <= 50
    assert "out of reach" not in caplog.text


async def test_who_waits_too_long_for_redis_is_told_so_and_the_breaker_stays_closed(
    schema, make_memory, redis_proxy
):
    memory = await make_memory(redis=redis_proxy.url, redis_pool_max=1, pool_timeout=0.4, redis_timeout=5)
    await used(memory, 1)
    turns = memory.redis._homes.here().turns
    taken = turns.begin()
    if asyncio.iscoroutine(taken):
        await taken

    for _ in range(4):
        with pytest.raises(StorageUnavailable, match="redis_pool_max"):
            await memory.create_session("ana")
        assert texts(await memory.get_history("c", user_id="ana")) == ["0"]
    turns.end()

    assert (memory.redis.health.open, memory.redis.health.counters.failures) == (False, 0)
    assert await memory.create_session("ana")


def test_a_client_has_as_many_turns_as_it_has_connections(redis_url):
    small = redis.Redis(connection_pool=redis.ConnectionPool(max_connections=7))
    assert RedisStore(small)._most == 7
    assert RedisStore(redis_url)._most == 50
    few = redis.asyncio.RedisCluster("127.0.0.1", max_connections=8)
    assert AsyncRedisStore(few)._most == 4  # which are of each node, and a call may need two of one
    assert RedisStore("redis://nowhere?max_connections=3")._most == 3
    assert RedisStore("redis+cluster://nowhere?max_connections=3")._most == 3


@pytest.mark.parametrize(
    ("store", "client"),
    [
        (RedisStore, redis.asyncio.Redis()),
        (RedisStore, redis.asyncio.RedisCluster("127.0.0.1")),
        (AsyncRedisStore, redis.Redis()),
        (AsyncRedisStore, redis.Sentinel([("127.0.0.1", 1)]).master_for("main")),
        (RedisStore, redis.Sentinel([("127.0.0.1", 1)])),
        (RedisStore, redis.ConnectionPool()),
        (RedisStore, 6379),
    ],
)
def test_a_client_that_does_not_fit_is_refused_before_anything_is_written(store, client):
    with pytest.raises(ConfigurationError, match=r"^redis: must be a URL, or a client .* does not fit here"):
        store(client)


@pytest.mark.parametrize("store", [RedisStore, AsyncRedisStore])
@pytest.mark.parametrize(
    "place", ["redis://a", "rediss://a", "unix:///a", "redis+sentinel://a/main", "redis+cluster://a"]
)
@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("decode_responses=true", "decode_responses"),
        ("decode_responses=1", "decode_responses"),
        ("encoding=latin-1", "encoding"),
        ("encoding=nonsense", "encoding"),
    ],
)
def test_a_url_that_asks_for_text_is_refused(store, place, option, why):
    with pytest.raises(ConfigurationError, match=rf"^REDIS_URL: leave {why} out"):
        store(f"{place}?{option}")


async def test_a_url_that_asks_for_what_is_so_anyway_is_taken(schema, make_memory, redis_url):
    mark = "&" if "?" in redis_url else "?"
    memory = await make_memory(redis=f"{redis_url}{mark}decode_responses=false&encoding=utf8")
    await used(memory)
    await memory.get_history("c", user_id="ana")
    assert memory.redis.health.counters.hits
    assert await memory.create_session("ana")


async def test_a_user_who_may_do_nothing_has_conversations_and_no_sessions(schema, make_memory, limited):
    memory = await make_memory(redis=limited("-@all"))
    await used(memory)
    with pytest.raises(StorageError):
        await memory.create_session("ana")


async def test_a_default_window_of_any_size_is_cached(schema, make_memory):
    memory = await make_memory(max_history_messages=250)
    for number in range(3):
        await memory.save_messages("c", [("human", f"{number}.{n}") for n in range(80)], user_id="ana")
    for _ in range(4):
        assert len(await memory.get_history("c", user_id="ana")) == 240
    assert memory.redis.health.counters.hits >= 2


async def test_a_read_that_no_window_can_serve_is_counted(schema, make_memory):
    memory = await make_memory(max_history_messages=None)
    await memory.save_message("c", "user", "hello", user_id="ana")
    for _ in range(3):
        await memory.get_history("c", user_id="ana")
    assert (memory.redis.health.counters.hits, memory.redis.health.counters.misses) == (0, 3)
