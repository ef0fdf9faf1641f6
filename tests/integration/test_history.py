"""``TieredChatMessageHistory``: what LangChain expects of a chat history, used directly."""

import asyncio
import logging

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage

from convmemory import (
    AsyncOnly,
    AsyncPostgresStore,
    AsyncRedisStore,
    ConfigurationError,
    ConversationMemory,
    ConversationNotFound,
    Draft,
    PostgresStore,
    RedisStore,
    StorageUnavailable,
    TieredChatMessageHistory,
)
from fix_memory import add, is_blocking, read, texts, wipe
from pairing import pairing_errors

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def history(memory):
    return memory.history("c", user_id="ana")


# Used directly


async def test_it_is_langchains_chat_history_and_a_cheap_value(history):
    assert isinstance(history, BaseChatMessageHistory)
    assert (history.conversation_id, history.user_id) == ("c", "ana")
    assert repr(history) == "TieredChatMessageHistory('c', user_id='ana')"
    assert await read(history) == await history.aget_messages() == []


@pytest.mark.parametrize("kind", [PostgresStore, AsyncPostgresStore])
def test_making_one_connects_to_nothing(kind):
    history = TieredChatMessageHistory("c", user_id="ana", postgres=kind(NOWHERE), redis=None)

    assert history.conversation_id == "c"


async def test_messages_are_added_read_and_cleared(history):
    await add(history, [HumanMessage("?", id="1"), AIMessage("!")])
    await add(history, [SystemMessage("note")])

    assert await read(history) == [HumanMessage("?", id="1"), AIMessage("!"), SystemMessage("note")]
    await wipe(history)
    assert await read(history) == []
    await wipe(history)  # what is clear can be cleared


async def test_a_conversation_that_does_not_exist_reads_empty_and_clears_to_nothing(memory, history):
    await wipe(history)

    assert await read(history) == []
    with pytest.raises(ConversationNotFound):
        await memory.get_conversation("c", user_id="ana")


async def test_adding_nothing_is_nothing(memory, history):
    await add(history, [])

    with pytest.raises(ConversationNotFound):
        await memory.get_conversation("c", user_id="ana")


async def test_the_caller_may_change_what_it_read(history):
    await add(history, [HumanMessage("one")])
    (await read(history)).clear()

    assert texts(await read(history)) == ["one"]


async def test_a_department_goes_with_the_first_write(memory):
    await add(memory.history("c", user_id="ana", dept_id="sales"), [HumanMessage("one")])

    assert (await memory.get_conversation("c", user_id="ana")).dept_id == "sales"


async def test_what_others_write_is_seen_at_once(memory, history):
    other = memory.history("c", user_id="ana")
    for number in range(3):
        await add(other, [HumanMessage(str(number))])
        assert len(await read(history)) == number + 1


@pytest.mark.parametrize(("limit", "expected"), [(None, 8), (1, 2), (2, 2), (3, 2), (6, 6), (8, 8), (..., 6)])
async def test_the_newest_messages_in_whole_turns(memory, limit, expected):
    everything = [kind(f"{kind.__name__} {n}") for n in range(4) for kind in (HumanMessage, AIMessage)]
    await memory.save_messages("c", everything, user_id="ana")
    history = memory.history("c", user_id="ana", max_messages=limit)

    for _ in range(2):  # from PostgreSQL, then from the window
        assert await read(history) == everything[-expected:]


def turn_with_tools(last_is_answered: bool) -> list:
    call = {"name": "look", "args": {}, "id": "1"}
    answer = [ToolMessage("found", tool_call_id="1"), AIMessage("done")] if last_is_answered else []
    return [HumanMessage("?"), AIMessage("", tool_calls=[call]), *answer]


async def test_a_prompt_has_no_orphans_and_no_unanswered_calls(memory, history):
    await memory.save_messages(
        "c",
        [ToolMessage("orphan", tool_call_id="0"), *turn_with_tools(last_is_answered=False)],
        user_id="ana",
    )

    assert pairing_errors(await read(history)) != []
    assert await history.awindow() == [HumanMessage("?")]
    if is_blocking(history):
        assert history.window() == [HumanMessage("?")]


async def test_a_prompt_can_be_held_to_a_number_of_tokens(memory, history):
    turns = [*turn_with_tools(last_is_answered=True), HumanMessage("and?"), AIMessage("so")]
    await memory.save_messages("c", turns, user_id="ana")

    assert await history.awindow(max_tokens=6, token_counter=len) == turns
    assert await history.awindow(max_tokens=5, token_counter=len) == turns[-2:]
    assert await history.awindow(max_tokens=1, token_counter=len) == turns[-2:]
    if is_blocking(history):
        assert history.window(5, len) == turns[-2:]
    with pytest.raises(ConfigurationError, match="token_counter: needed with max_tokens"):
        await history.awindow(max_tokens=5)


async def test_drafts_may_be_added_as_well(memory, history):
    await add(history, [Draft(AIMessage("!"), tokens_used=3)])

    assert (await memory.get_messages("c", user_id="ana"))[0].tokens_used == 3


# Only one colour


def blocking_calls(history) -> dict:
    return {
        "aget_messages()": lambda: history.messages,
        "aget_messages() ": history.window,
        "aadd_messages()": lambda: history.add_messages([HumanMessage("x")]),
        "aadd_messages() ": lambda: history.add_message(HumanMessage("x")),
        "aadd_messages()  ": lambda: history.add_user_message("x"),
        "aadd_messages()   ": lambda: history.add_ai_message("x"),
        "aclear()": history.clear,
    }


async def test_blocking_calls_on_awaited_stores_say_what_to_use_instead():
    stores = AsyncPostgresStore(NOWHERE)
    history = TieredChatMessageHistory("c", user_id="ana", postgres=stores)
    for instead, call in blocking_calls(history).items():
        with pytest.raises(AsyncOnly) as caught:
            call()
        assert f"await {instead.strip()}" in str(caught.value)
        assert "ConversationMemory" in str(caught.value)


async def test_a_log_line_about_an_awaited_history_is_no_error():
    history = TieredChatMessageHistory("c", user_id="ana", postgres=AsyncPostgresStore(NOWHERE))

    assert f"{history}" == "TieredChatMessageHistory('c', user_id='ana')"


def test_langchains_shorter_verbs(blocking):
    history = blocking.history("c", user_id="ana")
    history.add_user_message("text")
    history.add_user_message(HumanMessage([{"type": "text", "text": "in a list"}]))
    history.add_ai_message("said")
    history.add_ai_message(AIMessageChunk("in pieces"))
    history.add_message(SystemMessage("note"))

    assert history.messages == [
        HumanMessage("text"),
        HumanMessage([{"type": "text", "text": "in a list"}]),
        AIMessage("said"),
        AIMessageChunk("in pieces"),
        SystemMessage("note"),
    ]
    assert str(history).startswith("Human: text\nHuman: ")


async def test_awaited_calls_on_blocking_stores_leave_the_loop_free(schema, database_url, make_proxy):
    proxy = make_proxy(database_url)
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    with ConversationMemory.from_url(proxy.url, db_schema=schema) as memory:
        history = memory.history("c", user_id="ana")
        await history.aadd_messages([HumanMessage("one")])
        proxy.mode = "latency"
        ticking = asyncio.create_task(tick())
        await history.aadd_messages([HumanMessage("two")])
        assert texts(await history.aget_messages()) == ["one", "two"]
        await history.aclear()
        assert await history.aget_messages() == []
        ticking.cancel()

    assert ticks > 20


def test_stores_of_two_colours_do_not_mix():
    for postgres, redis in ((PostgresStore, AsyncRedisStore), (AsyncPostgresStore, RedisStore)):
        with pytest.raises(ConfigurationError, match="both stores must be blocking"):
            TieredChatMessageHistory("c", user_id="ana", postgres=postgres(), redis=redis())


# Failed writes


async def test_a_write_that_fails_is_raised_logged_counted_and_handed_over(
    schema, make_memory, postgres_proxy, caplog
):
    heard = []
    limits = {"pool_timeout": 0.3, "statement_timeout": 0.3}
    memory = await make_memory(
        postgres_proxy.url, on_write_error=lambda error, history: heard.append((error, history)), **limits
    )
    history = memory.history("c", user_id="ana")
    await add(history, [HumanMessage("one")])
    await read(history)
    postgres_proxy.mode = "refuse"
    postgres_proxy.reset_all()

    with caplog.at_level(logging.ERROR, "convmemory.history"), pytest.raises(StorageUnavailable) as caught:
        await add(history, [HumanMessage("a secret")])

    assert heard == [(caught.value, history)]
    [line] = [r for r in caplog.records if r.name == "convmemory.history"]
    assert str(history._key.uuid) in line.getMessage()
    assert "a secret" not in caplog.text
    assert texts(await read(history)) == ["one"]  # the window is valid while PostgreSQL is away
    report = await memory.check()
    assert report.postgres.figures["failed_writes"] == 1
    assert not report.postgres.reachable
    assert report.postgres.last_failure is not None
    assert report.redis.reachable
