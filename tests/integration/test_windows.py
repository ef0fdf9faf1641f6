"""The recent window through both tiers: no order of events serves less than was promised, and no key lives for ever."""

import asyncio
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from convmemory import ConversationNotFound, StorageUnavailable
from convmemory.windows.trust import NOWHERE
from fix_memory import add, read, texts
from window_steps import HARD, KEEP, KEY, LIFE, ask, drafts, lease, publish, say


@pytest.fixture
def store(memory):
    return memory.redis


@pytest.fixture
def history(memory):
    return memory.history(KEY.uuid, user_id="ana")


async def test_a_write_before_the_first_read_after_expiry_is_no_whole_window(memory, history, keyspace):
    await add(history, say("one", "two"))
    await read(history)
    keyspace.expire()
    await add(history, say("three"))

    assert keyspace.names() == []
    assert texts(await read(history)) == ["one", "two", "three"]


async def test_two_readers_that_miss_together_both_see_everything(memory, history, store):
    await add(history, say("one"))
    first, second = [await ask(store) for _ in range(2)]
    early = await memory.postgres.read_window(KEY, KEEP, HARD)
    await add(history, say("two"))
    late = await memory.postgres.read_window(KEY, KEEP, HARD)
    await store.tell(KEY, late.stamp)  # the second reader is done first

    assert (first.verdict, second.verdict) == ("lease", "miss")
    assert await store.fill(KEY, early, first, KEEP) == "absent"
    assert texts(await read(history)) == ["one", "two"]


async def test_concurrent_readers_and_a_writer_never_see_less_than_before(memory):
    history = memory.history(KEY.uuid, user_id="ana", max_messages=100)
    written = asyncio.Event()

    async def keep_reading():
        least = 0
        while not written.is_set():
            found = len(await history.aget_messages())  # in a thread where the stores are blocking
            assert found >= least
            least = found
        assert len(await history.aget_messages()) == 40

    async def keep_writing():
        try:
            for number in range(40):
                await history.aadd_messages(say(f"{number}"))
                assert len(await history.aget_messages()) == number + 1
        finally:
            written.set()

    await asyncio.gather(keep_writing(), *(keep_reading() for _ in range(3)))


@pytest.mark.parametrize("change", ["clear", "delete", "append", "again"])
async def test_a_filler_that_is_late_brings_nothing_back(memory, history, store, change):
    await add(history, say("old"))
    slow = await lease(store)
    old = await memory.postgres.read_window(KEY, KEEP, HARD)

    if change == "clear":
        await memory.clear(KEY.uuid, user_id="ana")
    elif change == "append":
        await add(history, say("new"))
    else:
        await memory.delete_conversation(KEY.uuid, user_id="ana")
    if change == "again":
        await add(history, say("another life"))

    assert await store.fill(KEY, old, slow, KEEP) == "absent"
    expected = {"clear": [], "delete": [], "append": ["old", "new"], "again": ["another life"]}
    assert texts(await read(history)) == expected[change]
    assert texts(await read(history)) == expected[change]


async def test_a_delayed_publish_is_caught_up_by_whoever_reads_the_newer_version(memory, history, store):
    await add(history, say("one"))
    await read(history)
    _, second = await memory.postgres.append(KEY, drafts("two"))  # committed, and its writer sleeps
    assert texts(await read(history)) == ["one"]  # nothing was acknowledged
    full = memory.history(KEY.uuid, user_id="ana", max_messages=None)
    assert texts(await read(full)) == ["one", "two"]  # a read of PostgreSQL tells
    assert texts(await read(history)) == ["one", "two"]
    assert await publish(store, second, era_of(memory)) == "kept"
    assert texts(await read(history)) == ["one", "two"]


async def test_publishes_that_overtake_each_other_lose_nothing(memory, history, store):
    await add(history, say("one"))
    await read(history)
    _, second = await memory.postgres.append(KEY, drafts("two"))
    _, third = await memory.postgres.append(KEY, drafts("three"))

    assert await publish(store, third, era_of(memory)) == "dropped"
    assert texts(await read(history)) == ["one", "two", "three"]
    assert await publish(store, second, era_of(memory)) == "dropped"  # late, or of another history
    assert texts(await read(history)) == ["one", "two", "three"]


async def test_a_writer_that_dies_unacknowledged_is_seen_with_the_next_write(memory, history):
    await add(history, say("one"))
    await read(history)
    await memory.postgres.append(KEY, drafts("two"))  # and never published
    await add(history, say("three"))

    assert texts(await read(history)) == ["one", "two", "three"]


async def test_a_conversation_made_again_never_mixes_with_its_former_life(memory, history, store):
    await add(history, say("first", "life"))
    await read(history)
    _, late = await memory.postgres.append(KEY, drafts("late"))
    await memory.postgres.delete_conversation(KEY)
    await memory.postgres.append(KEY, drafts("second"))  # as another process, which published long ago

    # of a life that ended: nobody was promised otherwise yet
    assert await publish(store, late, era_of(memory)) == "extended"
    await add(history, say("now"))
    assert texts(await read(history)) == ["second", "now"]


async def test_a_warm_window_is_served_without_postgresql(memory, history, database):
    await add(history, say("kept in Redis"))
    await read(history)
    database.execute("ALTER TABLE messages RENAME TO gone")

    assert texts(await read(history)) == ["kept in Redis"]
    assert memory.redis.health.counters.hits == 1


async def test_a_larger_wish_refills_the_window_and_a_smaller_one_is_served_from_it(memory, keyspace):
    numbers = [str(n) for n in range(30)]
    await memory.save_messages(KEY.uuid, say(*numbers), user_id="ana")

    async def last(limit: int) -> list[str]:
        return texts(await memory.get_history(KEY.uuid, user_id="ana", limit=limit))

    assert await last(6) == numbers[-6:]
    assert keyspace.client.hget(keyspace.window(KEY.uuid), "keep") == b"12"
    assert await last(20) == numbers[-20:]
    hits = memory.redis.health.counters.hits
    assert await last(20) == numbers[-20:]
    assert await last(6) == numbers[-6:]
    await memory.save_message(KEY.uuid, "newest", user_id="ana")
    assert await last(20) == [*numbers[-19:], "newest"]
    assert memory.redis.health.counters.hits == hits + 3


async def test_a_wish_beyond_the_hard_limit_is_read_from_postgresql(schema, make_memory, keyspace):
    memory = await make_memory(hard_max_messages=10)
    numbers = [str(n) for n in range(30)]
    await memory.save_messages(KEY.uuid, say(*numbers), user_id="ana")

    assert texts(await memory.get_history(KEY.uuid, user_id="ana", limit=11)) == numbers[-11:]
    assert texts(await memory.get_history(KEY.uuid, user_id="ana", limit=25)) == numbers[-25:]
    assert keyspace.names() == []


async def test_a_long_turn_with_tools_comes_back_whole_from_the_window(memory, history):
    call = {"name": "look", "args": {}, "id": "t"}
    turn = [HumanMessage("?")]
    for n in range(10):
        turn += [AIMessage("", tool_calls=[{**call, "id": str(n)}]), ToolMessage("r", tool_call_id=str(n))]
    await add(history, say("before"))
    await read(history)
    for message in turn:
        await add(history, [message])
    assert await read(history) == turn  # written through, message by message
    assert await read(history) == turn
    assert memory.redis.health.counters.hits == 2
    await memory.redis.drop([KEY.uuid])
    assert await read(history) == turn  # filled from PostgreSQL
    assert await read(history) == turn
    assert memory.redis.health.counters.hits == 3


@pytest.mark.parametrize("warm", [True, False])
async def test_a_stranger_gets_an_error_and_the_owner_keeps_the_window(memory, history, keyspace, warm):
    await add(history, say("mine"))
    if warm:
        await read(history)
    before = keyspace.client.hgetall(keyspace.window(KEY.uuid))
    eve = memory.history(KEY.uuid, user_id="eve")

    with pytest.raises(ConversationNotFound):
        await read(eve)
    with pytest.raises(ConversationNotFound):
        await memory.get_history(KEY.uuid, user_id="eve")
    with pytest.raises(ConversationNotFound):
        await add(eve, say("hers"))

    if warm:
        assert keyspace.client.hgetall(keyspace.window(KEY.uuid)) == before
    hits = memory.redis.health.counters.hits
    for _ in range(3):
        assert texts(await read(history)) == ["mine"]
    assert memory.redis.health.counters.hits >= hits + 1  # who came first does not keep it cold


async def test_who_looked_before_there_was_a_conversation_is_not_in_its_owners_way(memory, history):
    eve = memory.history(KEY.uuid, user_id="eve")
    for _ in range(2):
        assert await read(eve) == []  # nobody's yet, and remembered as such
    await memory.create_conversation("ana", conversation_id=KEY.uuid)
    assert await read(history) == []
    await add(history, say("mine"))

    for _ in range(2):
        assert texts(await read(history)) == ["mine"]
    with pytest.raises(ConversationNotFound):
        await read(eve)


async def test_a_reader_without_the_lease_tells_what_it_read(memory, history, store):
    await add(history, say("one"))
    slow = await lease(store)
    old = await memory.postgres.read_window(KEY, KEEP, HARD)
    await memory.postgres.append(KEY, drafts("two"))  # committed, not published
    assert texts(await read(history)) == ["one", "two"]  # seen by one reader

    await store.fill(KEY, old, slow, KEEP)
    assert texts(await read(history)) == ["one", "two"]  # so nobody may see less


# Names and lives of keys


async def test_every_key_has_an_end_after_every_verb(memory, history, keyspace):
    async def steps():
        yield await read(history)
        yield await memory.create_conversation("ana", conversation_id=KEY.uuid)
        yield await add(history, say(*"abcdefghijklmnop"))
        yield await read(history)
        yield await add(history, say("q"))
        yield await memory.get_history(KEY.uuid, user_id="ana", limit=15)
        yield await memory.get_history(KEY.uuid, user_id="ana", limit=None)
        yield await memory.get_messages(KEY.uuid, user_id="ana")
        yield await memory.rename_conversation(KEY.uuid, "title", user_id="ana")
        yield await memory.create_session("ana", conversation_id=str(KEY.uuid))
        yield await memory.list_user_sessions("ana")
        yield await memory.clear(KEY.uuid, user_id="ana")
        yield await read(history)
        yield await memory.delete_conversation(KEY.uuid, user_id="ana")
        yield await read(history)

    async for _ in steps():
        assert all(0 < life <= 2 * LIFE for life in keyspace.lives().values()), keyspace.lives()
        assert keyspace.immortal() == []
    assert len(keyspace.names()) == 3


def era_of(memory) -> str:
    """The era this process is in."""
    return memory.redis.trust.standing.eras[1]


@pytest.mark.parametrize("prefix", ["", "app:", "ünï cödé/"])
async def test_keys_are_named_as_documented(schema, make_memory, keyspace, database, prefix):
    memory = await make_memory(key_prefix=prefix)
    conversation, user = uuid4(), uuid4().hex
    await memory.save_message(conversation, "hello", user_id=user)
    await memory.get_history(conversation, user_id=user)
    session = await memory.create_session(user)

    [[installation]] = database.execute("SELECT id FROM installation").fetchall()
    wanted = [
        f"{prefix}1:{installation}:history:{{{conversation}}}:recent",
        f"{prefix}1:{installation}:session:{{{session.handle}}}",
        f"{prefix}1:{installation}:user:{{{user}}}:sessions",
    ]
    assert keyspace.client.exists(*wanted) == 3
    assert keyspace.client.unlink(*wanted) == 3


async def test_two_prefixes_share_nothing(schema, make_memory):
    one, two = [await make_memory(key_prefix=f"{uuid4().hex}:") for _ in range(2)]
    session = await one.create_session("ana")

    assert await two.get_session(session.session_id) is None
    assert await two.list_user_sessions("ana") == []


async def test_a_request_that_is_cut_off_leaves_no_key_without_an_end(
    schema, make_memory, redis_proxy, keyspace
):
    store = (await make_memory(redis=redis_proxy.url)).redis
    session = await store.create_session("ana")
    for call in (
        lambda: store.create_session("ana"),
        lambda: store.get_session(session.session_id),
        lambda: store.read_window(KEY, 6, HARD, "t", NOWHERE),
        lambda: store.end_session(session.session_id),
    ):
        redis_proxy.mode = "pass"
        await store.ping()  # connected
        keyspace.expire()
        redis_proxy.mode = "cut_request"
        with pytest.raises(StorageUnavailable):
            await call()
        assert keyspace.immortal() == []
