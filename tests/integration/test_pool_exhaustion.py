"""Many at once over few connections: nobody waits for ever, nobody is passed over, and who gives up is told why."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import mean

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import AsyncConversationMemory, ConversationMemory, StorageUnavailable

POOL, THREADS, TASKS = 8, 64, 1_000
CONVERSATIONS = 40
TURN = [HumanMessage("Is there room?"), AIMessage("There is.")]
PATIENCE = 0.5


@pytest.fixture
def options(schema, key_prefix):
    return {"db_schema": schema, "key_prefix": key_prefix, "pool_max": POOL, "pool_timeout": 60.0}


@pytest.fixture
def busy_conversation(database, schema):
    """A conversation whose row somebody holds on to; whoever writes to it waits, with a connection in hand."""

    def hold(uuid):
        transaction = psycopg.connect(database.info.dsn, options=f"-c search_path={schema}")
        transaction.execute("SELECT 1 FROM conversations WHERE conversation_id = %s FOR UPDATE", [uuid])
        return transaction

    return hold


def test_64_threads_share_8_connections_fairly(database_url, redis_url, options):
    done = [0] * THREADS
    with ConversationMemory.from_url(database_url, redis_url, **options) as memory:
        end = time.monotonic() + 2

        def work(number):
            while time.monotonic() < end:
                history = memory.history(f"c{number % CONVERSATIONS}", user_id="ana")
                history.add_messages(TURN)
                assert history.messages[-2:]
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
            assert (await history.aget_messages())[-2:]

        await asyncio.gather(*map(work, range(TASKS)))
        found = [await memory.get_messages(f"c{n}", user_id="ana", limit=1_000) for n in range(CONVERSATIONS)]
    assert sum(map(len, found)) == 2 * TASKS
    overtaken = max(abs(place - number) for place, number in enumerate(stored))
    assert overtaken <= TASKS / 10, f"one task stood {overtaken} places from where it came"


def test_who_waits_too_long_for_a_connection_is_told_so(database_url, redis_url, options, busy_conversation):
    options |= {"pool_timeout": PATIENCE, "pool_min": POOL}
    with ConversationMemory.from_url(database_url, redis_url, **options) as memory:
        memory.postgres._pool.wait()  # a busy machine may need longer than PATIENCE for eight connections
        uuid = memory.create_conversation("ana", conversation_id="busy").uuid
        history = memory.history("busy", user_id="ana")
        refused: list[tuple[float, StorageUnavailable]] = []
        ready = threading.Barrier(THREADS + 1)

        def work(number):
            ready.wait()
            begin = time.monotonic()
            try:
                history.add_messages([HumanMessage(f"{number}")])
            except StorageUnavailable as error:
                refused.append((time.monotonic() - begin, error))

        transaction = busy_conversation(uuid)
        with ThreadPoolExecutor(THREADS) as threads:
            waiting = [threads.submit(work, number) for number in range(THREADS)]
            ready.wait()
            time.sleep(3 * PATIENCE)
            transaction.rollback()
            transaction.close()
            for one in waiting:
                one.result()

        assert len(refused) == THREADS - POOL
        assert all(PATIENCE * 0.9 < seconds < PATIENCE + 1 for seconds, _ in refused)
        assert {str(error) for _, error in refused} == {
            "PostgreSQL failed to save messages: no connection became free in time: all are busy, or the server takes no new one"
        }
        assert memory.check().postgres.breaker == "closed", (
            "a pool that is merely busy is no sign of a dead server"
        )
        assert len(history.messages) == min(POOL, 6)
        assert len(memory.get_messages("busy", user_id="ana")) == POOL
