"""Writes whose connection breaks, to either tier: stored exactly once, and no window left that missed them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import UUID

import psycopg
import pytest
import redis.asyncio
from langchain_core.messages import HumanMessage

from convmemory import ConversationMemory, Draft, StorageUnavailable
from convmemory.ids import conversation_key
from fix_memory import add, namespace, read, texts, until

KEY = conversation_key("c", "ana")


@pytest.fixture(autouse=True)
def settled(schema, database_url):
    """Have the key know its row in this test's installation."""
    KEY.settle(namespace(database_url, schema))


async def stored(memory, conversation="c") -> list[str]:
    return texts(await memory.get_messages(conversation, user_id="ana", limit=10_000))


# Connections that break


def close_before_sending(patch):
    """What a task beside a command can do: close the connection between the look that it is there and the write."""

    def close(connection):
        connection._sock.close()
        connection._sock = None

    async def aclose(connection):
        connection._writer.close()
        connection._reader = connection._writer = None

    patch.setattr(redis.connection.AbstractConnection, "check_health", close)
    patch.setattr(redis.asyncio.connection.AbstractConnection, "check_health", aclose)


async def test_a_connection_closed_under_a_command_costs_no_write_and_leaves_no_old_window(
    memory, monkeypatch
):
    await memory.save_message("c", "first", user_id="ana")
    assert texts(await memory.get_history("c", user_id="ana")) == ["first"]
    with monkeypatch.context() as patch:
        close_before_sending(patch)
        await memory.save_message("c", "second", user_id="ana")

    assert (await memory.check()).postgres.figures["dirty_windows"] == 1
    assert texts(await memory.get_history("c", user_id="ana")) == ["first", "second"]


def backends(database: psycopg.Connection) -> list[int]:
    rows = database.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'convmemory' AND datname = current_database()"
    )
    return [pid for (pid,) in rows]


@pytest.mark.parametrize("idle", [1, 8])
async def test_connections_that_died_idle_cost_neither_an_error_nor_time(schema, make_memory, database, idle):
    memory = await make_memory(pool_min=idle)
    await memory.save_message("c", "before", user_id="ana")
    await until(lambda: len(backends(database)) >= idle)
    for pid in backends(database):  # as a restart of the server does
        database.execute("SELECT pg_terminate_backend(%s, 1000)", [pid])
    begun = time.monotonic()
    await memory.save_message("c", "after", user_id="ana")

    assert time.monotonic() - begun < 1
    assert await stored(memory) == ["before", "after"]
    assert (await memory.check()).postgres.breaker == "closed"


async def test_a_reply_lost_at_the_commit_is_stored_exactly_once(schema, make_memory, postgres_proxy):
    memory = await make_memory(postgres_proxy.url, pool_max=1)
    # with the last of them the statement is prepared: the reply after it is the commit's
    for said in ("first", "second", "third"):
        await memory.save_message("c", said, user_id="ana")
    assert len(await memory.get_history("c", user_id="ana")) == 3
    postgres_proxy.mode = "cut_reply"
    appended = await memory.save_messages("c", "no id, and yet once", user_id="ana")

    assert (appended.seqs, appended.stored, appended.version) == ((4,), 0, 4)  # stored by the first attempt
    assert await stored(memory) == ["first", "second", "third", "no id, and yet once"]
    assert texts(await memory.get_history("c", user_id="ana")) == await stored(memory)


@pytest.mark.parametrize("verb", ["clear", "delete_conversation"])
async def test_a_reply_lost_at_a_clear_or_delete_is_no_error(schema, make_memory, postgres_proxy, verb):
    memory = await make_memory(postgres_proxy.url, pool_max=1)
    await memory.save_message("c", "first", user_id="ana")
    history = memory.history("c", user_id="ana")
    assert texts(await read(history)) == ["first"]
    postgres_proxy.mode = "cut_reply"
    await getattr(memory, verb)("c", user_id="ana")

    assert await read(history) == []


async def test_a_reset_connection_is_replaced_without_an_error(schema, make_memory, postgres_proxy):
    memory = await make_memory(postgres_proxy.url)
    await memory.save_message("c", "first", user_id="ana")
    postgres_proxy.reset_all()
    await memory.save_message("c", "second", user_id="ana")

    assert await stored(memory) == ["first", "second"]


async def test_connections_killed_in_use_store_each_message_exactly_once(
    schema, database, database_url, redis_url, key_prefix
):
    done = threading.Event()

    def kill() -> int:
        killed = 0
        while not done.wait(0.015):
            for pid in backends(database)[:1]:
                killed += database.execute("SELECT pg_terminate_backend(%s)", [pid]).fetchone()[0]
        return killed

    def write(writer: int) -> list[str]:
        acknowledged = []
        for number in range(40):
            said = f"{writer} {number}"
            while len(acknowledged) == number:
                with suppress(StorageUnavailable):  # the second connection was killed as well
                    memory.save_message("c", HumanMessage(said, id=said), user_id="ana")
                    acknowledged.append(said)
        return acknowledged

    memory = ConversationMemory.from_url(database_url, redis_url, db_schema=schema, key_prefix=key_prefix)
    with memory, ThreadPoolExecutor(5) as threads:
        killer = threads.submit(kill)
        writers = [threads.submit(write, writer) for writer in range(4)]
        try:
            acknowledged = [said for writer in writers for said in writer.result()]
        finally:
            done.set()
        assert killer.result() > 0
        found = texts(memory.get_messages("c", user_id="ana", limit=1000))

    assert sorted(found) == sorted(acknowledged)


# Marks

HERS = "replication-id/0/hers:"


@pytest.fixture
async def registered(memory):
    """A cache that is there beside the memory's own, and how its marks are looked at."""
    await memory.postgres.register([HERS])

    async def marks() -> list[UUID]:
        return [mark.conversation for mark in (await memory.postgres.look([HERS])).marks]

    return marks


def one(text: str) -> list[Draft]:
    return [Draft(HumanMessage(text))]


async def test_a_write_marks_every_cache_but_its_own_in_the_same_commit(memory, registered):
    await memory.postgres.register(["mine"])
    await memory.postgres.append(KEY, one("x"), own=["mine"])

    assert await registered() == [KEY.uuid]
    assert (await memory.postgres.look(["mine"])).marks == []
    await memory.postgres.append(KEY, one("y"))
    assert len((await memory.postgres.look(["mine", HERS])).marks) == 2


async def test_a_mark_made_again_meanwhile_is_not_cleared(memory):
    await memory.postgres.register([HERS])
    await memory.postgres.append(KEY, one("x"))
    first = (await memory.postgres.look([HERS])).marks
    await memory.postgres.append(KEY, one("y"))
    await memory.postgres.clear_marks(first)
    second = (await memory.postgres.look([HERS])).marks

    assert [mark.conversation for mark in second] == [KEY.uuid]
    assert second != first
    await memory.postgres.clear_marks(second)
    assert (await memory.postgres.look([HERS])).marks == []


@pytest.mark.parametrize("verb", ["clear_conversation", "delete_conversation"])
async def test_a_clear_or_delete_marks_too_and_only_those_it_does_not_tell(memory, registered, verb):
    await memory.postgres.register(["mine"])
    await memory.postgres.append(KEY, one("x"), own=["mine", HERS])
    assert await registered() == []
    await getattr(memory.postgres, verb)(KEY, own=["mine"])

    assert await registered() == [KEY.uuid]
    assert (await memory.postgres.look(["mine"])).marks == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM conversations",
        "DELETE FROM messages",
        "UPDATE messages SET content = 'redacted'",
        "UPDATE conversations SET user_id = 'eve'",
    ],
)
async def test_what_is_changed_by_hand_is_marked_for_everybody(memory, registered, database, statement):
    await memory.postgres.append(KEY, one("x"), own=[HERS])
    before = (await memory.postgres.read_all(KEY)).stamp
    database.execute(statement)

    assert await registered() == [KEY.uuid]
    if "messages" in statement:
        assert (await memory.postgres.read_all(KEY)).stamp != before


@pytest.mark.parametrize("table", ["conversations", "messages"])
async def test_a_table_emptied_by_hand_makes_every_cache_unknown(memory, registered, database, table):
    database.execute(f"TRUNCATE {table} CASCADE")

    assert (await memory.postgres.look([HERS])).eras == {}


async def test_a_cache_that_was_forgotten_comes_back_in_another_era(memory, registered):
    before = (await memory.postgres.look([HERS])).eras
    await memory.postgres.register([HERS])
    assert (await memory.postgres.look([HERS])).eras == before
    assert await memory.postgres.forget_caches() == 1
    await memory.postgres.register([HERS])

    assert (await memory.postgres.look([HERS])).eras.keys() == before.keys()
    assert (await memory.postgres.look([HERS])).eras != before


async def test_a_database_of_another_past_knows_none_of_its_caches(memory, registered, database):
    before = (await memory.postgres.look([HERS])).eras
    database.execute("UPDATE caches SET history = 'before the fail-over'")

    assert (await memory.postgres.look([HERS])).eras == {}
    await memory.postgres.register([HERS])
    assert (await memory.postgres.look([HERS])).eras != before


async def test_registering_waits_for_a_write_that_did_not_see_it_and_not_for_long(
    memory, registered, database_url, schema
):
    with psycopg.connect(database_url, options=f"-c search_path={schema}") as writer:
        writer.execute("DELETE FROM conversations")
        began = time.monotonic()
        with pytest.raises(StorageUnavailable, match="lock timeout"):
            await memory.postgres.register(["late"])
        assert 0.05 < time.monotonic() - began < 5
        writer.commit()
    await memory.postgres.register(["late"])
    assert memory.postgres.health.counters.failures == 0


async def test_registering_does_not_wait_for_a_backup(memory, database_url, schema):
    with psycopg.connect(database_url, options=f"-c search_path={schema}") as backup:
        backup.execute("LOCK TABLE conversations, messages, caches, marks IN ACCESS SHARE MODE")
        await memory.postgres.register(["meanwhile"])


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_writes_refuse_what_would_not_see_a_new_cache(memory, registered, database_url, schema, level):
    await memory.postgres.append(KEY, one("x"))
    with psycopg.connect(database_url, options=f"-c search_path={schema}") as conn:
        conn.execute(f"SET default_transaction_isolation = '{level}'")
        conn.commit()
        for statement in (
            "SELECT clear_v1(%(c)s, 'ana', '{}', 9)",
            "SELECT delete_v1(%(c)s, 'ana', '{}', 9)",
            "SELECT pop_v1(%(c)s, 'ana', %(c)s, 1, 2, '{}', 9)",
            "SELECT append_v1(%(c)s, 'ana', NULL, NULL, NULL, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', 0, '{}', NULL, '{}', true)",
            "SELECT revise_v1(%(c)s, 'ana', '{}', '{}', '{}', '{}', '{}', '{}', '{}', NULL, NULL, '{}', 9)",
            "SELECT register_v1('{a}')",
            "DELETE FROM conversations",
            "DELETE FROM messages",
            "UPDATE messages SET content = 'y'",
            "UPDATE conversations SET user_id = 'bob'",
        ):
            with pytest.raises(psycopg.errors.InvalidTransactionState, match="read committed"):
                conn.execute(statement, {"c": KEY.uuid})
            conn.rollback()


async def test_marks_are_drained_before_windows_are_trusted_again(memory, database, keyspace):
    history = memory.history("c", user_id="ana")
    await add(history, [HumanMessage("old")])
    assert texts(await read(history)) == ["old"]
    memory.redis.health.open = True
    await add(history, [HumanMessage("unseen by Redis")])
    memory.redis.health.open = False
    memory.redis.trust.lost()

    # which is older than what was acknowledged
    assert len(keyspace.client.hgetall(keyspace.window(KEY.uuid))) > 0
    assert texts(await read(history)) == ["old", "unseen by Redis"]
    assert database.execute("SELECT count(*) FROM marks").fetchone() == (0,)
    report = await memory.check()
    assert (report.redis.figures["drained"], report.redis.figures["dirty_marks"]) == (1, 1)
    assert report.redis.figures["windows_trusted"] is True


async def test_a_publish_that_fails_is_marked_before_the_write_is_acknowledged(
    schema, make_memory, redis_proxy, database
):
    memory = await make_memory(redis=redis_proxy.url, redis_timeout=0.2)
    other = await make_memory()
    for said in ("old", "new"):
        await memory.save_message("c", said, user_id="ana")
        if said == "old":
            assert texts(await memory.get_history("c", user_id="ana")) == ["old"]
            redis_proxy.mode = "blackhole"

    assert database.execute("SELECT conversation FROM marks").fetchall() == [(KEY.uuid,)]
    assert memory.redis.health.breaker == "closed"  # one failure is none yet
    assert texts(await other.get_history("c", user_id="ana")) == ["old", "new"]


async def test_a_process_that_lost_nothing_finds_the_marks_of_others_within_a_second(memory, database):
    history = memory.history("c", user_id="ana")
    await add(history, [HumanMessage("old")])
    await read(history)
    await memory.postgres.append(KEY, [Draft(HumanMessage("of a process without Redis"))])
    memory.redis.trust._began -= 1.0  # a second later

    assert texts(await read(history)) == ["old", "of a process without Redis"]


async def test_a_late_look_of_another_caller_sends_readers_to_postgresql(memory):
    history = memory.history("c", user_id="ana")
    await add(history, [HumanMessage("old")])
    await read(history)
    await memory.postgres.append(KEY, [Draft(HumanMessage("of a process without Redis"))])
    memory.redis.trust._began -= 10
    memory.redis.trust.begin(time.monotonic())  # and takes its time

    assert texts(await read(history)) == ["old", "of a process without Redis"]


async def test_a_look_that_fails_for_want_of_postgresql_costs_nobody_the_window(
    schema, make_memory, postgres_proxy
):
    memory = await make_memory(postgres_proxy.url, statement_timeout=0.6)
    history = memory.history("c", user_id="ana")
    await add(history, [HumanMessage("x")])
    await read(history)
    trust = memory.redis.trust
    trust._began -= 10
    trust.begin(time.monotonic())
    postgres_proxy.mode = "blackhole"
    other = threading.Timer(0.2, lambda: trust.gave_up(time.monotonic()))
    other.start()

    assert texts(await read(history)) == ["x"]
    assert memory.postgres.health.counters.failures > 0
    other.join()


async def test_more_marks_than_one_bite_are_drained_by_one_reader_after_the_other(memory, database):
    history = memory.history("c", user_id="ana")
    await read(history)
    database.execute(
        "INSERT INTO marks (cache, conversation, registered_by)"
        " SELECT name, gen_random_uuid(), registered_by FROM caches, generate_series(1, 1200)"
    )
    memory.redis.trust.lost()
    left = []
    for _ in range(6):
        await read(history)
        left += database.execute("SELECT count(*) FROM marks").fetchone()

    assert left == [950, 700, 450, 200, 0, 0]
    assert memory.redis.health.counters.drained == 1_200
    assert memory.redis.trust.trusted


async def test_what_is_marked_while_others_are_drained_is_left_for_the_next_look(memory, database):
    history = memory.history(KEY.name, user_id="ana")
    await add(history, [HumanMessage("old")])
    await read(history)
    database.execute(
        "INSERT INTO marks (cache, conversation, registered_by)"
        " SELECT name, ('ffffffff-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, registered_by"
        " FROM caches, generate_series(1, 400) AS n"
    )
    memory.redis.trust.lost()
    await read(history)  # the first of them; behind its back one with a smaller id is marked
    await memory.postgres.append(KEY, [Draft(HumanMessage("new"))])

    await read(history)  # the rest, and the marks there were when the first began are drained
    memory.redis.trust._began -= 1.0  # a second later

    assert texts(await read(history)) == ["old", "new"]
    assert texts(await read(history)) == ["old", "new"]
