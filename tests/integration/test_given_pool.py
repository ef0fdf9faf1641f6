"""A pool of the application's own, and passwords that expire: used as they are, left as they were."""

import asyncio
import gc
import os
import warnings
from itertools import chain

import psycopg
import pytest
from langchain_core.messages import AIMessage
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, AsyncNullConnectionPool, ConnectionPool

from convmemory import (
    AsyncConversationMemory,
    ConfigurationError,
    ConversationMemory,
    NotOpen,
    RetrievedContext,
    StorageUnavailable,
)
from convmemory.storage.sql_and_lua import migrations

ODD = {
    "row_factory": dict_row,
    "options": "-c search_path=public -c TimeZone=Asia/Tokyo -c statement_timeout=7777",
}
KINDS = {
    "as it comes": {},
    "autocommit": {"autocommit": True},
    "rows as dicts, a zone and limits of its own": ODD,
    "repeatable read": {"options": "-c default_transaction_isolation=repeatable\\ read"},
}


async def used(memory) -> None:
    """Everything once that a day brings."""
    assert await memory.init_schema() == ["0001_initial"]
    first = await memory.save_message("c", "user", "hello", user_id="ana", metadata={"a": 1})
    await memory.save_message(
        "c", AIMessage("hi"), user_id="ana", contexts=[RetrievedContext("page", score=0.5)]
    )
    stored = await memory.get_messages("c", user_id="ana")
    assert [m.content for m in stored] == ["hello", "hi"]
    assert stored[0] == first
    assert str(stored[0].created_at.tzinfo) == "UTC"
    assert stored[1].contexts == (RetrievedContext("page", score=0.5),)
    assert len(await memory.get_history("c", user_id="ana")) == 2
    await memory.delete_conversation("c", user_id="ana")
    assert (await memory.check()).postgres.reachable


class Blocking:
    """A blocking memory under awaited verbs."""

    def __init__(self, memory):
        self._memory = memory

    def __getattr__(self, name):
        async def call(*args, **named):
            return getattr(self._memory, name)(*args, **named)

        return call


@pytest.mark.parametrize("kind", KINDS)
async def test_a_pool_of_ones_own_is_used_whatever_its_connections_are_like(database_url, schema_name, kind):
    async with AsyncConnectionPool(
        database_url, kwargs=KINDS[kind], min_size=1, max_size=3, open=False
    ) as pool:
        async with AsyncConversationMemory.from_url(pool, db_schema=schema_name) as memory:
            await used(memory)
        async with pool.connection() as conn:
            before = dict(ODD) if kind.startswith("rows") else {}
            rows = await (await conn.execute("SHOW search_path")).fetchall()
            assert conn.autocommit == KINDS[kind].get("autocommit", False)
            assert conn.row_factory is before.get("row_factory", conn.row_factory)
            if before:
                assert rows == [{"search_path": "public"}]
                assert await (await conn.execute("SHOW statement_timeout")).fetchall() == [
                    {"statement_timeout": "7777ms"}
                ]
        assert not pool.closed
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
        await conn.execute(f"DROP SCHEMA {schema_name} CASCADE")


def test_a_blocking_pool_is_used_by_a_blocking_memory(database_url, schema_name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ConnectionPool(database_url, kwargs=ODD, min_size=1, max_size=3, open=True) as pool:
            with ConversationMemory.from_url(pool, db_schema=schema_name) as memory:
                asyncio.run(used(Blocking(memory)))
            with pool.connection() as conn:
                assert conn.execute("SELECT 1 AS one").fetchall() == [{"one": 1}]
                conn.execute(f"DROP SCHEMA {schema_name} CASCADE")
        gc.collect()


async def test_a_pool_that_keeps_no_connections_is_used(database_url, schema_name):
    async with AsyncNullConnectionPool(database_url, max_size=2, open=False) as pool:
        async with AsyncConversationMemory.from_url(pool, db_schema=schema_name) as memory:
            await used(memory)
        async with pool.connection() as conn:
            await conn.execute(f"DROP SCHEMA {schema_name} CASCADE")


async def test_a_pool_of_the_other_colour_or_none_is_refused(database_url):
    blocking = ConnectionPool(database_url, open=False)
    awaited = AsyncConnectionPool(database_url, open=False)
    for kind, wrong in (
        (AsyncConversationMemory, blocking),
        (ConversationMemory, awaited),
        (ConversationMemory, 7),
    ):
        with pytest.raises(ConfigurationError, match="postgres: must be a URL, or a pool of psycopg_pool"):
            kind.from_url(wrong)


async def test_a_pool_that_is_not_open_is_told_of(database_url, schema):
    pool = AsyncConnectionPool(database_url, open=False)
    memory = AsyncConversationMemory.from_url(pool, db_schema=schema)
    with pytest.raises(NotOpen, match="postgres: the pool that was given is not open"):
        await memory.open()
    await pool.open()
    async with memory:
        await memory.save_message("c", "user", "hello", user_id="ana")
        await pool.close()
        with pytest.raises(NotOpen, match="postgres: the pool that was given is not open"):
            await memory.save_message("c", "user", "hello", user_id="ana")


async def test_a_connection_that_cannot_be_used_is_named(database_url, schema):
    kwargs = {"options": "-c DateStyle=German"}
    async with AsyncConnectionPool(database_url, kwargs=kwargs, open=False) as pool:
        with pytest.raises(ConfigurationError, match="DateStyle = ISO"):
            await AsyncConversationMemory.from_url(pool, db_schema=schema).open()
        kwargs["options"] = ""
        kwargs["client_encoding"] = "latin1"
    async with AsyncConnectionPool(database_url, kwargs=kwargs, open=False) as pool:
        with pytest.raises(ConfigurationError, match="client_encoding = LATIN1; it must be UTF8"):
            await AsyncConversationMemory.from_url(pool, db_schema=schema).open()


async def test_a_pool_is_of_one_event_loop(database_url, schema):
    async with AsyncConnectionPool(database_url, open=False) as pool:
        memory = AsyncConversationMemory.from_url(pool, db_schema=schema)
        await memory.open()
        await memory.save_message("c", "user", "hello", user_id="ana")
        with pytest.raises(ConfigurationError, match="belongs to another process or event loop"):
            await asyncio.to_thread(asyncio.run, memory.get_history("c", user_id="ana"))
        assert len(await memory.get_history("c", user_id="ana")) == 1
        await memory.close()


def test_a_pool_is_of_one_process(database_url, schema):
    with (
        ConnectionPool(database_url, open=True) as pool,
        ConversationMemory.from_url(pool, db_schema=schema) as memory,
    ):
        memory.save_message("c", "user", "hello", user_id="ana")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            try:
                memory.get_history("c", user_id="ana")
            except ConfigurationError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert len(memory.get_history("c", user_id="ana")) == 1


async def test_a_connection_of_theirs_that_broke_is_replaced(database_url, schema, database):
    named = {"application_name": schema}
    async with (
        AsyncConnectionPool(database_url, kwargs=named, min_size=2, max_size=2, open=False) as pool,
        AsyncConversationMemory.from_url(pool, db_schema=schema) as memory,
    ):
        await memory.save_message("c", "user", "one", user_id="ana")
        await pool.wait()
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [schema]
        )
        await asyncio.sleep(0.2)  # until they are gone, all of them
        await memory.save_message("c", "user", "two", user_id="ana")
        assert len(await memory.get_history("c", user_id="ana")) == 2


@pytest.fixture
def secret_role(database):
    """A role with a password, and a function that changes it."""
    name = f"iam_{os.urandom(4).hex()}"
    database.execute(f"CREATE ROLE {name} LOGIN SUPERUSER")
    yield name
    database.execute(f"DROP ROLE {name}")


async def test_a_password_is_asked_for_anew_for_each_connection(database_url, schema, secret_role):
    asked = []

    async def token():
        await asyncio.sleep(0)
        asked.append(f"token-{len(asked)}")
        return asked[-1]

    url = psycopg.conninfo.make_conninfo(database_url, user=secret_role)
    async with AsyncConversationMemory.from_url(url, password=token, db_schema=schema, pool_max=3) as memory:
        await asyncio.gather(*(memory.save_message(f"c{n}", "user", "x", user_id="ana") for n in range(6)))
        async with memory.postgres._pool.connection() as conn:
            assert conn.info.password in asked
    assert len(asked) == len(set(asked)) >= 2, "once for open, and once for each of the pool's"


def test_a_blocking_password_function_is_asked_by_a_blocking_memory(database_url, schema, secret_role):
    asked = iter(range(100))
    url = psycopg.conninfo.make_conninfo(database_url, user=secret_role)
    with ConversationMemory.from_url(
        url, password=lambda: f"token-{next(asked)}", db_schema=schema
    ) as memory:
        memory.save_message("c", "user", "x", user_id="ana")
    assert next(asked) >= 2


@pytest.mark.parametrize("wrong", [lambda: 7, lambda: 1 / 0])
async def test_a_password_that_cannot_be_had_is_an_outage_that_says_so(database_url, schema, wrong):
    memory = AsyncConversationMemory.from_url(database_url, password=wrong, db_schema=schema)
    with pytest.raises(StorageUnavailable, match=r"password\(\)"):
        await memory.open()


def test_a_password_belongs_to_a_url(database_url):
    with pytest.raises(ConfigurationError, match="password: must be a function"):
        ConversationMemory.from_url(database_url, password="secret")
    with pytest.raises(ConfigurationError, match="a pool has its own"):
        ConversationMemory.from_url(ConnectionPool(database_url, open=False), password=lambda: "x")


async def test_two_processes_set_up_a_schema_at_once_whatever_their_sessions_begin_with(
    database_url, schema_name
):
    kwargs = {"options": "-c default_transaction_isolation=serializable -c default_transaction_read_only=on"}
    async with (
        AsyncConnectionPool(database_url, kwargs=kwargs, open=False) as one,
        AsyncConnectionPool(database_url, kwargs=kwargs, open=False) as other,
    ):
        memories = [AsyncConversationMemory.from_url(pool, db_schema=schema_name) for pool in (one, other)]
        applied = await asyncio.gather(*(memory.init_schema() for memory in memories))
        assert sorted(chain.from_iterable(applied)) == [migration.full_name for migration in migrations()]
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
        await conn.execute(f"DROP SCHEMA {schema_name} CASCADE")


async def test_a_pool_that_lets_nobody_wait_is_busy_and_not_away(database_url, schema):
    async with (
        AsyncConnectionPool(database_url, min_size=1, max_size=1, max_waiting=1, open=False) as pool,
        AsyncConversationMemory.from_url(pool, db_schema=schema, pool_timeout=0.5) as memory,
    ):
        async with pool.connection():
            writes = [memory.save_message(f"c{n}", "user", "x", user_id="ana") for n in range(8)]
            refused = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(error, StorageUnavailable) for error in refused)
        assert sum("max_waiting lets no more wait" in str(error) for error in refused) == 7
        await memory.save_message("c", "user", "hello", user_id="ana")


async def test_a_password_that_never_comes_keeps_nobody_waiting(database_url, schema):
    async with asyncio.timeout(5):
        memory = AsyncConversationMemory.from_url(
            database_url, db_schema=schema, password=lambda: asyncio.sleep(60), statement_timeout=0.2
        )
        with pytest.raises(StorageUnavailable, match=r"password\(\) raised TimeoutError"):
            await memory.open()


@pytest.mark.parametrize("odd", ["s3cret\ud800", "s3cret\0"])
async def test_a_password_that_cannot_be_sent_is_not_quoted(database_url, schema, odd):
    memory = AsyncConversationMemory.from_url(database_url, db_schema=schema, password=lambda: odd)
    with pytest.raises(StorageUnavailable, match="must not give NUL characters") as refused:
        await memory.open()
    assert "s3cret" not in repr([refused.value, refused.value.__cause__])
