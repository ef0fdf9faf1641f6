"""An append that waited for another change of its conversation, and what goes with a conversation that is deleted by hand."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from psycopg import sql

from convmemory import Draft
from convmemory.ids import conversation_key
from convmemory.storage import postgres_rows
from convmemory.storage.adapters import OWN
from convmemory.storage.sql_and_lua import sql as statement
from fix_memory import texts, until

ANA = {"user_id": "ana"}
TURN = [HumanMessage("q", id="q"), AIMessage("a", id="a")]
WAITS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
ROW = "SELECT version, last_seq, gaps, last_human_seq, (SELECT count(*) FROM messages) FROM conversations"


@pytest.fixture
async def key(memory):
    await memory.save_messages("c", ["before", "that"], **ANA)
    found = conversation_key("c", "ana")
    await memory.postgres.settle(found)
    return found


@pytest.fixture
def beside(memory, key, database, database_url, schema):
    """A context: what is appended in it by another process is committed once ``saving`` waits for it."""

    @asynccontextmanager
    async def hold(said, saving, key=key, *, before_update=False):
        append = sql.SQL(statement("append")).format(schema=sql.Identifier(schema))
        own = {"conversation": key.uuid, "user_id": "ana", "external_id": key.name, "dept_id": None}
        own |= {"since": None, "make": True, "search": None, "own": []}
        batch = postgres_rows.prepare(key, [Draft(message) for message in said]).parameters()
        with psycopg.connect(database_url, context=OWN) as other:
            if before_update:  # who waits for the table, and for no row, sees all that is committed by then
                other.execute(f"LOCK {schema}.conversations IN SHARE MODE")
            [[(stamp, *_)]] = other.execute(append, {**batch, **own}).fetchall()
            task = asyncio.ensure_future(saving())
            await until(lambda: database.execute(WAITS).fetchone() == (1,))
            other.commit()
            yield await task, stamp

    return hold


def saving(memory, said, conversation="c"):
    """A function that stores messages without holding up the event loop."""
    if hasattr(memory, "blocking"):
        return lambda: asyncio.to_thread(memory.blocking.save_messages, conversation, said, **ANA)
    return lambda: memory.save_messages(conversation, said, **ANA)


async def test_the_same_batch_from_two_processes_at_once_is_stored_once(memory, beside, database):
    async with beside(TURN, saving(memory, TURN)) as (found, stamp):
        assert (found.stored, found.seqs, found.version) == (0, (3, 4), 2)
        assert database.execute("SELECT stamp FROM conversations").fetchone() == (stamp,), (
            "no window is worth less"
        )

    assert database.execute(ROW).fetchone() == (2, 4, 0, 3, 4)
    assert texts(await memory.get_history("c", **ANA)) == ["before", "that", "q", "a"]


async def test_the_same_first_batch_from_two_processes_at_once_is_stored_once(memory, beside):
    """The second one finds no conversation when it looks for its messages, and one when it takes their places."""
    new = conversation_key("new", "ana")
    await memory.postgres.settle(new)
    async with beside(TURN, saving(memory, TURN, "new"), new, before_update=True) as (found, _):
        assert (found.stored, found.seqs, found.version) == (0, (1, 2), 1)

    assert texts(await memory.get_history("new", **ANA)) == ["q", "a"]


async def test_what_is_new_in_such_a_batch_is_stored_behind_the_other(memory, beside, database):
    more = [*TURN, HumanMessage("more")]
    async with beside(TURN, saving(memory, more)) as (found, _):
        assert (found.stored, found.seqs, found.version) == (1, (3, 4, 5), 3)

    assert database.execute(ROW).fetchone() == (3, 5, 0, 5, 5)
    assert texts(await memory.get_history("c", **ANA)) == ["before", "that", "q", "a", "more"]


async def test_other_messages_are_stored_behind_the_others(memory, beside, database):
    for _ in range(2):
        await memory.get_history("c", **ANA)
    async with beside(TURN, saving(memory, [HumanMessage("b", id="b"), AIMessage("c", id="c")])) as (
        found,
        _,
    ):
        assert (found.stored, found.seqs, found.version) == (2, (5, 6), 3)

    assert database.execute(ROW).fetchone() == (3, 6, 0, 5, 6)
    assert texts(await memory.get_history("c", **ANA)) == ["before", "that", "q", "a", "b", "c"]


async def test_messages_go_with_a_conversation_that_is_deleted_by_hand(memory, key, database):
    await memory.save_message("d", "user", "stays", **ANA)
    database.execute("DELETE FROM conversations WHERE conversation_id = %s", [key.uuid])

    assert database.execute("SELECT content FROM messages").fetchall() == [("stays",)]


@pytest.mark.parametrize("tables", ["conversations", "conversations, messages"])
async def test_messages_go_with_a_table_that_is_emptied_by_hand(memory, key, database, tables):
    database.execute(f"TRUNCATE {tables} CASCADE")

    assert database.execute("SELECT count(*) FROM messages").fetchone() == (0,)
