"""An agent that another one calls by a tool, after somebody was asked: whose words are in the conversation then?"""

from __future__ import annotations

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from fix_agents import call, remembers, stored
from fix_memory import texts
from scripted_agents import Player

pytestmark = pytest.mark.usefixtures("no_run_left")

APPROVED = {"decisions": [{"type": "approve"}]}


@tool
def wait() -> str:
    """Wait for somebody."""
    return interrupt("go on?")


def delegating(inner, mode, calls, middleware):
    """An agent that has another one do its work, and asks somebody before it does, or has the other one ask."""
    if mode == "ainvoke":

        async def delegate(q: str) -> str:
            """Delegate."""
            return (await inner.ainvoke({"messages": [("human", q)]}))["messages"][-1].text
    else:

        def delegate(q: str) -> str:
            """Delegate."""
            return inner.invoke({"messages": [("human", q)]})["messages"][-1].text

    lines = [calls, AIMessage("outer answer")]
    return create_agent(
        Player(lines=lines), [tool(delegate)], middleware=middleware, checkpointer=InMemorySaver()
    )


@pytest.mark.parametrize("asks", ["inner", "before", "each"])
@pytest.mark.parametrize("store", ["turn", "step"])
async def test_after_an_answer_of_a_persons_it_is_not_the_user(memory, ask, mode, asks, store):
    lines = (
        [call("wait", "w1"), AIMessage("inner answer")] if asks == "inner" else [AIMessage("inner answer")]
    )
    inner = create_agent(Player(lines=lines), [wait], middleware=[remembers(memory, store=store)])
    watched = [remembers(memory, store=store)]
    if asks != "inner":
        how = "per_call" if asks == "each" else "batched"
        watched.append(HumanInTheLoopMiddleware(interrupt_on={"delegate": True}, interrupt_mode=how))
    agent = delegating(inner, mode, call("delegate", "d1", q="work"), watched)
    await ask(agent, "one")
    await ask(agent, Command(resume={"inner": "yes", "before": APPROVED, "each": {"type": "approve"}}[asks]))
    assert texts(await stored(memory)) == ["one", "", "inner answer", "outer answer"]


async def test_agents_that_one_without_a_memory_calls_are_all_stored(memory, ask, mode):
    inner = create_agent(Player(), [], middleware=[remembers(memory)])
    both = AIMessage(
        "", tool_calls=[{"name": "delegate", "args": {"q": q}, "id": q} for q in ("work", "more")]
    )
    agent = delegating(inner, mode, both, [HumanInTheLoopMiddleware(interrupt_on={"delegate": True})])
    await ask(agent, "one")
    await ask(agent, Command(resume={"decisions": [{"type": "approve"}] * 2}))
    found = texts(await stored(memory))
    assert sorted(found) == ["more", "work", "you said more", "you said work"]
