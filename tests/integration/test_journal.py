"""Writes that Redis acknowledges and PostgreSQL stores in a moment: accepted, read, drained, and gone with what is deleted."""

import asyncio
import dataclasses
import logging
import os
from contextlib import contextmanager, suppress
from datetime import timedelta
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import (
    ConfigurationError,
    ConversationChanged,
    ConversationNotFound,
    Draft,
    RetrievedContext,
    StorageUnavailable,
)
from convmemory.chains.recorder import Told
from convmemory.drafts import drafts_of
from convmemory.ids import ConversationKey
from convmemory.journal.entries import Entry
from convmemory.windows.trust import NOWHERE
from fix_memory import add, every, read, until
from fix_servers import same_binaries
from torture.servers import Hot

SAID = {"durability": "journal", "journal_ack": "memory"}


@pytest.fixture
async def undrained(monkeypatch):
    """Nobody drains behind the callers, so that a test says when."""
    for colour in ("_async", "_sync"):
        name = "Async" if colour == "_async" else ""
        monkeypatch.setattr(f"convmemory.{colour}.draining.{name}Draining.wake", lambda _: None)


@pytest.fixture
async def memory(schema, make_memory, undrained):
    """A memory whose writes wait, with a conversation that has one message and a window."""
    made = await make_memory(**SAID)
    await made.save_message("c", "user", "one", user_id="ana")
    await made.get_history("c", user_id="ana")
    return made


@pytest.fixture(scope="module")
def another_redis(tmp_path_factory):
    """The URL of a second server."""
    with same_binaries():
        server = Hot(tmp_path_factory.mktemp("another") / "redis", "--appendonly", "yes")
        server.start()
    yield server.url
    server.end()


async def waiting(memory, name="c", user="ana"):
    """How many entries lie in a conversation's journal."""
    key = await row_of(memory, name, user)
    _, fields = await memory.redis.take(key, NOWHERE)
    return max(0, len(fields) // 2 - 3)


async def row_of(memory, name="c", user="ana"):
    key = ConversationKey(None, user, name)
    await memory.postgres.settle(key)
    return key


def texts(messages):
    return [message.content for message in messages]


async def shown(memory, name="c", user="ana"):
    return texts(await memory.get_history(name, user_id=user))


async def drained(memory, name="c", user="ana"):
    return await memory._store.drained(await row_of(memory, name, user))


def plain(memory):
    """The store itself, in either colour."""
    return getattr(memory.redis, "blocking", memory.redis)


@contextmanager
def down(proxy):
    """The server behind a proxy is away."""
    proxy.mode = "refuse"
    proxy.reset_all()
    try:
        yield
    finally:
        proxy.mode = "pass"


def stored(database):
    return [row[0] for row in database.execute("SELECT content FROM messages ORDER BY conversation_id, seq")]


async def test_a_write_is_shown_at_once_and_has_its_place_once_it_is_stored(memory, database):
    second = await memory.save_message(
        "c", "assistant", "two", user_id="ana", metadata={"a": 1}, tokens_used=3
    )
    [third] = (await memory.save_messages("c", [HumanMessage("three")], user_id="ana")).messages

    assert (second.seq, second.pending, second.content, second.metadata, second.tokens_used) == (
        None,
        True,
        "two",
        {"a": 1},
        3,
    )
    assert stored(database) == ["one"]
    assert await memory.get_history("c", user_id="ana") == [
        HumanMessage("one"),
        AIMessage("two"),
        HumanMessage("three"),
    ]
    found = await memory.get_messages("c", user_id="ana")
    assert [(m.seq, m.pending, m.content) for m in found] == [
        (1, False, "one"),
        (2, False, "two"),
        (3, False, "three"),
    ]
    assert [m.id for m in found[1:]] == [second.id, third.id]
    assert found[1].created_at == second.created_at
    assert (found[1].metadata, found[1].tokens_used) == ({"a": 1}, 3)
    assert await waiting(memory) == 0
    assert await shown(memory) == ["one", "two", "three"]
    assert not memory.redis.remembered


async def test_somebody_drains_behind_the_callers(schema, make_memory, database, monkeypatch):
    memory = await make_memory(**SAID)
    history = memory.history("c", user_id="ana")
    await add(history, [HumanMessage("one")])
    await read(history)
    for n in range(10):
        await add(history, [AIMessage(f"a{n}"), HumanMessage(f"q{n}")])
    for _ in range(300):
        if not memory.redis.remembered:
            break
        await asyncio.sleep(0.01)

    said = ["one", *(f"{who}{n}" for n in range(10) for who in "aq")]
    assert stored(database) == said
    assert texts(await read(memory.history("c", user_id="ana", max_messages=None))) == said
    assert memory.redis.figures()["journal"] == {
        "entries": 0,
        "bytes": 0,
        "oldest_seconds": 0.0,
        "declined": {},
    } | {"declined": memory.redis.remembered.figures()["declined"]}
    assert memory.redis.health.counters.accepted == 10


async def test_an_append_is_one_script_and_a_hit_is_one_where_something_waits(
    schema, make_memory, postgres_proxy, redis_proxy, undrained
):
    memory = await make_memory(postgres_proxy.url, redis_proxy.url, **SAID)
    history = memory.history("c", user_id="ana")
    for _ in range(3):
        await add(history, [HumanMessage("one")])
        await read(history)
    memory.redis.trust._began = memory.redis._checked = float("inf")  # neither is looked at anew meanwhile

    for call in (lambda: add(history, [HumanMessage("x")]), lambda: read(history)):
        with postgres_proxy.counting() as postgres, redis_proxy.counting() as redis:
            await call()
        assert (postgres.requests, redis.round_trips, redis.requests) == (0, 1, 1)


async def test_a_commit_beside_journals_is_one_script_more(
    schema, make_memory, postgres_proxy, redis_proxy, undrained
):
    await (await make_memory(**SAID)).save_message("x", "user", "one", user_id="ana")  # which allows journals
    memory = await make_memory(postgres_proxy.url, redis_proxy.url, pool_max=1)
    for _ in range(4):
        await memory.save_message("c", "user", "one", user_id="ana")
        await shown(memory)
    memory.redis.trust._began = memory.redis._checked = float("inf")  # neither is looked at anew meanwhile

    with postgres_proxy.counting() as postgres, redis_proxy.counting() as redis:
        await memory.save_message("c", "user", "one", user_id="ana")
    assert (postgres.requests, redis.round_trips, redis.requests) == (1, 2, 2)


async def test_what_waits_comes_before_a_commit_of_another_process(memory, make_memory, database):
    other = await make_memory()
    assert await shown(other) == ["one"]
    await memory.save_message("c", "assistant", "two", user_id="ana")

    three = await other.save_message("c", "user", "three", user_id="ana")

    assert (three.seq, three.pending) == (3, False)
    assert stored(database) == ["one", "two", "three"]
    assert await waiting(memory) == 0
    assert await shown(memory) == await shown(other) == ["one", "two", "three"]
    assert await drained(memory) == 1  # what it remembers is found stored
    assert stored(database) == ["one", "two", "three"]


async def test_a_process_that_does_not_know_of_journals_goes_past_none(
    schema, make_memory, database, undrained
):
    other = await make_memory()
    await other.save_message("c", "user", "one", user_id="ana")
    assert await shown(other) == ["one"]
    memory = await make_memory(**SAID)
    await memory.save_message("other", "user", "x", user_id="ana")  # allows them
    assert await shown(memory) == ["one"]
    assert (await memory.save_message("c", "assistant", "two", user_id="ana")).pending
    assert not other._store.journals
    other.redis.trust._began = float("inf")  # and it does not look

    assert (await other.save_message("c", "user", "three", user_id="ana")).seq == 3
    assert other._store.journals
    assert texts(await other.get_messages("c", user_id="ana")) == ["one", "two", "three"]


@pytest.mark.parametrize("how", ["window", "page", "all"])
async def test_nor_does_it_read_past_one(schema, make_memory, how, undrained):
    other = await make_memory()
    await other.save_message("c", "user", "one", user_id="ana")
    assert await shown(other) == ["one"]
    memory = await make_memory(**SAID)
    await memory.save_message("other", "user", "x", user_id="ana")
    assert await shown(memory) == ["one"]
    assert (await memory.save_message("c", "assistant", "two", user_id="ana")).pending
    other.redis.trust._began = float("inf")

    if how == "page":
        found = texts(await other.get_messages("c", user_id="ana"))
    else:
        found = texts(await other.get_history("c", None if how == "all" else 6, user_id="ana"))
    assert found == ["one", "two"]


@pytest.mark.parametrize("how", ["write", "drain"])
async def test_who_takes_a_cache_for_one_without_journals_marks_them_all(memory, make_memory, database, how):
    await memory.save_message("c", "assistant", "two", user_id="ana")
    other = await make_memory()
    assert await shown(other) == ["one", "two"]
    trust = plain(other).trust
    trust.standing = dataclasses.replace(trust.standing, journal=False)  # as one who looked before
    other.postgres.journals = False
    assert trust.journals

    if how == "write":
        assert (await other.save_message("c", "user", "three", user_id="ana")).seq == 3
    else:
        assert await drained(other) == 1

    assert stored(database) == ["one", "two", "three"][: 3 if how == "write" else 2]
    plain(memory).trust.lost()
    assert await shown(memory) == await shown(other) == stored(database)


async def test_pop_and_the_like_see_what_waits(memory):
    await memory.save_message("c", "assistant", "two", user_id="ana")
    history = memory._store
    key = await row_of(memory)

    popped = await history.pop(key)

    assert (popped.content, popped.seq) == ("two", 2)
    await memory.save_message("c", "user", "three", user_id="ana")
    assert await memory.delete_messages("c", user_id="ana", seqs=[3]) == 1
    await memory.save_message("c", "user", "four", user_id="ana")
    assert await memory.truncate("c", user_id="ana", after=1) == 1
    assert await shown(memory) == ["one"]


async def test_what_was_popped_is_not_stored_again_by_a_slow_drainer(memory, database):
    await memory.save_message("c", "assistant", "two", user_id="ana")
    key = await row_of(memory)
    slow = memory.redis.remembered.of(key.uuid)
    await memory._store.pop(key)
    for entry in slow:
        memory.redis.remembered.add(key, entry)

    assert await drained(memory) == 1
    assert stored(database) == ["one"]
    assert not memory.redis.remembered


@pytest.mark.parametrize("verb", ["clear", "delete_conversation"])
async def test_nothing_comes_back_after_a_clear_or_delete(memory, database, verb):
    await memory.save_message("c", "assistant", "two", user_id="ana")
    key = await row_of(memory)
    slow = memory.redis.remembered.of(key.uuid)

    await getattr(memory, verb)("c", user_id="ana")

    assert await waiting(memory) == 0
    for entry in slow:
        memory.redis.remembered.add(key, entry)
    assert await drained(memory) == 1
    await memory.save_message("c", "user", "anew", user_id="ana")
    for entry in slow:
        memory.redis.remembered.add(key, entry)
    assert await drained(memory) == 1
    assert stored(database) == ["anew"]
    assert await shown(memory) == ["anew"]


async def test_an_entry_of_another_life_is_accepted_nowhere(memory, database):
    key = await row_of(memory)
    life = memory.redis.remembered.life(key.uuid)
    await memory.clear("c", user_id="ana")
    await memory.save_message("c", "user", "anew", user_id="ana")
    await shown(memory)
    memory.redis.remembered.learn(key.uuid, life)

    late = await memory.save_message("c", "user", "late", user_id="ana")

    assert late.pending  # under the life that it was told
    assert memory.redis.remembered.life(key.uuid) != life
    await drained(memory)
    assert stored(database) == ["anew", "late"]


async def test_the_first_write_of_a_conversation_and_anothers_go_to_postgresql(memory):
    assert not (await memory.save_message("new", "user", "x", user_id="ana")).pending
    row = str((await memory.get_conversation("c", user_id="ana")).uuid)
    with pytest.raises(ConversationNotFound):
        await memory.save_message(row, "user", "x", user_id="eve")
    with pytest.raises(ConversationNotFound):
        await memory.get_history(row, user_id="eve")


async def test_what_redis_lost_its_writer_sends_again(memory, database, keyspace):
    await memory.save_message("c", "assistant", "two", user_id="ana")
    keyspace.client.delete(memory.redis.keys.journal((await row_of(memory)).uuid))

    assert await drained(memory) == 1
    assert stored(database) == ["one", "two"]
    assert await shown(memory) == ["one", "two"]


async def test_what_its_writer_forgot_another_process_finds(memory, make_memory, database):
    await memory.save_message("c", "assistant", "two", user_id="ana")
    memory.redis.remembered.forget(
        (await row_of(memory)).uuid, [e.id for e in memory.redis.remembered.of((await row_of(memory)).uuid)]
    )
    other = await make_memory()
    await other.get_history("c", user_id="ana")

    assert await other._store.swept(anyway=True) == 1
    assert stored(database) == ["one", "two"]
    assert await waiting(memory) == 0


async def test_a_message_of_an_id_is_stored_and_shown_once_however_often_it_is_given(memory, database):
    said = AIMessage("two", id="m1")
    await memory.save_messages("c", [said], user_id="ana")
    await memory.save_messages("c", [said], user_id="ana")
    assert await shown(memory) == ["one", "two"]
    await drained(memory)
    await memory.save_messages("c", [said], user_id="ana")
    assert await shown(memory) == ["one", "two"]
    await memory.save_messages("c", [AIMessage("other words", id="m1")], user_id="ana")
    assert await shown(memory) == ["one", "two", "other words"]
    await memory.get_messages("c", user_id="ana")
    assert await shown(memory) == ["one", "two", "other words"]
    assert stored(database) == ["one", "two", "other words"]


@pytest.mark.parametrize("how", ["pop", "truncate", "by hand", "no answer"])
async def test_what_is_said_again_under_the_id_of_what_was_removed_is_stored(
    memory, database, monkeypatch, how
):
    said = AIMessage("two", id="m")
    await memory.save_messages("c", [said], user_id="ana")
    late = memory.redis.remembered.of((await row_of(memory)).uuid)
    await drained(memory)
    if how == "by hand":
        database.execute("DELETE FROM messages WHERE content = 'two'")
        plain(memory).trust.lost()
    elif how == "truncate":
        await memory.truncate("c", user_id="ana", after=1)
    else:
        await memory._store.pop(await row_of(memory))
    assert await shown(memory) == ["one"]

    if how == "no answer":
        monkeypatch.setattr(type(plain(memory)), "accept", unanswered(memory))
    await memory.save_messages("c", [said], user_id="ana")
    for entry in late:
        memory.redis.remembered.add(await row_of(memory), entry)
    await drained(memory)
    assert stored(database) == ["one", "two"]
    assert await shown(memory) == ["one", "two"]
    await memory.truncate("c", user_id="ana", after=1)
    for entry in late:
        memory.redis.remembered.add(await row_of(memory), entry)
    await drained(memory)
    assert stored(database) == ["one"]


def unanswered(memory):
    """A command that does not even arrive."""
    error = StorageUnavailable("Redis", "journal_append", "no answer")

    def lost(*_, **__):
        raise error

    async def never(*_, **__):
        raise error

    return never if asyncio.iscoroutinefunction(type(plain(memory)).accept) else lost


async def test_an_old_message_that_is_sent_again_with_new_ones_is_shown_once(memory, database, make_memory):
    old = AIMessage("old", id="old")
    await memory.save_messages("c", [old, *(HumanMessage(str(n)) for n in range(20))], user_id="ana")
    await drained(memory)
    assert await shown(memory) == ["14", "15", "16", "17", "18", "19"]
    new = AIMessage("new", id="new")
    assert (await memory.save_messages("c", [old, new], user_id="ana")).messages[0].pending

    reader = await make_memory()
    assert await shown(reader) == ["15", "16", "17", "18", "19", "new"]
    assert await waiting(memory) == 0
    assert await shown(memory) == ["15", "16", "17", "18", "19", "new"]
    assert stored(database).count("old") == 1


async def test_while_postgresql_is_away_it_is_shown_once_more_until_it_is_stored(
    schema, make_memory, postgres_proxy, database
):
    memory = await make_memory(postgres_proxy.url, **OUTAGE)
    old = AIMessage("old", id="old")
    await memory.save_messages("c", [old, *(HumanMessage(str(n)) for n in range(20))], user_id="ana")
    await shown(memory)
    with down(postgres_proxy):
        assert (
            (await memory.save_messages("c", [old, AIMessage("new", id="new")], user_id="ana"))
            .messages[0]
            .pending
        )
        assert await shown(memory) == ["16", "17", "18", "19", "old", "new"]
    await until(lambda: not memory.redis.remembered)
    assert await shown(memory) == ["15", "16", "17", "18", "19", "new"]
    assert stored(database).count("old") == 1


async def test_an_append_that_nobody_answered_is_stored_once(memory, database, monkeypatch):
    kind = type(plain(memory))
    accept = kind.accept

    def lost(self, *arguments, **named):
        said = accept(self, *arguments, **named)
        if asyncio.iscoroutine(said):

            async def never():
                await said
                raise StorageUnavailable("Redis", "journal_append", "no answer")

            return never()
        raise StorageUnavailable("Redis", "journal_append", "no answer")

    monkeypatch.setattr(kind, "accept", lost)
    two = await memory.save_message("c", "assistant", "two", user_id="ana")
    assert (two.seq, two.pending) == (2, False)
    assert stored(database) == ["one", "two"]
    assert await shown(memory) == ["one", "two"]
    assert await waiting(memory) == 0


async def test_an_append_that_nobody_answered_and_somebody_popped_is_no_error(
    memory, make_memory, database, monkeypatch
):
    other = await make_memory()
    kind = type(plain(memory))
    accept, key = kind.accept, await row_of(memory)
    error = StorageUnavailable("Redis", "journal_append", "no answer")

    async def popped(self, *arguments, **named):
        await accept(self, *arguments, **named)
        assert (await other._store.pop(key)).content == "two"
        raise error

    def popped_at_once(self, *arguments, **named):
        accept(self, *arguments, **named)
        assert other.blocking._store.pop(key).content == "two"
        raise error

    monkeypatch.setattr(kind, "accept", popped if asyncio.iscoroutinefunction(accept) else popped_at_once)
    assert (await memory.save_message("c", "assistant", "two", user_id="ana")).pending

    assert stored(database) == ["one"]
    assert await shown(memory) == ["one"]


async def test_a_late_append_is_shown_once_beside_the_window_that_has_it(memory):
    key = await row_of(memory)
    await memory.save_message("c", "assistant", "two", user_id="ana")
    [entry] = memory.redis.remembered.of(key.uuid)
    await drained(memory)
    assert await shown(memory) == ["one", "two"]
    assert (await memory.redis.accept(key, entry, memory.redis.trust.standing, away=False))[0] == "accepted"

    assert await waiting(memory) == 1
    assert await shown(memory) == ["one", "two"]
    assert await drained(memory) == 1
    assert await shown(memory) == ["one", "two"]


async def test_documents_names_and_titles_come_through(memory, database):
    documents = [RetrievedContext("page", "d1", 0.5, {"n": 1}), RetrievedContext("other", "d2")]
    said = [Draft(HumanMessage("what?")), Draft(AIMessage("that", id="m"), contexts=documents, latency_ms=7)]
    told = await memory.save_messages("c", said, user_id="ana")
    assert told.version is None
    assert told.seqs == (None, None)
    [_, question, answer] = await memory.get_messages("c", user_id="ana")

    assert answer.contexts == told.messages[1].contexts == tuple(documents)
    assert (question.contexts, answer.latency_ms, answer.message) == ((), 7, said[1].message)


async def test_an_entry_that_postgresql_refuses_is_laid_aside_and_the_rest_goes_on(memory, database, caplog):
    key = await row_of(memory)
    await memory.save_message("c", "assistant", "two", user_id="ana")
    [entry] = memory.redis.remembered.of(key.uuid)
    bad = entry.text.replace('"r": "ai"', '"r": "ai", "m": "{no json"').replace(entry.id, uuid4().hex)
    memory.redis.remembered.add(
        key, type(entry)(uuid4().hex, entry.life, "ana", bad, entry.rows, entry.accepted)
    )
    bad_id = bad[bad.index('"e": "') + 6 :][:32]
    memory.redis.remembered.forget(key.uuid, [e.id for e in memory.redis.remembered.of(key.uuid)])
    memory.redis.remembered.add(key, type(entry)(bad_id, entry.life, "ana", bad, entry.rows, entry.accepted))
    await memory.save_message("c", "user", "three", user_id="ana")

    with caplog.at_level(logging.ERROR):
        assert await drained(memory) == 3

    assert stored(database) == ["one", "two", "three"]
    [[conversation, refused, user, _, cause, messages]] = await memory.postgres.refused_entries(10)
    assert (conversation, refused, user, messages) == (key.uuid, bad_id, "ana", 1)
    assert "json" in cause
    assert "convmemory journal refused" in caplog.text
    assert memory.redis.health.counters.refused == 1
    await memory.clear("c", user_id="ana")
    assert await memory.postgres.refused_entries(10) == []


async def test_a_full_journal_sends_the_next_write_to_postgresql(memory, database):
    for n in range(70):
        told = await memory.save_message("c", "user", f"m{n}", user_id="ana")
        assert told.pending == (n % 65 < 64)
    assert len(stored(database)) == 66
    assert memory.redis.remembered.figures()["declined"]["full"] == 1


async def test_close_drains(schema, make_memory, database, undrained):
    memory = await make_memory(**SAID)
    await memory.save_message("c", "user", "one", user_id="ana")
    await memory.get_history("c", user_id="ana")
    await memory.save_message("c", "user", "two", user_id="ana")
    await memory.close()

    assert stored(database) == ["one", "two"]


async def test_nobody_drains_any_more_once_it_is_closed(schema, make_memory, database):
    for _ in range(3):
        memory = await make_memory(**SAID)
        await memory.save_message("c", "user", "one", user_id="ana")
        await memory.get_history("c", user_id="ana")
        await memory.save_message("c", "user", "two", user_id="ana")
        home = plain(memory).here()
        await memory.close()
        drainer = home.drainer
        assert drainer.done() if isinstance(drainer, asyncio.Task) else not drainer.is_alive()
    assert len(stored(database)) == 6


async def test_a_conversation_that_somebody_holds_stops_no_other(schema, make_memory, database, undrained):
    memory = await make_memory(**SAID, lock_timeout=0.05)
    for user in ("ana", "bob"):
        await memory.save_message("c", "user", "one", user_id=user)
        await memory.get_history("c", user_id=user)
    for user in ("ana", "bob"):
        assert (await memory.save_message("c", "user", "two", user_id=user)).pending
    with database.transaction():
        database.execute("SELECT FROM conversations WHERE user_id = 'ana' FOR UPDATE")
        await memory._store._round(plain(memory))
        assert sorted(stored(database)) == ["one", "one", "two"]

        with pytest.raises(StorageUnavailable):  # what an operator asked for was not all done
            await memory.journals.drain()
    await memory.journals.drain()
    assert sorted(stored(database)) == ["one", "one", "two", "two"]


async def test_a_held_conversation_is_left_to_the_next_sweep(schema, make_memory, database, undrained):
    writer = await make_memory(**SAID, lock_timeout=0.05)
    for user in ("ana", "bob", "eve"):
        await writer.save_message("c", "user", "one", user_id=user)
        await writer.get_history("c", user_id=user)
        await writer.save_message("c", "user", "two", user_id=user)
    other = await make_memory(**SAID, lock_timeout=0.05)
    with database.transaction():
        database.execute("SELECT FROM conversations WHERE user_id = 'bob' FOR UPDATE")
        assert await other._store.swept() == 2

    assert sorted(stored(database)) == ["one"] * 3 + ["two"] * 2


async def test_what_is_accepted_where_no_thread_can_be_had_is_stored_later(
    schema, make_memory, database, monkeypatch
):
    memory = await make_memory(**SAID)
    await memory.save_message("c", "user", "one", user_id="ana")
    await memory.get_history("c", user_id="ana")
    await until(lambda: not plain(memory).here().draining)
    with monkeypatch.context() as patch:
        for colour in ("_async", "_sync"):
            patch.setattr(f"convmemory.{colour}.draining.{SPAWN[colour]}", Unbegun)
        assert (await memory.save_message("c", "user", "two", user_id="ana")).pending
    assert (await memory.save_message("c", "user", "three", user_id="ana")).pending

    await until(lambda: stored(database) == ["one", "two", "three"])


SPAWN = {"_async": "aspawn", "_sync": "spawn"}


class Unbegun:
    """Work for which there is no thread."""

    def __init__(self, _work) -> None: ...

    def done(self) -> bool:
        return True

    def is_alive(self) -> bool:
        return False


async def test_a_redis_that_evicts_or_keeps_no_file_is_refused(schema, make_memory, database_url):
    with pytest.raises(ConfigurationError, match=r"no append-only file.*appendonly yes"):
        await make_memory(durability="journal")
    with pytest.raises(ConfigurationError, match="no Redis tier"):
        await make_memory(database_url, None, durability="journal")


async def test_what_is_set_while_it_runs_is_noticed(memory, keyspace, caplog):
    [before] = keyspace.client.config_get("maxmemory-policy").values()
    try:
        keyspace.client.config_set("maxmemory-policy", "allkeys-lru")
        plain(memory)._checked = float("-inf")
        with caplog.at_level(logging.WARNING):
            assert not (await memory.save_message("c", "user", "two", user_id="ana")).pending
            assert not (await memory.save_message("c", "user", "three", user_id="ana")).pending
        assert caplog.text.count("allkeys-lru") == 1
    finally:
        keyspace.client.config_set("maxmemory-policy", before)


async def test_in_an_outage_turns_go_on(schema, make_memory, postgres_proxy, database):
    memory = await make_memory(
        postgres_proxy.url,
        journal="outage",
        journal_ack="memory",
        redis_timeout=5,  # a process that loses Redis in an outage of PostgreSQL may believe no window
        statement_timeout=1,
        pool_timeout=1,
        connect_timeout=1,
    )
    history = memory.history("c", user_id="ana")
    await add(history, [HumanMessage("one")])
    await read(history)
    assert not (await memory.save_message("c", "assistant", "two", user_id="ana")).pending
    await read(history)
    with down(postgres_proxy):
        for n in range(100):
            assert (await memory.save_message("c", "user", f"m{n}", user_id="ana")).pending
        assert texts(await read(memory.history("c", user_id="ana", max_messages=4))) == [
            "m96",
            "m97",
            "m98",
            "m99",
        ]
        with pytest.raises(StorageUnavailable):
            await memory.get_messages("c", user_id="ana")
        with pytest.raises(StorageUnavailable):
            await memory.save_message("new", "user", "x", user_id="ana")
    await until(lambda: not memory.redis.remembered)

    assert stored(database) == ["one", "two", *(f"m{n}" for n in range(100))]
    assert not (await memory.save_message("c", "user", "after", user_id="ana")).pending


async def test_in_an_outage_all_go_on_that_write_while_one_of_them_finds_it_out(
    schema, make_memory, postgres_proxy, colour
):
    memory = await make_memory(
        postgres_proxy.url, journal="outage", journal_ack="memory", redis_timeout=5, pool_timeout=0.3
    )
    names = [f"c{n}" for n in range(6)]
    for name in names:
        await memory.save_message(name, "user", "one", user_id="ana")
        await memory.get_history(name, user_id="ana")

    async def say(name):
        if colour == "awaited":
            return await memory.save_message(name, "user", "two", user_id="ana")
        return await asyncio.to_thread(memory.blocking.save_message, name, "user", "two", user_id="ana")

    with down(postgres_proxy):
        plain(memory).trust._began -= 10  # the last look was long ago
        said = await asyncio.gather(*map(say, names), return_exceptions=True)

        assert [getattr(one, "pending", one) for one in said] == [True] * len(names)
    await until(lambda: not memory.redis.remembered)
    for name in names:
        assert texts(await memory.get_messages(name, user_id="ana")) == ["one", "two"]


async def test_a_window_that_grows_goes_on_knowing_what_waits_beside_it(memory):
    await memory.save_messages("c", [HumanMessage(str(n)) for n in range(20)], user_id="ana")
    await drained(memory)
    await memory.get_history("c", user_id="ana")
    key, standing = await row_of(memory), plain(memory).trust.standing
    asked = await memory.redis.read_beside(key, 18, 200, "reader", standing)
    assert (asked.verdict, asked.token) == ("lease", "")
    snapshot, life = await memory.postgres.read_window_rows(key, 18, 200)
    assert (await memory.save_message("c", "user", "meanwhile", user_id="ana")).pending

    assert await memory.redis.fill(key, snapshot, asked, 18) == "kept", "by one that knows of no journals"
    assert await memory.redis.fill_beside(key, snapshot, asked, 18, life) == "filled"
    before = memory.redis.health.counters.hits
    found = texts(await memory.get_history("c", user_id="ana", limit=18))
    assert found == [*map(str, range(3, 20)), "meanwhile"]
    assert memory.redis.health.counters.hits == before + 1
    assert await drained(memory) == 1


async def test_in_an_outage_a_turn_goes_on_after_somebody_wanted_more_than_the_window_holds(
    schema, make_memory, postgres_proxy, undrained
):
    memory = await make_memory(
        postgres_proxy.url, journal="outage", journal_ack="memory", redis_timeout=5, pool_timeout=0.3
    )
    for n in range(20):
        await memory.save_message("c", "user", str(n), user_id="ana")
        await memory.get_history("c", user_id="ana")
    with down(postgres_proxy):
        with pytest.raises(StorageUnavailable):
            await memory.get_history("c", user_id="ana", limit=18)
        assert (await memory.save_message("c", "user", "x", user_id="ana")).pending
        assert (await shown(memory))[-2:] == ["19", "x"]


async def test_an_entity_tag_counts_what_waits(memory):
    before = await memory.get_conversation("c", user_id="ana")
    await memory.save_message("c", "assistant", "two", user_id="ana")
    after = await memory.get_conversation("c", user_id="ana", messages=True)

    assert after.version > before.version
    assert after.message_count == len(after.messages) == 2
    assert (await memory.get_conversation("c", user_id="ana")).version == after.version


async def test_a_turn_that_waits_can_be_taken_back(memory, database):
    history = memory.history("c", user_id="ana")
    state = [HumanMessage("mine is 555-0100", id="h1")]
    turn = begun(history, state) if history._blocking else await history.abegin_turn(state, None)
    turn.look(state)
    await told(history, turn)
    assert stored(database) == ["one"]
    said = [HumanMessage("mine is [number]", id="h1")]
    turn.look(said)
    assert turn.changes
    await told(history, turn)

    assert stored(database) == ["one", "mine is [number]"]


def begun(history, state):
    return history.begin_turn(state, None)


async def told(history, turn):
    """Store what an agent's turn has to store."""
    pending = Told(drafts_of(list(turn.pending.values())))
    if history._blocking:
        history.store_turn(turn, pending)
    else:
        await history.astore_turn(turn, pending)


async def test_a_process_that_is_led_to_another_redis_shows_what_it_accepted_first(
    schema, make_memory, redis_proxy, redis_url, database, undrained, another_redis
):
    memory = await make_memory(redis=redis_proxy.url, **SAID)
    other = await make_memory(redis=another_redis, **SAID)
    for one in (memory, other):
        await one.save_message("c", "user", "one", user_id="ana")
        await shown(one)
    said = ["one", "one"]
    await shown(memory)
    assert (await memory.save_message("c", "user", "two", user_id="ana")).pending
    await shown(other)  # which has a window there, and knows of nothing that waits

    redis_proxy.lead_to(another_redis)
    plain(memory).trust.renamed(0.0)
    assert await shown(memory) == [*said, "two"]
    assert not memory.redis.remembered

    assert (await memory.save_message("c", "user", "three", user_id="ana")).pending
    redis_proxy.lead_to(redis_url)
    plain(memory).trust.renamed(0.0)
    assert (await memory.save_message("c", "user", "four", user_id="ana")).seq == 5
    assert stored(database) == [*said, "two", "three", "four"]
    plain(other).trust.lost()  # and looks, as it does twice a second
    assert await shown(memory) == await shown(other) == [*said, "two", "three", "four"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_forked_process_remembers_nothing(blocking, database):
    blocking.redis.remembered.add(ConversationKey(uuid4(), "ana"), Entry("e", "l", "ana", "{}", ()))
    child = os.fork()
    if child == 0:
        os._exit(0 if not blocking.redis.remembered else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert blocking.redis.remembered
    [key] = blocking.redis.remembered.conversations()
    blocking.redis.remembered.forget(key.uuid, ["e"])
    assert not blocking.redis.remembered


async def test_a_process_that_learns_of_journals_as_it_writes_goes_past_none(schema, make_memory, undrained):
    memory = await make_memory(**SAID)
    await memory.save_message("c", "user", "one", user_id="ana")
    await memory.get_history("c", user_id="ana")
    for change in ("append", "pop"):
        assert (await memory.save_message("c", "user", change, user_id="ana")).pending
        other = await make_memory()  # which looks for the first time in the course of this
        if change == "append":
            assert (await other.save_message("c", "user", "behind", user_id="ana")).seq == 3
        else:
            assert (await other._store.pop(await row_of(other))).content == "pop"
        assert await waiting(memory) == 0
        await memory.get_history("c", user_id="ana")


async def test_operators_see_what_waits_and_what_was_refused(memory, make_memory):
    await memory.save_message("c", "assistant", "two", user_id="ana")
    operator = (await make_memory()).journals
    [found] = await operator.waiting()

    assert (found.user_id, found.entries) == ("ana", 1)
    assert found.conversation == (await row_of(memory)).uuid
    assert await operator.drain() == 1
    assert await operator.waiting() == []
    assert await operator.refused() == []
    assert (await memory.check()).postgres.figures["journal_refused"] == 0


async def test_a_stranger_who_drains_stores_what_waits_as_its_writers(memory, database):
    """A read by whoever has the conversation's id drains it before it is told that there is none."""
    key = await row_of(memory)
    await memory.save_message("c", "assistant", "two", user_id="ana")

    with pytest.raises(ConversationNotFound):
        await memory.get_messages(str(key.uuid), user_id="eve")
    await memory._store.drained(ConversationKey(key.uuid, "eve"))

    assert stored(database) == ["one", "two"]
    assert await shown(memory) == ["one", "two"]


async def test_a_redis_that_does_not_answer_when_it_is_asked_what_it_keeps_is_an_error_of_ours(
    schema, make_memory, redis_proxy, undrained, caplog
):
    with down(redis_proxy):
        memory = await make_memory(redis=redis_proxy.url, redis_timeout=0.2, **SAID)

    assert "whether writes may wait in Redis is not known yet" in caplog.text
    assert not (await memory.save_message("c", "user", "one", user_id="ana")).pending


async def test_a_write_that_no_replica_has_is_committed(
    schema, make_memory, undrained, monkeypatch, database
):
    memory = await make_memory(durability="journal", journal_ack="memory")
    for colour, name in (("_async", "Async"), ("_sync", "")):  # there is no replica here, and no file
        monkeypatch.setattr(f"convmemory.{colour}.journal_scripts.{name}JournalScripts._waits", True)
    await memory.save_message("c", "user", "one", user_id="ana")
    await memory.get_history("c", user_id="ana")

    assert (await memory.save_message("c", "user", "two", user_id="ana")).seq == 2
    assert stored(database) == ["one", "two"]
    assert not memory.redis.health.open
    assert await waiting(memory) == 0
    assert memory.redis.remembered.figures()["declined"] == {"absent": 1, "no answer": 1}


async def test_what_waits_keeps_a_conversation_from_being_pruned(memory, database):
    database.execute("UPDATE conversations SET updated_at = now() - interval '90 days'")
    await memory.get_history("c", user_id="ana")
    assert (await memory.save_message("c", "user", "two", user_id="ana")).pending

    await memory.retention.prune(older_than=timedelta(days=30))
    assert stored(database) == ["one", "two"]


async def test_an_erased_users_words_are_nowhere(memory, database, keyspace):
    await memory.save_message("c", "user", "secret", user_id="ana")
    await memory.retention.erase_user("ana")

    assert stored(database) == []
    assert [name for name in keyspace.names() if name.endswith(b":journal")] == []
    assert not memory.redis.remembered


async def test_an_outage_beyond_the_bounds_is_told(memory, monkeypatch):
    for colour in ("_async", "_sync"):
        monkeypatch.setattr(
            f"convmemory.{colour}.journal_scripts._MOST", dict.fromkeys((False, True), (2, 10_000, 0))
        )
    for _ in range(2):
        assert (await memory.save_message("c", "user", "x", user_id="ana")).pending
    plain(memory).remembered.bytes = 64_000_000
    assert not (await memory.save_message("c", "user", "x", user_id="ana")).pending
    assert memory.redis.remembered.figures()["declined"]["too much is remembered"] == 1


async def test_nothing_is_accepted_where_nothing_was_stored_for_long(memory, keyspace):
    assert (await memory.save_message("c", "user", "two", user_id="ana")).pending
    keyspace.client.hset(memory.redis.keys.journal((await row_of(memory)).uuid), "o", 1)

    assert not (await memory.save_message("c", "user", "three", user_id="ana")).pending
    assert memory.redis.remembered.figures()["declined"]["old"] == 1
    assert await shown(memory) == ["one", "two", "three"]


async def test_no_window_is_filled_past_what_came_to_wait_meanwhile(
    memory, make_memory, keyspace, monkeypatch
):
    """A reader has what waits stored; by then another write was accepted, and the window it lay beside has ended its life."""
    other = await make_memory(**SAID)
    assert await shown(other) == ["one"]
    assert (await memory.save_message("c", "user", "two", user_id="ana")).pending
    window = keyspace.window((await row_of(memory)).uuid)
    blocks = hasattr(other, "blocking")
    keyspace.client.unlink(window)
    kind = type(getattr(other._store, "blocking", other._store))
    drains, once = kind.drained, [True]

    async def meanwhile():
        assert await shown(memory) == ["one", "two"]
        assert (await memory.save_message("c", "user", "three", user_id="ana")).pending
        await gone()

    async def gone():
        if blocks:
            keyspace.client.unlink(window)
        else:
            await asyncio.to_thread(keyspace.client.unlink, window)

    async def drained_and_more(store, key):
        count = await drains(store, key)
        if once and once.pop():
            await meanwhile()
        return count

    def drained_and_more_at_once(store, key):
        count = drains(store, key)
        if once and once.pop():
            with suppress(StopIteration):
                meanwhile().send(None)
        return count

    monkeypatch.setattr(kind, "drained", drained_and_more_at_once if blocks else drained_and_more)
    assert await shown(other) == ["one", "two"]
    assert await waiting(memory) == 1
    assert await shown(other) == await shown(memory) == ["one", "two", "three"]


async def test_once_no_process_wants_it_nothing_waits_any_more(memory, make_memory, database):
    other = await make_memory()
    assert await shown(other) == ["one"]
    assert (await memory.save_message("c", "user", "two", user_id="ana")).pending

    assert await other.journals.forbid() == 1

    assert database.execute("SELECT journals FROM installation").fetchone() == (False,)
    plain(other).trust.lost()
    assert await shown(other) == ["one", "two"]
    assert not other._store.journals
    assert (await other.save_message("c", "user", "three", user_id="ana")).seq == 3
    plain(memory).trust.lost()  # which has the setting, and looks
    await shown(memory)
    assert (await memory.save_message("c", "user", "four", user_id="ana")).pending
    assert await shown(other) == ["one", "two", "three", "four"]


async def test_a_window_whose_journal_was_lost_alone_is_none(memory, database, keyspace):
    await memory.save_message("c", "assistant", "two", user_id="ana")
    key = await row_of(memory)
    accepted = memory.redis.remembered.of(key.uuid)
    await memory.postgres.store_entries(key, accepted, memory.redis.trust.standing.own)
    memory.redis.remembered.forget(key.uuid, [entry.id for entry in accepted])
    keyspace.client.unlink(keyspace.keys.journal(key.uuid))  # before whoever stored it has told the window

    assert await shown(memory) == stored(database) == ["one", "two"]
    await memory.save_message("c", "user", "three", user_id="ana")
    assert await drained(memory) == 1
    assert await shown(memory) == stored(database) == ["one", "two", "three"]
    assert not keyspace.client.hexists(keyspace.window(key.uuid), "waits")


OUTAGE = {
    "journal": "outage",
    "journal_ack": "memory",
    "redis_timeout": 5,
    "statement_timeout": 0.3,
    "pool_timeout": 0.3,
    "connect_timeout": 0.3,
}


@pytest.mark.parametrize("meanwhile", ["clear", "delete_conversation", "pop", "made anew"])
async def test_a_statement_that_comes_late_brings_nothing_back(
    schema, make_memory, postgres_proxy, database, undrained, meanwhile
):
    memory, other = await make_memory(postgres_proxy.url, **OUTAGE), await make_memory()
    for word in ("one", "two"):
        await memory.save_message("c", "user", word, user_id="ana")
        assert await shown(memory) == (["one", "two"] if word == "two" else ["one"])
    postgres_proxy.mode = "late"
    assert (await memory.save_message("c", "user", "late", user_id="ana")).pending

    if meanwhile == "pop":
        assert (await other._store.pop(await row_of(other))).content == "late"
    elif meanwhile == "made anew":
        await other.delete_conversation("c", user_id="ana")
        await other.save_message("c", "user", "anew", user_id="ana")
    else:
        await getattr(other, meanwhile)("c", user_id="ana")
    left = stored(database)
    postgres_proxy.mode = "pass"
    await asyncio.sleep(0.3)  # it arrives

    assert stored(database) == left == {"pop": ["one", "two"], "made anew": ["anew"]}.get(meanwhile, [])
    await until(lambda: not memory.postgres.health.open)
    await drained(memory)
    assert stored(database) == left


async def test_lists_and_searches_show_what_their_own_process_accepted(schema, make_memory, undrained):
    memory = await make_memory(search="english", **SAID)
    mine = memory.for_user("ana")
    await mine.save_message("c", "user", "one")
    await mine.get_history("c")
    lists = {
        "page": mine.list_user_conversations,
        "walk": lambda: every(mine.iter_conversations()),
        "count": mine.count_conversations,
        "search": lambda: mine.search.messages("elephants"),
        "recall": lambda: mine.search.recall("elephants"),
    }
    for number, (name, look) in enumerate(lists.items(), 2):
        await memory.save_message("d", "user", "of nobody's concern", user_id="bob")
        assert (await mine.save_message("c", "user", f"{name}: elephants")).pending
        found = await look()
        assert not memory.redis.remembered.of((await row_of(memory)).uuid), name
        if name in {"search", "recall"}:
            assert any(name in str(hit) for hit in found), name
        elif name != "count":
            assert [one.message_count for one in found] == [number]


async def test_a_change_of_one_version_counts_what_waits(memory):
    found = await memory.get_conversation("c", user_id="ana")
    assert (await memory.save_message("c", "user", "two", user_id="ana")).pending

    with pytest.raises(ConversationChanged):
        await memory.update_conversation("c", user_id="ana", title="t", if_version=found.version)


@pytest.mark.parametrize("how", ["drained", "by another"])
async def test_a_turn_that_was_accepted_gets_its_title(schema, make_memory, undrained, database, how):
    memory = await make_memory(titles=lambda messages: f"Title of {len(messages)}", **SAID)
    await memory.save_message("c", "user", "one", user_id="ana")
    await memory.get_history("c", user_id="ana")
    assert (await memory.save_message("c", "assistant", "two", user_id="ana")).pending
    other = await make_memory()
    await other.get_history("c", user_id="ana")
    assert database.execute("SELECT title_source FROM conversations").fetchone() == ("auto",)

    if how == "by another":
        assert await other.journals.drain() == 1
    assert await drained(memory) == 1
    await until(lambda: database.execute("SELECT title_source FROM conversations").fetchone() == ("model",))
    assert (await memory.get_conversation("c", user_id="ana")).title == "Title of 2"
