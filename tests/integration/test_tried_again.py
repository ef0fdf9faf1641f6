"""Turns that are run again as they failed, by whoever stands above them, or that fail side by side with others."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, RetryPolicy, interrupt

from fix_agents import CONFIG, MINE, call, remembers, stored
from fix_memory import texts
from scripted import DRIVES, Echo, keyed, reply_to, session
from scripted_agents import Player

pytestmark = pytest.mark.usefixtures("no_run_left")

TWICE = {"stop_after_attempt": 2, "wait_exponential_jitter": False}
SAYINGS = {
    "message": lambda: {"messages": [HumanMessage("one")]},
    "tuple": lambda: {"messages": [("human", "one")]},
    "dict": lambda: {"messages": [{"role": "user", "content": "one"}]},
    "text": lambda: {"messages": "one"},
}
"""What LangGraph makes messages of: all but the first get an id of their own at each try."""


class Asked(TypedDict):
    question: str
    answer: str


@pytest.fixture
def run(colour):
    return DRIVES["ainvoke" if colour == "awaited" else "invoke"]


def graph(colour, ask, checkpointer=None):
    """A graph of one step, ``ask``, which is run again where it fails."""

    def step(state, config):
        return {"answer": ask(state["question"], config)}

    async def astep(state, config):
        return {"answer": await ask(state["question"], config)}

    builder = StateGraph(Asked)
    again = RetryPolicy(initial_interval=0.01, jitter=False)
    builder.add_node("step", astep if colour == "awaited" else step, retry_policy=again)
    builder.add_edge(START, "step")
    return builder.compile(checkpointer=checkpointer)


def saving(memory, name, model, colour="blocking"):
    """A chain over the conversation ``name`` that keeps what was said; awaited where the memory is."""
    chain = keyed(model, lambda _: memory.history(name, save_on_error="input", **MINE))
    return lambda said, config: (chain.ainvoke if colour == "awaited" else chain.invoke)(
        {"question": said}, {**config, "configurable": session(name)["configurable"]}
    )


def busy(times):
    """A step that fails so many times before it lets through what it is given."""
    left = [times]

    def step(given):
        left[0] -= 1
        if left[0] >= 0:
            raise ConnectionError("busy")
        return given

    return RunnableLambda(step)


async def kept(memory, name):
    try:
        return texts(await memory.get_messages(name, **MINE))
    except LookupError:
        return []


@pytest.mark.parametrize(("fails", "left"), [(1, ["one", reply_to("one")]), (9, ["one"])])
async def test_a_graph_that_runs_a_step_again_keeps_what_was_said_once(memory, colour, run, fails, left):
    app = graph(colour, saving(memory, "s", busy(fails) | Echo(), colour))
    if fails == 1:
        await run(app, {"question": "one"}, None)
    else:
        with pytest.raises(ConnectionError):
            await run(app, {"question": "one"}, None)
    assert await kept(memory, "s") == left


async def test_a_retry_around_more_than_the_turn_keeps_what_was_said_once(memory, run):
    turn = keyed(busy(1) | Echo(), lambda name: memory.history(name, save_on_error="input", **MINE))
    chain = RunnableLambda(lambda said: {"question": said}) | turn | RunnableLambda(lambda message: message)
    await run(chain.with_retry(**TWICE), "one", session("s"))
    assert await kept(memory, "s") == ["one", reply_to("one")]


@pytest.mark.parametrize("also_fails", [False, True])
async def test_a_turn_that_fails_beside_another_one_is_kept(memory, run, also_fails):
    """Both are given the very same input: they are no two tries of one turn, as their conversations tell."""

    def turn(name, fails):
        model = (busy(fails) | Echo()) if fails else Echo(pause=0.1)
        return keyed(model, lambda _: memory.history(name, save_on_error="input", **MINE))

    beside = RunnableParallel(a=turn("a", 1), b=turn("b", int(also_fails)))
    with pytest.raises(ConnectionError):
        await run(beside, {"question": "one"}, session("s"))
    for _ in range(500):  # the other one goes on where nobody cancels it
        found = [await kept(memory, name) for name in "ab"]
        if all(found):
            break
        await asyncio.sleep(0.01)
    assert [said[:1] for said in found] == [["one"], ["one"]]


async def test_two_turns_of_one_step_that_fail_are_both_kept(memory, colour, run):
    """What was said first is no other try of what was said next, though a graph might run both again."""
    chain = keyed(busy(9) | Echo(), lambda name: memory.history(name, save_on_error="input", **MINE))

    async def ask(_, config):
        for said in ("one", "two"):
            with pytest.raises(ConnectionError):
                await chain.ainvoke({"question": said}, session("s"))
        return ""

    def ask_blocking(_, config):
        for said in ("one", "two"):
            with pytest.raises(ConnectionError):
                chain.invoke({"question": said}, session("s"))
        return ""

    await run(graph(colour, ask if colour == "awaited" else ask_blocking), {"question": ""}, None)
    assert await kept(memory, "s") == ["one", "two"]


@pytest.mark.parametrize("caught", [False, True])
async def test_a_chain_that_fails_in_a_tool_keeps_what_was_said(memory, colour, run, caught):
    """Nobody is told in an event loop that a tool is done, so nothing waits for that."""
    chain = keyed(busy(9) | Echo(), lambda name: memory.history(name, save_on_error="input", **MINE))

    async def aask(said: str) -> str:
        """Ask."""
        return (await chain.ainvoke({"question": said}, session("s"))).text

    def ask(said: str) -> str:
        """Ask."""
        return chain.invoke({"question": said}, session("s")).text

    tools = ToolNode([tool("ask")(aask if colour == "awaited" else ask)], handle_tool_errors=caught)
    builder = StateGraph(MessagesState)
    builder.add_node("tools", tools)
    builder.add_edge(START, "tools")
    given = {"messages": [call("ask", "c1", said="one")]}
    with nullcontext() if caught else pytest.raises(ConnectionError):
        await run(builder.compile(), given, None)
    assert await kept(memory, "s") == ["one"]


async def test_a_chain_that_waits_for_a_person_is_no_failed_one(memory, colour, run):
    def wait(given):
        interrupt("go on?")
        return given

    app = graph(colour, saving(memory, "s", RunnableLambda(wait) | Echo(), colour), InMemorySaver())
    thread = {"configurable": {"thread_id": "t"}}
    await run(app, {"question": "one"}, thread)
    assert await kept(memory, "s") == []
    await run(app, Command(resume="yes"), thread)
    assert await kept(memory, "s") == ["one", reply_to("one")]


@pytest.mark.parametrize("said", SAYINGS)
@pytest.mark.parametrize("how", ["retry", "fallback"])
async def test_an_agent_that_is_run_again_is_asked_once(memory, ask, how, said):
    """One that fell back has a middleware, and a model, of its own."""
    first = Player(lines=[AIMessage("earlier"), *[ConnectionError("busy")] * 2, AIMessage("answer")])
    second = Player(lines=[AIMessage("answer")])
    agent = create_agent(first, [], middleware=[remembers(memory)])
    await ask(agent, "before")
    if how == "retry":
        again = agent.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
    else:
        others = [create_agent(one, [], middleware=[remembers(memory)]) for one in (first, second)]
        again = agent.with_fallbacks(others)
    await ask(again, SAYINGS[said]())
    assert texts(await stored(memory)) == ["before", "earlier", "one", "answer"]
    prompt = (first if how == "retry" else second).prompts[-1]
    assert texts(prompt) == ["before", "earlier", "one"]


async def test_what_a_try_did_stays_on_record_and_is_shown_to_no_other(memory, ask):
    @tool
    def book() -> str:
        """Book."""
        return "booked"

    lines = [call("book", "b1"), ConnectionError("busy"), AIMessage("answer")]
    model = Player(lines=lines)
    agent = create_agent(model, [book], middleware=[remembers(memory, store="step")])
    await ask(agent.with_retry(**TWICE), SAYINGS["tuple"]())
    assert [m.type for m in await stored(memory)] == ["human", "ai", "tool", "ai"]
    assert texts(model.prompts[-1]) == ["one"]


async def test_an_agent_in_a_step_that_is_run_again_is_asked_once(memory, colour, run):
    model = Player(lines=[ConnectionError("busy"), AIMessage("answer")])
    agent = create_agent(model, [], middleware=[remembers(memory)])

    def ask(said, config):
        given, config = {"messages": [("human", said)]}, {"configurable": CONFIG["configurable"]}
        return agent.ainvoke(given, config) if colour == "awaited" else agent.invoke(given, config)

    await run(graph(colour, ask), {"question": "one"}, None)
    assert texts(await stored(memory)) == ["one", "answer"]


async def test_the_same_words_in_a_later_turn_are_said_again(memory, colour, run):
    """A step that asks twice is not run again: each of its turns is one."""
    model = Player(lines=[AIMessage("answer"), AIMessage("again")])
    agent = create_agent(model, [], middleware=[remembers(memory)])

    async def ask(said, config):
        for _ in range(2):
            await agent.ainvoke({"messages": [("human", said)]}, {"configurable": CONFIG["configurable"]})
        return ""

    def ask_blocking(said, config):
        for _ in range(2):
            agent.invoke({"messages": [("human", said)]}, {"configurable": CONFIG["configurable"]})
        return ""

    await run(graph(colour, ask if colour == "awaited" else ask_blocking), {"question": "one"}, None)
    assert texts(await stored(memory)) == ["one", "answer", "one", "again"]
