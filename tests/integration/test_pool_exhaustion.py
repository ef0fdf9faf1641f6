"""Many at once over few connections: nobody waits for ever, nobody is passed over, and who gives up is told why."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import mean

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import AsyncConversationMemory, ConversationMemory, StorageUnavailable
from fix_memory import texts

POOL, THREADS, TASKS = 8, 64, 1_000
CONVERSATIONS = 40
TURN = [HumanMessage("Is there room?"), AIMessage("There is.")]
SAID = texts(TURN)
PATIENCE = 0.5


@pytest.fixture
def options(schema, key_prefix):
    return {"db_schema": schema, "key_prefix": key_prefix, "pool_max": POOL, "pool_timeout": 60.0}


@pytest.fixture
def held(database, schema):
    """Somebody holds on to the rows of a user's conversations; whoever writes to them waits, with a connection in hand."""

    @contextmanager
    def hold(user_id):
        with psycopg.connect(database.info.dsn, options=f"-c search_path={schema}") as transaction:
            transaction.execute("SELECT 1 FROM conversations WHERE user_id = %s FOR UPDATE", [user_id])
            yield transaction

    return hold


def test_64_threads_share_8_connections_fairly(database_url, redis_url, options):
    done = [0] * THREADS
    with ConversationMemory.from_url(database_url, redis_url, **options) as memory:
        end = time.monotonic() + 2

        def work(number):
            while time.monotonic() < end:
                history = memory.history(f"c{number % CONVERSATIONS}", user_id="ana")
                history.add_messages(TURN)
                assert texts(history.messages[-2:]) == SAID
                done[number] += 1

        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(work, range(THREADS)))

        used = memory.check().postgres.figures
        stored = sum(
            len(memory.get_messages(f"c{n}", user_id="ana", limit=10_000)) for n in range(CONVERSATIONS)
        )
    assert used["pool_size"] <= POOL
    assert stored == 2 * sum(done)
    assert min(done) >= mean(done) / 3, f"turns by thread: {sorted(done)}"


async def test_1000_tasks_share_8_connections_in_the_order_they_came(database_url, redis_url, options):
    stored: list[int] = []
    async with AsyncConversationMemory.from_url(database_url, redis_url, **options) as memory:

        async def work(number):
            history = memory.history(f"c{number % CONVERSATIONS}", user_id="ana")
            await history.aadd_messages(TURN)
            stored.append(number)
            assert texts((await history.aget_messages())[-2:]) == SAID

        await memory.history("c0", user_id="ana").aget_messages()  # whoever looks first comes later
        await asyncio.gather(*map(work, range(TASKS)))
        found = [await memory.get_messages(f"c{n}", user_id="ana", limit=1_000) for n in range(CONVERSATIONS)]
    assert sum(map(len, found)) == 2 * TASKS
    overtaken = max(abs(place - number) for place, number in enumerate(stored))
    assert overtaken <= TASKS / 10, f"one task stood {overtaken} places from where it came"


def write(memory, conversation, results):
    """Write to a conversation, and note how long that took and what came of it."""
    begin, error = time.monotonic(), None
    try:
        memory.save_message(conversation, "Is there room?", user_id="ana")
    except StorageUnavailable as refused:
        error = str(refused)
    results.append((time.monotonic() - begin, error))


def test_who_waits_too_long_for_a_connection_is_told_so(database_url, redis_url, options, held):
    options |= {"pool_timeout": PATIENCE, "pool_min": POOL, "lock_timeout": 60.0}
    with ConversationMemory.from_url(database_url, redis_url, **options) as memory:
        memory.postgres._pool.wait()  # a busy machine may need longer than PATIENCE for eight connections
        for number in range(THREADS):
            memory.create_conversation("ana", conversation_id=f"busy {number}")
        # and its process has looked who its caches are
        assert memory.history("busy 0", user_id="ana").messages == []
        results: list[tuple[float, str | None]] = []
        with ThreadPoolExecutor(THREADS) as threads, held("ana"):
            for number in range(THREADS):
                threads.submit(write, memory, f"busy {number}", results)
            time.sleep(3 * PATIENCE)
            assert len(results) == THREADS - POOL

        refused = [(seconds, error) for seconds, error in results if error]
        assert len(refused) == THREADS - POOL
        assert all(PATIENCE * 0.9 < seconds < PATIENCE + 1 for seconds, _ in refused)
        assert {error for _, error in refused} == {
            "PostgreSQL failed to save messages: no connection became free in time: all are busy (pool_max), or the server is slow to take a new one"
        }
        assert memory.check().postgres.breaker == "closed", (
            "a pool that is merely busy is no sign of a dead server"
        )


def test_a_locked_conversation_keeps_nobody_from_another(database_url, redis_url, options, held):
    options |= {"pool_timeout": PATIENCE, "lock_timeout": 60.0}
    with ConversationMemory.from_url(database_url, redis_url, **options) as memory:
        memory.create_conversation("ana", conversation_id="busy")
        results: list[tuple[float, str | None]] = []
        with ThreadPoolExecutor(THREADS) as threads, held("ana"):
            for _ in range(THREADS):
                threads.submit(write, memory, "busy", results)
            time.sleep(PATIENCE / 2)
            begin = time.monotonic()
            memory.save_message("free", "And me?", user_id="ben")
            assert time.monotonic() - begin < PATIENCE
            time.sleep(2 * PATIENCE)

        refused = {error for _, error in results if error}
        assert refused == {
            "PostgreSQL failed to save messages: the conversation is busy: other writes to it were waiting all the time"
        }
        assert [error for _, error in results].count(None) == 3
        assert len(memory.get_messages("busy", user_id="ana")) == 3
        assert memory.check().postgres.breaker == "closed"


async def test_who_waits_for_a_lock_is_told_so_in_time(make_memory, schema, held):
    memory = await make_memory(lock_timeout=PATIENCE)
    await memory.create_conversation("ana", conversation_id="busy")
    with held("ana"):
        begin = time.monotonic()
        for change in (
            memory.save_message("busy", "Is there room?", user_id="ana"),
            memory.rename_conversation("busy", "Room", user_id="ana"),
            memory.delete_conversation("busy", user_id="ana"),
        ):
            with pytest.raises(
                StorageUnavailable, match="held what it needs for longer than the lock timeout"
            ):
                await change
        assert 3 * PATIENCE <= time.monotonic() - begin < 3 * PATIENCE + 2
    await memory.save_message("busy", "There is.", user_id="ana")
    assert (await memory.check()).postgres.breaker == "closed"
