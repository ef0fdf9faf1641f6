"""Storing a batch: once however often it is sent, and in one order however many write."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage

from convmemory import ConversationMemory, ConversationNotFound, Draft, RetrievedContext
from convmemory.ids import conversation_key
from fix_memory import texts


def identified(*ids: str) -> list:
    return [HumanMessage(f"message {name}", id=name) for name in ids]


async def stored(memory, conversation="c") -> list[str]:
    return texts(await memory.get_messages(conversation, user_id="ana", limit=10_000))


# Idempotency


async def test_the_same_batch_twice_is_stored_once(memory):
    batch = [HumanMessage("?", id="q"), AIMessage("!", id="a")]
    first = await memory.save_messages("c", batch, user_id="ana")
    second = await memory.save_messages("c", batch, user_id="ana")

    assert (first.seqs, first.stored, first.version) == ((1, 2), 2, 1)
    assert (second.seqs, second.stored, second.version) == ((1, 2), 0, 1)
    assert await memory.get_history("c", user_id="ana") == batch


async def test_a_repeat_of_a_part_stores_the_rest_and_says_where_each_is(memory):
    await memory.save_messages("c", identified("1", "2", "3"), user_id="ana")
    mixed = identified("3", "4", "1", "5")
    appended = await memory.save_messages("c", mixed, user_id="ana")

    assert (appended.seqs, appended.stored, appended.version) == ((3, 4, 1, 5), 2, 2)
    assert await stored(memory) == [f"message {n}" for n in (1, 2, 3, 4, 5)]


async def test_a_repeat_of_a_part_may_come_behind_what_is_new(memory):
    await memory.save_messages("c", identified("1", "2"), user_id="ana")
    appended = await memory.save_messages("c", identified("3", "2"), user_id="ana")

    assert (appended.seqs, appended.stored, appended.version) == ((3, 2), 1, 2)


async def test_a_repeat_of_a_part_knows_where_the_newest_turn_begins(memory, database):
    batch = [HumanMessage("?", id="q"), AIMessage("!", id="a")]
    await memory.save_messages("c", batch, user_id="ana")
    for new in (HumanMessage("and?", id="q2"), AIMessage("so", id="a2")):
        batch.append(new)
        await memory.save_messages("c", batch, user_id="ana")

    assert database.execute("SELECT last_seq, last_human_seq FROM conversations").fetchone() == (4, 3)


async def test_a_repeat_of_all_of_it_is_no_news(memory):
    await memory.save_messages("c", identified("x"), user_id="ana")
    before = await memory.get_conversation("c", user_id="ana")
    await memory.save_messages("c", identified("x"), user_id="ana")

    assert await memory.get_conversation("c", user_id="ana") == before


async def test_an_id_that_occurs_twice_in_a_batch_is_one_message_the_first(memory):
    batch = [HumanMessage("one", id="x"), AIMessage("other", id="y"), HumanMessage("one", id="x")]
    appended = await memory.save_messages("c", batch, user_id="ana")

    assert (appended.seqs, appended.stored) == ((1, 2, 1), 2)
    assert await stored(memory) == ["one", "other"]


async def test_messages_without_ids_are_never_taken_for_each_other(memory):
    batch = [HumanMessage("same"), HumanMessage("same")]
    for _ in range(3):
        await memory.save_messages("c", batch, user_id="ana")

    assert await stored(memory) == ["same"] * 6
    assert [message.id for message in batch] == [None, None]  # and the caller's stay as they were
    assert {message.id for message in await memory.get_history("c", user_id="ana")} == {None}


async def test_one_id_in_two_conversations_is_two_messages(memory):
    for conversation, user in (("c", "ana"), ("d", "ana"), ("c", "eve")):
        assert (await memory.save_messages(conversation, identified("x"), user_id=user)).stored == 1


@pytest.mark.parametrize(
    "odd",
    ["\ud800", "a\0b", "x" * 5_000, "ä" * 300, 7, UUID(int=7)],
    ids=["surrogate", "nul", "long", "unicode", "number", "uuid"],
)
async def test_any_id_a_message_can_carry_tells_it_apart(memory, odd):
    message = HumanMessage("hello")
    message.id = odd  # not checked by LangChain
    for _ in range(2):
        await memory.save_messages("c", [message], user_id="ana")

    [found] = await memory.get_messages("c", user_id="ana")
    assert found.message.content == "hello"


async def test_other_words_under_an_id_are_another_message(memory):
    """Whatever gives ids twice (a model's cache, a client that counts from 1), nothing is lost without a word."""
    await memory.save_messages("c", identified("x"), user_id="ana")
    changed = [HumanMessage("new"), AIMessage("changed", id="x"), AIMessage("after", id="z")]
    for _ in range(2):
        appended = await memory.save_messages("c", changed[1:], user_id="ana")

    assert (appended.seqs, appended.stored) == ((2, 3), 0)
    assert await stored(memory) == ["message x", "changed", "after"]
    assert (await memory.save_messages("c", changed, user_id="ana")).seqs == (4, 2, 3)
    assert [m.id for m in await memory.get_history("c", user_id="ana", limit=None)] == ["x", "x", "z", None]


async def test_other_words_under_an_id_of_the_same_batch_are_another_message(memory):
    batch = [
        AIMessage("one", id="x"),
        HumanMessage("and?", id="y"),
        AIMessage("two", id="x"),
        AIMessage("one", id="x"),
    ]
    assert (await memory.save_messages("c", batch, user_id="ana")).seqs == (1, 2, 3, 1)
    for part in (batch, [batch[0], batch[2]], [batch[2]]):
        assert (await memory.save_messages("c", part, user_id="ana")).stored == 0


async def test_what_is_told_of_another_message_of_an_id_is_its_own(memory):
    await memory.save_messages("c", identified("x"), user_id="ana")
    told = Draft(AIMessage("changed", id="x"), tokens_used=7, contexts=(RetrievedContext(content="a page"),))
    appended = await memory.save_messages("c", [told], user_id="ana")
    [_, kept] = await memory.get_messages("c", user_id="ana")

    assert appended.messages == (kept,)
    assert (kept.content, kept.tokens_used, texts(kept.contexts)) == ("changed", 7, ["a page"])


REPEATS = {
    "less than was stored": (
        AIMessage("hi", id="x", usage_metadata={"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}),
        AIMessage("hi", id="x"),
    ),
    "text for its blocks": (
        AIMessage([{"type": "text", "text": "hi"}], id="x"),
        AIMessage("hi", id="x"),
    ),
    "blocks of its text": (
        AIMessage("hi", id="x"),
        AIMessage([{"type": "text", "text": "hi"}], id="x"),
    ),
    "no calls": (
        AIMessage("hi", id="x", tool_calls=[{"name": "f", "args": {}, "id": "1"}]),
        AIMessage("hi", id="x"),
    ),
    "a chunk": (AIMessage("hi", id="x"), AIMessageChunk("hi", id="x")),
}
OTHERS = {
    "another role": (HumanMessage("hi", id="x"), AIMessage("hi", id="x")),
    "another call": (
        AIMessage("", id="x", tool_calls=[{"name": "f", "args": {"n": 1}, "id": "1"}]),
        AIMessage("", id="x", tool_calls=[{"name": "f", "args": {"n": 2}, "id": "1"}]),
    ),
    "a call": (
        AIMessage("", id="x"),
        AIMessage("", id="x", tool_calls=[{"name": "f", "args": {}, "id": "1"}]),
    ),
    "another call answered": (
        ToolMessage("ok", id="x", tool_call_id="1"),
        ToolMessage("ok", id="x", tool_call_id="2"),
    ),
    "another picture": (
        HumanMessage([{"type": "image", "url": "https://a/1"}], id="x"),
        HumanMessage([{"type": "image", "url": "https://a/2"}], id="x"),
    ),
    "a picture more": (
        HumanMessage("see", id="x"),
        HumanMessage([{"type": "text", "text": "see"}, {"type": "image", "url": "https://a/2"}], id="x"),
    ),
    "a letter PostgreSQL has no place for": (HumanMessage("a\0b", id="x"), HumanMessage("a\0c", id="x")),
}


@pytest.mark.parametrize("apart", [True, False], ids=["two batches", "one batch"])
@pytest.mark.parametrize(
    ("pair", "count"), [*((p, 1) for p in REPEATS.values()), *((p, 2) for p in OTHERS.values())],
    ids=[*REPEATS, *OTHERS],
)  # fmt: skip
async def test_what_says_the_same_is_a_repeat_and_what_does_not_is_none(memory, pair, count, apart):
    for batch in [[one] for one in pair] if apart else [list(pair)]:
        await memory.save_messages("c", batch, user_id="ana")

    assert [m.message for m in await memory.get_messages("c", user_id="ana")] == list(pair)[:count]


async def test_a_message_said_after_a_row_was_stored_is_not_that_row(memory):
    """``since`` is how a chain says that its answer is new, though a cache gave it an old one's id and words."""
    store, key = memory._store, conversation_key("c", "ana")
    cached = [Draft(AIMessage("20 days", id="run-1"))]
    await store.append(key, cached)
    await memory.save_message("c", "user", "how many?", user_id="ana")
    for _ in range(2):
        await store.append(key, cached, since=2)

    assert await stored(memory) == ["20 days", "how many?", "20 days"]
    await store.append(key, cached, since=0)
    assert len(await stored(memory)) == 3


async def test_a_repeat_after_a_clear_is_stored_anew(memory):
    await memory.save_messages("c", identified("x"), user_id="ana")
    await memory.clear("c", user_id="ana")
    appended = await memory.save_messages("c", identified("x"), user_id="ana")

    assert (appended.seqs, appended.stored, appended.version) == ((2,), 1, 3)


async def test_contexts_are_stored_once_with_their_message(memory, database):
    documents = [RetrievedContext(f"page {n}", doc_id=str(n), score=n / 3) for n in range(3)]
    draft = Draft(AIMessage("!", id="a"), contexts=documents)
    for _ in range(3):
        await memory.save_messages("c", [HumanMessage("?", id="q"), draft], user_id="ana")

    question, answer = await memory.get_messages("c", user_id="ana")
    assert question.contexts == ()
    assert answer.contexts == tuple(documents)
    assert database.execute("SELECT count(*) FROM message_contexts").fetchone() == (3,)


async def test_contexts_follow_their_message_past_a_duplicate_in_the_batch(memory):
    documents = [[RetrievedContext(f"for {name}")] for name in "xyz"]
    x, y, z = (Draft(m, contexts=d) for m, d in zip(identified("x", "y", "z"), documents, strict=True))
    await memory.save_messages("c", [x, x, y, x, z], user_id="ana")

    found = {
        m.content: [c.content for c in m.contexts] for m in await memory.get_messages("c", user_id="ana")
    }
    assert found == {f"message {name}": [f"for {name}"] for name in "xyz"}


@pytest.mark.parametrize("score", [None, 0, 1, 0.1, -2.5e-300, float("nan"), float("inf")])
async def test_a_score_comes_back_as_the_number_it_was(memory, score):
    await memory.save_message("c", "!", user_id="ana", contexts=[RetrievedContext("page", score=score)])

    [found] = await memory.get_messages("c", user_id="ana")
    assert repr(found.contexts[0].score) == repr(None if score is None else float(score))


class Float32:
    """What vector stores give as a score: a number that is no ``float``, such as numpy's."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


async def test_a_score_of_another_numeric_type_is_stored_as_a_number(memory):
    await memory.save_message(
        "c", "!", user_id="ana", contexts=[RetrievedContext("page", score=Float32(0.5))]
    )

    [found] = await memory.get_messages("c", user_id="ana")
    assert found.contexts[0].score == 0.5


# Versions and titles


async def test_the_version_grows_with_every_change_and_only_then(memory):
    versions = [
        (await memory.save_messages("c", identified("1"), user_id="ana")).version,
        (await memory.save_messages("c", identified("1"), user_id="ana")).version,
        (await memory.save_messages("c", identified("2", "3"), user_id="ana")).version,
    ]
    await memory.rename_conversation("c", "title", user_id="ana")
    versions.append((await memory.get_conversation("c", user_id="ana")).version)
    await memory.clear("c", user_id="ana")
    versions.append((await memory.get_conversation("c", user_id="ana")).version)
    versions.append((await memory.save_messages("c", [], user_id="ana")).version)

    assert versions == [1, 1, 2, 3, 4, None]  # nothing to save asks nobody


async def test_an_empty_batch_stores_nothing_and_says_so(memory):
    appended = await memory.save_messages("c", [], user_id="ana")

    assert (appended.messages, appended.seqs, appended.stored, appended.version) == ((), (), 0, None)
    assert await memory.list_user_conversations("ana") == []


async def test_of_writers_that_race_for_the_title_the_first_to_commit_gives_it(memory):
    await asyncio.gather(
        *(memory.save_message("c", HumanMessage(f"Writer {n}."), user_id="ana") for n in range(10))
    )

    found = await memory.get_conversation("c", user_id="ana")
    assert f"{found.title}" == (await stored(memory))[0]


async def test_a_batch_of_a_thousand_keeps_its_order(memory):
    said = [f"message {n}" for n in range(1000)]
    appended = await memory.save_messages("c", [HumanMessage(text) for text in said], user_id="ana")
    again = await memory.save_messages("c", [SystemMessage("last")], user_id="ana")

    assert appended.seqs == tuple(range(1, 1001))
    assert again.seqs == (1001,)
    assert await stored(memory) == [*said, "last"]
    assert texts(await memory.get_history("c", user_id="ana", limit=None)) == [*said, "last"]


# Many writers


async def test_eight_threads_leave_no_gap_and_keep_each_writers_order(
    schema, database_url, redis_url, key_prefix
):
    barrier, seqs, least = threading.Barrier(8), [], [0] * 8

    def write(writer: int) -> None:
        barrier.wait()
        for number in range(50):
            seqs.append(memory.save_message("c", f"{writer} {number}", user_id="ana").seq)
            if number % 10 == 0:  # read your writes, and never less than before
                found = memory.get_history("c", user_id="ana", limit=200)
                assert len(found) == 200 or f"{writer} {number}" in texts(found)
                assert len(found) >= least[writer]
                least[writer] = len(found)

    memory = ConversationMemory.from_url(database_url, redis_url, db_schema=schema, key_prefix=key_prefix)
    with memory, ThreadPoolExecutor(8) as threads:
        for outcome in [threads.submit(write, writer) for writer in range(8)]:
            outcome.result()
        found = memory.get_messages("c", user_id="ana", limit=1000)
        window = memory.get_history("c", user_id="ana")

    assert [m.seq for m in found] == sorted(seqs) == list(range(1, 401))
    for writer in range(8):
        mine = [m.content for m in found if m.content.startswith(f"{writer} ")]
        assert mine == [f"{writer} {number}" for number in range(50)]
    assert texts(window) == [m.content for m in found[-6:]]


async def test_the_first_messages_of_a_conversation_may_come_all_at_once(memory):
    outcomes = await asyncio.gather(
        *(memory.save_messages("c", f"message {n}", user_id="ana") for n in range(10)),
    )

    assert sorted(outcome.seqs for outcome in outcomes) == [(seq,) for seq in range(1, 11)]
    assert sorted(outcome.version for outcome in outcomes) == list(range(1, 11))


async def test_one_uuid_for_two_users_at_once_is_one_users(memory):
    name = uuid4()
    outcomes = await asyncio.gather(
        *(memory.save_messages(name, "mine", user_id=user) for user in ("ana", "eve") * 3),
        return_exceptions=True,
    )

    refused = [o for o in outcomes if isinstance(o, ConversationNotFound)]
    assert len(refused) == 3
    assert sorted(o.seqs for o in outcomes if o not in refused) == [(1,), (2,), (3,)]


async def test_a_call_under_the_same_key_is_the_same_call_whatever_it_says(memory):
    """A caller that tries again may have put a time into its words."""
    for said in ("at 10:00", "at 10:01"):
        batch = [HumanMessage(said), AIMessage(said, id="x")]
        appended = await memory.save_messages("c", batch, user_id="ana", idempotency_key="k")

    assert appended.stored == 0
    assert await stored(memory) == ["at 10:00", "at 10:00"]
