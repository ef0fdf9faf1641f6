"""A cluster and a Sentinel set: what goes wrong there and nowhere else."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
import redis.asyncio
import redis.asyncio.retry
import redis.retry
from langchain_core.messages import AIMessage, HumanMessage
from redis.backoff import NoBackoff

from convmemory import AsyncRedisStore, ConfigurationError, RedisStore
from fix_memory import Awaited, texts, until
from fix_servers import same_binaries
from torture.sentinel import SERVICE, SentinelSet, cluster
from torture.servers import Hot, Server

NAMES = [f"c{number}" for number in range(40)]
"""So many that no node of three is without one of them, by chance."""
PATIENCE = 20.0


@pytest.fixture(scope="module")
def nodes(tmp_path_factory) -> Iterator[list[Hot]]:
    with same_binaries(), cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory) -> Iterator[SentinelSet]:
    with same_binaries():
        found = SentinelSet(tmp_path_factory.mktemp("sentinel"))
        with found.running():
            yield found


@pytest.fixture
def cluster_url(nodes) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


@contextmanager
def stopped(servers: list[Server]) -> Iterator[None]:
    """They stand still meanwhile: their connections stay, and nobody answers."""
    for server in servers:
        server.send(signal.SIGSTOP)
    try:
        yield
    finally:
        for server in servers:
            server.send(signal.SIGCONT)


def hot(memory):
    return memory.blocking.redis if isinstance(memory, Awaited) else memory.redis


async def write_and_cache(memory) -> None:
    for name in NAMES:
        await memory.save_message(name, HumanMessage(f"of {name}"), user_id=name)
        await memory.get_history(name, user_id=name)


async def all_their_own(memory) -> list[bool]:
    """Whether each reader sees what is theirs."""
    found = [(name, await memory.get_history(name, user_id=name)) for name in NAMES]
    return [messages == [HumanMessage(f"of {name}")] for name, messages in found]


async def until_back(memory) -> None:
    """Return when windows are served again."""
    hits, deadline = hot(memory).health.counters.hits, time.monotonic() + PATIENCE
    while hot(memory).health.counters.hits == hits:
        assert time.monotonic() < deadline, await memory.check()
        await memory.get_history(NAMES[0], user_id=NAMES[0])
        await asyncio.sleep(0.05)


async def test_windows_on_every_node_are_dropped(schema, make_memory, nodes, cluster_url, key_prefix):
    memory = await make_memory(redis=cluster_url)
    await write_and_cache(memory)
    held = [len(names_of(node, key_prefix)) for node in nodes]
    await memory.redis.drop([(await memory.get_conversation(name, user_id=name)).uuid for name in NAMES])

    assert sum(held) == len(NAMES)
    assert min(held) > 0
    assert [names_of(node, key_prefix) for node in nodes] == [[], [], []]


async def test_a_writer_without_redis_costs_a_cluster_the_windows_it_wrote_to_and_no_more(
    schema, make_memory, cluster_url
):
    """It marks a conversation for each node, of which one holds its window."""
    memory, bare = await make_memory(redis=cluster_url), await make_memory(redis=None)
    await write_and_cache(memory)
    await bare.save_message(NAMES[0], HumanMessage("elsewhere"), user_id=NAMES[0])
    await asyncio.sleep(1.1)  # the look that finds the marks is due
    await memory.get_history(NAMES[0], user_id=NAMES[0])
    hits = hot(memory).health.counters.hits
    seen = [len(await memory.get_history(name, user_id=name)) for name in NAMES]

    assert seen == [2, *[1] * (len(NAMES) - 1)]
    assert hot(memory).health.counters.hits - hits == len(NAMES)
    assert (await memory.check()).postgres.figures["dirty_windows"] == 0


def names_of(node, prefix: str) -> list[bytes]:
    return sorted(node.client.scan_iter(match=f"{prefix}*", count=1000))


async def test_a_users_sessions_on_every_node_are_listed(schema, make_memory, cluster_url):
    memory = await make_memory(redis=cluster_url)
    made = [await memory.create_session("ana", conversation_id=name) for name in NAMES]
    await memory.end_session(made[3].session_id)

    listed = await memory.list_user_sessions("ana")
    assert [session.conversation_id for session in listed] == [n for n in reversed(NAMES) if n != NAMES[3]]


async def test_a_node_that_hangs_is_said_once_and_so_is_its_return(
    schema, make_memory, nodes, cluster_url, caplog
):
    memory = await make_memory(redis=cluster_url)
    await write_and_cache(memory)
    caplog.clear()
    with stopped(nodes[:1]):
        while not hot(memory).health.open:
            assert await all_their_own(memory) == [True] * len(NAMES)
        before = hot(memory).health.last_failure
        deadline = time.monotonic() + PATIENCE
        while hot(memory).health.last_failure == before:  # until it has been asked in vain
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert await all_their_own(memory) == [True] * len(NAMES)
        assert _said_of_redis(caplog) == ["Redis is out of reach"]
    await until_back(memory)

    assert _said_of_redis(caplog)[:2] == ["Redis is out of reach", "Redis is back"]
    assert await all_their_own(memory) == [True] * len(NAMES)


def _said_of_redis(caplog) -> list[str]:
    said = [record.getMessage() for record in caplog.records if record.name.startswith("convmemory")]
    return [text.split(" (")[0] for text in said if text.startswith("Redis")]


async def test_replies_that_come_too_late_go_to_nobody(schema, make_memory, sentinels):
    memory = await make_memory(redis=f"redis+{sentinels.address}/{SERVICE}", redis_timeout=0.1)
    await write_and_cache(memory)
    primary = sentinels.primary()
    for _ in range(3):
        with stopped([primary]):
            assert await all_their_own(memory) == [True] * len(NAMES)
        assert await all_their_own(memory) == [True] * len(NAMES)
    await until_back(memory)

    for _ in range(3):
        assert await all_their_own(memory) == [True] * len(NAMES)
    assert (await memory.check()).redis.reachable


async def test_a_full_server_costs_no_turn_and_serves_again_when_it_takes_writes(
    schema, make_memory, tmp_path
):
    with same_binaries():
        server = Hot(tmp_path / "redis")
    server.start()
    try:
        memory = await make_memory(redis=server.url)
        await write_and_cache(memory)
        await memory.create_conversation("ana", conversation_id="other")
        server.client.config_set("maxmemory", 1)
        for said in range(3):
            assert await all_their_own(memory) == [True] * len(NAMES)
            assert len(await memory.get_history("other", user_id="ana")) == said  # not cached, and cannot be
            await memory.save_message("other", HumanMessage("x"), user_id="ana")
        assert hot(memory).health.counters.failures
        assert not (await memory.check()).redis.reachable
        server.client.config_set("maxmemory", 0)
        await until_back(memory)
        assert (await memory.check()).redis.reachable
    finally:
        server.end()


@pytest.mark.parametrize(
    ("store", "client"),
    [
        (RedisStore, lambda: redis.Redis(decode_responses=True)),
        (AsyncRedisStore, lambda: redis.asyncio.Redis(decode_responses=True)),
        (AsyncRedisStore, lambda: redis.asyncio.RedisCluster(host="127.0.0.1", decode_responses=True)),
        (RedisStore, lambda: redis.Sentinel([("127.0.0.1", 1)]).master_for("main", decode_responses=True)),
    ],
)
def test_a_client_that_decodes_is_refused(store, client):
    with pytest.raises(ConfigurationError, match="leave decode_responses out"):
        store(client())


async def test_no_late_reply_of_a_ready_client_is_the_next_commands(schema, make_memory, colour, sentinels):
    """redis-py's own blocking connections to a primary go on after a time-out, where the client does not try again for it."""
    library = redis.asyncio if colour == "awaited" else redis
    limits = {"socket_timeout": 0.3, "socket_connect_timeout": 0.3}
    asked = library.Sentinel(
        [("127.0.0.1", one.port) for one in sentinels._sentinels], sentinel_kwargs=limits, **limits
    )
    retry = library.retry.Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    client = asked.master_for(SERVICE, retry=retry)
    memory = await make_memory(redis=client)
    await write_and_cache(memory)
    assert await all_their_own(memory) == [True] * len(NAMES)

    for _ in range(3):
        with stopped([sentinels.primary()]):
            said = await memory.get_history(NAMES[0], user_id=NAMES[0])
            assert said == [HumanMessage(f"of {NAMES[0]}")]
        await asyncio.sleep(0.1)  # the reply comes now
        for name in (*NAMES[1:], *NAMES):
            assert await memory.get_history(name, user_id=name) == [HumanMessage(f"of {name}")]
        await until_back(memory)
    await memory.close()
    for ours in (client, *asked.sentinels):
        closed = ours.aclose() if colour == "awaited" else ours.close()
        if colour == "awaited":
            await closed


async def test_ready_clients_of_both_kinds_are_taken_and_left_open(
    schema, make_memory, colour, nodes, sentinels
):
    library = redis.asyncio if colour == "awaited" else redis
    places = [("127.0.0.1", one.port) for one in sentinels._sentinels]
    await write_and_cache(await make_memory())
    asked = library.Sentinel(places)
    for client in (
        library.RedisCluster(host="127.0.0.1", port=nodes[0].port),
        asked.master_for(SERVICE),
    ):
        memory = await make_memory(redis=client)
        for _ in range(2):
            assert await all_their_own(memory) == [True] * len(NAMES)
        assert hot(memory).health.counters.hits >= len(NAMES) - 1
        await memory.close()
        answer = client.ping()
        assert (await answer if colour == "awaited" else answer) is True
        for ours in (client, *asked.sentinels):
            closed = ours.aclose() if colour == "awaited" else ours.close()
            if colour == "awaited":
                await closed


JOURNAL = {"durability": "journal", "journal_ack": "memory"}


@pytest.fixture
def undrained(monkeypatch):
    """Nobody drains behind the callers, so that a test says when."""
    for colour, name in (("_async", "Async"), ("_sync", "")):
        monkeypatch.setattr(f"convmemory.{colour}.draining.{name}Draining.wake", lambda _: None)


async def test_writes_wait_on_every_node_and_are_drained_from_all_of_them(
    schema, make_memory, nodes, cluster_url, key_prefix, undrained
):
    memory, other = await make_memory(redis=cluster_url, **JOURNAL), await make_memory(redis=cluster_url)
    await write_and_cache(memory)
    for name in NAMES:
        assert (await memory.save_message(name, AIMessage(f"to {name}"), user_id=name)).pending
        assert await other.get_history(name, user_id=name) == [
            HumanMessage(f"of {name}"),
            AIMessage(f"to {name}"),
        ]
    waits = [[n for n in names_of(node, key_prefix) if n.endswith("journal")] for node in nodes]
    assert min(map(len, waits)) > 0
    assert sum(map(len, waits)) == len(await other.journals.waiting()) == len(NAMES)

    for name in NAMES[:10]:
        assert (await other.save_message(name, HumanMessage("and on"), user_id=name)).seq == 3
    assert await other.journals.drain() == len(NAMES) - 10
    assert await other.journals.waiting() == []
    for name in NAMES[10:]:
        assert texts(await other.get_messages(name, user_id=name)) == [f"of {name}", f"to {name}"]


async def test_one_node_that_evicts_or_keeps_no_file_is_enough_to_refuse(
    schema, make_memory, nodes, cluster_url
):
    with pytest.raises(ConfigurationError, match="no append-only file"):
        await make_memory(redis=cluster_url, redis_timeout=10, durability="journal")
    with pytest.raises(ConfigurationError, match="not for a cluster: set 'always'"):
        await make_memory(redis=cluster_url, redis_timeout=10, durability="journal", journal_ack="replica")
    for node in nodes:
        node.client.config_set("appendonly", "yes")
    try:
        memory = await make_memory(redis=cluster_url, redis_timeout=10, durability="journal")
        with pytest.raises(ConfigurationError, match="journal_ack='always' needs always"):
            await make_memory(redis=cluster_url, redis_timeout=10, durability="journal", journal_ack="always")
        for node in nodes[1:]:
            node.client.config_set("appendfsync", "always")
        with pytest.raises(ConfigurationError, match="journal_ack='always' needs always"):
            await make_memory(redis=cluster_url, redis_timeout=10, durability="journal", journal_ack="always")
        nodes[2].client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(ConfigurationError, match="allkeys-lru"):
            await make_memory(redis=cluster_url, redis_timeout=10, durability="journal")
        await write_and_cache(memory)
        hot(memory)._checked = float("-inf")  # ten seconds later
        assert not (await memory.save_message(NAMES[0], "more", user_id=NAMES[0])).pending
    finally:
        for node in nodes:
            node.client.config_set("appendonly", "no")
            node.client.config_set("appendfsync", "everysec")
            node.client.config_set("maxmemory-policy", "noeviction")


async def test_a_node_that_hangs_costs_no_write_that_waits_elsewhere(
    schema, make_memory, nodes, cluster_url, database
):
    memory = await make_memory(redis=cluster_url, redis_timeout=0.5, **JOURNAL)
    await write_and_cache(memory)
    with stopped(nodes[:1]):
        for name in NAMES:
            await memory.save_message(name, AIMessage(f"to {name}"), user_id=name)
    await until(lambda: not memory.redis.remembered)
    await until_back(memory)
    for name in NAMES:
        found = await memory.get_history(name, user_id=name)
        assert texts(found) == [f"of {name}", f"to {name}"]
        assert texts(await memory.get_messages(name, user_id=name)) == texts(found)
