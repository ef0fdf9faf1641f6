"""What an operator deletes is gone from both stores, looked at raw, whatever reads and writes beside it; and nothing else is."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from langchain_core.messages import AIMessage

from convmemory import (
    ConversationMemory,
    ConversationNotFound,
    Erased,
    InvalidArgument,
    RetrievedContext,
    StorageUnavailable,
)
from convmemory._async.draining import AsyncDraining
from convmemory._sync.draining import Draining
from convmemory.ids import conversation_key

SECRET = "xylophone"
EVE = {"user_id": "eve"}
YEARS = datetime(2020, 1, 1, tzinfo=UTC)


async def life(memory, user: str, *, conversations: int = 3) -> None:
    """A user who talked, was told documents, and has windows and sessions."""
    for n in range(conversations):
        await memory.save_messages(f"c{n}", [f"{SECRET} is what I have", AIMessage("I see")], user_id=user)
        await memory.save_message(
            f"c{n}",
            AIMessage(f"about {SECRET}"),
            contexts=[RetrievedContext(f"on {SECRET}", metadata={"q": SECRET})],
            metadata={"q": SECRET},
            user_id=user,
        )
        await memory.get_history(f"c{n}", user_id=user)
        await memory.create_session(user, conversation_id=f"c{n}", metadata={"q": SECRET})


@pytest.fixture
def traces(database, keyspace):
    """A function that says where a word is still to be found, in any table and under any key."""

    def find(word: str) -> list[str]:
        tables = database.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        found = [
            table
            for (table,) in tables.fetchall()
            for (text,) in database.execute(f"SELECT t::text FROM {table} AS t").fetchall()
            if word in text
        ]
        client = keyspace.client
        for name in keyspace.names():
            looks = {
                b"hash": client.hgetall,
                b"string": client.get,
                b"zset": lambda name: client.zrange(name, 0, -1),
            }
            held = looks[client.type(name)](name)
            if word in repr((name, held)):
                found.append(repr(name))
        return found

    return find


async def test_everything_of_a_user_goes_and_nobody_elses(memory, traces):
    await life(memory, "ana")
    await life(memory, "eve", conversations=1)
    seen = []
    receipt = await memory.retention.erase_user("ana", progress=seen.append)

    assert receipt == Erased(
        rows={"conversations": 3, "messages": 9, "message_contexts": 3, "documents": 1}, windows=3, sessions=3
    )
    assert seen[-1] == receipt
    assert [one.rows["conversations"] + one.sessions for one in seen] == [1, 2, 3, 4, 5, 6]
    assert traces("ana") == []
    assert len(await memory.get_messages("c0", **EVE)) == 3
    assert len(await memory.list_user_sessions("eve")) == 1
    assert await memory.retention.erase_user("ana") == Erased(
        rows={"conversations": 0, "messages": 0, "message_contexts": 0, "documents": 0}
    )


async def test_a_long_conversation_goes_at_once_and_all_of_it(memory, monkeypatch, traces):
    for colour in ("_sync", "_async"):
        for module in ("cache_register", "postgres_store"):
            monkeypatch.setattr(f"convmemory.{colour}.{module}.BATCH", 4)
    await memory.save_messages("c", [f"{SECRET} {n}" for n in range(10)], user_id="ana")
    await memory.delete_messages("c", seqs=[3, 7], user_id="ana")
    receipt = await memory.retention.erase_user("ana")

    assert receipt.rows == {"conversations": 1, "messages": 8, "message_contexts": 0, "documents": 0}
    assert traces(SECRET) == traces("ana") == []


async def test_what_an_earlier_delete_left_goes_too(memory, monkeypatch, traces):
    for colour in ("_sync", "_async"):
        for module in ("cache_register", "postgres_store"):
            monkeypatch.setattr(f"convmemory.{colour}.{module}.BATCH", 4)
    for name in ("deleted", "cleared"):
        await memory.save_messages(name, [f"{SECRET} {n}" for n in range(10)], user_id="ana")
    store = memory.postgres
    assert (await store.delete_conversation(conversation_key("deleted", "ana"))).left_here
    assert (await store.clear_conversation(conversation_key("cleared", "ana"))).left_here
    assert traces(SECRET)
    receipt = await memory.retention.erase_user("ana")

    assert receipt.rows == {"conversations": 1, "messages": 0, "message_contexts": 0, "documents": 0}
    assert traces(SECRET) == []


async def test_what_somebody_else_is_taking_away_is_waited_for(
    make_memory, monkeypatch, database_url, schema, traces
):
    """Who may end before it is through."""
    memory = await make_memory(lock_timeout=0.2)
    for colour in ("_sync", "_async"):
        for module in ("cache_register", "postgres_store"):
            monkeypatch.setattr(f"convmemory.{colour}.{module}.BATCH", 4)
    await memory.save_messages("c", [f"{SECRET} {n}" for n in range(10)], user_id="ana")
    await memory.postgres.delete_conversation(conversation_key("c", "ana"))
    with psycopg.connect(database_url) as other:
        other.execute(f"SELECT FROM {schema}.conversations FOR UPDATE")
        with pytest.raises(StorageUnavailable, match="held what it needs"):
            await memory.retention.erase_user("ana")
    await memory.retention.erase_user("ana")

    assert traces(SECRET) == []


class Ended(BaseException):
    """The end of a process, as far as it is felt inside."""


@pytest.mark.parametrize("verb", ["delete", "erase", "prune"])
async def test_what_ends_before_redis_is_told_is_served_no_more_and_may_be_run_again(
    memory, make_memory, monkeypatch, traces, verb
):
    """The conversation is not there any more, to be told of by the next run."""
    await life(memory, "ana", conversations=1)
    verbs = {
        "delete": lambda: memory.delete_conversation("c0", user_id="ana"),
        "erase": lambda: memory.retention.erase_user("ana"),
        "prune": lambda: memory.retention.prune(older_than=timedelta(0)),
    }

    def ended(*_: object, **__: object) -> None:
        raise Ended

    with monkeypatch.context() as patch:
        patch.setattr(getattr(memory, "blocking", memory).redis, "publish", ended)
        with pytest.raises(Ended):
            await verbs[verb]()
    assert traces(SECRET)
    other = await make_memory()
    with pytest.raises(ConversationNotFound):
        await other.get_history("c0", user_id="ana")
    if verb == "erase":
        await other.save_message("c1", "user", SECRET, user_id="ana")
        await other.get_history("c1", user_id="ana")
        with monkeypatch.context() as patch:
            patch.setattr(getattr(memory, "blocking", memory).redis, "publish", ended)
            with pytest.raises(Ended):
                await memory.retention.erase_user("ana")
        await memory.retention.erase_user("ana")
        assert traces(SECRET) == []


async def stood_still(*_: object) -> None:
    pass


async def test_what_waited_is_not_left_where_a_run_broke_off(schema, make_memory, monkeypatch, traces):
    monkeypatch.setattr(Draining, "_behind", lambda *_: None)  # nobody stores it in the background
    monkeypatch.setattr(AsyncDraining, "_behind", stood_still)
    memory, other = [await make_memory(durability="journal", journal_ack="memory") for _ in range(2)]
    await life(memory, "ana", conversations=2)
    assert (await memory.save_message("c1", "user", SECRET, user_id="ana")).pending
    await memory.postgres.delete_conversation(conversation_key("c1", "ana"))  # and that was the end
    await other.retention.erase_user("ana")

    assert traces(SECRET) == []


async def test_what_was_told_of_a_delete_is_not_marked(memory, database):
    await life(memory, "ana", conversations=3)
    await memory.delete_conversation("c0", user_id="ana")
    await memory.retention.erase_user("ana")

    assert database.execute("SELECT count(*) FROM marks").fetchone() == (0,)


async def test_without_redis_the_rest_is_erased(database_url, schema, traces, blocking_memory):
    blocking_memory.save_message("c", "user", SECRET, user_id="ana")
    blocking_memory.get_history("c", user_id="ana")
    with ConversationMemory.from_url(database_url, db_schema=schema) as other:
        assert other.retention.erase_user("ana").rows["messages"] == 1
    blocking_memory.redis.trust.lost()
    with pytest.raises(ConversationNotFound):
        blocking_memory.get_history("c", user_id="ana")

    assert traces(SECRET) == []


async def test_nothing_comes_back_beside_readers_and_writers(blocking_memory, traces):
    over = threading.Event()

    def talk(name: str) -> None:
        n = 0
        while not over.is_set():
            n += 1
            blocking_memory.save_messages(name, [f"{SECRET} {n}", AIMessage("ok")], user_id="ana")
            blocking_memory.save_message(name, "user", "hers", **EVE)

    def look(name: str) -> None:
        while not over.is_set() or blocking_memory.redis.health.open:
            try:
                blocking_memory.get_history(name, user_id="ana")
                blocking_memory.get_messages(name, user_id="ana")
            except ConversationNotFound:
                pass

    names = [f"c{n}" for n in range(4)]
    writers = [asyncio.create_task(asyncio.to_thread(talk, name)) for name in names]
    readers = [asyncio.create_task(asyncio.to_thread(look, name)) for name in names]
    await asyncio.sleep(1.0)

    def erase() -> Erased:
        return blocking_memory.retention.erase_user("ana")

    stopping = asyncio.get_running_loop().call_later(0.5, over.set)
    receipt = await asyncio.to_thread(erase)  # while they write, and until they stop
    await asyncio.gather(*writers, *readers)
    stopping.cancel()
    last = await asyncio.to_thread(erase)

    assert receipt.rows["conversations"] >= 4
    assert last.rows["conversations"] <= 4
    assert traces(SECRET) == []
    for name in names:
        with pytest.raises(ConversationNotFound):
            blocking_memory.get_history(name, user_id="ana")
        assert blocking_memory.get_history(name, **EVE)


async def test_a_filler_that_is_late_brings_nothing_back(memory, traces):
    from window_steps import lease

    key = conversation_key("c", "ana")
    await memory.save_message("c", "user", SECRET, user_id="ana")
    await memory.postgres.settle(key)
    slow = await lease(memory.redis, key)
    old = await memory.postgres.read_window(key, 6, 200)
    await memory.retention.erase_user("ana")

    assert await memory.redis.fill(key, old, slow, 6) == "absent"
    assert traces(SECRET) == []


async def test_an_outage_of_redis_leaves_marks_and_no_window_is_served(
    schema, make_memory, redis_proxy, traces, database
):
    memory = await make_memory(redis=redis_proxy.url)
    await memory.save_message("c", "user", SECRET, user_id="ana")
    await memory.get_history("c", user_id="ana")
    redis_proxy.mode = "refuse"
    redis_proxy.reset_all()
    with pytest.raises(Exception, match="Redis"):
        await memory.retention.erase_user("ana")
    assert database.execute("SELECT count(*) FROM messages").fetchone() == (0,)
    assert database.execute("SELECT count(*) FROM marks").fetchone() == (1,)
    redis_proxy.mode = "pass"
    await memory.redis.open()
    memory.redis.health.begin_anew()
    memory.redis.trust.lost()

    with pytest.raises(ConversationNotFound):
        await memory.get_history("c", user_id="ana")
    assert await memory.retention.erase_user("ana") == Erased(
        rows={"conversations": 0, "messages": 0, "message_contexts": 0, "documents": 0}
    )
    assert traces(SECRET) == []


# Pruned


async def aged(memory, database, *ages: int, user: str = "ana", dept: str | None = None) -> None:
    """A conversation of each age in days."""
    for days in ages:
        name = f"{days}d"
        await memory.create_conversation(user, conversation_id=name, dept_id=dept)
        await memory.save_message(name, "user", f"{user} {days}", user_id=user)
        database.execute(
            "UPDATE conversations SET updated_at = now() - %s WHERE external_id = %s AND user_id = %s",
            [timedelta(days=days), name, user],
        )


async def left(memory, user: str = "ana") -> list[str]:
    return sorted(found.id for found in await memory.list_user_conversations(user))


async def test_what_nobody_came_back_to_goes(memory, database, traces):
    await aged(memory, database, 1, 29, 31, 400)
    await aged(memory, database, 31, user="eve")
    await memory.get_history("31d", user_id="ana")
    receipt = await memory.retention.prune(older_than=timedelta(days=30))

    assert receipt == Erased(
        rows={"conversations": 3, "messages": 3, "message_contexts": 0, "documents": 0}, windows=1, sessions=0
    )
    assert (await left(memory), await left(memory, "eve")) == (["1d", "29d"], [])
    assert traces("ana 31") == []


async def test_one_user_or_one_department_is_pruned(memory, database):
    await aged(memory, database, 31, 40, dept="legal")
    await aged(memory, database, 31, user="eve")
    old = datetime.now(UTC) - timedelta(days=35)

    assert (await memory.retention.prune(older_than=old, dept_id="legal")).rows["conversations"] == 1
    assert (await left(memory), await left(memory, "eve")) == (["31d"], ["31d"])
    found = await memory.retention.prune(older_than=timedelta(days=30), user_id="eve")
    assert found.rows["conversations"] == 1
    assert (await left(memory), await left(memory, "eve")) == (["31d"], [])


async def test_everybodys_conversations_are_walked_stretch_by_stretch(memory, database, monkeypatch):
    for colour in ("_sync", "_async"):
        monkeypatch.setattr(f"convmemory.{colour}.retention._STRETCH", 3)
    await aged(memory, database, *range(25, 37))
    seen = []
    receipt = await memory.retention.prune(older_than=timedelta(days=30), progress=seen.append)

    assert receipt.rows["conversations"] == len(seen) == 7
    assert len(await left(memory)) == 5


async def test_one_that_is_spoken_in_before_its_turn_stays(memory, database):
    await aged(memory, database, 31)
    before = datetime.now(UTC) - timedelta(days=30)
    [key] = await memory.postgres.old_conversations("ana", before, 10)
    await memory.save_message("31d", "user", "again", user_id="ana")

    assert await memory._store.erase(key, before) is None
    assert len(await memory.get_messages("31d", user_id="ana")) == 2


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"older_than": 30}, "older_than"),
        ({"older_than": None}, "older_than"),
        ({"older_than": datetime(2024, 1, 1)}, "older_than"),  # noqa: DTZ001 - no time zone is the fault
        ({"older_than": timedelta(days=-1)}, "older_than"),
        ({"older_than": timedelta.max}, "older_than"),
        ({"older_than": datetime(2199, 1, 1, tzinfo=UTC)}, "older_than"),
        ({"older_than": YEARS, "user_id": ""}, "user_id"),
        ({"older_than": YEARS, "user_id": "ana", "dept_id": "d"}, "dept_id"),
    ],
)
async def test_what_is_no_age_says_what_would_be(memory, wrong, named):
    with pytest.raises(InvalidArgument, match=f"^{named}: "):
        await memory.retention.prune(**wrong)


async def test_nobody_is_no_user(memory):
    for wrong in ("", None, 5):
        with pytest.raises(InvalidArgument, match=r"^user_id: "):
            await memory.retention.erase_user(wrong)
