"""Agents over the memory: one turn of one, blocking or awaited, and what it left."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from fix_memory import Awaited

MINE = {"user_id": "ana"}
CONFIG = {"configurable": {"conversation_id": "c", "user_id": "ana", "thread_id": "c"}}


@pytest.fixture(params=["invoke", "ainvoke"])
def mode(request, colour):
    if colour == "awaited" and request.param == "invoke":
        pytest.skip("an async memory refuses blocking calls")
    return request.param


@pytest.fixture
def ask(mode):
    """One turn of an agent; a text is what the user says."""

    async def asked(agent, said, config=CONFIG):
        given = {"messages": [HumanMessage(said)]} if isinstance(said, str) else said  # None: goes on
        return await agent.ainvoke(given, config) if mode == "ainvoke" else agent.invoke(given, config)

    return asked


@pytest.fixture
def stream(mode):
    """What one turn of an agent streams."""

    async def streamed(agent, said, config=CONFIG, **how):
        given = {"messages": [HumanMessage(said)]}
        if mode == "ainvoke":
            return [part async for part in agent.astream(given, config, **how)]
        return list(agent.stream(given, config, **how))

    return streamed


def remembers(memory, **options):
    """The middleware over the memory itself, not over the fixture that awaits a blocking one."""
    from convmemory.middleware import ConversationMemoryMiddleware  # not every environment has langchain

    return ConversationMemoryMiddleware(memory.blocking if isinstance(memory, Awaited) else memory, **options)


async def stored(memory, name="c"):
    return [one.message for one in await memory.get_messages(name, **MINE, limit=10_000)]


def call(name, call_id, **args):
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": call_id}])
