"""Stored messages: walked in a stream, deleted, replaced, cut off, annotated; and what is cached of them is told."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import (
    ConversationNotFound,
    Draft,
    InvalidArgument,
    MessageNotFound,
    RetrievedContext,
)
from convmemory.encoding.codec import encode
from convmemory.ids import conversation_key
from convmemory.storage.revisions import Revision
from fix_memory import every, read, texts
from window_steps import lease

ANA = {"user_id": "ana"}
KEY = conversation_key("c", "ana")


async def saved(memory, *said):
    kinds = [HumanMessage, AIMessage]
    return await memory.save_messages("c", [kinds[n % 2](text) for n, text in enumerate(said)], **ANA)


async def shown(memory):
    """What the window shows, as it is filled and as it is served, and what PostgreSQL has."""
    history = memory.history("c", max_messages=50, **ANA)
    found = [texts(await read(history)), texts(await read(history))]
    assert found[0] == found[1] == texts(await memory.get_messages("c", **ANA))
    return found[0]


# Walked


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 1000])
async def test_a_stream_brings_every_message_once_in_order(memory, batch):
    await saved(memory, *"abcdef")
    await memory.delete_messages("c", seqs=[2, 5], **ANA)

    assert texts(await every(memory.iter_messages("c", batch=batch, **ANA))) == list("acdf")
    assert texts(await every(memory.iter_messages("c", batch=batch, after=3, **ANA))) == ["d", "f"]
    assert await every(memory.iter_messages("c", batch=batch, after=6, **ANA)) == []


async def test_a_stream_is_not_disturbed_by_what_is_written_meanwhile(blocking_memory):
    said = [f"{n}" for n in range(200)]
    blocking_memory.save_messages("c", said, **ANA)

    def append():
        for n in range(200, 260):
            blocking_memory.save_message("c", "user", f"{n}", **ANA)

    writing = asyncio.create_task(asyncio.to_thread(append))
    found = await asyncio.to_thread(lambda: texts(blocking_memory.iter_messages("c", batch=7, **ANA)))
    await writing

    assert found[:200] == said
    assert found == [f"{n}" for n in range(len(found))]


async def test_a_stream_is_checked_when_it_is_asked_for_and_reads_when_it_is_walked(memory):
    for wrong in ({"batch": 0}, {"batch": 10_001}, {"after": -1}, {"after": None}):
        with pytest.raises(InvalidArgument, match=f"^{next(iter(wrong))}: "):
            memory.iter_messages("c", **ANA, **wrong)
    stream = memory.iter_messages("c", **ANA)
    with pytest.raises(ConversationNotFound):
        await every(stream)


# Deleted


@pytest.mark.parametrize("by", ["seqs", "ids", "values"])
async def test_messages_are_deleted_from_the_middle(memory, by):
    await saved(memory, "q1", "a1", "q2", "a2")
    assert await shown(memory) == ["q1", "a1", "q2", "a2"]
    found = await memory.get_messages("c", **ANA)
    which = {
        "seqs": {"seqs": [2, 3]},
        "ids": {"ids": [found[1].id, str(found[2].id)]},
        "values": {"ids": found[1:3]},
    }[by]

    assert await memory.delete_messages("c", **which, **ANA) == 2
    assert await shown(memory) == ["q1", "a2"]
    assert await memory.delete_messages("c", **which, **ANA) == 0, "sent again"
    assert (await memory.get_conversation("c", **ANA)).message_count == 2
    assert (await memory.save_message("c", "user", "q3", **ANA)).seq == 5


async def test_turns_begin_at_the_newest_question_that_is_left(memory, database):
    await saved(memory, "q1", "a1", "q2", "a2")
    await memory.delete_messages("c", seqs=[3], **ANA)

    assert database.execute("SELECT last_human_seq FROM conversations").fetchone() == (1,)
    assert texts(await memory.get_history("c", limit=1, **ANA)) == ["q1", "a1", "a2"]


async def test_contexts_go_with_their_message(memory, database):
    context = RetrievedContext("text", "d")
    for said in ("one", "two"):
        await memory.save_message("c", AIMessage(said), contexts=[context], **ANA)
    await memory.delete_messages("c", seqs=[1], **ANA)

    assert database.execute("SELECT seq FROM message_contexts").fetchall() == [(2,)]


@pytest.mark.parametrize(
    "said",
    [
        *("What is it?", "一二三四五六七八九十" * 9, "  ¿!? ", "a" * 700, "Grüße, Jürgen! Ça va?"),
        *("\n" * 3_000 + "What is it?", "What is it? " + "Well? " * 1_000, "一" * 5_000),
    ],
)
async def test_an_automatic_title_goes_with_what_it_was_made_of(memory, said):
    await saved(memory, said, "an answer", "Another question", "another")
    assert (await memory.get_conversation("c", **ANA)).title is not None
    await memory.delete_messages("c", seqs=[1], **ANA)

    found = await memory.get_conversation("c", **ANA)
    assert (found.title, found.title_source) == (None, "none")
    await memory.save_message("c", "user", "What else?", **ANA)
    assert (await memory.get_conversation("c", **ANA)).title == "What else?"


async def test_a_title_stays_while_the_message_that_gave_it_does(memory):
    """Whatever else begins alike."""
    await saved(memory, "Hi", "hello", "History of Rome?", "long", "Himalaya trip?", "far")
    await memory.delete_messages("c", seqs=[3], **ANA)
    [*_, last, _] = await memory.get_messages("c", **ANA)
    await memory.replace_message("c", last, ("human", "My secret"), **ANA)
    assert (await memory.get_conversation("c", **ANA)).title == "Hi"
    await memory.delete_messages("c", seqs=[1], **ANA)
    assert (await memory.get_conversation("c", **ANA)).title is None


@pytest.mark.parametrize("by", ["pop", "delete", "truncate", "replace"])
async def test_a_title_of_a_later_day_goes_with_what_it_was_made_of(memory, by):
    """However much was said before."""
    await saved(memory, "Hello", *["and on"] * 205)
    await memory.delete_messages("c", seqs=[1], **ANA)
    secret = await memory.save_message("c", "user", "My password is hunter2", **ANA)
    assert (await memory.get_conversation("c", **ANA)).title == "My password is hunter2"
    if by == "pop":
        await memory._store.pop(conversation_key("c", "ana"))
    elif by == "delete":
        await memory.delete_messages("c", ids=[secret], **ANA)
    elif by == "truncate":
        await memory.truncate("c", after=secret.seq - 1, **ANA)
    else:
        await memory.replace_message("c", secret, ("user", "Nothing."), **ANA)

    assert (await memory.get_conversation("c", **ANA)).title == ("Nothing." if by == "replace" else None)


async def test_long_messages_are_deleted_as_fast_as_short_ones(memory):
    await saved(memory, *["a question of many words, " * 12_000, "answer"] * 100)
    began = time.monotonic()
    assert await memory.truncate("c", after=0, **ANA) == 200
    assert time.monotonic() - began < 3  # it was 9 s, under the conversation's lock


async def test_a_title_that_says_something_else_stays(memory):
    await saved(memory, "What is it?", "an answer", "Another question", "another")
    await memory.delete_messages("c", seqs=[2, 3], **ANA)
    assert (await memory.get_conversation("c", **ANA)).title == "What is it?"
    await memory.rename_conversation("c", "What is it?", **ANA)
    await memory.delete_messages("c", seqs=[1], **ANA)

    assert (await memory.get_conversation("c", **ANA)).title == "What is it?", "the user's own"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({}, "seqs"),
        ({"seqs": [1], "ids": [uuid4()]}, "seqs"),
        ({"seqs": 1}, "seqs"),
        ({"seqs": "12"}, "seqs"),
        ({"seqs": [None]}, "seqs"),
        ({"seqs": [True]}, "seqs"),
        ({"seqs": range(10_001)}, "seqs"),
        ({"ids": ["m-1"]}, "message_id"),
        ({"ids": [1]}, "message_id"),
    ],
)
async def test_what_names_no_messages_says_what_would(memory, wrong, named):
    with pytest.raises(InvalidArgument, match=f"^{named}: "):
        await memory.delete_messages("c", **wrong, **ANA)


async def test_nothing_to_delete_is_no_fault(memory):
    await saved(memory, "one")
    assert await memory.delete_messages("c", seqs=[], **ANA) == 0
    assert await memory.delete_messages("c", ids=[uuid4()], **ANA) == 0
    with pytest.raises(ConversationNotFound):
        await memory.delete_messages("d", seqs=[1], **ANA)


async def test_a_late_filler_does_not_bring_it_back(memory):
    await saved(memory, "one", "two", "three")
    await memory.postgres.settle(KEY)
    slow = await lease(memory.redis, KEY)
    old = await memory.postgres.read_window(KEY, 50, 200)
    await memory.delete_messages("c", seqs=[2], **ANA)

    assert await memory.redis.fill(KEY, old, slow, 50) == "absent"
    assert await shown(memory) == ["one", "three"]


CHANGES = {
    "delete": lambda memory, m: memory.delete_messages("c", ids=[m], **ANA),
    "truncate": lambda memory, m: memory.truncate("c", after=m.seq - 1, **ANA),
    "replace": lambda memory, m: memory.replace_message("c", m, AIMessage("other"), **ANA),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_that_redis_did_not_hear_of_is_marked(memory, database, change):
    await saved(memory, "one", "two")
    await shown(memory)
    message = (await memory.get_messages("c", **ANA))[-1]
    memory.redis.health.open = True
    await CHANGES[change](memory, message)
    memory.redis.health.open = False
    memory.redis.trust.lost()

    assert database.execute("SELECT count(*) FROM marks").fetchone() == (1,)
    assert await shown(memory) in (["one"], ["one", "other"])


@pytest.mark.parametrize("change", CHANGES)
async def test_another_cache_is_marked_and_its_own_is_not(memory, database, change):
    await saved(memory, "one", "two")
    await shown(memory)
    database.execute("INSERT INTO caches (name, history) SELECT 'another', history_v1()")
    message = (await memory.get_messages("c", **ANA))[-1]
    await CHANGES[change](memory, message)

    assert database.execute("SELECT DISTINCT cache FROM marks").fetchall() == [("another",)]


# Cut off


async def test_what_is_behind_a_place_is_cut_off(memory):
    await saved(memory, "q1", "a1", "q2", "a2")
    await shown(memory)

    assert await memory.truncate("c", after=3, **ANA) == 1
    assert await shown(memory) == ["q1", "a1", "q2"]
    assert await memory.truncate("c", after=3, **ANA) == 0
    assert await memory.truncate("c", after=0, **ANA) == 3
    assert await shown(memory) == []
    found = await memory.get_conversation("c", **ANA)
    assert (found.title, found.message_count) == (None, 0)


async def test_a_long_conversation_is_cut_off_in_pieces(memory, monkeypatch, database):
    await memory.save_messages("c", [AIMessage(f"{n}") for n in range(40)], **ANA)
    for colour in ("_sync", "_async"):
        for module in ("cache_register", "postgres_store", "tiered"):
            monkeypatch.setattr(f"convmemory.{colour}.{module}.BATCH", 7)
    version = (await memory.get_conversation("c", **ANA)).version

    assert await memory.truncate("c", after=5, **ANA) == 35
    assert await shown(memory) == [f"{n}" for n in range(5)]
    assert (await memory.get_conversation("c", **ANA)).version == version + 5
    assert database.execute("SELECT last_seq, gaps FROM conversations").fetchone() == (40, 35)


@pytest.mark.parametrize("by", ["seqs", "ids"])
async def test_many_messages_are_deleted_in_pieces(memory, monkeypatch, by):
    """Whoever writes to the conversation meanwhile waits for one of them, and not for all."""
    stored = (await memory.save_messages("c", [AIMessage(f"{n}") for n in range(40)], **ANA)).messages
    for colour in ("_sync", "_async"):
        monkeypatch.setattr(f"convmemory.{colour}.tiered.BATCH", 7)
    version = (await memory.get_conversation("c", **ANA)).version
    which = [message.seq if by == "seqs" else message for message in stored[5:]]

    assert await memory.delete_messages("c", **{by: [*which, which[0]]}, **ANA) == 35
    assert await shown(memory) == [f"{n}" for n in range(5)]
    found = await memory.get_conversation("c", **ANA)
    assert (found.version, found.message_count) == (version + 5, 5)


async def test_truncate_wants_a_place(memory):
    for wrong in (-1, None, "3"):
        with pytest.raises(InvalidArgument, match=r"^after: "):
            await memory.truncate("c", after=wrong, **ANA)
    with pytest.raises(ConversationNotFound):
        await memory.truncate("c", after=0, **ANA)


# Replaced


async def test_another_message_takes_the_place_of_one(memory):
    await saved(memory, "q1", "a1", "q2")
    await shown(memory)
    old = (await memory.get_messages("c", **ANA))[1]
    new = AIMessage(
        "better", id="r1", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    )
    found = await memory.replace_message("c", old.id, new, **ANA)

    assert (found.id, found.seq, found.created_at) == (old.id, 2, old.created_at)
    assert (found.content, found.tokens_used, found.message) == ("better", 3, new)
    assert await shown(memory) == ["q1", "better", "q2"]
    assert await memory.replace_message("c", old, new, **ANA) == found, "sent again"


async def test_what_is_known_of_a_replaced_message_is_the_new_ones(memory, database):
    await memory.save_message(
        "c", AIMessage("a"), contexts=[RetrievedContext("old")], latency_ms=5, metadata={"a": 1}, **ANA
    )
    [old] = await memory.get_messages("c", **ANA)
    when = datetime(2024, 1, 1, tzinfo=UTC)
    draft = Draft(AIMessage("b"), 7, 8, [RetrievedContext("new", "d", 0.5)], {"b": 2}, when)
    found = await memory.replace_message("c", old, draft, **ANA)

    assert (found.tokens_used, found.latency_ms, found.metadata, found.created_at) == (7, 8, {"b": 2}, when)
    assert texts(found.contexts) == ["new"]
    bare = await memory.replace_message("c", old, AIMessage("c"), **ANA)
    assert (bare.tokens_used, bare.latency_ms, bare.metadata, bare.contexts) == (None, None, {}, ())
    assert bare.created_at == when
    assert database.execute("SELECT count(*) FROM message_contexts").fetchone() == (0,)


async def test_a_replaced_question_gives_its_title_anew(memory):
    await saved(memory, "What is the secret?", "a", "Another", "b")
    first, _, third, _ = await memory.get_messages("c", **ANA)
    await memory.replace_message("c", third, HumanMessage("Something"), **ANA)
    assert (await memory.get_conversation("c", **ANA)).title == "What is the secret?"
    await memory.replace_message("c", first, HumanMessage("What is the weather?"), **ANA)
    assert (await memory.get_conversation("c", **ANA)).title == "What is the weather?"
    await memory.replace_message("c", first, AIMessage("What is the weather?"), **ANA)

    found = await memory.get_conversation("c", **ANA)
    assert (found.title, found.title_source) == (None, "none")


async def test_turns_follow_the_role_of_what_was_replaced(memory, database):
    await saved(memory, "q1", "a1", "q2", "a2")
    await memory.replace_message("c", (await memory.get_messages("c", **ANA))[2], AIMessage("x"), **ANA)
    assert database.execute("SELECT last_human_seq FROM conversations").fetchone() == (1,)
    await memory.replace_message("c", (await memory.get_messages("c", **ANA))[3], HumanMessage("y"), **ANA)

    assert database.execute("SELECT last_human_seq FROM conversations").fetchone() == (4,)
    assert texts(await memory.get_history("c", limit=1, **ANA)) == ["y"]


@pytest.mark.parametrize("verb", ["replace_message", "annotate_message"])
async def test_a_message_that_is_not_there_is_not_found(memory, verb):
    await saved(memory, "one")
    what = {"replace_message": "other", "annotate_message": {"a": 1}}[verb]
    before = await memory.get_conversation("c", **ANA)
    with pytest.raises(MessageNotFound):
        await getattr(memory, verb)("c", uuid4(), what, **ANA)
    with pytest.raises(ConversationNotFound):
        await getattr(memory, verb)("d", uuid4(), what, **ANA)

    assert await memory.get_conversation("c", **ANA) == before


async def test_one_message_takes_the_place_of_one(memory):
    await saved(memory, "one")
    [found] = await memory.get_messages("c", **ANA)
    with pytest.raises(InvalidArgument, match=r"^message: must be one message, not 2"):
        await memory.replace_message("c", found, ["a", "b"], **ANA)


# Annotated


async def test_feedback_is_laid_over_the_metadata_and_no_window_is_dropped(memory, database):
    await memory.save_message("c", AIMessage("a"), metadata={"a": 1, "b": 2}, **ANA)
    await shown(memory)
    [old] = await memory.get_messages("c", **ANA)
    before = await memory.get_conversation("c", **ANA)
    hits = memory.redis.health.counters.hits
    found = await memory.annotate_message("c", old, {"feedback": {"score": 1}, "b": None}, **ANA)

    assert found.metadata == {"a": 1, "feedback": {"score": 1}}
    assert found.model_copy(update={"metadata": old.metadata}) == old
    assert await shown(memory) == ["a"]
    assert memory.redis.health.counters.hits == hits + 2
    assert database.execute("SELECT count(*) FROM marks").fetchone() == (0,)
    later = await memory.get_conversation("c", **ANA)
    assert (later.version, later.updated_at) == (before.version + 1, before.updated_at)


async def test_a_message_without_metadata_is_annotated(memory):
    await saved(memory, "one")
    [old] = await memory.get_messages("c", **ANA)

    assert (await memory.annotate_message("c", old.id, {"liked": True}, **ANA)).metadata == {"liked": True}
    with pytest.raises(InvalidArgument, match=r"^metadata: "):
        await memory.annotate_message("c", old.id, "liked", **ANA)


async def test_metadata_stays_the_callers_through_every_change(memory):
    given = {"name": "invoice-7", "model": "prod-eu", "status": "paid", "tool_calls": 3, "lossy": False}
    message = AIMessage("x", name="bot", response_metadata={"model_name": "gpt"})
    saved = await memory.save_message("c", message, metadata=given, **ANA)
    assert (saved.metadata, saved.facts, saved.lossy) == (given, {"name": "bot", "model": "gpt"}, False)
    change = Revision(1, encode(message), AIMessage("[redacted]"), gone=False)
    await memory._store.revise(KEY, [change])
    [found] = await memory.get_messages("c", **ANA)
    assert (found.content, found.metadata, found.facts) == ("[redacted]", given, {"model": "gpt"})
    noted = await memory.annotate_message("c", found, {"name": None}, **ANA)
    assert noted.metadata == {name: value for name, value in given.items() if name != "name"}
    [copy] = (await memory.save_messages("d", [saved], **ANA)).messages

    assert (copy.metadata, copy.facts) == (saved.metadata, saved.facts)


async def test_for_one_user_it_is_the_same(memory):
    ana = memory.for_user("ana")
    await saved(memory, "q", "a", "b", "c")
    second, third = (await memory.get_messages("c", **ANA))[1:3]

    assert texts(await every(ana.iter_messages("c", batch=3, after=2))) == ["b", "c"]
    assert await ana.truncate("c", after=3) == 1
    assert await ana.delete_messages("c", ids=[third]) == 1
    assert (await ana.replace_message("c", second, AIMessage("A"))).content == "A"
    assert (await ana.annotate_message("c", second, {"ok": 1})).metadata == {"ok": 1}
