"""What a call costs, counted on the wire: round trips and requests to each tier, once connections are warm."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import ConversationMemory
from convmemory._async.prober import AsyncProber
from convmemory._sync.prober import Prober
from fix_memory import add, read, wipe

WARM = 4  # the driver prepares a statement at its second execution, and asks for it apart
SIZES = [1, 2, 1000]


@pytest.fixture
def memory_of_one(database_url, schema):
    """A memory of one connection, without Redis, and its pool."""
    with ConversationMemory.from_url(database_url, None, db_schema=schema, pool_max=1) as memory:
        yield memory, memory.postgres._pool


def batch(size: int) -> list:
    return [HumanMessage(f"message {n}") if n % 2 == 0 else AIMessage(f"message {n}") for n in range(size)]


@pytest.fixture
async def counted(schema, make_memory, postgres_proxy, redis_proxy):
    """A memory behind two proxies, and a function that runs a call and tells what it cost each tier."""
    memory = await make_memory(postgres_proxy.url, redis_proxy.url, max_window_bytes=10_000_000, pool_max=1)

    async def cost(call):
        with postgres_proxy.counting() as postgres, redis_proxy.counting() as redis:
            await call()
        assert (postgres.connections, redis.connections) == (0, 0)
        return {
            "postgres": (postgres.round_trips, postgres.requests),
            "redis": (redis.round_trips, redis.requests),
        }

    return memory, cost


NONE, ONE, TWO = (0, 0), (1, 1), (2, 2)
LONG_AGO = float("-inf")


async def warmed(history, memory, size: int) -> None:
    """Connect, have the statements prepared and the scripts known, and leave a filled window behind."""
    for _ in range(WARM):
        await add(history, batch(size))
        await memory.redis.drop([history._key.uuid])
        memory.redis.trust._began = LONG_AGO
        await read(history)
    memory.redis.trust._began = float("inf")  # the look at the marks, once a second, has its own test


@pytest.mark.parametrize("size", SIZES)
async def test_an_append_is_one_statement_and_one_script(counted, size):
    memory, cost = counted
    history = memory.history("c", user_id="ana")
    await warmed(history, memory, size)

    assert await cost(lambda: add(history, batch(size))) == {"postgres": ONE, "redis": ONE}


@pytest.mark.parametrize("size", SIZES)
async def test_a_warm_read_is_one_script_and_nothing_else(counted, size):
    memory, cost = counted
    history = memory.history("c", user_id="ana", max_messages=min(size, 200))
    await warmed(history, memory, size)

    assert await cost(lambda: read(history)) == {"postgres": NONE, "redis": ONE}
    assert await cost(lambda: memory.get_history("c", user_id="ana")) == {"postgres": NONE, "redis": ONE}


@pytest.mark.parametrize("size", SIZES)
async def test_a_miss_is_one_statement_and_two_scripts(counted, size):
    memory, cost = counted
    history = memory.history("c", user_id="ana", max_messages=min(size, 200))
    await warmed(history, memory, size)
    await memory.redis.drop([history._key.uuid])

    assert await cost(lambda: read(history)) == {"postgres": ONE, "redis": TWO}
    assert await cost(lambda: read(history)) == {"postgres": NONE, "redis": ONE}


@pytest.mark.parametrize("size", SIZES)
async def test_a_full_history_is_one_statement_and_one_script_that_tells(counted, size):
    memory, cost = counted
    history = memory.history("c", user_id="ana", max_messages=None)
    await warmed(history, memory, size)

    assert await cost(lambda: read(history)) == {"postgres": ONE, "redis": ONE}


@pytest.mark.parametrize("size", SIZES)
async def test_without_redis_each_is_one_statement(schema, make_memory, postgres_proxy, size):
    memory = await make_memory(postgres_proxy.url, None, pool_max=1)
    history = memory.history("c", user_id="ana", max_messages=min(size, 200))
    for _ in range(WARM):
        await add(history, batch(size))
        await read(history)

    for call in (lambda: add(history, batch(size)), lambda: read(history)):
        with postgres_proxy.counting() as postgres:
            await call()
        assert (postgres.round_trips, postgres.requests) == ONE


async def test_behind_a_transaction_pooler_nothing_is_prepared(schema, make_memory, postgres_proxy):
    memory = await make_memory(postgres_proxy.url, None, pool_max=1, prepare_threshold=None)
    await memory.check()
    for _ in range(WARM):
        with postgres_proxy.counting() as postgres:
            await memory.save_message("c", "hello", user_id="ana")
        assert (postgres.round_trips, postgres.requests) == ONE


async def test_the_first_append_of_a_conversation_costs_no_more_and_a_repeat_one_read(counted):
    memory, cost = counted
    await warmed(memory.history("c", user_id="ana"), memory, 2)
    known = [HumanMessage("?", id="1"), AIMessage("!", id="2")]

    # a repeat returns what was stored then
    for conversation, reads in (("new", 0), ("new", 1), ("newer", 0)):
        assert await cost(lambda to=conversation: memory.save_messages(to, known, user_id="ana")) == {
            "postgres": (1 + reads, 1 + reads),
            "redis": ONE,
        }
    history = memory.history("new", user_id="ana")  # which wants no messages back
    assert await cost(lambda: add(history, known)) == {"postgres": ONE, "redis": ONE}


async def test_contexts_and_facts_cost_no_further_statement(counted):
    from convmemory import RetrievedContext

    memory, cost = counted

    async def save():
        documents = [RetrievedContext(f"page {n}", doc_id=str(n), score=0.5) for n in range(5)]
        await memory.save_message(
            "c", "hello", user_id="ana", tokens_used=1, latency_ms=2, contexts=documents, metadata={"a": 1}
        )

    for _ in range(WARM):
        await save()
    assert await cost(save) == {"postgres": ONE, "redis": ONE}


async def test_a_clear_is_one_statement_and_one_script_and_a_delete_two_of_each(counted):
    """Since it forgets what is being answered there, and its mark for whoever would find the window if it ended halfway."""
    memory, cost = counted
    for _ in range(WARM):
        await add(memory.history("c", user_id="ana"), batch(2))
        await wipe(memory.history("c", user_id="ana"))
        await memory.delete_conversation("c", user_id="ana")
    await add(memory.history("c", user_id="ana"), batch(2))

    assert await cost(lambda: wipe(memory.history("c", user_id="ana"))) == {"postgres": ONE, "redis": ONE}
    assert await cost(lambda: memory.delete_conversation("c", user_id="ana")) == {
        "postgres": (2, 2),
        "redis": (2, 2),
    }


async def test_a_session_costs_one_round_trip_whatever_is_done_with_it(counted, keyspace):
    memory, cost = counted
    await memory.check()
    ended = await memory.create_session("ana")
    session = await memory.create_session("ana")
    await memory.get_session(session.session_id)
    await memory.end_session(ended.session_id)

    assert await cost(lambda: memory.create_session("ana", metadata={"a": 1})) == {
        "postgres": NONE,
        "redis": (1, 2),
    }
    other, third = [one.handle for one in await memory.list_user_sessions("ana")][:2]
    assert await cost(lambda: memory.end_session(other)) == {"postgres": NONE, "redis": ONE}
    assert await cost(lambda: memory.end_session(third, user_id="eve")) == {"postgres": NONE, "redis": ONE}
    assert await memory.get_session(session.session_id) is not None

    assert await cost(lambda: memory.get_session(session.session_id)) == {"postgres": NONE, "redis": ONE}
    assert await cost(lambda: memory.extend_session(session.session_id, conversation_id="c")) == {
        "postgres": NONE,
        "redis": ONE,
    }
    keyspace.client.hset(keyspace.keys.session(session.handle), "listed", "2001-02-03T04:05:06+00:00")
    assert await cost(lambda: memory.get_session(session.session_id)) == {"postgres": NONE, "redis": (2, 3)}
    assert await cost(lambda: memory.get_session(session.session_id)) == {"postgres": NONE, "redis": ONE}
    assert await cost(lambda: memory.end_session(session, user_id="ana")) == {"postgres": NONE, "redis": ONE}
    assert await memory.list_user_sessions("ana") == []


async def test_marks_are_looked_for_once_a_second_and_not_at_every_read(counted):
    memory, cost = counted
    history = memory.history("c", user_id="ana")
    await warmed(history, memory, 2)
    memory.redis.trust._began = LONG_AGO

    assert await cost(lambda: read(history)) == {"postgres": ONE, "redis": ONE}
    assert await cost(lambda: read(history)) == {"postgres": NONE, "redis": ONE}


async def test_while_redis_is_left_alone_an_append_is_one_statement_mark_included(
    counted, database, monkeypatch
):
    memory, cost = counted
    history = memory.history("c", user_id="ana")
    await warmed(history, memory, 2)
    for prober in (AsyncProber, Prober):  # somebody asks for a sign of life, and has not heard any
        monkeypatch.setattr(prober, "refuses", lambda _: True)
        monkeypatch.setattr(prober, "start", lambda *_, **__: None)
    memory.redis.health.open = True

    assert await cost(lambda: add(history, batch(2))) == {"postgres": ONE, "redis": NONE}
    assert await cost(lambda: read(history)) == {"postgres": ONE, "redis": NONE}
    assert database.execute("SELECT count(*) FROM marks").fetchone() == (1,)
    memory.redis.health.open = False


def test_the_proxy_counts_what_the_driver_sends(postgres_proxy):
    import psycopg

    with psycopg.connect(postgres_proxy.url, autocommit=True, prepare_threshold=None) as connection:
        with postgres_proxy.counting() as plain:
            connection.execute("SELECT 1")
        with postgres_proxy.counting() as bound:
            connection.execute("SELECT %s::text", ["x" * 100_000])
        with postgres_proxy.counting() as transaction, connection.transaction():
            connection.execute("SELECT 1")
        with postgres_proxy.counting() as piped, connection.pipeline():
            for _ in range(5):
                connection.execute("SELECT 1")

    assert (plain.round_trips, plain.requests) == (1, 1)
    assert (bound.round_trips, bound.requests) == (1, 1)
    assert (transaction.round_trips, transaction.requests) == (3, 3)
    assert piped.round_trips < 5


def test_the_proxy_counts_what_redis_is_asked(redis_proxy, key_prefix):
    from redis import Redis

    with Redis.from_url(redis_proxy.url) as client:
        client.ping()
        with redis_proxy.counting() as single:
            client.set(f"{key_prefix}big", b"\r\n*3\r\n$1" * 50_000, px=1000)
        with redis_proxy.counting() as piped:
            pipe = client.pipeline(transaction=False)
            for _ in range(5):
                pipe.get(f"{key_prefix}small")
            pipe.execute()
        with redis_proxy.counting() as transaction:
            pipe = client.pipeline()
            pipe.get(f"{key_prefix}small")
            pipe.execute()

    assert (single.round_trips, single.requests) == (1, 1)
    assert (piped.round_trips, piped.requests) == (1, 5)
    assert (transaction.round_trips, transaction.requests) == (1, 3)


def test_a_connection_lets_go_of_the_rows_it_read(memory_of_one):
    memory, pool = memory_of_one
    memory.save_messages("c", batch(2), user_id="ana")
    with pool.connection() as conn:
        kept = conn._cursor
    memory.save_messages("c", batch(2), user_id="ana")
    memory.get_messages("c", user_id="ana", limit=1)
    with pool.connection() as conn:
        assert conn._cursor is kept
        assert "message" not in repr([kept.pgresult.get_value(0, n) for n in range(kept.pgresult.nfields)])
