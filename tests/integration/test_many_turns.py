"""Two hundred turns at once on one conversation, through the doors that have no chain: each is stored whole and in order."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

import pytest
from agents import Agent, Runner, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, StateGraph

from convmemory import AsyncConversationMemory, ConversationMemory
from convmemory.openai_agents import ConversationSession
from scripted import Echo, reply_to

MINE = {"user_id": "ana"}
SAID = [f"q{n}" for n in range(200)]
THREADS = 8


@pytest.fixture
def place(database_url, redis_url, schema, key_prefix):
    """Where a memory of this test lies; each thread with a loop of its own opens one."""
    return (database_url, redis_url), {"db_schema": schema, "key_prefix": key_prefix}


@pytest.fixture
def found(place):
    """What is stored in the end, as a memory that has seen nothing of it reads it."""

    def read():
        urls, settings = place
        with ConversationMemory.from_url(*urls, **settings) as memory:
            return [one.message for one in memory.get_messages("c", **MINE, limit=10_000)]

    return read


def assert_each_has_its_reply(messages):
    """All that was said and answered is there once, each answer after its question; others may come between."""
    texts = [message.text for message in messages]
    assert sorted(texts) == sorted([*SAID, *map(reply_to, SAID)])
    assert all(texts.index(said) < texts.index(reply_to(said)) for said in SAID)
    assert {type(m) for m in messages if m.text in SAID} == {HumanMessage}
    assert {type(m) for m in messages if m.text not in SAID} == {AIMessage}


class State(TypedDict):
    question: str


def graph_of(listen, think):
    """A graph of two nodes, each of which uses the conversation by itself."""
    graph = StateGraph(State)
    graph.add_node("listen", listen)
    graph.add_node("think", think)
    graph.add_edge(START, "listen")
    graph.add_edge("listen", "think")
    return graph.compile()


def test_through_the_nodes_of_a_graph_from_threads(blocking_memory, found):
    model = Echo()

    def listen(state):
        said = HumanMessage(state["question"], id=f"{state['question']} said")
        blocking_memory.history("c", **MINE).add_messages([said])

    def think(state):
        history = blocking_memory.history("c", **MINE)
        assert history.window()
        history.add_messages([model.invoke([HumanMessage(state["question"])])])

    graph = graph_of(listen, think)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda said: graph.invoke({"question": said}), SAID))
    assert_each_has_its_reply(found())


async def test_through_the_nodes_of_a_graph_from_tasks(place, found):
    model = Echo()
    urls, settings = place
    async with AsyncConversationMemory.from_url(*urls, **settings) as memory:

        async def listen(state):
            said = HumanMessage(state["question"], id=f"{state['question']} said")
            await memory.history("c", **MINE).aadd_messages([said])

        async def think(state):
            history = memory.history("c", **MINE)
            assert await history.awindow()
            await history.aadd_messages([await model.ainvoke([HumanMessage(state["question"])])])

        graph = graph_of(listen, think)
        await asyncio.gather(*(graph.ainvoke({"question": said}) for said in SAID))
    assert_each_has_its_reply(await asyncio.to_thread(found))


async def turns_of_an_agent(place, said):
    """Turns at once in this loop, each a run of the SDK with a session made for it."""
    set_tracing_disabled(disabled=True)
    urls, settings = place
    async with AsyncConversationMemory.from_url(*urls, **settings) as memory:

        async def turn(text):
            model = ScriptedModel([[assistant_message(reply_to(text))]])
            session = ConversationSession(memory, "c", **MINE)
            await Runner.run(Agent(name="echo", model=model), text, session=session)

        await asyncio.gather(*map(turn, said))


async def test_through_the_sessions_of_an_agent_from_tasks(place, found):
    await turns_of_an_agent(place, SAID)
    assert_each_has_its_reply(await asyncio.to_thread(found))


def test_through_the_sessions_of_an_agent_from_threads_with_loops_of_their_own(place, found):
    shares = [SAID[n::THREADS] for n in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda share: asyncio.run(turns_of_an_agent(place, share)), shares))
    assert_each_has_its_reply(found())
