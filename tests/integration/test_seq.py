"""``seq`` is never given twice, so that it is a cursor; windows count what is there, whatever is missing between."""

from __future__ import annotations

import random

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import ConversationMemory
from convmemory.ids import conversation_key
from fix_memory import read, texts

ANA = {"user_id": "ana"}
KEY = conversation_key("c", "ana")


async def test_whoever_follows_by_seq_misses_nothing_after_a_clear_or_a_pop(memory):
    last = (await memory.save_messages("c", ["one", "two", "three"], **ANA)).seqs[-1]
    await memory.clear("c", **ANA)
    await memory.save_messages("c", ["four", "five"], **ANA)

    assert texts(await memory.get_messages("c", after=last, **ANA)) == ["four", "five"]
    last = (await memory._store.pop(KEY)).seq
    await memory.save_message("c", "user", "six", **ANA)
    assert texts(await memory.get_messages("c", after=last, **ANA)) == ["six"]


async def test_a_cleared_conversation_counts_what_it_has(memory):
    await memory.save_messages("c", ["one", "two", "three"], **ANA)
    await memory.clear("c", **ANA)
    assert (await memory.get_conversation("c", **ANA)).message_count == 0
    await memory.save_message("c", "user", "four", **ANA)

    [found] = await memory.list_user_conversations("ana")
    assert (found.message_count, found.title) == (1, "four")


async def test_rows_deleted_by_hand_are_not_counted(memory, database):
    await memory.save_messages("c", ["one", "two", "three"], **ANA)
    database.execute("DELETE FROM messages WHERE seq = 2")

    assert (await memory.get_conversation("c", **ANA)).message_count == 2
    assert texts(await memory.get_history("c", limit=2, **ANA)) == ["one", "three"]


async def test_a_cleared_conversation_is_served_by_redis(memory):
    await memory.save_messages("c", ["one", "two", "three"], **ANA)
    await memory.clear("c", **ANA)
    hits = memory.redis.health.counters.hits
    for _ in range(3):
        assert await memory.get_history("c", **ANA) == []
    assert memory.redis.health.counters.hits == hits + 2
    await memory.save_messages("c", ["four", AIMessage("five")], **ANA)

    assert texts(await memory.get_history("c", **ANA)) == ["four", "five"]
    assert memory.redis.health.counters.hits == hits + 3, "the window was extended"


@pytest.mark.parametrize("seed", range(6))
def test_windows_with_gaps_show_what_postgresql_shows(database_url, redis_url, schema, key_prefix, seed):
    dice = random.Random(seed)  # noqa: S311 - no secrets
    settings = {"db_schema": schema, "hard_max_messages": 9}
    with (
        ConversationMemory.from_url(database_url, redis_url, key_prefix=key_prefix, **settings) as memory,
        ConversationMemory.from_url(database_url, None, **settings) as plain,
    ):
        for step in range(60):
            kind = HumanMessage if dice.random() < 0.4 else AIMessage
            for n in range(dice.randint(1, 4)):
                memory.save_message("c", kind(f"{step}.{n}"), **ANA)
            there = [message.seq for message in plain.get_messages("c", limit=500, **ANA)]
            if dice.random() < 0.5:
                memory.delete_messages(
                    "c", seqs=dice.sample(there, min(len(there), dice.randint(1, 3))), **ANA
                )
            elif dice.random() < 0.1:
                memory.truncate("c", after=dice.choice(there), **ANA)
            elif dice.random() < 0.1:
                memory.clear("c", **ANA)
            for size in ({"max_messages": dice.randint(1, 9)}, {"max_turns": dice.randint(1, 4)}):
                shown = plain.history("c", **ANA, **size).messages
                for _ in range(2):  # as it is filled, and as it is served
                    assert memory.history("c", **ANA, **size).messages == shown, (step, size)
            stored = [m.message for m in plain.get_messages("c", limit=500, **ANA)]
            assert plain.history("c", **ANA, max_messages=None).messages == stored
            assert plain.get_conversation("c", **ANA).message_count == len(stored)
        assert memory.redis.health.counters.hits > 100


async def test_a_window_with_gaps_is_one_trip_and_is_extended(memory):
    await memory.save_messages("c", [HumanMessage("q"), *map(AIMessage, "abcd")], **ANA)
    await memory.delete_messages("c", seqs=[2, 4], **ANA)
    history = memory.history("c", **ANA)
    assert texts(await read(history)) == ["q", "b", "d"]
    hits = memory.redis.health.counters.hits
    await memory.save_message("c", AIMessage("e"), **ANA)

    assert texts(await read(history)) == ["q", "b", "d", "e"]
    assert memory.redis.health.counters.hits == hits + 1
