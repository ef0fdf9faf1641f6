"""Agents that hand over to one another, in one graph and one conversation: the record is of what all of them did."""

from __future__ import annotations

from typing import Annotated

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import PIIMiddleware
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState
from langgraph.types import Command

from fix_agents import call, remembers, stored
from fix_memory import texts
from pairing import pairing_errors
from scripted_agents import Player

pytestmark = pytest.mark.usefixtures("no_run_left")


@tool
def look() -> str:
    """Look it up."""
    return "found"


@tool
def hand_over(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command:
    """Hand over, and tell the other agent no more than that."""
    told = {"messages": [ToolMessage("handed over", tool_call_id=tool_call_id)]}
    return Command(goto="second", graph=Command.PARENT, update=told)


@tool
def hand_over_all(
    state: Annotated[dict, InjectedState], tool_call_id: Annotated[str, InjectedToolCallId]
) -> Command:
    """Hand over with all that was said and done."""
    told = {"messages": [*state["messages"], ToolMessage("handed over", tool_call_id=tool_call_id)]}
    return Command(goto="second", graph=Command.PARENT, update=told)


def two_agents(memory, how, lines, checkpointer=None, beside=(), **options):
    first = create_agent(
        Player(lines=lines), [look, how], middleware=[remembers(memory, **options), *beside], name="first"
    )
    model = Player(lines=[AIMessage("answer"), AIMessage("more")])
    second = create_agent(model, [look], middleware=[remembers(memory, **options)], name="second")
    builder = StateGraph(MessagesState)
    builder.add_node("first", first, destinations=("second",))
    builder.add_node("second", second)
    builder.add_edge(START, "first")
    return builder.compile(checkpointer=checkpointer), model


@pytest.mark.parametrize("options", [{}, {"store": "step"}, {"save_partial": True}], ids=str)
@pytest.mark.parametrize("checkpointer", [None, InMemorySaver], ids=["alone", "beside a checkpointer"])
@pytest.mark.parametrize("how", [hand_over, hand_over_all])
async def test_what_the_first_agent_did_is_on_record(memory, ask, how, checkpointer, options):
    lines = [call("look", "c1"), call(how.name, "c2"), AIMessage("again")]
    app, _ = two_agents(memory, how, lines, checkpointer and checkpointer(), **options)
    await ask(app, "one")
    found = await stored(memory)
    assert [m.type for m in found] == ["human", "ai", "tool", "ai", "tool", "ai"]
    assert texts(found)[-2:] == ["handed over", "answer"]
    assert pairing_errors(found) == []
    await ask(app, "two")
    assert texts(await stored(memory))[-2:] == ["two", "again"]


async def test_words_that_no_guardrail_let_through_are_not_stored(memory, ask):
    """The first agent's last answer was redacted behind our back: its call is stored, and no words."""
    last = call("hand_over", "c1").model_copy(update={"content": "mail ada@example.com"})
    guard = PIIMiddleware("email", apply_to_output=True)
    app, _ = two_agents(memory, hand_over, [last], beside=[guard])
    await ask(app, "one")
    found = await stored(memory)
    assert texts(found) == ["one", "", "handed over", "answer"]
    assert "ada@" not in str(found)
