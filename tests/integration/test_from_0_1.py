"""A database that 0.1 made and filled comes through ``init_schema`` with everything that was in it, or stays as it was."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from psycopg import AsyncConnection, sql

from convmemory import AsyncConversationMemory, RetrievedContext, StorageError
from convmemory.ids import message_key
from convmemory.storage.sql_and_lua import migrations

MADE = (Path(__file__).parent / "database_of_0_1.sql").read_text("utf-8")
BY_ID = UUID("01a2194a-59dc-7a3d-86bb-74f318d89e53")
CALLS = [{"name": "search", "args": {"q": "tide"}, "id": "t1", "type": "tool_call"}]
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
ANAS = [
    SystemMessage("be kind"),
    HumanMessage("hello", id="h-1"),
    AIMessage(
        "", id="run-1", tool_calls=CALLS, response_metadata={"model_name": "gpt"}, usage_metadata=USAGE
    ),
    ToolMessage("high", tool_call_id="t1", name="search", status="error"),
    AIMessage("the tide is high [1]", id="run-2"),
]
PLANS = [
    HumanMessage("where to?"),
    AIMessage("to the sea", id="run-3"),
    HumanMessage(
        [{"type": "text", "text": "a picture"}, {"type": "image_url", "image_url": {"url": "data:,x"}}],
        id="h-2",
        name="ana",
    ),
]
ODD = [
    HumanMessage("nul \0 here"),
    AIMessage("half \ud800 pair"),
    HumanMessage([{"type": "tool_result", "tool_use_id": "t9", "content": "42"}]),
]


@pytest.fixture
def of_0_1(database, schema_name):
    """A database of 0.1."""
    database.execute(sql.SQL(MADE).format(schema=sql.Identifier(schema_name)))
    return database


@pytest.fixture
async def memory(of_0_1, make_memory):
    """A memory over what was a database of 0.1."""
    del of_0_1
    memory = await make_memory()
    assert await memory.init_schema() == [migration.full_name for migration in migrations()]
    return memory


async def test_every_message_comes_through_equal(memory):
    for conversation, user, said in (
        (BY_ID, "ana", ANAS),
        ("vacation plans", "ana", PLANS),
        ("vacation plans", "bob", [HumanMessage("bob's own"), AIMessage("fine")]),
        ("ünïcode", "änna", ODD),
        ("emptied", "bob", []),
        ("never spoken in", "bob", []),
    ):
        prompt = [m for m in said if m is not ODD[2]]  # the answer to a call that is not there
        assert await memory.get_history(conversation, user_id=user, limit=None) == prompt
        stored = await memory.get_messages(conversation, user_id=user)
        assert [m.message for m in stored] == said
        assert [m.seq for m in stored] == list(range(1, len(said) + 1))


async def test_conversations_keep_names_titles_times_and_metadata(memory):
    by_hand = await memory.get_conversation(BY_ID, user_id="ana")
    assert (by_hand.title, by_hand.title_source, by_hand.dept_id) == ("By hand", "user", "hr")
    assert (by_hand.metadata, by_hand.message_count) == ({"a": {"b": [1, 2]}}, 5)
    assert str(by_hand.created_at) == "2026-11-26 19:17:12.797387+00:00"
    plans = await memory.get_conversation("vacation plans", user_id="ana")
    assert (plans.id, plans.title, plans.title_source) == ("vacation plans", "where to?", "auto")
    assert [c.id for c in await memory.list_user_conversations("bob")] == [
        "never spoken in",
        "emptied",
        "vacation plans",
    ]


async def test_what_was_noted_lies_apart_from_what_the_caller_said(memory):
    stored = await memory.get_messages(BY_ID, user_id="ana")
    assert [m.metadata for m in stored] == [
        {},
        {},
        {"mine": True, "name": "a name of mine"},
        {},
        {"rating": 5},
    ]
    assert [m.facts for m in stored] == [
        {},
        {},
        {"model": "gpt", "tool_calls": ["search"], "first_token_ms": 20},
        {"name": "search", "status": "error", "tool_call_id": "t1"},
        {},
    ]
    assert (stored[2].tokens_used, stored[2].latency_ms) == (7, 120)
    assert [m.facts for m in await memory.get_messages("vacation plans", user_id="ana")][2] == {"name": "ana"}
    assert [m.role for m in await memory.get_messages("ünïcode", user_id="änna")] == ["human", "ai", "tool"]


async def test_retrieved_documents_come_through_each_once_a_user(memory, of_0_1):
    reply = (await memory.get_messages(BY_ID, user_id="ana"))[-1]
    assert reply.contexts == (
        RetrievedContext("tide table", "d1", 0.5, {"source": "almanac", "score": 0.5}),
        RetrievedContext("tide table", "d1", 0.25, {"source": "almanac", "score": 0.25}),
        RetrievedContext("other"),
    )
    bobs = (await memory.get_messages("vacation plans", user_id="bob"))[-1]
    assert bobs.contexts == (RetrievedContext("tide table", "d1", 0.5, {"source": "almanac"}),)
    assert of_0_1.execute("SELECT user_id, content FROM documents ORDER BY 1, 2").fetchall() == [
        ("ana", "other"),
        ("ana", "tide table"),
        ("bob", "tide table"),
    ]
    await memory.save_message("new", AIMessage("x"), user_id="bob", contexts=bobs.contexts)
    assert of_0_1.execute("SELECT count(*) FROM documents").fetchone() == (3,)


async def test_what_was_stored_before_is_known_when_it_is_sent_again(memory):
    for conversation, said in ((BY_ID, ANAS), ("vacation plans", PLANS)):
        again = await memory.save_messages(conversation, [m for m in said if m.id], user_id="ana")
        assert again.stored == 0
    row = (await memory.get_conversation("vacation plans", user_id="ana")).uuid
    assert (await memory.get_messages(row, user_id="ana"))[1].id == message_key(row, "run-3")


async def test_conversations_go_on(memory):
    assert (await memory.save_message("vacation plans", "user", "and then?", user_id="ana")).seq == 4
    assert [m.text for m in await memory.get_history("vacation plans", user_id="ana", limit=1)] == [
        "and then?"
    ]
    await memory.delete_conversation("vacation plans", user_id="ana")
    receipt = await memory.retention.erase_user("ana")
    assert receipt.rows == {"conversations": 1, "messages": 5, "message_contexts": 3, "documents": 2}


async def test_nothing_of_it_is_left_over(memory, of_0_1, schema_name):
    del memory
    left = "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relname LIKE '%%0_1%%'"
    assert of_0_1.execute(left, [schema_name]).fetchall() == []
    functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = %s::regnamespace AND proname = 'append_v1'"
    assert of_0_1.execute(functions, [schema_name]).fetchone() == (1,)


async def test_one_that_cannot_come_through_stays_as_it_was(of_0_1, make_memory):
    of_0_1.execute("ALTER TABLE messages ENABLE ROW LEVEL SECURITY")
    memory = await make_memory()
    with pytest.raises(StorageError, match="row-level security, which is not brought over"):
        await memory.init_schema()

    assert of_0_1.execute("SELECT count(*) FROM messages").fetchone() == (13,)
    assert of_0_1.execute("SELECT count(*) FROM dirty_windows").fetchone() == (0,)
    of_0_1.execute("ALTER TABLE messages DISABLE ROW LEVEL SECURITY")
    assert await memory.init_schema() == [migration.full_name for migration in migrations()]


async def test_several_may_bring_it_over_at_once(of_0_1, make_memory):
    memories = [await make_memory() for _ in range(4)]
    done = await asyncio.gather(*(memory.init_schema() for memory in memories))

    assert sorted(map(len, done)) == [0, 0, 0, len(migrations())]
    assert of_0_1.execute("SELECT count(*) FROM messages").fetchone() == (13,)


async def test_laying_tables_aside_keeps_those_waiting_no_longer_than_the_lock_time_out(
    of_0_1, database_url, schema_name
):
    counted = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema_name, "conversations"))
    memory = AsyncConversationMemory.from_url(database_url, db_schema=schema_name, lock_timeout=0.1)
    async with (
        await AsyncConnection.connect(database_url) as reader,
        await AsyncConnection.connect(database_url, autocommit=True) as other,
    ):
        await reader.execute(counted)  # and goes on with its transaction
        bringing = asyncio.create_task(memory.init_schema())
        await asyncio.sleep(0.3)
        await other.execute("SET statement_timeout = '2s'")
        for _ in range(20):
            await other.execute(counted)
            await asyncio.sleep(0.02)
        await reader.rollback()
        assert await bringing == [migration.full_name for migration in migrations()]
