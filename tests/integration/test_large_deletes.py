"""A conversation of any size is deleted or cleared at once; its rows go in batches, and whoever comes meanwhile sees none of them."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from langchain_core.messages import HumanMessage

from convmemory import ConversationNotFound, Draft, RetrievedContext
from convmemory._async.cache_register import BATCH
from convmemory.ids import conversation_key
from fix_memory import read, texts, until

MANY = 12_000
WAYS = ["delete", "clear"]


@pytest.fixture
async def large(memory, database):
    """Ana's conversation of MANY messages, one of them with an id and a document, its window cached."""
    said = Draft(HumanMessage("with an id", id="known"), contexts=[RetrievedContext("page")])
    await memory.create_conversation("ana", conversation_id="c", dept_id="hr")
    await memory.save_messages("c", [said, "newest"], user_id="ana")
    [[row]] = database.execute("SELECT conversation_id FROM conversations").fetchall()
    database.execute("UPDATE messages SET seq = seq + %s", [MANY - 2])
    database.execute("UPDATE message_documents SET seq = seq + %s", [MANY - 2])
    database.execute(
        "UPDATE conversations SET last_seq = last_seq + %s, last_human_seq = %s", [MANY - 2, MANY]
    )
    database.execute(
        "INSERT INTO messages (conversation_id, seq, id, role, content, body)"
        """ SELECT %s, n, gen_random_uuid(), 'human', 'old', '{"c":"HumanMessage"}' FROM generate_series(1, %s) AS n""",
        [row, MANY - 2],
    )
    for _ in range(2):
        assert len(await memory.get_history("c", user_id="ana")) > 1
    return row


@pytest.fixture
def store(memory):
    """The durable tier of this colour."""
    return memory.postgres


@pytest.fixture
async def key(store):
    found = conversation_key("c", "ana")
    await store.settle(found)
    return found


@pytest.fixture
def left(database):
    """A function that counts the rows there are."""

    def count():
        tables = ("conversations", "messages", "message_documents")
        return [database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]

    return count


async def broken_off(store, key, way):
    """Delete or clear, in a process that ends before anything is taken away."""
    written = await getattr(store, f"{way}_conversation")(key)
    assert written.left_here


async def test_all_of_it_is_taken_away(memory, large, left, keyspace):
    await memory.delete_conversation("c", user_id="ana")

    assert left() == [0, 0, 0]
    assert await read(memory.history("c", user_id="ana")) == []


async def test_a_cleared_one_stays_and_is_empty(memory, large, left):
    await memory.clear("c", user_id="ana")

    assert left() == [1, 0, 0]
    found = await memory.get_conversation("c", user_id="ana")
    assert (found.message_count, found.dept_id) == (0, "hr")


async def test_a_small_one_takes_one_statement(memory, store, key, left):
    await memory.save_message("c", "user", "hi", user_id="ana")
    written = await store.delete_conversation(key)

    assert not written.left_here
    assert not written.left_anywhere
    assert left() == [0, 0, 0]


async def test_what_is_deleted_is_nobodys_at_once(memory, store, key, large, left):
    await broken_off(store, key, "delete")

    assert await memory.list_user_conversations("ana") == []
    assert await store.read_all(key) == await store.read_window(key, 5, 10)
    assert (await store.read_all(key)).last_seq == 0
    assert await store.owns(key) is None
    for verb in ("get_conversation", "get_messages", "delete_conversation", "clear", "pop_message"):
        if hasattr(memory, verb):
            with pytest.raises(ConversationNotFound):
                await getattr(memory, verb)("c", user_id="ana")
    with pytest.raises(ConversationNotFound):
        await memory.rename_conversation("c", "x", user_id="ana")
    assert left()[1] == MANY


async def test_its_row_says_nothing_of_whose_it_was(store, key, large, database):
    await broken_off(store, key, "delete")
    found = database.execute(
        "SELECT user_id, external_id, dept_id, title, metadata, last_seq - gaps, left_over FROM conversations"
    ).fetchall()

    assert found == [("", None, None, None, {}, 0, MANY)]


@pytest.mark.parametrize("way", WAYS)
async def test_it_goes_on_behind_what_is_left(memory, store, key, large, left, way):
    await broken_off(store, key, way)
    ana = memory.for_user("ana")
    said = [HumanMessage("with an id", id="known"), HumanMessage("b")]
    first = await ana.save_messages("c", said)
    again = await ana.save_messages("c", said[:1])

    assert (first.stored, first.seqs, again.stored) == (2, (MANY + 1, MANY + 2), 0)
    for _ in range(2):
        assert texts(await ana.get_history("c")) == ["with an id", "b"]
    assert texts(await ana.get_history("c", None)) == ["with an id", "b"]
    assert [(m.content, m.contexts) for m in await ana.get_messages("c")] == [("with an id", ()), ("b", ())]
    assert texts(await ana.get_messages("c", after=MANY + 1)) == ["b"]
    assert (await ana.get_conversation("c")).message_count == 2
    assert (await ana.get_conversation("c")).title == "with an id"
    while (await store.sweep())[1]:
        assert texts(await ana.get_history("c", None)) == ["with an id", "b"]
    assert left() == [1, 2, 0]
    assert texts(await ana.get_messages("c")) == ["with an id", "b"]


@pytest.mark.parametrize("way", WAYS)
async def test_more_may_be_said_than_was_left(memory, store, key, large, left, way):
    await broken_off(store, key, way)
    while (await store.sweep(key.uuid))[1]:
        pass
    await broken_off_again(memory, store, key, way)
    seqs = (await memory.save_messages("c", [f"m{n}" for n in range(6000)], user_id="ana")).seqs

    assert left()[:2] == [1, 11_100]
    while (await store.sweep())[1]:
        pass
    assert left()[:2] == [1, 6000]
    assert len(await memory.get_messages("c", user_id="ana", limit=2000, before=seqs[1000])) == 1000


async def broken_off_again(memory, store, key, way):
    """A conversation of which 5,100 messages are left."""
    await memory.save_messages("c", [f"old{n}" for n in range(5100)], user_id="ana")
    await broken_off(store, key, way)


@pytest.mark.parametrize("way", WAYS)
async def test_what_was_said_anew_is_deleted_with_what_is_left(memory, store, key, large, left, way):
    await broken_off(store, key, "clear")
    await memory.save_message("c", "user", "new", user_id="ana")
    await (memory.delete_conversation if way == "delete" else memory.clear)("c", user_id="ana")

    assert left() == [way == "clear", 0, 0]


@pytest.mark.parametrize("exists", ["return", "error", "update"])
async def test_one_that_is_made_anew_is_as_new(memory, store, key, large, exists):
    await broken_off(store, key, "delete")
    made = await memory.create_conversation("ana", conversation_id="c", title="t", exists=exists)

    assert (made.title, made.message_count, made.dept_id) == ("t", 0, None)
    assert await memory.get_messages("c", user_id="ana") == []
    assert (await memory.save_message("c", "user", "new", user_id="ana")).seq == MANY + 1


async def test_one_that_is_written_to_anew_is_as_new(memory, store, key, large, database):
    await broken_off(store, key, "delete")
    database.execute("UPDATE conversations SET created_at = '2001-01-01', updated_at = '2001-01-01'")
    await memory._store.append(key, [Draft(HumanMessage("anew"))], dept_id="it")
    found = await memory.get_conversation("c", user_id="ana")

    assert (found.id, found.dept_id, found.title, found.message_count) == ("c", "it", "anew", 1)
    assert found.version == 1
    assert (
        found.created_at == found.updated_at == (await memory.get_messages("c", user_id="ana"))[0].created_at
    )


async def test_nothing_is_popped_of_what_was_cleared(memory, store, key, large):
    await broken_off(store, key, "clear")

    assert (await store.read_messages(key, limit=1))[1] == []
    assert await store.pop_message(key, large) is None


async def test_a_check_goes_on_with_what_was_broken_off(memory, store, key, large, left):
    await broken_off(store, key, "delete")
    found = [(await memory.check()).postgres.figures["unfinished_deletes"] for _ in range(MANY // BATCH + 1)]

    assert found == [1] * (MANY // BATCH) + [0]
    assert left() == [0, 0, 0]


async def test_the_next_delete_goes_on_with_what_was_broken_off(memory, store, key, large, left):
    await broken_off(store, key, "delete")
    for name in map(str, range(MANY // BATCH)):
        await memory.save_message(name, "user", "hi", user_id="bob")
        await memory.delete_conversation(name, user_id="bob")

    assert left() == [0, 0, 0]


async def test_a_process_without_redis_looks_after_it_too(make_memory, store, key, large, left):
    await broken_off(store, key, "delete")
    other = await make_memory(redis=None)
    await other.save_message("x", "user", "hi", user_id="bob")
    await other.delete_conversation("x", user_id="bob")

    assert left()[1] == MANY - BATCH


@pytest.mark.parametrize("way", WAYS)
async def test_one_that_cannot_be_taken_away_now_is_gone_all_the_same(memory, large, database, way, caplog):
    database.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$"
    )
    database.execute("CREATE TRIGGER refuse BEFORE DELETE ON messages EXECUTE FUNCTION refuse()")
    await (memory.delete_conversation if way == "delete" else memory.clear)("c", user_id="ana")

    assert "not all taken away yet" in caplog.text
    assert await read(memory.history("c", user_id="ana")) == []


async def test_windows_of_other_caches_are_marked(memory, store, key, large, database):
    database.execute("INSERT INTO caches (name, history) VALUES ('other', 'x')")
    await memory.delete_conversation("c", user_id="ana")

    assert database.execute("SELECT conversation FROM marks WHERE cache = 'other'").fetchall() == [(large,)]


async def test_a_message_deleted_by_hand_takes_its_documents_along(memory, database, left):
    said = [Draft(HumanMessage(str(n)), contexts=[RetrievedContext("p")]) for n in range(3)]
    await memory.save_messages("c", said, user_id="ana")
    database.execute("DELETE FROM messages WHERE seq > 1")

    assert left() == [1, 1, 1]
    database.execute("DELETE FROM conversations")
    assert left() == [0, 0, 0]


@pytest.mark.parametrize("way", WAYS)
async def test_two_messages_of_one_id_are_both_stored_in_front_of_what_is_left(
    memory, store, key, large, way
):
    said = [HumanMessage("one", id="same"), HumanMessage("two", id="same")]
    for message in said:
        await memory.save_message("c", message, user_id="ana")
    await broken_off(store, key, way)
    for message in said:
        await memory.save_message("c", message, user_id="ana")

    assert texts(await memory.get_messages("c", user_id="ana")) == ["one", "two"]


async def test_the_row_of_a_name_is_not_made_anew_by_its_uuid(memory, store, key, large, left):
    await broken_off(store, key, "delete")

    with pytest.raises(ConversationNotFound):
        await memory.save_message(large, "user", "x", user_id="ana")
    with pytest.raises(ConversationNotFound):
        await memory.create_conversation("ana", conversation_id=large)
    assert left()[1] == MANY


async def test_one_is_made_while_its_delete_commits(memory, key, large, database, database_url, schema):
    """The statement that makes it waits for the delete, and finds nobody's row when it goes on."""
    with psycopg.connect(database_url, options=f"-c search_path={schema}") as other:
        other.execute("SELECT delete_v1(%s, 'ana', '{}', 2)", [key.uuid])
        anew = {"conversation_id": "c", "title": "anew"}
        making = asyncio.ensure_future(
            asyncio.to_thread(memory.blocking.create_conversation, "ana", **anew)
            if hasattr(memory, "blocking")
            else memory.create_conversation("ana", **anew)
        )
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await until(lambda: database.execute(waits).fetchone() == (1,))
        other.commit()
        made = await making

    assert (made.title, made.message_count) == ("anew", 0)
