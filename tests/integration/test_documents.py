"""Retrieved documents: stored once a user however often they are retrieved, read back as they were, gone with the last message."""

import asyncio
import random
import threading
import time
from contextlib import suppress

import psycopg
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from psycopg import sql

from convmemory import Draft, RetrievedContext
from convmemory.errors import StorageError
from convmemory.ids import conversation_key
from convmemory.journal.entries import Write
from convmemory.storage import postgres_rows
from convmemory.storage.sql_and_lua import sql as statement
from fix_memory import until

PAGE = RetrievedContext("the tide is high", doc_id="p1", score=0.5, metadata={"source": "almanac"})


@pytest.fixture
def count(database):
    """A function that counts the rows of a table."""
    return lambda table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


async def test_a_document_is_stored_once_a_user_however_often_it_is_retrieved(memory, count):
    for n in range(3):
        for conversation in ("c", "d"):
            await memory.save_message(conversation, AIMessage(str(n)), user_id="ana", contexts=[PAGE, PAGE])
    await memory.save_message("c", AIMessage("mine"), user_id="bob", contexts=[PAGE])

    assert count("documents") == 2, "ana's and bob's"
    assert count("message_documents") == count("message_contexts") == 13
    for user, conversation, found in (("ana", "c", [2] * 3), ("ana", "d", [2] * 3), ("bob", "c", [1])):
        stored = await memory.get_messages(conversation, user_id=user)
        assert [m.contexts for m in stored] == [(PAGE,) * times for times in found]


async def test_what_differs_in_text_or_metadata_is_another_document(memory, count):
    others = [
        PAGE,
        RetrievedContext("the tide is low", metadata={"source": "almanac"}),
        RetrievedContext("the tide is high", metadata={"source": "atlas"}),
        RetrievedContext("the tide is high", metadata={}),
        RetrievedContext("the tide is high", doc_id="p2", score=0.1, metadata={"source": "almanac"}),
    ]
    stored = await memory.save_message("c", AIMessage("x"), user_id="ana", contexts=others)

    assert count("documents") == 4, "an id and a score are of the retrieval"
    [read] = await memory.get_messages("c", user_id="ana")
    assert read.contexts == stored.contexts == tuple(others)


async def test_a_score_in_the_metadata_makes_no_other_document(memory, count):
    for score in (0.25, 0.75):
        found = Document("text", metadata={"source": "a", "score": score, "relevance_score": score / 2})
        await memory.save_message("c", AIMessage(str(score)), user_id="ana", contexts=[found])

    assert count("documents") == 1
    read = [m.contexts[0] for m in await memory.get_messages("c", user_id="ana")]
    assert [one.score for one in read] == [0.25, 0.75]
    assert [one.metadata for one in read] == [
        {"source": "a", "score": 0.25, "relevance_score": 0.125},
        {"source": "a", "score": 0.75, "relevance_score": 0.375},
    ]


async def test_the_view_reads_as_the_table_it_was(memory, database):
    scored = RetrievedContext("text", doc_id="d", score=0.5, metadata={"source": "a", "score": 0.5})
    await memory.save_message(
        "c", AIMessage("x"), user_id="ana", contexts=[scored, RetrievedContext("", doc_id="bare", score=1.5)]
    )
    rows = database.execute(
        "SELECT seq, position, doc_id, content, score, metadata FROM message_contexts ORDER BY seq, position"
    ).fetchall()

    assert rows == [
        (1, 0, "d", "text", 0.5, {"source": "a", "score": 0.5}),
        (1, 1, "bare", "", 1.5, {}),
    ]


@pytest.mark.parametrize("verb", ["delete", "truncate", "replace", "clear", "forget"])
async def test_a_document_goes_with_the_last_message_that_has_it(memory, count, verb):
    kept = RetrievedContext("kept")
    await memory.save_message("a", HumanMessage("q"), user_id="ana")
    last = await memory.save_message("a", AIMessage("x"), user_id="ana", contexts=[PAGE, kept])
    await memory.save_message("b", AIMessage("y"), user_id="ana", contexts=[kept])
    await {
        "delete": lambda: memory.delete_messages("a", ids=[last], user_id="ana"),
        "truncate": lambda: memory.truncate("a", after=1, user_id="ana"),
        "replace": lambda: memory.replace_message("a", last, AIMessage("z"), user_id="ana"),
        "clear": lambda: memory.clear("a", user_id="ana"),
        "forget": lambda: memory.delete_conversation("a", user_id="ana"),
    }[verb]()

    assert (count("documents"), count("message_documents"), count("loose_documents")) == (1, 1, 0)
    [read] = await memory.get_messages("b", user_id="ana")
    assert read.contexts == (kept,)


async def test_what_is_deleted_by_hand_is_taken_away_by_the_next_who_looks(memory, database, count):
    await memory.save_message("a", AIMessage("x"), user_id="ana", contexts=[PAGE])
    await memory.save_message("b", AIMessage("x"), user_id="ana", contexts=[PAGE, RetrievedContext("other")])
    database.execute(
        "DELETE FROM messages WHERE conversation_id IN (SELECT conversation_id FROM conversations WHERE external_id = 'b')"
    )
    assert (count("documents"), count("loose_documents")) == (2, 2)
    await memory.check()

    assert (count("documents"), count("loose_documents")) == (1, 0)
    database.execute("TRUNCATE conversations CASCADE")
    await memory.check()
    assert (count("documents"), count("loose_documents")) == (0, 0)


async def test_one_busy_user_keeps_nobody_elses_documents(memory, database, count):
    for user in ("ana", "bob"):
        await memory.save_message("c", AIMessage("x"), user_id=user, contexts=[PAGE])
    database.execute("TRUNCATE conversations CASCADE")
    with database.transaction():
        # an append of hers goes on
        database.execute("SELECT pg_advisory_xact_lock_shared(documents_of_v1('ana'))")
        await memory.check()
        assert count("documents") == 1
    await memory.check()
    assert (count("documents"), count("loose_documents")) == (0, 0)


async def test_an_append_that_refers_to_a_document_keeps_it_from_who_takes_it_away(memory, database, count):
    """A writer that has seen the document, and has not committed yet, is waited for."""
    await memory.save_message("a", AIMessage("x"), user_id="ana", contexts=[PAGE])
    key = (await memory.get_conversation("a", user_id="ana")).uuid
    await memory.save_message("b", AIMessage("x"), user_id="ana")
    other = (await memory.get_conversation("b", user_id="ana")).uuid
    again = '[{"n": 1, "position": 0, "content": "the tide is high", "metadata": {"source": "almanac"}}]'
    database.execute("BEGIN")
    database.execute("SELECT retrieved_v1(%s, 'ana', '{1}', %s)", [other, again])
    commit = threading.Timer(0.5, database.execute, ["COMMIT"])
    began = time.monotonic()
    commit.start()
    await memory.delete_conversation(key, user_id="ana")
    assert time.monotonic() - began > 0.4, "it waits for the writer"
    commit.join()

    assert (count("documents"), count("message_documents")) == (1, 1)
    [read] = await memory.get_messages("b", user_id="ana")
    assert [c.content for c in read.contexts] == ["the tide is high"]


async def test_writers_and_deleters_of_the_same_documents_lose_none(make_memory, database, count, schema):
    del schema
    memory = await make_memory()
    pages = [RetrievedContext(f"page {n}") for n in range(5)]
    random.seed(7)

    async def life(name: str) -> None:
        for n in range(25):
            chosen = random.sample(pages, 3)
            await memory.save_message(name, AIMessage(str(n)), user_id="ana", contexts=chosen)
            [read] = await memory.get_messages(name, user_id="ana")
            assert sorted(c.content for c in read.contexts) == sorted(c.content for c in chosen)
            with suppress(StorageError):
                await memory.delete_conversation(name, user_id="ana")

    await asyncio.gather(*(life(f"c{n}") for n in range(6)))
    missing = database.execute(
        "SELECT count(*) FROM message_documents AS r WHERE NOT EXISTS (SELECT FROM documents AS d WHERE d.document = r.document)"
    ).fetchone()
    assert missing == (0,)
    await memory.retention.erase_user("ana")
    assert (count("documents"), count("message_documents"), count("loose_documents")) == (0, 0, 0)


async def test_what_several_writes_bring_in_another_order_keeps_nobody_waiting_for_ever(
    memory, database, database_url, schema
):
    """What waited in two journals of a user is stored at once, and the documents that both are about in no order."""
    await memory.save_message("d", "user", "hi", user_id="ana")
    await memory.save_message("c", "user", "hi", user_id="ana")
    store = sql.SQL(statement("store_entries")).format(schema=sql.Identifier(schema))

    def stored(name, *said):
        key = conversation_key(name, "ana")
        key.settle(memory.postgres.names)
        drafts = [Draft(AIMessage("x"), contexts=[RetrievedContext(one)]) for one in said]
        writes = [Write(key, postgres_rows.prepare(key, [draft]), None, None, make=True) for draft in drafts]
        entries = ",".join(write.entry().text for write in writes)
        asked = {"conversation": key.uuid, "user_id": "ana", "own": [], "search": None}
        with psycopg.connect(database_url, autocommit=True) as conn:
            return conn.execute(store, {**asked, "entries": f"[{entries}]"}).fetchall()

    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE %s"
    )
    with psycopg.connect(database_url) as other:
        other.execute(
            f"INSERT INTO {schema}.documents VALUES ({schema}.document_v1('ana', 'held', '{{}}'), 'ana', 'held', '{{}}')"
        )
        calls = []
        for said in (("c", "one", "held", "two"), ("d", "two", "one")):
            calls.append(asyncio.ensure_future(asyncio.to_thread(stored, *said)))
            await until(
                lambda: database.execute(waiting, [f"%{schema}%store_v1%"]).fetchone() == (len(calls),)
            )
        other.rollback()
    for rows in await asyncio.gather(*calls):
        assert {row[1] for row in rows} == {"stored"}


async def test_erasing_a_user_leaves_no_document_and_the_other_users_alone(memory, count):
    for user in ("ana", "bob"):
        for n in range(4):
            said = Draft(AIMessage("x"), contexts=[RetrievedContext(f"p{n}"), PAGE])
            await memory.save_messages(f"c{n}", [said], user_id=user)
    receipt = await memory.retention.erase_user("ana")

    assert receipt.rows == {"conversations": 4, "messages": 4, "message_contexts": 8, "documents": 5}
    assert (count("documents"), count("message_documents"), count("loose_documents")) == (5, 8, 0)
