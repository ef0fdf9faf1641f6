"""Who caches windows of one database: several Redis, none, another one than before, one that does not say who it is."""

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from redis import Redis

from convmemory import (
    ConfigurationError,
    ConversationMemory,
    Draft,
    PostgresStore,
    RedisStore,
    Settings,
    StorageError,
)
from fix_memory import texts

ANA = {"user_id": "ana"}


def a_second_later(*memories) -> None:
    for memory in memories:
        memory.redis.trust._began -= 1.0


@pytest.fixture
def pair(database_url, redis_url, schema, key_prefix):
    """Two memories over one database, each with windows of its own."""
    made = [
        ConversationMemory.from_url(
            database_url, redis_url, db_schema=schema, key_prefix=f"{key_prefix}{name}:"
        )
        for name in ("one", "two")
    ]
    with made[0] as one, made[1] as two:
        yield one, two


def test_what_is_written_through_one_cache_is_seen_through_the_other_at_the_next_look(pair):
    one, two = pair
    one.save_message("c", "first", **ANA)
    for memory in pair:
        assert texts(memory.get_history("c", **ANA)) == ["first"]
    one.save_message("c", "second", **ANA)
    assert texts(one.get_history("c", **ANA)) == ["first", "second"]
    a_second_later(two)

    assert texts(two.get_history("c", **ANA)) == ["first", "second"]
    two.clear("c", **ANA)
    a_second_later(one)
    assert one.get_history("c", **ANA) == []
    two.delete_conversation("c", **ANA)
    a_second_later(one)
    with pytest.raises(LookupError):
        one.get_history("c", **ANA)


def test_a_transcript_of_which_some_was_stored_is_seen_through_the_other_as_well(pair):
    one, two = pair
    said = [HumanMessage("first", id="1"), HumanMessage("second", id="2")]
    one.save_messages("c", said[:1], **ANA)
    for memory in pair:
        assert texts(memory.get_history("c", **ANA)) == ["first"]
    one.save_messages("c", said, **ANA)
    a_second_later(two)

    assert texts(one.get_history("c", **ANA)) == texts(two.get_history("c", **ANA)) == ["first", "second"]


def test_marks_of_one_cache_are_left_alone_by_the_other(pair, database):
    one, two = pair
    one.save_message("c", "first", **ANA)
    for memory in pair:
        memory.get_history("c", **ANA)
    one.save_message("c", "second", **ANA)
    a_second_later(one)
    one.get_history("c", **ANA)

    assert database.execute("SELECT cache FROM marks").fetchall() == [(two.redis.trust.standing.names[0],)]


def test_what_a_memory_without_redis_writes_is_seen_at_the_next_look(pair, database_url, schema):
    one, _ = pair
    one.save_message("c", "first", **ANA)
    one.get_history("c", **ANA)
    with ConversationMemory.from_url(database_url, db_schema=schema) as job:
        job.save_message("c", "second", **ANA)
    a_second_later(one)

    assert texts(one.get_history("c", **ANA)) == ["first", "second"]


def test_what_get_messages_shows_the_window_does_not_hide(pair):
    one, _ = pair
    one.save_message("c", "first", **ANA)
    one.get_history("c", **ANA)
    one.postgres.append(one.history("c", **ANA)._key, [Draft(message=HumanMessage("cut off"))])

    assert texts(one.get_messages("c", **ANA)) == ["first", "cut off"]
    assert texts(one.get_history("c", **ANA)) == ["first", "cut off"]


def test_a_cache_that_nobody_has_used_for_an_hour_is_forgotten_with_its_marks(pair, database):
    one, two = pair
    for memory in pair:
        memory.save_message(f"{memory}", "x", **ANA)
    name = two.redis.trust.standing.names[0]
    database.execute("UPDATE caches SET seen_at = now() - interval '2 hours' WHERE name = %s", [name])
    database.execute("UPDATE caches SET seen_at = now() - interval '2 minutes' WHERE name <> %s", [name])
    one.save_message("c", "a mark for both", **ANA)
    for _ in range(2):
        a_second_later(one)
        one.get_history("c", **ANA)
        database.execute("UPDATE caches SET seen_at = now() - interval '2 minutes'")

    assert database.execute("SELECT name FROM caches").fetchall() == [(one.redis.trust.standing.names[0],)]
    assert database.execute("SELECT count(*) FROM marks").fetchone() == (0,)
    a_second_later(two)
    assert texts(two.get_history("c", **ANA)) == ["a mark for both"]
    assert database.execute("SELECT count(*) FROM caches").fetchone() == (2,)


def test_a_row_of_caches_that_somebody_holds_keeps_nobody_from_serving_windows(pair, database_url, schema):
    one, _ = pair
    one.save_message("c", "first", **ANA)
    one.get_history("c", **ANA)
    with psycopg.connect(database_url, options=f"-c search_path={schema}") as holder:
        holder.execute("UPDATE caches SET seen_at = now() - interval '2 minutes'")
        holder.commit()
        holder.execute("SELECT FROM caches FOR UPDATE")
        for _ in range(2):  # each of which would note that the cache is in use
            a_second_later(one)
            hits = one.redis.health.counters.hits
            assert texts(one.get_history("c", **ANA)) == ["first"]
            assert one.redis.health.counters.hits == hits + 1


def test_two_databases_on_one_redis_share_nothing(database_url, redis_url, schema, key_prefix):
    other = f"{schema}_b"
    PostgresStore(database_url, Settings(db_schema=other)).init_schema()
    try:
        with (
            ConversationMemory.from_url(
                database_url, redis_url, db_schema=schema, key_prefix=key_prefix
            ) as one,
            ConversationMemory.from_url(
                database_url, redis_url, db_schema=other, key_prefix=key_prefix
            ) as two,
        ):
            one.save_message("c", "of one", **ANA)
            two.save_message("c", "of two", **ANA)
            for _ in range(2):
                assert texts(one.get_history("c", **ANA)) == ["of one"]
                assert texts(two.get_history("c", **ANA)) == ["of two"]
            session = one.create_session("ana")
            assert two.get_session(session.id) is None
            assert two.list_user_sessions("ana") == []
            with pytest.raises(ConfigurationError, match="make one for each"):
                ConversationMemory(two.postgres, one.redis).get_history("c", **ANA)
    finally:
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(f"DROP SCHEMA {other} CASCADE")


class Nameless(Redis):
    """A server that does not say who it is."""

    def info(self, section=None, *args, **kwargs):
        said = super().info(section, *args, **kwargs)
        return {name: value for name, value in said.items() if name != "master_replid"}


async def test_a_copy_with_an_id_of_its_own_has_the_conversations_and_shares_no_key(
    memory, make_memory, database, keyspace
):
    await memory.save_message("trip", "user", "where to?", **ANA)
    row = (await memory.get_conversation("trip", **ANA)).uuid
    session = await memory.create_session("ana")
    await memory.get_history("trip", **ANA)
    before = keyspace.names()

    database.execute("UPDATE installation SET id = DEFAULT")
    copied = await make_memory()

    assert texts(await copied.get_history("trip", **ANA)) == ["where to?"]
    assert (await copied.save_message("trip", "user", "to the sea", **ANA)).seq == 2
    assert (await copied.get_conversation("trip", **ANA)).uuid == row
    assert await copied.get_session(session) is None
    assert len(keyspace.names()) > len(before)
    assert set(before) < set(keyspace.names())


async def test_a_schema_that_is_made_anew_is_another_installation_to_those_who_knew_the_former(
    memory, make_memory, database, schema, caplog
):
    await memory.save_message("c", "user", "before", **ANA)
    await memory.get_history("c", **ANA)
    session = await memory.create_session("ana")
    database.execute(f"DROP SCHEMA {schema} CASCADE")
    other = await make_memory()
    await other.init_schema()
    # and the cache, which is one for both, is known again
    await other.save_message("another", "user", "x", **ANA)
    memory.redis.trust._began -= 1.0  # a second later
    with pytest.raises(LookupError):
        await memory.get_history("c", **ANA)

    await memory.save_message("c", "user", "after", **ANA)

    for one in (other, memory, await make_memory(redis=None)):
        assert texts(await one.get_history("c", **ANA)) == ["after"]
    assert await memory.get_session(session) is None, "it belonged to the former"
    assert [r.getMessage() for r in caplog.records if "made anew" in r.getMessage()] == [
        "the schema was made anew: this is another installation now"
    ]


async def test_a_memory_that_was_closed_meanwhile_goes_on_in_the_schema_that_was_made_anew(
    memory, database, schema
):
    await memory.save_message("c", "user", "before", **ANA)
    await memory.close()
    database.execute(f"DROP SCHEMA {schema} CASCADE")

    await memory.open()
    await memory.init_schema()
    await memory.save_message("c", "user", "after", **ANA)

    assert texts(await memory.get_history("c", **ANA)) == ["after"]


async def test_an_installation_that_was_emptied_is_told(schema, make_memory, database):
    database.execute("DELETE FROM installation")
    memory = await make_memory()

    for verb in (lambda: memory.save_message("c", "x", **ANA), lambda: memory.create_session("ana")):
        with pytest.raises(StorageError, match="the table installation is empty"):
            await verb()


def test_a_redis_that_does_not_say_who_it_is_holds_sessions_and_no_windows(
    database_url, redis_url, schema, key_prefix, caplog, database
):
    settings = {"db_schema": schema, "key_prefix": key_prefix}
    with ConversationMemory.from_url(database_url, Nameless.from_url(redis_url), **settings) as memory:
        for number in range(3):
            memory.save_message("c", f"{number}", **ANA)
            assert len(memory.get_history("c", **ANA)) == number + 1
        report = memory.check()
        assert memory.get_session(memory.create_session("ana").id)

    assert len([record for record in caplog.records if "no windows are cached" in record.message]) == 1
    assert report.ok
    assert report.redis.figures["caching"] is False
    assert (report.redis.figures["failures"], report.redis.figures["hits"]) == (0, 0)
    assert database.execute("SELECT count(*) FROM caches").fetchone() == (0,)


def test_a_store_without_a_database_has_sessions(redis_url, key_prefix):
    store = RedisStore(redis_url, Settings(key_prefix=key_prefix))
    with_one = store.create_session("ana")

    assert store.get_session(with_one.id).user_id == "ana"
    store.close()
