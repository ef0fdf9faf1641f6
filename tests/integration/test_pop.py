"""Taking the newest message back: one message, once, and no reader sees it afterwards."""

from __future__ import annotations

import asyncio
import threading

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import ConversationMemory, ConversationNotFound, Draft, RetrievedContext, StorageUnavailable
from convmemory.ids import conversation_key
from convmemory.storage import postgres_rows
from convmemory.windows.snapshots import Written
from fix_memory import read, texts
from window_steps import lease, publish

KEY = conversation_key("c", "ana")
ANA = {"user_id": "ana"}


async def saved(memory, *said: str) -> None:
    """Human and AI messages in turn."""
    kinds = (HumanMessage, AIMessage)
    await memory.save_messages("c", [kinds[at % 2](text) for at, text in enumerate(said)], **ANA)


async def there(memory) -> list[str]:
    return texts(await memory.get_messages("c", **ANA))


async def newest(memory):
    [message] = await memory.get_messages("c", limit=1, **ANA)
    return message


async def test_the_newest_message_is_taken_and_the_rest_stay(memory):
    await saved(memory, "one", "two", "three")
    history = memory.history("c", **ANA)
    assert texts(await read(history)) == ["one", "two", "three"]  # it is in the window
    popped = await memory._store.pop(KEY)

    assert (popped.seq, popped.content, popped.message) == (3, "three", HumanMessage("three"))
    assert await there(memory) == texts(await read(history)) == ["one", "two"]
    assert (await memory.get_conversation("c", **ANA)).message_count == 2


async def test_an_automatic_title_goes_with_the_message_it_quotes(memory):
    await saved(memory, "My secret", "hm", "My secret illness")
    for title in ("My secret", "My secret", None):
        await memory._store.pop(KEY)
        assert (await memory.get_conversation("c", **ANA)).title == title


async def test_what_comes_next_takes_its_place(memory):
    await saved(memory, "one", "two")
    await memory._store.pop(KEY)
    appended = await memory.save_messages("c", AIMessage("better"), **ANA)

    assert (appended.seqs, appended.version) == ((3,), 3)
    assert await there(memory) == texts(await memory.get_history("c", **ANA)) == ["one", "better"]


async def test_one_after_the_other_until_nothing_is_left(memory):
    await saved(memory, "one", "two", "three")

    assert [(await memory._store.pop(KEY)).content for _ in range(3)] == ["three", "two", "one"]
    assert await memory._store.pop(KEY) is None
    assert await memory.get_history("c", **ANA) == []


async def test_a_message_without_a_conversation_of_the_users_is_not_found(memory):
    with pytest.raises(ConversationNotFound):
        await memory._store.pop(KEY)
    await saved(memory, "hers")
    anas = (await memory.get_conversation("c", user_id="ana")).uuid

    with pytest.raises(ConversationNotFound):
        await memory._store.pop(conversation_key(anas, "eve"))
    message = await newest(memory)
    assert await memory.postgres.pop_message(conversation_key(anas, "eve"), message.id) is None
    assert await there(memory) == ["hers"]


async def test_turns_begin_where_they_began_before(memory, database):
    await saved(memory, "first", "a", "second", "b")
    await memory._store.pop(KEY)
    await memory._store.pop(KEY)  # the second turn's question

    assert database.execute("SELECT last_seq, gaps, last_human_seq FROM conversations").fetchone() == (
        4,
        2,
        1,
    )
    assert texts(await memory.get_history("c", limit=1, **ANA)) == ["first", "a"]  # the newest turn, whole
    await memory._store.pop(KEY)
    await memory._store.pop(KEY)
    assert database.execute("SELECT last_seq, gaps, last_human_seq FROM conversations").fetchone() == (
        4,
        4,
        0,
    )


async def test_documents_go_with_their_message(memory, database):
    contexts = [RetrievedContext("text", "d1", 0.5)]
    await memory.save_message("c", AIMessage("from d1"), contexts=contexts, **ANA)
    popped = await memory._store.pop(KEY)

    assert popped.contexts == tuple(contexts)
    assert database.execute("SELECT count(*) FROM message_contexts").fetchone() == (0,)


async def test_only_the_newest_goes_and_only_by_its_own_name(memory):
    await saved(memory, "one", "two")
    first, second = await memory.get_messages("c", **ANA)

    assert await memory.postgres.pop_message(KEY, first.id) is None  # not the newest
    assert (await memory.postgres.pop_message(KEY, second.id)).stamp
    assert await memory.postgres.pop_message(KEY, second.id) is None  # said again
    await saved(memory, "another", "at its place")
    assert await memory.postgres.pop_message(KEY, second.id) is None
    assert await there(memory) == ["one", "another", "at its place"]


async def test_a_row_that_somebody_deleted_by_hand_is_no_obstacle(memory, database):
    await saved(memory, "one", "two", "three")
    database.execute("DELETE FROM messages WHERE seq = 3")

    assert (await memory._store.pop(KEY)).content == "two"
    assert (await memory.save_message("c", "next", **ANA)).seq == 4


async def test_a_reply_lost_takes_one_message_and_no_second(schema, make_memory, postgres_proxy):
    memory = await make_memory(postgres_proxy.url, pool_max=1)
    await saved(memory, "one", "two", "three", "four", "five", "six")
    for _ in range(3):  # by now the statement is prepared: the next reply is the commit's
        await memory._store.pop(KEY)
    message = await newest(memory)
    history = memory.history("c", **ANA)
    assert texts(await read(history)) == ["one", "two", "three"]
    postgres_proxy.mode = "cut_reply"
    written = await memory.postgres.pop_message(KEY, message.id)

    stamp = (await memory.postgres.read_window(KEY, 1, 1)).stamp
    assert written == Written(stamp)  # done, by the attempt that was not heard of
    assert await publish(memory.redis, written, key=KEY) == "dropped"
    assert await there(memory) == texts(await read(history)) == ["one", "two"]


async def test_callers_at_once_get_a_message_each(blocking_memory, database):
    blocking_memory.save_messages("c", [f"{n}" for n in range(40)], **ANA)

    async def pop_some() -> list[str]:
        found = []
        while popped := await asyncio.to_thread(blocking_memory._store.pop, KEY):
            found.append(popped.content)
        return found

    async def append_some() -> None:
        for n in range(40, 50):
            await asyncio.to_thread(blocking_memory.save_message, "c", f"{n}", **ANA)

    *popped, _ = await asyncio.gather(*(pop_some() for _ in range(4)), append_some())
    left = texts(blocking_memory.get_messages("c", **ANA))

    assert sorted((*left, *(text for some in popped for text in some)), key=int) == [
        f"{n}" for n in range(50)
    ]
    assert sum(bool(some) for some in popped) > 1
    assert database.execute("SELECT last_seq - gaps FROM conversations").fetchone() == (len(left),)


async def test_a_pop_that_redis_did_not_hear_of_is_marked(memory, database):
    await saved(memory, "one", "two")
    history = memory.history("c", **ANA)
    await read(history)
    memory.redis.health.open = True
    await memory._store.pop(KEY)
    memory.redis.health.open = False
    memory.redis.trust.lost()

    assert database.execute("SELECT conversation FROM marks").fetchone() == (KEY.uuid,)
    assert texts(await read(history)) == ["one"]
    assert database.execute("SELECT count(*) FROM marks").fetchone() == (0,)


async def test_a_pop_while_redis_refuses_is_marked_afterwards(schema, make_memory, redis_proxy, database):
    memory = await make_memory(redis=redis_proxy.url)
    await saved(memory, "one", "two")
    redis_proxy.mode = "refuse"
    redis_proxy.reset_all()

    assert (await memory._store.pop(KEY)).content == "two"
    assert database.execute("SELECT count(*) FROM marks").fetchone() == (1,)


async def test_a_filler_that_is_late_does_not_bring_it_back(memory):
    await saved(memory, "one", "two")
    slow = await lease(memory.redis, KEY)
    old = await memory.postgres.read_window(KEY, 50, 200)
    await memory._store.pop(KEY)

    assert await memory.redis.fill(KEY, old, slow, 50) == "absent"
    assert texts(await memory.get_history("c", **ANA)) == ["one"]


async def test_a_message_taken_back_can_be_stored_again(memory):
    message = AIMessage("again", id="a")
    await memory.save_message("c", message, **ANA)
    popped = await memory._store.pop(KEY)
    appended = await memory.save_messages("c", popped.message, **ANA)

    assert (appended.stored, appended.seqs) == (1, (2,))
    assert await memory.get_history("c", **ANA) == [message]


def test_without_redis_it_is_the_same(database_url, schema):
    with ConversationMemory.from_url(database_url, db_schema=schema) as memory:
        memory.save_messages("c", ["one", "two"], **ANA)

        assert memory._store.pop(KEY).content == "two"
        assert texts(memory.get_history("c", **ANA)) == ["one"]
        memory.postgres.append(KEY, [Draft(HumanMessage("three"))])
        assert memory._store.pop(KEY).seq == 3


@pytest.fixture
def between(monkeypatch):
    """Has something happen between two attempts of a statement: elsewhere, and before the second begins."""

    def happens(what):
        again = postgres_rows.again

        def later(parameters):
            elsewhere = threading.Thread(target=what)
            elsewhere.start()
            elsewhere.join()
            return again(parameters)

        monkeypatch.setattr(postgres_rows, "again", later)

    return happens


@pytest.mark.parametrize("taken", [True, False], ids=["done", "not done"])
async def test_nobody_claims_a_message_that_somebody_else_may_have_taken(
    schema, make_memory, blocking, postgres_proxy, between, taken
):
    """Only the answer was lost, or the question as well; by the second attempt the message is gone, and another was written."""
    memory = await make_memory(postgres_proxy.url, pool_max=1)
    await saved(memory, "one", "two", "three", "four", "five", "six")
    for _ in range(3):
        await memory._store.pop(KEY)
    message = await newest(memory)
    others = []

    def meanwhile():
        if not taken:
            others.append(blocking._store.pop(KEY).content)
        blocking.save_message("c", "user", "from the phone", **ANA)

    between(meanwhile)
    postgres_proxy.mode = "cut_reply" if taken else "cut_request"
    if not taken:
        between(lambda: setattr(postgres_proxy, "mode", "pass"))
    with pytest.raises(StorageUnavailable, match="cannot be told"):
        await memory.postgres.pop_message(KEY, message.id)
    assert others == ([] if taken else ["three"])
    assert await there(memory) == ["one", "two", "from the phone"]


async def test_a_message_that_another_came_after_is_known_not_to_be_taken(
    schema, make_memory, blocking, postgres_proxy, between
):
    memory = await make_memory(postgres_proxy.url, pool_max=1)
    await saved(memory, "one", "two")
    between(lambda: blocking.save_message("c", "user", "from the phone", **ANA))
    between(lambda: setattr(postgres_proxy, "mode", "pass"))
    first = await newest(memory)
    postgres_proxy.mode = "cut_request"
    assert await memory.postgres.pop_message(KEY, first.id) is None
    assert await there(memory) == ["one", "two", "from the phone"]
