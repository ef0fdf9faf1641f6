"""The scripts that keep the recent window, in a real Redis: every answer each of them gives, and what it leaves behind."""

from uuid import uuid4

import pytest

from convmemory.ids import conversation_key
from convmemory.windows.snapshots import Reply, Snapshot, Written
from convmemory.windows.trust import Standing
from window_steps import (
    HARD,
    KEEP,
    KEY,
    LIFE,
    ask,
    fill,
    lease,
    packed,
    publish,
    served,
    snapshot,
    standing,
    written,
)


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


# Reading


async def test_a_cold_window_gives_the_first_reader_the_lease_and_the_second_a_miss(store, window):
    first = await ask(store, token="one")
    second = await ask(store, token="two")

    assert (first.verdict, second.verdict) == ("lease", "miss")
    assert LIFE - 5_000 < window()[1] <= LIFE


async def test_a_filled_window_is_a_hit_with_all_that_postgresql_said(store, window):
    await fill(store, snapshot(3, "a", "b", "c"))

    reply = await ask(store, token="u")

    assert reply.verdict == "hit"
    assert reply.snapshot == snapshot(3, "a", "b", "c")
    assert LIFE - 5_000 < window()[1] <= LIFE


async def test_a_hit_gives_what_is_wanted_and_the_newest_turn_whole(store):
    found = Snapshot("9", 5, 2, packed("a", "human", "c", "d", "e"))
    await fill(store, found)

    assert await served(store, want=2) == ["human", "c", "d", "e"]
    assert await served(store, want=2, hard=3) == ["c", "d", "e"]
    assert await served(store, want=5) == ["a", "human", "c", "d", "e"]


async def test_a_window_that_holds_too_little_is_no_hit(store):
    await fill(store, snapshot(9, *"cdefg", last=7))

    assert await served(store, want=5) == [*"cdefg"]
    assert await served(store, want=6) == "lease"


async def test_a_window_that_is_too_short_for_one_reader_stays_for_the_others_and_grows(store, window):
    await fill(store, snapshot(9, *"efg", last=7), keep=3)
    first, second = await ask(store), await ask(store)
    assert (first.verdict, second.verdict) == ("lease", "lease")
    assert await served(store, want=3) == [*"efg"]

    assert await store.fill(KEY, snapshot(9, *"bcdefg", last=7), first, KEEP) == "filled"
    assert await served(store) == [*"bcdefg"]
    assert await store.fill(KEY, snapshot(9, *"defg", last=7), second, 4) == "kept", "longer by now"
    assert await served(store) == [*"bcdefg"]
    assert int(window()[0][b"keep"]) == KEEP
    assert LIFE - 5_000 < window()[1] <= LIFE


async def test_only_what_was_read_of_the_same_state_makes_a_window_longer(store, window):
    await fill(store, snapshot(9, *"efg", last=7), keep=3)
    asked = await ask(store)
    assert await store.fill(KEY, snapshot(10, *"bcdefgh", last=8), asked, KEEP) == "dropped"
    assert window() == ({}, -2)

    await fill(store, snapshot(9, *"efg", last=7), keep=3)
    asked = await ask(store)
    assert await publish(store, written(10, 8, "h")) == "extended"
    assert await store.fill(KEY, snapshot(9, *"bcdefg", last=7), asked, KEEP) == "dropped"

    await fill(store, snapshot(9, *"efg", last=7), keep=3)
    asked = Reply("lease", token="", era="another")
    assert await store.fill(KEY, snapshot(9, *"bcdefg", last=7), asked, KEEP) == "kept"


async def test_an_empty_conversation_and_none_at_all_can_be_cached(store):
    await fill(store, Snapshot("4", 0, 0, []))
    assert await served(store) == []
    await store.drop([KEY.uuid])
    await fill(store, Snapshot())
    assert await served(store) == []


async def test_a_lease_passes_on_when_its_holder_took_too_long(store, keyspace, window):
    slow = await lease(store)
    assert await served(store) == "miss"
    keyspace.client.hset(keyspace.window(KEY.uuid), "deadline", 1)  # its time is over

    assert (await ask(store, token="quick")).verdict == "lease"
    assert await store.fill(KEY, snapshot(1, "old"), slow, KEEP) == "dropped"
    assert window()[0] == {}


async def test_the_lease_itself_runs_out(store, window, keyspace):
    await ask(store, token="slow")
    seconds, microseconds = keyspace.client.time()
    deadline = int(window()[0][b"deadline"])

    assert 0 < deadline - (seconds * 1000 + microseconds // 1000) <= 5_000


async def test_a_window_of_another_era_is_a_miss_and_its_lease_takes_its_place(store, window):
    await fill(store, snapshot(1, "a"))
    here = await standing(store, "another era")

    reply = await store.read_window(KEY, 6, HARD, "t", here)

    assert (reply.verdict, reply.era) == ("lease", "another era")
    assert b"stamp" not in window()[0]


async def test_a_window_of_another_era_is_not_extended(store, window):
    await fill(store, snapshot(1, "a"))

    assert await publish(store, written(2, 2, "b"), era="another era") == "dropped"
    assert window() == ({}, -2)


async def test_nothing_is_extended_while_the_era_is_not_known(store, window):
    await fill(store, snapshot(1, "a"))

    assert await publish(store, written(2, 2, "b"), era="") == "dropped"
    assert window() == ({}, -2)


async def test_a_server_that_is_not_meant_says_so_and_nothing_is_touched(store, window, keyspace):
    await fill(store, snapshot(1, "a"))
    keyspace.client.pexpire(keyspace.window(KEY.uuid), 10_000)
    before = window()[0]
    elsewhere = Standing(("other",), ("f" * 40, "e"), known=True)

    assert (await store.read_window(KEY, 6, HARD, "t", elsewhere)).verdict == "elsewhere"
    assert await store.publish(KEY, written(2, 2, "b"), elsewhere) == "elsewhere"
    assert await store.drop([KEY.uuid], ["f" * 40]) == [False]
    assert window()[0] == before
    assert window()[1] <= 10_000


async def test_of_several_servers_each_goes_by_its_own_era(store):
    await fill(store, snapshot(1, "a"))
    here = await standing(store)
    among_others = Standing((), ("f" * 40, "of another", *here.eras, "0" * 40, "of a third"), known=True)

    assert (await store.read_window(KEY, 6, HARD, "t", among_others)).verdict == "hit"
    assert await store.publish(KEY, written(2, 2, "b"), among_others) == "extended"
    assert await store.drop([KEY.uuid], ["f" * 40, here.eras[0]]) == [True]


async def test_another_users_window_is_foreign_and_left_as_it_was(store, window, keyspace):
    await fill(store, snapshot(1, "a"))
    keyspace.client.pexpire(keyspace.window(KEY.uuid), 60_000)
    before = window()[0]
    eve = conversation_key(KEY.uuid, "eve")

    assert (await ask(store, eve)).verdict == "foreign"
    assert window()[0] == before
    assert window()[1] <= 60_000


@pytest.mark.parametrize("command", ["RPUSH", "SET", "SADD"])
async def test_a_value_that_is_no_hash_is_no_window_and_the_next_fill_replaces_it(store, keyspace, command):
    keyspace.client.execute_command(command, keyspace.window(KEY.uuid), "what an older program kept here")

    assert await publish(store, written(1, 1, "a")) == "absent"
    assert await store.fill(KEY, snapshot(1, "a"), Reply("lease", token="t", era="e"), KEEP) == "absent"
    await fill(store, snapshot(1, "a"))
    assert await served(store) == ["a"]
    assert keyspace.immortal() == []
    assert store.health.counters.failures == 0


# Publishing


async def test_publishing_to_no_window_makes_none(store, window):
    assert await publish(store, written(1, 1, "a")) == "absent"
    assert window() == ({}, -2)


async def test_a_window_is_extended_by_the_change_after_its_own(store, window):
    await fill(store, snapshot(1, "a"))

    assert await publish(store, written(2, 2, "b", "c")) == "extended"
    assert await served(store) == ["a", "b", "c"]
    assert LIFE - 5_000 < window()[1] <= LIFE


async def test_publishing_twice_changes_nothing(store, window):
    await fill(store, snapshot(1, "a"))
    await publish(store, written(2, 2, "b"))
    before = window()[0]

    assert await publish(store, written(2, 2, "b")) == "kept"
    assert window()[0] == before


async def test_a_publish_that_comes_late_drops_a_newer_window(store, window):
    await fill(store, snapshot(5, *"abcde"))  # newer or of another history: nothing tells them apart

    assert await publish(store, written(4, 4, "d")) == "dropped"
    assert window() == ({}, -2)


async def test_a_window_that_missed_a_change_is_dropped(store, window):
    await fill(store, snapshot(1, "a"))

    assert await publish(store, written(3, 3, "c")) == "dropped"
    assert window() == ({}, -2)


async def test_a_window_whose_messages_do_not_join_up_is_dropped(store):
    await fill(store, snapshot(4, "a"))

    assert await publish(store, written(5, 7, "g")) == "dropped"  # cleared and grown again elsewhere
    assert await served(store) == "lease"


async def test_publishing_cancels_the_lease(store, window):
    token = await lease(store)

    assert await publish(store, written(2, 2, "b")) == "dropped"
    assert await store.fill(KEY, snapshot(1, "a"), token, KEEP) == "absent"
    assert window() == ({}, -2)


async def test_what_made_the_conversation_extends_nothing(store):
    await fill(store, Snapshot())  # it may have been deleted since this write made it

    made = Written("9", "", 1, 1, packed("a"))
    assert await publish(store, made) == "dropped"
    assert await served(store) == "lease"


async def test_a_change_that_took_messages_away_drops_every_window_but_its_own(store, window):
    await fill(store, snapshot(1, "a"))
    assert await publish(store, Written("2")) == "dropped"

    await fill(store, snapshot(2, last=0))
    assert await publish(store, Written("2")) == "kept"
    assert await served(store) == []


async def test_the_owners_write_drops_what_another_users_reading_left(store, window):
    eve = conversation_key(KEY.uuid, "eve")
    token = await lease(store, eve)

    assert await publish(store, written(1, 1, "a")) == "dropped"
    assert await store.fill(eve, Snapshot(), token, KEEP) == "absent"
    assert window() == ({}, -2)


async def test_a_window_keeps_as_many_messages_as_it_was_filled_for(store, window):
    await fill(store, snapshot(1, "a"), keep=3)
    for seq in range(2, 10):
        await publish(store, written(seq, seq, str(seq)))

    fields, _ = window()
    assert sorted(int(name) for name in fields if name.isdigit()) == [7, 8, 9]
    assert int(fields[b"bytes"]) == sum(len(body) for name, body in fields.items() if name.isdigit())
    assert await served(store, want=3) == ["7", "8", "9"]
    assert await served(store, want=4) == "lease"


async def test_a_long_turn_is_kept_whole_and_trimmed_once_the_next_one_begins(store):
    await fill(store, snapshot(1, "human 1"), keep=2)
    for seq in range(2, 9):
        assert await publish(store, written(seq, seq, f"tool {seq}", human=0)) == "extended"
    assert await served(store, want=2) == ["human 1", *(f"tool {seq}" for seq in range(2, 9))]

    await publish(store, written(9, 9, "human 9"))
    assert await served(store, want=1) == ["human 9"]
    assert await served(store, want=2) == ["tool 8", "human 9"]
    assert await served(store, want=3) == "lease"


async def test_no_turn_keeps_more_than_the_hard_limit(schema, make_memory):
    store = (await make_memory(hard_max_messages=4, max_history_messages=1)).redis
    await fill(store, snapshot(1, "human 1"), keep=2)
    for seq in range(2, 9):
        await publish(store, written(seq, seq, f"tool {seq}", human=0))

    assert await served(store, want=2, hard=4) == ["tool 5", "tool 6", "tool 7", "tool 8"]
    assert await served(store, want=2, hard=5) == "lease"


async def test_a_batch_longer_than_the_hard_limit_drops_the_window(schema, make_memory):
    store = (await make_memory(hard_max_messages=4, max_history_messages=1)).redis
    await fill(store, snapshot(1, "a"))

    assert await publish(store, written(2, 2, *"bcdef")) == "dropped"
    assert await served(store) == "lease"


async def test_a_window_that_grows_too_heavy_is_dropped(schema, make_memory, window):
    store = (await make_memory(max_window_bytes=500)).redis
    await fill(store, snapshot(1, "x" * 300))

    assert await publish(store, written(2, 2, "y" * 300)) == "dropped"
    assert window() == ({}, -2)


async def test_messages_too_heavy_for_a_window_are_not_even_sent(schema, make_memory, window):
    store = (await make_memory(max_window_bytes=500)).redis
    await fill(store, snapshot(1, "x"))

    assert await publish(store, written(2, 2, "y" * 501)) == "dropped"
    assert window() == ({}, -2)


async def test_a_window_too_heavy_from_the_start_is_not_filled(schema, make_memory, window):
    store = (await make_memory(max_window_bytes=500)).redis
    token = await lease(store)

    assert await store.fill(KEY, snapshot(1, "x" * 501), token, KEEP) == "dropped"
    assert window() == ({}, -2)


# Filling and telling


async def test_filling_twice_is_as_good_as_once(store, window):
    token = await fill(store, snapshot(1, "a"))
    before = window()[0]

    assert await store.fill(KEY, snapshot(1, "a"), token, KEEP) == "kept"  # the command came twice
    assert window()[0] == before


async def test_only_the_lease_fills(store, window):
    token = await lease(store)

    assert (
        await store.fill(KEY, snapshot(1, "a"), Reply("lease", token="another's", era="e"), KEEP) == "dropped"
    )
    assert window() == ({}, -2)
    assert await store.fill(KEY, snapshot(1, "a"), token, KEEP) == "absent"


async def test_a_question_that_arrives_again_renews_no_lease(store, window):
    first = await ask(store, token="t")
    await publish(store, written(2, 2, "b"))  # cancels it
    again = await ask(store, token="t")  # the same command, delayed on a connection that broke

    assert (first.verdict, again.verdict) == ("lease", "lease")
    assert await store.fill(KEY, snapshot(1, "a"), first, KEEP) == "dropped"
    assert window() == ({}, -2)


async def test_telling_leaves_a_window_of_just_that_stamp(store, window):
    await fill(store, snapshot(4, "a"))
    before = window()[0]

    assert await store.tell(KEY, "4") == "kept"
    assert window()[0] == before
    assert LIFE - 5_000 < window()[1] <= LIFE


@pytest.mark.parametrize("stamp", ["5", "3", ""])
async def test_telling_any_other_stamp_drops_the_window(store, window, stamp):
    await fill(store, snapshot(4, "a"))

    assert await store.tell(KEY, stamp) == "dropped"
    assert await store.tell(KEY, stamp) == "absent"
    assert window() == ({}, -2)


async def test_telling_that_there_is_no_conversation_leaves_a_window_that_says_so(store, window):
    await fill(store, Snapshot())

    assert await store.tell(KEY, "") == "kept"
    assert await served(store) == []


async def test_telling_cancels_a_lease(store):
    token = await lease(store)

    assert await store.tell(KEY, "1") == "dropped"
    assert await store.fill(KEY, snapshot(1, "a"), token, KEEP) == "absent"


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


@pytest.mark.parametrize("use", ["read", "publish", "tell"])
async def test_every_use_of_a_window_begins_its_life_anew(store, keyspace, window, use):
    await fill(store, snapshot(1, "a"))
    keyspace.client.pexpire(keyspace.window(KEY.uuid), 10_000)

    if use == "read":
        await served(store)
    elif use == "publish":
        await publish(store, written(2, 2, "b"))
    else:
        await store.tell(KEY, "1")

    assert LIFE - 5_000 < window()[1] <= LIFE
