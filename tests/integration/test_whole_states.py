"""Chains that answer with all they know: what they were shown, what was said, and only then what is new."""

from __future__ import annotations

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

from fix_agents import MINE, call
from fix_memory import texts
from scripted import AWAITED, BLOCKING, DRIVES, keyed, session
from scripted_agents import Player

pytestmark = pytest.mark.usefixtures("no_run_left")

LINES = ["20 days.", "In the portal.", "Your lead.", "Yes.", "Bye."]
WHOLE = {"input_messages_key": "messages", "output_messages_key": "messages"}


@tool
def look() -> str:
    """Look it up."""
    return "found"


def player():
    """A model that calls a tool in its first turn."""
    return Player(lines=[call("look", "c1"), *map(AIMessage, LINES)])


def an_agent(factory):
    return RunnableWithMessageHistory(create_agent(player(), [look]), factory, **WHOLE)


def an_agent_behind_a_prompt(factory):
    state = RunnableLambda(lambda prompt: {"messages": prompt.to_messages()})
    return keyed(state | create_agent(player(), [look]), factory, output_messages_key="messages")


def a_graph(factory):
    model = Player(lines=[*map(AIMessage, LINES)])
    builder = StateGraph(MessagesState)
    builder.add_node("talk", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "talk")
    return RunnableWithMessageHistory(builder.compile(), factory, **WHOLE)


def a_prompt_and_an_answer(factory):
    said = iter(LINES)

    def answer(prompt):
        return [SystemMessage("Be brief."), *prompt.to_messages(), AIMessage(next(said))]

    return keyed(RunnableLambda(answer), factory)


KINDS = [an_agent, an_agent_behind_a_prompt, a_graph, a_prompt_and_an_answer]


@pytest.mark.parametrize("window", [{}, {"max_messages": None}, {"max_turns": 1}], ids=["6", "all", "1 turn"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_an_answer_repeats_is_stored_once(memory, colour, kind, window):
    drives = [DRIVES[one] for one in (AWAITED if colour == "awaited" else BLOCKING) if "stream" not in one]
    chain = kind(lambda session_id: memory.history(session_id, **MINE, **window))
    tools = [["", "found"], [], [], []] if kind in KINDS[:2] else [[], [], [], []]
    expected = []
    for turn, (answer, drive) in enumerate(zip(LINES, drives * 2, strict=False)):
        said = f"question {turn}"
        given = {"question": said} if kind in (KINDS[1], KINDS[3]) else {"messages": [HumanMessage(said)]}
        await drive(chain, given, session("s"))
        expected += [said, *tools[turn], answer]
    assert texts(await memory.get_messages("s", **MINE)) == expected


async def test_an_answer_that_repeats_the_words_of_the_turn_before_is_a_new_one(memory, colour):
    chain = keyed(Player(lines=[AIMessage("Yes.", id="1"), AIMessage("Yes.", id="1")]), lambda _: history)
    history = memory.history("s", **MINE)
    for _ in range(2):
        await DRIVES["ainvoke" if colour == "awaited" else "invoke"](chain, {"question": "?"}, session("s"))
    assert texts(await memory.get_messages("s", **MINE)) == ["?", "Yes."] * 2
