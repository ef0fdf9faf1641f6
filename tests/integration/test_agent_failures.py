"""Agents that fail, are cancelled, or lose their reader: what they did is on record."""

from __future__ import annotations

import asyncio

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.types import Command

from convmemory import InvalidArgument
from convmemory.middleware import ConversationMemoryMiddleware
from fix_agents import CONFIG, MINE, call, remembers, stored
from fix_memory import texts
from scripted import Echo, reply_to
from scripted_agents import Player

pytestmark = pytest.mark.usefixtures("no_run_left")


def calls(count, name="step"):
    return [call(name, f"t{n}") for n in range(count)]


@pytest.mark.parametrize(("how", "kept"), [("turn", 0), ("step", 9)])
async def test_every_call_with_an_effect_is_on_record_though_the_run_died(memory, ask, how, kept):
    done = []

    @tool
    def step() -> str:
        """Step."""
        done.append(1)
        return "done"

    agent = create_agent(Player(lines=calls(30)), [step], middleware=[remembers(memory, store=how)])
    with pytest.raises(GraphRecursionError):
        await ask(agent, "go", {**CONFIG, "recursion_limit": 19})
    asked, *steps = await stored(memory)
    assert asked.text == "go"
    assert len(done) == 9
    assert sum(len(m.tool_calls) for m in steps if m.type == "ai") == kept


async def test_calls_of_one_step_are_stored_once_before_any_of_them_runs(memory, ask):
    @tool
    def step(n: int) -> str:
        """Step."""
        if n == 1:
            raise ConnectionError("down")
        return f"done {n}"

    both = AIMessage("", tool_calls=[{"name": "step", "args": {"n": n}, "id": f"t{n}"} for n in range(3)])
    agent = create_agent(Player(lines=[both]), [step], middleware=[remembers(memory, store="step")])
    with pytest.raises(ConnectionError):
        await ask(agent, "go")
    assert [m.type for m in await stored(memory)] == ["human", "ai"]
    await ask(agent, "again")
    assert texts(await stored(memory))[2:] == ["again", reply_to("again")]


async def test_steps_are_stored_once_with_what_each_of_them_cost(memory, ask):
    @tool
    def step() -> str:
        """Step."""
        return "done"

    lines = [call("step", "t1"), call("step", "t2"), AIMessage("ok")]
    for n, line in enumerate(lines):
        line.usage_metadata = {"input_tokens": n, "output_tokens": 1, "total_tokens": n + 1}
    agent = create_agent(Player(lines=lines), [step], middleware=[remembers(memory, store="step")])
    state = await ask(agent, "go")
    assert await stored(memory) == state["messages"]
    found = await memory.get_messages("c", **MINE)
    assert [m.tokens_used for m in found if m.role == "ai"] == [1, 2, 3]


async def test_a_stepwise_turn_that_was_interrupted_is_stored_once(memory, ask):
    @tool
    def pay() -> str:
        """Pay."""
        return "paid"

    review = HumanInTheLoopMiddleware(interrupt_on={"pay": True})
    model = Player(lines=[call("pay", "t1"), AIMessage("done")])
    ours = remembers(memory, store="step")
    agent = create_agent(model, [pay], middleware=[ours, review], checkpointer=InMemorySaver())
    await ask(agent, "go")
    state = await ask(agent, Command(resume={"decisions": [{"type": "approve"}]}))
    assert await stored(memory) == state["messages"]
    assert ours.name == ConversationMemoryMiddleware.__name__


def test_how_to_store_is_checked(blocking_memory):
    with pytest.raises(InvalidArgument, match="store"):
        ConversationMemoryMiddleware(blocking_memory, store="steps")


WORDS = "one two three four five six"


async def leave(agent, mode, after):
    """Read a stream up to some words, and go away."""
    given = {"messages": [HumanMessage(WORDS)]}
    if mode == "ainvoke":
        reader = agent.astream(given, CONFIG, stream_mode="messages")
        for _ in range(after):
            await anext(reader)
        await reader.aclose()
    else:
        reader = agent.stream(given, CONFIG, stream_mode="messages")
        for _ in range(after):
            next(reader)
        reader.close()


@pytest.mark.parametrize("saves", [True, False])
async def test_half_an_answer_is_kept_and_says_so(memory, mode, saves):
    agent = create_agent(Echo(pace=0.02), [], middleware=[remembers(memory, save_partial=saves)])
    await leave(agent, mode, 4)
    asked, *answer = await stored(memory)
    assert asked.text == WORDS
    if not saves:
        assert answer == []
        return
    [half] = answer
    assert reply_to(WORDS).startswith(half.text)
    assert half.text.startswith("you said one")
    assert half.response_metadata == {"partial": True}
    if mode == "ainvoke":
        assert half.text != reply_to(WORDS)


async def test_half_an_answer_of_a_cancelled_run_is_kept(memory):
    agent = create_agent(Echo(pace=0.05), [], middleware=[remembers(memory, save_partial=True)])
    seen = asyncio.Event()

    async def read():
        async for _ in agent.astream({"messages": [HumanMessage(WORDS)]}, CONFIG, stream_mode="messages"):
            seen.set()

    reading = asyncio.create_task(read())
    await seen.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert [m.response_metadata for m in await stored(memory)] == [{}, {"partial": True}]


async def test_an_answer_that_came_whole_is_no_half_one(memory, ask, stream):
    agent = create_agent(
        Echo(), [], middleware=[remembers(memory, save_partial=True)], checkpointer=InMemorySaver()
    )
    await stream(agent, "hello", stream_mode="messages")
    found = await stored(memory)
    assert texts(found) == ["hello", reply_to("hello")]
    assert "partial" not in found[-1].response_metadata


async def test_an_interrupted_run_is_no_lost_one(memory, ask, stream):
    """It ends without an error and goes on later: its answer is stored then, once."""

    @tool
    def pay() -> str:
        """Pay."""
        return "paid"

    asking = AIMessage("I shall pay", tool_calls=[{"name": "pay", "args": {}, "id": "t1"}])
    agent = create_agent(
        Player(lines=[asking, AIMessage("done")]),
        [pay],
        middleware=[
            remembers(memory, save_partial=True),
            HumanInTheLoopMiddleware(interrupt_on={"pay": True}),
        ],
        checkpointer=InMemorySaver(),
    )
    await stream(agent, "go", stream_mode="messages")
    state = await ask(agent, Command(resume={"decisions": [{"type": "approve"}]}))
    assert await stored(memory) == state["messages"]
