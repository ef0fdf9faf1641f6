"""Callers who do not wait: they get away in time, the breaker learns of it, and no cancellation is lost."""

import asyncio
import time

import pytest

from convmemory import AsyncConversationMemory, ConversationNotFound, StorageUnavailable
from convmemory._async.prober import UNASKED
from convmemory.tiers.waiting import aworks
from fix_memory import texts, until

SOON = 0.15
"""Seconds these callers wait; every time-out of the memory is longer."""
TIMEOUT = 20.0
"""Seconds of a time-out that would be waited for, if they were kept; half of it is soon, however busy the machine is."""


@pytest.fixture
async def open_memory(database_url, redis_url, schema, key_prefix):
    """A function that opens an awaited memory over this test's schema and keys; closed in the end."""
    made = []

    async def opened(postgres=database_url, hot=redis_url, **settings):
        settings = {"db_schema": schema, "key_prefix": key_prefix} | settings
        made.append(AsyncConversationMemory.from_url(postgres, hot, **settings))
        return await made[-1].open()

    yield opened
    for memory in made:
        await memory.close()


async def given_up(call) -> float:
    """How long it took to get away from a call that nobody answers."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SOON):
            await call()
    return time.monotonic() - began


@pytest.mark.parametrize("connections", [1, 4])
async def test_a_postgresql_that_hangs_holds_no_impatient_caller_and_opens_the_breaker(
    open_memory, postgres_proxy, connections
):
    limits = {"statement_timeout": TIMEOUT, "pool_timeout": TIMEOUT}
    memory = await open_memory(postgres_proxy.url, None, pool_min=connections, pool_max=connections, **limits)
    await memory.save_message("c", "one", user_id="ada")
    postgres_proxy.mode = "blackhole"

    assert (
        max([await given_up(lambda: memory.get_history("c", user_id="ada")) for _ in range(3)]) < TIMEOUT / 2
    )
    assert memory.postgres.health.open
    with pytest.raises(StorageUnavailable, match="left alone"):
        await memory.get_history("c", user_id="ada")

    postgres_proxy.mode = "pass"
    postgres_proxy.reset_all()
    await until(lambda: not memory.postgres.health.open)
    assert texts(await memory.get_history("c", user_id="ada")) == ["one"]


async def test_a_redis_that_hangs_costs_impatient_callers_three_calls(open_memory, redis_proxy):
    memory = await open_memory(hot=redis_proxy.url, redis_timeout=TIMEOUT)
    await memory.save_message("c", "one", user_id="ada")
    assert texts(await memory.get_history("c", user_id="ada")) == ["one"]
    redis_proxy.mode = "blackhole"

    assert (
        max([await given_up(lambda: memory.get_history("c", user_id="ada")) for _ in range(3)]) < TIMEOUT / 2
    )
    async with asyncio.timeout(TIMEOUT / 2):
        for _ in range(5):
            assert texts(await memory.get_history("c", user_id="ada")) == ["one"]
    assert memory.redis.health.open


async def test_those_who_leave_a_server_that_is_well_open_no_breaker_for_long(open_memory, database):
    limits = {"lock_timeout": TIMEOUT, "statement_timeout": 2 * TIMEOUT, "pool_timeout": TIMEOUT}
    memory = await open_memory(hot=None, **limits)
    await memory.save_message("c", "one", user_id="ada")
    with database.transaction():
        database.execute("SELECT FROM conversations FOR UPDATE")
        for _ in range(4):
            began = time.monotonic()
            with pytest.raises((TimeoutError, StorageUnavailable)):
                async with asyncio.timeout(SOON):
                    await memory.save_message("c", "two", user_id="ada")
            assert time.monotonic() - began < TIMEOUT / 2
        await until(lambda: not memory.postgres.health.open, within=UNASKED)


LEFT = {
    "clear": lambda memory: memory.clear("c", user_id="ada"),
    "delete_messages": lambda memory: memory.delete_messages("c", seqs=[2], user_id="ada"),
    "truncate": lambda memory: memory.truncate("c", after=1, user_id="ada"),
    "delete_conversation": lambda memory: memory.delete_conversation("c", user_id="ada"),
    "save_message": lambda memory: memory.save_message("c", "three", user_id="ada"),
}


@pytest.mark.parametrize("verb", LEFT)
@pytest.mark.parametrize("where", ["before its answer", "before the window is told"])
async def test_what_was_committed_for_a_caller_who_left_is_seen_by_all(
    open_memory, postgres_proxy, redis_proxy, database, verb, where
):
    other = await open_memory()
    memory = await open_memory(postgres_proxy.url, redis_proxy.url, redis_timeout=TIMEOUT)
    for said in ("one", "two"):
        await memory.save_message("c", said, user_id="ada")
    for reader in (memory, other):
        assert texts(await reader.get_history("c", user_id="ada")) == ["one", "two"]

    def state():
        return database.execute("SELECT version, stamp FROM conversations").fetchall()

    before = state()
    if where == "before its answer":
        postgres_proxy.mode, postgres_proxy.latency = "latency", SOON
    else:
        redis_proxy.mode = "blackhole"
    call = asyncio.create_task(LEFT[verb](memory))
    await until(lambda: state() != before)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    postgres_proxy.mode = "pass"
    await until(lambda: not any(aworks(work) for work in memory.redis.here().behind))

    stored = database.execute("SELECT content FROM messages ORDER BY seq").fetchall()
    other.redis.trust._began -= 1.0  # a second later
    shown = await other.get_history("c", user_id="ada") if state() else []
    if not state():
        with pytest.raises(ConversationNotFound):
            await other.get_history("c", user_id="ada")
    assert texts(shown) == [said for (said,) in stored] != ["one", "two"]


async def test_close_waits_for_what_a_caller_left_to_be_marked(open_memory, redis_proxy, database):
    memory = await open_memory(hot=redis_proxy.url, redis_timeout=TIMEOUT)
    await memory.save_message("c", "one", user_id="ada")
    await memory.get_history("c", user_id="ada")
    redis_proxy.mode = "blackhole"
    await given_up(lambda: memory.save_message("c", "two", user_id="ada"))
    await memory.close()

    assert database.execute("SELECT count(*) FROM marks").fetchone() == (1,)


async def test_those_who_leave_a_busy_pool_open_no_breaker(open_memory):
    memory = await open_memory(hot=None, pool_max=1)
    async with memory.postgres._pool.connection():
        for _ in range(5):
            await given_up(lambda: memory.list_user_conversations("ada"))

    assert memory.postgres.health.counters.failures == 0


async def test_a_caller_who_leaves_before_anybody_could_answer_is_no_failure(open_memory):
    memory = await open_memory()
    for _ in range(20):
        task = asyncio.create_task(memory.save_message("c", "one", user_id="ada"))
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert memory.postgres.health.counters.failures == memory.redis.health.counters.failures == 0


async def test_no_cancellation_is_lost_whenever_it_comes(open_memory):
    memory = await open_memory(pool_max=2)
    await memory.save_message("c", "one", user_id="ada")
    ended = []
    for number in range(240):
        tasks = [asyncio.create_task(memory.save_message("c", "x", user_id="ada")) for _ in range(3)]
        await asyncio.sleep(number * 0.00005)
        asked = [task.cancel() for task in tasks]
        ended += list(zip(asked, await asyncio.gather(*tasks, return_exceptions=True), strict=True))

    kept = [found for asked, found in ended if asked and not isinstance(found, asyncio.CancelledError)]
    assert kept == []
    assert sum(asked for asked, _ in ended) > 100
    assert (await memory.check()).postgres.breaker == "closed"


async def test_a_task_that_was_cancelled_before_may_still_save_what_it_has(open_memory):
    memory = await open_memory()

    async def stream():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await memory.save_message("c", "the part that came", user_id="ada")
            raise

    task = asyncio.create_task(stream())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert texts(await memory.get_messages("c", user_id="ada")) == ["the part that came"]


async def test_a_connection_that_a_firewall_forgot_costs_one_time_out_and_no_error(
    schema, make_memory, postgres_proxy
):
    memory = await make_memory(postgres_proxy.url, None, pool_min=3, statement_timeout=2)
    await memory.save_message("c", "before", user_id="ada")
    postgres_proxy.forget_all()

    begun = time.monotonic()
    for number in range(5):
        await memory.save_message("c", f"after {number}", user_id="ada")
    assert 2 <= time.monotonic() - begun < 4, (
        "one time-out, and not another for each connection that was idle"
    )
    found = await memory.get_messages("c", user_id="ada")
    assert texts(found) == ["before", *(f"after {number}" for number in range(5))]
    assert memory.postgres.health.counters.failures == 0
