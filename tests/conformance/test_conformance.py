"""What the library promises, small enough to be run over every server and every way of setting one up."""

from __future__ import annotations

import asyncio
import time

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage

from convmemory import ConversationNotFound, Draft, RetrievedContext
from convmemory.errors import StorageUnavailable
from convmemory.tiers.driver_errors import REDIS
from fix_memory import Awaited, add, read, texts, wipe
from unit.encoding.hard_messages import EXACT
from unit.encoding.likeness import unlike

PATIENCE = 30.0
WRITERS = 12
SAID = [message for message in EXACT.values() if not isinstance(message, RemoveMessage)]


def turn(number: int) -> list:
    return [HumanMessage(f"question {number}"), AIMessage(f"answer {number}")]


def counters(memory):
    return (
        memory.redis.health.counters
        if not isinstance(memory, Awaited)
        else memory.blocking.redis.health.counters
    )


async def warm(memory, conversation, user):
    """Read until the window is served, and return it: the first read of a process looks for marks, the next fills."""
    for _ in range(3):
        before = counters(memory).hits
        found = await memory.get_history(conversation, user_id=user)
        if counters(memory).hits > before:
            return found
    raise AssertionError("the window is never served")


async def many_sessions(memory):
    for _ in range(1000):
        await memory.create_session("ana")


async def together(memory, calls):
    """Make calls at the same time, in this memory's colour; what they returned, in order."""
    if isinstance(memory, Awaited):
        return await asyncio.gather(
            *(
                asyncio.to_thread(getattr(memory.blocking, name), *given, **named)
                for name, given, named in calls
            )
        )
    return await asyncio.gather(*(getattr(memory, name)(*given, **named) for name, given, named in calls))


async def test_the_schema_is_made_once(make_memory, as_set):
    memory = await make_memory(**as_set)

    assert (await memory.init_schema())[0] == "0001_initial"
    assert await memory.init_schema() == []


async def test_both_servers_give_a_sign_of_life(memory):
    found = await memory.check()

    assert found.ok
    assert (found.postgres.breaker, found.redis.breaker) == ("closed", "closed")
    assert found.postgres.figures["dirty_windows"] == 0
    assert found.redis.figures["version"][0].isdigit()


async def test_a_conversation_from_its_first_message_to_its_end(memory):
    made = await memory.create_conversation(
        "ana", conversation_id="trip", dept_id="sales", metadata={"a": [1, None]}
    )
    await memory.save_messages("trip", turn(1), user_id="ana")
    renamed = await memory.rename_conversation("trip", "To Rome", user_id="ana")
    [listed] = await memory.list_user_conversations("ana")
    await memory.delete_conversation("trip", user_id="ana")

    assert (made.message_count, made.metadata, made.dept_id) == (0, {"a": [1, None]}, "sales")
    assert (renamed.title, renamed.message_count) == ("To Rome", 2)
    assert listed == renamed
    with pytest.raises(ConversationNotFound):
        await memory.get_conversation("trip", user_id="ana")


async def test_what_is_stored_beside_a_message_comes_back(memory):
    documents = [RetrievedContext("page 1", "d1", 0.5, {"n": 1}), RetrievedContext("page 2")]
    await memory.save_message("c", HumanMessage("why?"), user_id="ana")
    await memory.save_message(
        "c",
        AIMessage("because"),
        user_id="ana",
        tokens_used=7,
        latency_ms=80,
        contexts=documents,
        metadata={"k": "é"},
    )

    [_, found] = await memory.get_messages("c", user_id="ana")

    assert (found.seq, found.role, found.tokens_used, found.latency_ms) == (2, "ai", 7, 80)
    assert (found.contexts, found.metadata) == (tuple(documents), {"k": "é"})


async def test_the_second_read_is_served_from_the_window(memory, keyspace):
    await memory.save_messages("c", turn(1), user_id="ana")

    assert await warm(memory, "c", "ana") == turn(1)
    assert len(keyspace.names()) == 1


async def test_a_write_extends_the_window_that_is_there(memory):
    await memory.save_messages("c", turn(1), user_id="ana")
    await warm(memory, "c", "ana")
    before = counters(memory).hits

    for number in range(2, 6):
        await memory.save_messages("c", turn(number), user_id="ana")
        expected = [message for n in range(max(1, number - 2), number + 1) for message in turn(n)]
        assert await memory.get_history("c", user_id="ana") == expected
    assert counters(memory).hits == before + 4


async def test_another_process_sees_a_write_at_once(memory, make_memory, as_set):
    other = await make_memory(**as_set)
    await memory.save_messages("c", turn(1), user_id="ana")
    await warm(other, "c", "ana")
    await memory.save_messages("c", turn(2), user_id="ana")

    assert await other.get_history("c", user_id="ana") == turn(1) + turn(2)


async def test_cleared_is_empty_and_stays_so(memory):
    await memory.save_messages("c", turn(1), user_id="ana")
    await memory.save_messages("other", turn(2), user_id="ana")
    await warm(memory, "c", "ana")
    await memory.clear("c", user_id="ana")

    assert [await memory.get_history("c", user_id="ana") for _ in range(3)] == [[], [], []]
    assert await memory.get_history("other", user_id="ana") == turn(2)
    await memory.save_messages("c", turn(3), user_id="ana")
    assert await memory.get_history("c", user_id="ana") == turn(3)


async def test_a_deleted_conversation_leaves_nothing_to_one_of_the_same_name(memory):
    await memory.save_messages("c", turn(1), user_id="ana")
    await warm(memory, "c", "ana")
    await memory.delete_conversation("c", user_id="ana")

    with pytest.raises(ConversationNotFound):
        await memory.get_history("c", user_id="ana")
    await memory.save_messages("c", turn(2), user_id="ana")
    assert await warm(memory, "c", "ana") == turn(2)


async def test_a_batch_sent_twice_is_stored_once(memory):
    batch = [HumanMessage("question", id="m1"), AIMessage("answer", id="m2")]
    first = await memory.save_messages("c", batch, user_id="ana")
    again = await memory.save_messages("c", [*batch, HumanMessage("more", id="m3")], user_id="ana")

    assert (first.seqs, first.stored) == ((1, 2), 2)
    assert (again.seqs, again.stored) == ((1, 2, 3), 1)
    assert texts(await memory.get_history("c", user_id="ana")) == ["question", "answer", "more"]


async def test_a_stranger_finds_nothing_even_where_a_window_is_at_hand(memory):
    made = await memory.create_conversation("ana")
    await memory.save_messages(made.uuid, turn(1), user_id="ana")
    await warm(memory, made.uuid, "ana")

    for verb, more in (
        ("get_history", ()),
        ("save_message", (HumanMessage("x"),)),
        ("clear", ()),
        ("delete_conversation", ()),
    ):
        with pytest.raises(ConversationNotFound):
            await getattr(memory, verb)(made.uuid, *more, user_id="eve")
    assert await memory.get_history(made.uuid, user_id="ana") == turn(1)


async def test_every_hard_message_comes_back_from_both_tiers(memory):
    messages = SAID
    stored = await memory.save_messages("c", [Draft(message) for message in messages], user_id="ana")
    # as they are, answered or not
    everything = await read(memory.history("c", user_id="ana", max_messages=None))
    rows = await memory.get_messages("c", user_id="ana", limit=1000)
    # of those with one id the first is kept
    places = dict(zip(stored.seqs[::-1], messages[::-1], strict=True))

    assert len(everything) == len(places)
    for row, back in zip(rows, everything, strict=True):
        assert unlike(places[row.seq], back) is None
        assert unlike(places[row.seq], row.message) is None


async def test_the_window_gives_back_what_the_table_does(memory):
    for at, message in enumerate(SAID):
        await memory.save_messages(f"c{at % 3}", [HumanMessage("what is it?"), message], user_id="ana")
    for name in ("c0", "c1", "c2"):
        from_the_table = (await memory.get_history(name, user_id="ana", limit=None))[-6:]
        from_the_window = await warm(memory, name, "ana")

        assert unlike(from_the_table[-len(from_the_window) :], from_the_window) is None


async def test_a_thousand_messages_are_one_append_and_are_read_in_pages(memory):
    messages = [message for number in range(500) for message in turn(number)]
    appended = await memory.save_messages("c", messages, user_id="ana")
    newest = await memory.get_messages("c", user_id="ana", limit=100)
    before = await memory.get_messages("c", user_id="ana", limit=100, before=newest[0].seq)
    after = await memory.get_messages("c", user_id="ana", limit=10_000, after=990)

    assert appended.seqs == tuple(range(1, 1001))
    assert [page[0].seq for page in (newest, before, after)] == [901, 801, 991]
    assert texts(after) == texts(messages[990:])
    assert await memory.get_history("c", user_id="ana", limit=None) == messages


async def test_a_message_too_large_to_cache_is_read_all_the_same(memory):
    large = [HumanMessage("x" * 1_100_000), AIMessage("too long")]
    await memory.save_messages("c", turn(1), user_id="ana")
    await warm(memory, "c", "ana")
    await memory.save_messages("c", large, user_id="ana")

    assert [await memory.get_history("c", user_id="ana") for _ in range(2)] == [turn(1) + large] * 2


async def test_writers_at_the_same_time_leave_no_gap(memory):
    calls = [("save_messages", ("c", turn(number)), {"user_id": "ana"}) for number in range(WRITERS)]
    appended = await together(memory, calls)
    rows = await memory.get_messages("c", user_id="ana")

    assert sorted(seq for one in appended for seq in one.seqs) == list(range(1, 2 * WRITERS + 1))
    assert [row.seq for row in rows] == list(range(1, 2 * WRITERS + 1))
    for one, number in zip(appended, range(WRITERS), strict=True):
        assert texts(rows[one.seqs[0] - 1 : one.seqs[1]]) == texts(turn(number))
    assert texts(await memory.get_history("c", user_id="ana")) == texts(rows[-6:])


async def test_sessions_live_expire_and_end(memory, keyspace):
    made = [await memory.create_session("ana", conversation_id=f"c{n}", metadata={"n": n}) for n in range(9)]
    extended = await memory.extend_session(made[0].session_id, conversation_id="other")
    ended = await memory.end_session(made[1].session_id)
    keyspace.client.unlink(next(key for key in keyspace.names() if made[2].handle.encode() in key))

    assert extended.conversation_id == "other"
    assert (ended, await memory.end_session(made[1].session_id)) == (True, False)
    assert await memory.get_session(made[2].session_id) is None
    assert (await memory.get_session(made[3].session_id)).metadata == {"n": 3}
    listed = await memory.list_user_sessions("ana")
    assert [s.handle for s in listed] == [s.handle for s in reversed(made) if s not in made[1:3]]


async def test_every_key_has_a_time_to_live(memory, keyspace):
    for user in ("ana", "b{e}n", "ü c"):
        await memory.create_session(user)
        await memory.save_messages("c", turn(1), user_id=user)
        await warm(memory, "c", user)

    assert len(keyspace.names()) == 9
    assert keyspace.immortal() == []


async def test_evicted_keys_cost_a_read_and_nothing_else(memory, keyspace):
    await memory.save_messages("c", turn(1), user_id="ana")
    await warm(memory, "c", "ana")
    keyspace.expire()
    await memory.save_messages("c", turn(2), user_id="ana")
    keyspace.expire()

    assert await memory.get_history("c", user_id="ana") == turn(1) + turn(2)
    assert await warm(memory, "c", "ana") == turn(1) + turn(2)


async def test_a_server_that_forgot_the_scripts_learns_them_again(memory, keyspace):
    await memory.save_messages("c", turn(1), user_id="ana")
    await warm(memory, "c", "ana")
    keyspace.client.script_flush()
    await memory.save_messages("c", turn(2), user_id="ana")

    assert await warm(memory, "c", "ana") == turn(1) + turn(2)
    assert counters(memory).failures == 0


async def test_a_history_is_a_langchain_history(memory):
    history = memory.history("c", user_id="ana")
    await add(history, turn(1))
    await add(history, turn(2))

    assert await read(history) == turn(1) + turn(2)
    await wipe(history)
    assert await read(history) == []


async def test_pages_of_conversations_show_each_of_them_once(memory):
    names = [f"c{number:02}" for number in range(12)]
    for name in names:
        await memory.save_message(name, HumanMessage(name), user_id="ana")
    seen, cursor = [], None
    while not seen or cursor:
        page = await memory.list_user_conversations("ana", limit=5, cursor=cursor)
        seen, cursor = seen + [c.conversation_id for c in page], page.next_cursor

    assert seen == names[::-1]


async def test_nothing_is_lost_or_unseen_while_redis_goes_and_comes_back(
    schema, make_memory, as_set, mortal_redis, shut_down
):
    memory = await make_memory(redis=mortal_redis, **as_set)
    await memory.save_messages("c", turn(1), user_id="ana")
    await warm(memory, "c", "ana")
    shut_down("c", "ana")

    await memory.save_messages("c", turn(2), user_id="ana")
    assert await memory.get_history("c", user_id="ana") == turn(1) + turn(2)
    with pytest.raises(StorageUnavailable, match=REDIS):
        await many_sessions(memory)  # some of them where the window was, on a cluster
    hits, deadline = counters(memory).hits, time.monotonic() + PATIENCE
    while counters(memory).hits == hits:
        assert time.monotonic() < deadline, await memory.check()
        assert await memory.get_history("c", user_id="ana") == turn(1) + turn(2)
        await asyncio.sleep(0.05)
    assert (await memory.create_session("ana")).user_id == "ana"
    assert (await memory.check()).postgres.figures["dirty_windows"] == 0
