"""Turns go on through the doors while PostgreSQL is away, in the order they were taken, and each is stored once."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

pytest.importorskip("langchain", reason="not installed beside the package alone")
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables.history import RunnableWithMessageHistory

from convmemory import StorageUnavailable
from fix_agents import remembers, stored
from fix_memory import Awaited, add, read, texts, until
from scripted import PROMPT, Echo, reply_to
from scripted_agents import Player

OUTAGE = {"journal": "outage", "journal_ack": "memory", "redis_timeout": 5, "statement_timeout": 1}
BRIEF = {"pool_timeout": 0.3, "connect_timeout": 0.3, "max_history_messages": 20}
MODES = {"outage": OUTAGE | BRIEF, "journal": {"durability": "journal"} | OUTAGE | BRIEF}


@contextmanager
def away(proxy):
    proxy.mode = "refuse"
    proxy.reset_all()
    try:
        yield
    finally:
        proxy.mode = "pass"


@pytest.fixture(params=MODES)
async def memory(request, schema, make_memory, postgres_proxy):
    return await make_memory(postgres_proxy.url, **MODES[request.param])


def of_a_history(memory, _):
    async def say(words):
        history = memory.history("c", user_id="ana")
        seen = texts(await read(history))
        await add(history, [HumanMessage(words), AIMessage(reply_to(words))])
        return seen

    return say


def of_a_chain(memory, ask):
    chain = RunnableWithMessageHistory(
        PROMPT | Echo(),
        memory.history_factory,
        history_factory_config=memory.history_factory_config,
        input_messages_key="question",
        history_messages_key="history",
    )
    config = memory.run_config(conversation_id="c", user_id="ana")

    async def say(words):
        said = await ask(chain, {"question": words}, config)
        seen = texts(await read(memory.history("c", user_id="ana")))
        assert (said.text, seen[-2:]) == (reply_to(words), [words, reply_to(words)])
        return seen[:-2]

    return say


def of_an_agent(memory, ask):
    model = Player()
    agent = create_agent(model, [], middleware=[remembers(memory)])

    async def say(words):
        await ask(agent, words)
        return texts(model.prompts[-1])[:-1]

    return say


def of_a_session(memory, _):
    session_of = pytest.importorskip("convmemory.openai_agents").ConversationSession
    if isinstance(memory, Awaited):
        pytest.skip("the SDK awaits")

    async def say(words):
        session = session_of(memory, "c", user_id="ana", session_settings={"limit": 20})
        seen = [item["content"] for item in await session.get_items()]
        await session.add_items([{"role": "user", "content": words}])
        await session.add_items([{"role": "assistant", "content": reply_to(words)}])
        return seen

    return say


DOORS = {"history": of_a_history, "chain": of_a_chain, "middleware": of_an_agent, "session": of_a_session}


@pytest.mark.parametrize("door", DOORS)
async def test_turns_go_on_in_an_outage_and_are_stored_once_and_in_order(memory, postgres_proxy, ask, door):
    say, said = DOORS[door](memory, ask), []
    for turn in range(8):
        if turn == 3:
            postgres_proxy.mode = "refuse"
            postgres_proxy.reset_all()
        if turn == 6:
            postgres_proxy.mode = "pass"
            await until(lambda: not memory.postgres.health.open)
        words = f"turn {turn}"
        assert await say(words) == said, turn
        said += [words, reply_to(words)]
    await until(lambda: not memory.redis.remembered)

    assert texts(await stored(memory)) == said


async def test_what_only_postgresql_knows_is_an_error_meanwhile(memory, postgres_proxy):
    await memory.save_message("c", "user", "one", user_id="ana")
    await memory.get_history("c", user_id="ana")
    with away(postgres_proxy):
        assert (await memory.save_message("c", "user", "two", user_id="ana")).pending
        for ask in (
            lambda: memory.get_messages("c", user_id="ana"),
            lambda: memory.get_conversation("c", user_id="ana"),
            lambda: memory.list_user_conversations("ana"),
            lambda: memory.clear("c", user_id="ana"),
            lambda: memory.get_history("c", None, user_id="ana"),
        ):
            with pytest.raises(StorageUnavailable):
                await ask()
        assert texts(await memory.get_history("c", user_id="ana")) == ["one", "two"]
