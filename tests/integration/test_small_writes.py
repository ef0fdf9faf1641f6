"""What an append writes beside its messages: nothing in an index of conversations, and the list is in order all the same."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from psycopg import sql

from convmemory import Draft
from convmemory.ids import conversation_key
from convmemory.storage import postgres_rows
from convmemory.storage.adapters import OWN
from convmemory.storage.sql_and_lua import sql as statement

NOON = datetime(2024, 5, 6, 12, 0, 0, tzinfo=UTC)


def test_an_append_changes_no_index_of_conversations(schema, database_url):
    append = sql.SQL(statement("append")).format(schema=sql.Identifier(schema))
    turn = [Draft(HumanMessage("hi")), Draft(AIMessage("ho", id="i"))]
    with psycopg.connect(database_url, context=OWN) as conn, conn.transaction(force_rollback=True):
        # in one transaction, so that nothing is pruned, and the counters are at hand
        for number in range(40):
            key = conversation_key(f"c{number % 5}", "ana")
            key.settle("00000000-0000-0000-0000-000000000000")
            own = {
                "conversation": key.uuid,
                "user_id": "ana",
                "external_id": None,
                "dept_id": None,
                "since": None,
                "make": True,
                "search": None,
                "own": [],
            }
            conn.execute(append, {**postgres_rows.prepare(key, turn, f"again{number}").parameters(), **own})
        [[updates, hot]] = conn.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables"
            " WHERE relname = 'conversations' AND schemaname = %s",
            [schema],
        ).fetchall()

    assert (updates, hot) == (40, 40)


def test_neither_does_a_mark_of_a_list_nor_a_made_title(schema, database_url):
    """So that what one conversation is marked with costs no index entry of it, and an append none because of it."""
    row = uuid4()
    changes = {
        "update_conversation": dict.fromkeys(["title", "dept_id", "if_version"])
        | {"set_title": False, "set_dept": False, "archived": True, "pinned": True}
        | {"metadata": "{}", "removed": []},
        "entitle_conversation": {"title": "made", "source": "model", "life": row, "version": 1},
    }
    with psycopg.connect(database_url) as conn, conn.transaction(force_rollback=True):
        conn.execute(
            sql.SQL(
                "INSERT INTO {}.conversations (conversation_id, user_id, life) VALUES (%s, 'ana', %s)"
            ).format(sql.Identifier(schema)),
            [row, row],
        )
        for name, parameters in changes.items():
            text = sql.SQL(statement(name)).format(schema=sql.Identifier(schema))
            assert conn.execute(text, {"conversation": row, "user_id": "ana", **parameters}).fetchall()
        [[updates, hot]] = conn.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables"
            " WHERE relname = 'conversations' AND schemaname = %s",
            [schema],
        ).fetchall()

    assert (updates, hot) == (2, 2)


@pytest.mark.parametrize("limit", [1, 7, 50])
async def test_the_list_is_in_order_to_the_microsecond_on_every_page(memory, database, limit):
    draw = random.Random(limit)  # noqa: S311 - a repeatable sample
    database.execute(
        "INSERT INTO conversations (conversation_id, user_id, last_seq)"
        " SELECT gen_random_uuid(), 'ana', n FROM generate_series(1, 120) AS n"
    )
    rows = [row for [row] in database.execute("SELECT conversation_id FROM conversations").fetchall()]
    times = {
        row: NOON + timedelta(microseconds=draw.choice([0, 1, 60_000_000, draw.randrange(150_000_000)]))
        for row in rows
    }
    for row, when in times.items():
        database.execute("UPDATE conversations SET updated_at = %s WHERE conversation_id = %s", [when, row])
    found, cursor = [], None
    while not found or cursor:
        page = await memory.list_user_conversations("ana", limit, cursor=cursor)
        found += [(one.updated_at, one.uuid) for one in page]
        cursor = page.next_cursor

    assert found == sorted(((when, row) for row, when in times.items()), reverse=True)


async def test_whoever_speaks_comes_first_at_once(memory):
    for name in "abc":
        await memory.save_message(name, "user", "hi", user_id="ana")
    for name in "abcab":
        await memory.save_message(name, "user", "hi", user_id="ana")
        assert (await memory.list_user_conversations("ana"))[0].id == name


@pytest.mark.parametrize(
    "when", ["infinity", "-infinity", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59+00"]
)
async def test_any_time_has_a_minute(schema, database, when):
    database.execute(
        "INSERT INTO conversations (conversation_id, user_id, updated_at) VALUES (gen_random_uuid(), 'x', %s)",
        [when],
    )
