"""The recent window in a real Redis: what each script answers, and that no order of events serves less than was promised."""

import asyncio
from uuid import UUID, uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from convmemory import ConversationNotFound, Draft, StorageUnavailable
from convmemory.codec import encode, pack, unpack
from convmemory.coherence import Snapshot, Written
from convmemory.keys import conversation_key
from fix_memory import add, read, texts

HARD, KEEP = 200, 12
KEY = conversation_key(UUID(int=7), "ana")
LIFE = 30 * 60_000


def packed(*said: str) -> list[bytes]:
    return [pack(encode(HumanMessage(text))) for text in said]


def snapshot(version: int, *said: str, last: int | None = None, life: str = "1") -> Snapshot:
    """What PostgreSQL said: the newest messages of a conversation, which ends with them."""
    last = len(said) if last is None else last
    return Snapshot(life, version, last, last, packed(*said))


def written(version: int, first: int, *said: str, life: str = "1", human: int | None = None) -> Written:
    """What an append returned: these messages, the first of them at ``first``."""
    newest = first + len(said) - 1 if human is None else human
    return Written(life, version, first, newest, packed(*said))


@pytest.fixture
def store(memory):
    return memory.redis


@pytest.fixture
def window(keyspace):
    """The window of ``KEY`` as it lies in Redis, and its time to live in milliseconds."""

    def look():
        name = keyspace.window(KEY.uuid)
        return keyspace.client.hgetall(name), keyspace.client.pttl(name)

    return look


async def fill(store, found: Snapshot, keep: int = KEEP) -> None:
    assert (await store.read_window(KEY, 6, HARD, "t")).verdict == "lease"
    assert await store.fill(KEY, found, "t", keep) == "filled"


async def served(store, want: int = 6, hard: int = HARD) -> list[str] | str:
    """What the window serves, or the verdict when it does not."""
    reply = await store.read_window(KEY, want, hard, uuid4().hex)
    return reply.verdict if reply.snapshot is None else texts(map(unpack, reply.snapshot.entries))


# Reading


async def test_a_cold_window_gives_the_first_reader_the_lease_and_the_second_a_miss(store, window):
    first = await store.read_window(KEY, 6, HARD, "one")
    second = await store.read_window(KEY, 6, HARD, "two")
    again = await store.read_window(KEY, 6, HARD, "one")  # a retried command

    assert (first.verdict, second.verdict, again.verdict) == ("lease", "miss", "lease")
    assert LIFE - 5_000 < window()[1] <= LIFE


async def test_a_filled_window_is_a_hit_with_all_that_postgresql_said(store, window):
    await fill(store, snapshot(3, "a", "b", "c"))

    reply = await store.read_window(KEY, 6, HARD, "u")

    assert reply.verdict == "hit"
    assert reply.snapshot == snapshot(3, "a", "b", "c")
    assert LIFE - 5_000 < window()[1] <= LIFE


async def test_a_hit_gives_what_is_wanted_and_the_newest_turn_whole(store):
    found = Snapshot("1", 9, 5, 2, packed("a", "human", "c", "d", "e"))
    await fill(store, found)

    assert await served(store, want=2) == ["human", "c", "d", "e"]
    assert await served(store, want=2, hard=3) == ["c", "d", "e"]
    assert await served(store, want=5) == ["a", "human", "c", "d", "e"]


async def test_a_window_that_holds_too_little_is_no_hit(store):
    await fill(store, snapshot(9, *"cdefg", last=7))

    assert await served(store, want=5) == [*"cdefg"]
    assert await served(store, want=6) == "lease"


async def test_an_empty_conversation_and_none_at_all_can_be_cached(store):
    await fill(store, Snapshot("1", 4, 0, 0, []))
    assert await served(store) == []
    await store.drop([KEY.uuid])
    await fill(store, Snapshot())
    assert await served(store) == []


async def test_a_lease_passes_on_when_its_holder_took_too_long(store, keyspace, window):
    await store.read_window(KEY, 6, HARD, "slow")
    assert await served(store) == "miss"
    keyspace.client.hset(keyspace.window(KEY.uuid), "deadline", 1)  # its time is over

    assert (await store.read_window(KEY, 6, HARD, "quick")).verdict == "lease"
    assert await store.fill(KEY, snapshot(1, "old"), "slow", KEEP) == "told"
    assert window()[0] == {}


async def test_the_lease_itself_runs_out(store, window, keyspace):
    await store.read_window(KEY, 6, HARD, "slow")
    seconds, microseconds = keyspace.client.time()
    deadline = int(window()[0][b"deadline"])

    assert 0 < deadline - (seconds * 1000 + microseconds // 1000) <= 5_000


async def test_a_window_of_another_run_of_redis_is_a_miss(store, keyspace):
    await fill(store, snapshot(1, "a"))
    keyspace.client.hset(keyspace.window(KEY.uuid), "run", "0" * 40)

    assert await served(store) == "lease"


async def test_publishing_to_a_window_of_another_run_does_not_make_it_trusted(store, keyspace):
    await fill(store, snapshot(1, "a"))
    keyspace.client.hset(keyspace.window(KEY.uuid), "run", "0" * 40)

    assert await store.publish(KEY, written(2, 2, "b")) == "extended"
    assert await served(store) == "lease"


async def test_a_lease_of_another_run_of_redis_fills_nothing(store, keyspace, window):
    await store.read_window(KEY, 6, HARD, "t")
    keyspace.client.hset(keyspace.window(KEY.uuid), "leased", "0" * 40)

    assert await store.fill(KEY, snapshot(1, "a"), "t", KEEP) == "told"
    assert window()[0] == {}


async def test_another_users_window_is_foreign_and_left_as_it_was(store, window, keyspace):
    await fill(store, snapshot(1, "a"))
    keyspace.client.pexpire(keyspace.window(KEY.uuid), 60_000)
    before = window()[0]
    eve = conversation_key(KEY.uuid, "eve")

    assert (await store.read_window(eve, 6, HARD, "e")).verdict == "foreign"
    assert window()[0] == before
    assert window()[1] <= 60_000


# Publishing


async def test_publishing_to_no_window_makes_none(store, window):
    assert await store.publish(KEY, written(1, 1, "a")) == "absent"
    assert window() == ({}, -2)


async def test_a_window_is_extended_by_the_next_version(store, window):
    await fill(store, snapshot(1, "a"))

    assert await store.publish(KEY, written(2, 2, "b", "c")) == "extended"
    assert await served(store) == ["a", "b", "c"]
    assert LIFE - 5_000 < window()[1] <= LIFE


async def test_publishing_twice_changes_nothing(store, window):
    await fill(store, snapshot(1, "a"))
    await store.publish(KEY, written(2, 2, "b"))
    before = window()[0]

    assert await store.publish(KEY, written(2, 2, "b")) == "kept"
    assert window()[0] == before


async def test_a_publish_that_comes_late_finds_a_newer_window_and_leaves_it(store, window):
    await fill(store, snapshot(5, *"abcde"))

    assert await store.publish(KEY, written(4, 4, "d")) == "kept"
    assert await served(store) == [*"abcde"]


async def test_a_window_that_missed_a_version_is_dropped(store, window):
    await fill(store, snapshot(1, "a"))

    assert await store.publish(KEY, written(3, 3, "c")) == "dropped"
    assert window() == ({}, -2)


async def test_a_window_whose_messages_do_not_join_up_is_dropped(store):
    await fill(store, snapshot(4, "a"))

    assert await store.publish(KEY, written(5, 7, "g")) == "dropped"  # cleared and grown again elsewhere
    assert await served(store) == "lease"


async def test_publishing_cancels_the_lease(store, window):
    await store.read_window(KEY, 6, HARD, "t")

    assert await store.publish(KEY, written(2, 2, "b")) == "dropped"
    assert await store.fill(KEY, snapshot(1, "a"), "t", KEEP) == "absent"
    assert window() == ({}, -2)


async def test_a_window_of_an_earlier_life_is_dropped(store):
    await fill(store, snapshot(4, "a", life="1"))

    assert await store.publish(KEY, written(5, 2, "b", life="2")) == "dropped"
    assert await served(store) == "lease"


async def test_the_first_write_extends_a_window_that_knew_of_no_conversation(store):
    await fill(store, Snapshot())

    assert await store.publish(KEY, written(1, 1, "a", life="9")) == "extended"
    assert await store.publish(KEY, written(2, 2, "b", life="9")) == "extended"
    assert await served(store) == ["a", "b"]


async def test_a_later_write_drops_a_window_that_knew_of_no_conversation(store):
    await fill(store, Snapshot())

    assert await store.publish(KEY, written(2, 2, "b", life="9")) == "dropped"


async def test_the_owners_write_drops_what_another_users_reading_left(store, window):
    eve = conversation_key(KEY.uuid, "eve")
    await store.read_window(eve, 6, HARD, "e")

    assert await store.publish(KEY, written(1, 1, "a")) == "dropped"
    assert await store.fill(eve, Snapshot(), "e", KEEP) == "absent"
    assert window() == ({}, -2)


async def test_a_window_keeps_as_many_messages_as_it_was_filled_for(store, window):
    await fill(store, snapshot(1, "a"), keep=3)
    for seq in range(2, 10):
        await store.publish(KEY, written(seq, seq, str(seq)))

    fields, _ = window()
    assert sorted(int(name) for name in fields if name.isdigit()) == [7, 8, 9]
    assert int(fields[b"bytes"]) == sum(len(body) for name, body in fields.items() if name.isdigit())
    assert await served(store, want=3) == ["7", "8", "9"]
    assert await served(store, want=4) == "lease"


async def test_a_long_turn_is_kept_whole_and_trimmed_once_the_next_one_begins(store):
    await fill(store, snapshot(1, "human 1"), keep=2)
    for seq in range(2, 9):
        assert await store.publish(KEY, written(seq, seq, f"tool {seq}", human=0)) == "extended"
    assert await served(store, want=2) == ["human 1", *(f"tool {seq}" for seq in range(2, 9))]

    await store.publish(KEY, written(9, 9, "human 9"))
    assert await served(store, want=1) == ["human 9"]
    assert await served(store, want=2) == ["tool 8", "human 9"]
    assert await served(store, want=3) == "lease"


async def test_no_turn_keeps_more_than_the_hard_limit(schema, make_memory):
    store = (await make_memory(hard_max_messages=4, max_history_messages=1)).redis
    await fill(store, snapshot(1, "human 1"), keep=2)
    for seq in range(2, 9):
        await store.publish(KEY, written(seq, seq, f"tool {seq}", human=0))

    assert await served(store, want=2, hard=4) == ["tool 5", "tool 6", "tool 7", "tool 8"]
    assert await served(store, want=2, hard=5) == "lease"


async def test_a_batch_longer_than_the_hard_limit_drops_the_window(schema, make_memory):
    store = (await make_memory(hard_max_messages=4, max_history_messages=1)).redis
    await fill(store, snapshot(1, "a"))

    assert await store.publish(KEY, written(2, 2, *"bcdef")) == "told"
    assert await served(store) == "lease"


async def test_a_window_that_grows_too_heavy_is_dropped(schema, make_memory, window):
    store = (await make_memory(max_window_bytes=500)).redis
    await fill(store, snapshot(1, "x" * 300))

    assert await store.publish(KEY, written(2, 2, "y" * 300)) == "dropped"
    assert window() == ({}, -2)


async def test_messages_too_heavy_for_a_window_are_not_even_sent(schema, make_memory, window):
    store = (await make_memory(max_window_bytes=500)).redis
    await fill(store, snapshot(1, "x"))

    assert await store.publish(KEY, written(2, 2, "y" * 501)) == "told"
    assert window() == ({}, -2)


async def test_a_window_too_heavy_from_the_start_is_not_filled(schema, make_memory, window):
    store = (await make_memory(max_window_bytes=500)).redis
    await store.read_window(KEY, 6, HARD, "t")

    assert await store.fill(KEY, snapshot(1, "x" * 501), "t", KEEP) == "told"
    assert window() == ({}, -2)


# Filling and telling


async def test_filling_twice_is_as_good_as_once(store, window):
    await fill(store, snapshot(1, "a"))
    before = window()[0]

    assert await store.fill(KEY, snapshot(1, "a"), "t", KEEP) == "told"  # the command came twice
    assert window()[0] == before


async def test_only_the_lease_fills(store, window):
    await store.read_window(KEY, 6, HARD, "one")

    assert await store.fill(KEY, snapshot(1, "a"), "two", KEEP) == "told"
    assert window() == ({}, -2)
    assert await store.fill(KEY, snapshot(1, "a"), "one", KEEP) == "absent"


@pytest.mark.parametrize("version", [3, 4])
async def test_telling_an_older_or_equal_version_leaves_the_window(store, window, version):
    await fill(store, snapshot(4, "a"))
    before = window()[0]

    assert await store.tell(KEY, "1", version) == "told"
    assert window()[0] == before
    assert LIFE - 5_000 < window()[1] <= LIFE


@pytest.mark.parametrize(("life", "version"), [("1", 5), ("2", 4), ("2", 1), ("", 0), ("0", 0)])
async def test_telling_a_newer_version_or_another_life_drops_the_window(store, window, life, version):
    await fill(store, snapshot(4, "a"))

    assert await store.tell(KEY, life, version) == "told"
    assert await store.tell(KEY, life, version) == "absent"
    assert window() == ({}, -2)


async def test_telling_cancels_a_lease(store):
    await store.read_window(KEY, 6, HARD, "t")

    assert await store.tell(KEY, "1", 1) == "told"
    assert await store.fill(KEY, snapshot(1, "a"), "t", KEEP) == "absent"


async def test_dropping_is_always_safe(store, window):
    await store.drop([])
    await store.drop([KEY.uuid, uuid4()])
    await fill(store, snapshot(1, "a"))
    await store.drop([uuid4(), KEY.uuid])

    assert window() == ({}, -2)


async def test_the_scripts_are_learnt_again_after_the_server_forgot_them(store, keyspace):
    await fill(store, snapshot(1, "a"))
    keyspace.client.script_flush()

    assert await served(store) == ["a"]


# Orders of events, through both tiers


@pytest.fixture
def history(memory):
    return memory.history(KEY.uuid, user_id="ana")


def say(*said: str) -> list[HumanMessage]:
    return [HumanMessage(text) for text in said]


def drafts(*said: str) -> list[Draft]:
    return [Draft(HumanMessage(text)) for text in said]


async def test_a_write_before_the_first_read_after_expiry_is_no_whole_window(memory, history, keyspace):
    await add(history, say("one", "two"))
    await read(history)
    keyspace.expire()
    await add(history, say("three"))

    assert keyspace.names() == []
    assert texts(await read(history)) == ["one", "two", "three"]


async def test_two_readers_that_miss_together_both_see_everything(memory, history, store):
    await add(history, say("one"))
    first, second = [await store.read_window(KEY, 6, HARD, token) for token in ("1", "2")]
    early = await memory.postgres.read_window(KEY, KEEP, HARD)
    await add(history, say("two"))
    late = await memory.postgres.read_window(KEY, KEEP, HARD)
    await store.tell(KEY, late.incarnation, late.version)  # the second reader is done first

    assert (first.verdict, second.verdict) == ("lease", "miss")
    assert await store.fill(KEY, early, "1", KEEP) == "absent"
    assert texts(await read(history)) == ["one", "two"]


async def test_concurrent_readers_and_a_writer_never_see_less_than_before(memory):
    history = memory.history(KEY.uuid, user_id="ana", max_messages=100)
    most = 0

    async def keep_reading():
        nonlocal most
        least = 0
        for _ in range(40):
            found = len(await history.aget_messages())  # in a thread where the stores are blocking
            assert found >= least
            least = found
        most = max(most, least)

    async def keep_writing():
        for number in range(40):
            await history.aadd_messages(say(f"{number}"))
            assert len(await history.aget_messages()) == number + 1

    await asyncio.gather(keep_writing(), *(keep_reading() for _ in range(3)))
    assert most > 1


@pytest.mark.parametrize("change", ["clear", "delete", "append", "again"])
async def test_a_filler_that_is_late_brings_nothing_back(memory, history, store, change):
    await add(history, say("old"))
    assert (await store.read_window(KEY, 6, HARD, "slow")).verdict == "lease"
    old = await memory.postgres.read_window(KEY, KEEP, HARD)

    if change == "clear":
        await memory.clear(KEY.uuid, user_id="ana")
    elif change == "append":
        await add(history, say("new"))
    else:
        await memory.delete_conversation(KEY.uuid, user_id="ana")
    if change == "again":
        await add(history, say("another life"))

    assert await store.fill(KEY, old, "slow", KEEP) == "absent"
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
    assert await store.publish(KEY, second) == "kept"
    assert texts(await read(history)) == ["one", "two"]


async def test_publishes_that_overtake_each_other_lose_nothing(memory, history, store):
    await add(history, say("one"))
    await read(history)
    _, second = await memory.postgres.append(KEY, drafts("two"))
    _, third = await memory.postgres.append(KEY, drafts("three"))

    assert await store.publish(KEY, third) == "dropped"
    assert texts(await read(history)) == ["one", "two", "three"]
    assert await store.publish(KEY, second) == "kept"
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

    assert (
        await store.publish(KEY, late) == "extended"
    )  # of a life that ended: nobody was promised otherwise yet
    await add(history, say("now"))
    assert texts(await read(history)) == ["second", "now"]


async def test_a_warm_window_is_served_without_postgresql(memory, history, database):
    await add(history, say("kept in Redis"))
    await read(history)
    database.execute("DELETE FROM messages")

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


async def test_a_reader_without_the_lease_tells_what_it_read(memory, history, store):
    await add(history, say("one"))
    await store.read_window(KEY, 6, HARD, "slow")
    old = await memory.postgres.read_window(KEY, KEEP, HARD)
    await memory.postgres.append(KEY, drafts("two"))  # committed, not published
    assert texts(await read(history)) == ["one", "two"]  # seen by one reader

    await store.fill(KEY, old, "slow", KEEP)
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


@pytest.mark.parametrize("use", ["read", "publish", "tell"])
async def test_every_use_of_a_window_begins_its_life_anew(store, keyspace, window, use):
    await fill(store, snapshot(1, "a"))
    keyspace.client.pexpire(keyspace.window(KEY.uuid), 10_000)

    if use == "read":
        await served(store)
    elif use == "publish":
        await store.publish(KEY, written(2, 2, "b"))
    else:
        await store.tell(KEY, "1", 1)

    assert LIFE - 5_000 < window()[1] <= LIFE


@pytest.mark.parametrize("prefix", ["", "app:", "ünï cödé/"])
async def test_keys_are_named_as_documented(schema, make_memory, keyspace, prefix):
    memory = await make_memory(key_prefix=prefix)
    conversation, user = uuid4(), uuid4().hex
    await memory.save_message(conversation, "hello", user_id=user)
    await memory.get_history(conversation, user_id=user)
    session = await memory.create_session(user)

    wanted = [
        f"{prefix}history:{{{conversation}}}:recent",
        f"{prefix}session:{{{session.session_id}}}",
        f"{prefix}user:{{{user}}}:sessions",
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
        lambda: store.read_window(KEY, 6, HARD, "t"),
        lambda: store._keep_listed(session),  # the second step of create_session, reached by itself
    ):
        redis_proxy.mode = "pass"
        await store.ping()  # connected
        keyspace.expire()
        redis_proxy.mode = "cut_request"
        with pytest.raises(StorageUnavailable):
            await call()
        assert keyspace.immortal() == []
