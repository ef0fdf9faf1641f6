"""A conversation that is deleted while a turn of it is going on: no write of that turn brings it back."""

from __future__ import annotations

import asyncio

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import StructuredTool

from convmemory import AsyncConversationMemory, ConversationNotFound
from convmemory.openai_agents import ConversationSession
from fix_agents import MINE, call, remembers, stored
from fix_memory import Awaited, texts
from scripted import DRIVES, SHAPES, Echo, reply_to, session
from scripted_agents import Player

NAME = "s"


async def deleted(memory, name=NAME):
    await memory.delete_conversation(name, **MINE)


def delete(memory, name=NAME):
    """From wherever a blocking one is asked, or else awaited."""
    if isinstance(memory, Awaited):
        memory.blocking.delete_conversation(name, **MINE)
        return None
    return memory.delete_conversation(name, **MINE)


async def is_gone(memory, name=NAME):
    with pytest.raises(ConversationNotFound):
        await memory.get_conversation(name, **MINE)
    return True


@pytest.fixture
def run(colour):
    return DRIVES["ainvoke" if colour == "awaited" else "invoke"]


@pytest.fixture
async def awaited_memory(database_url, redis_url, schema, key_prefix):
    made = AsyncConversationMemory.from_url(database_url, redis_url, db_schema=schema, key_prefix=key_prefix)
    async with made as found:
        yield found


def factory(memory, **options):
    return lambda name: memory.history(name, **MINE, **options)


def deleting(memory):
    """A step of a chain, or a tool, in which the user deletes the conversation."""

    async def adelete(given):
        await memory.delete_conversation(NAME, **MINE)
        return given

    def forget(given):
        delete(memory)
        return given

    return RunnableLambda(forget, afunc=adelete)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("messages", [0, 2])
async def test_a_chains_turn_does_not_bring_it_back(schema, make_memory, run, shape, messages, caplog):
    build, given = SHAPES[shape]
    told = []
    memory = await make_memory(on_write_error=lambda error, _: told.append(error))
    await memory.create_conversation("ana", conversation_id=NAME)
    if messages:
        await memory.save_messages(NAME, [HumanMessage("old"), AIMessage("answer")], **MINE)
    make = factory(memory)
    await run(build(deleting(memory) | Echo(), make), given("new"), session(NAME))
    assert [type(error) for error in told] == [ConversationNotFound]
    [logged] = [one.getMessage() for one in caplog.records if one.name == "convmemory.history"]
    assert logged.endswith("were not stored: it was deleted meanwhile"), "and not its name, which may tell"
    assert await is_gone(memory)
    await run(build(Echo(), make), given("again"), session(NAME))
    assert texts(await memory.get_history(NAME, **MINE)) == ["again", reply_to("again")]


async def test_what_was_said_in_a_chain_that_fails_does_not_either(memory, run):
    def fails(given):
        raise ConnectionError("down")

    build, given = SHAPES["keyed"]
    await memory.save_message(NAME, "user", "old", **MINE)
    make = factory(memory, save_on_error="input")
    with pytest.raises(ConnectionError):
        await run(build(deleting(memory) | RunnableLambda(fails), make), given("new"), session(NAME))
    assert await is_gone(memory)


@pytest.mark.parametrize("how", ["turn", "step"])
@pytest.mark.parametrize("before", [True, False], ids=["there before", "made by this turn"])
async def test_an_agents_turn_does_not_bring_it_back(memory, ask, how, before):
    async def aforget():
        await deleted(memory, "c")
        return "forgotten"

    def forget():
        delete(memory, "c")
        return "forgotten"

    forget = StructuredTool.from_function(forget, aforget, description="Forget everything.")
    if before:
        await memory.save_message("c", "user", "old", **MINE)
    model = Player(lines=[call("forget", "t1"), AIMessage("done")])
    agent = create_agent(model, [forget], middleware=[remembers(memory, store=how)])
    with pytest.raises(ConversationNotFound):
        await ask(agent, "go")
    assert await is_gone(memory, "c")
    model.lines.clear()
    await ask(agent, "again")
    assert texts(await stored(memory)) == ["again", reply_to("again")]


@pytest.mark.parametrize("before", [True, False], ids=["there before", "made by this run"])
async def test_a_run_of_the_agents_sdk_does_not_bring_it_back(awaited_memory, before):
    memory = awaited_memory
    kept = ConversationSession(memory, NAME, user_id="ana")
    if before:
        await memory.save_message(NAME, "user", "old", **MINE)
    await kept.get_items()
    await kept.add_items([{"role": "user", "content": "new"}])
    await deleted(memory)
    with pytest.raises(ConversationNotFound):
        await kept.add_items([{"role": "assistant", "content": "late"}])
    assert await is_gone(memory)
    assert await kept.get_items() == []  # the next run begins
    await kept.add_items([{"role": "user", "content": "again"}])
    assert texts(await memory.get_history(NAME, **MINE)) == ["again"]


async def test_what_is_stored_outside_a_turn_makes_it_anew(memory):
    history = memory.history(NAME, **MINE)
    for said in ("one", "two"):
        await history.aadd_messages([HumanMessage(said)])
        await deleted(memory)
    await memory.save_message(NAME, "user", "three", **MINE)
    assert texts(await memory.get_history(NAME, **MINE)) == ["three"]


async def test_of_many_turns_and_a_delete_at_any_moment_none_leaves_a_part_behind(memory, run):
    """Whatever the moment, the conversation is gone, or has whole turns that began after."""
    build, given = SHAPES["keyed"]
    make = factory(memory)
    for n in range(20):
        name = f"{NAME}{n}"
        await memory.save_messages(name, [HumanMessage("old"), AIMessage("answer")], **MINE)
        turn = asyncio.create_task(run(build(Echo(pause=0.01), make), given("new"), session(name)))
        await asyncio.sleep(n / 1000)
        await deleted(memory, name)
        await turn
        try:
            found = texts(await memory.get_history(name, **MINE))
        except ConversationNotFound:
            found = []
        assert found in ([], ["new", reply_to("new")])
