"""A LangGraph agent whose state lies in a checkpointer and whose conversation lies in convmemory, in one PostgreSQL.

    python examples/langgraph_chat.py                                 a scripted model, servers of its own
    python examples/langgraph_chat.py --model openai:gpt-5-mini       a real one (pip install langchain, and its package)
    python examples/langgraph_chat.py --env                           the servers of DATABASE_URL and REDIS_URL

Booking vacation needs a manager's yes. The graph waits for it in its checkpoint, so the program may end and begin anew
in between (here it builds everything anew), and what the user and the agent said to each other is a conversation:
listed, titled and read without the graph. Each node that talks reads and writes it by itself; no
RunnableWithMessageHistory, and no messages in the state. Needs langgraph and langgraph-checkpoint-postgres.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypedDict
from uuid import uuid4

from example_model import example_model
from example_servers import example_servers
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt

from convmemory import ConversationMemory, TieredChatMessageHistory

RULES = SystemMessage("You answer questions about vacation, and book it. Everybody has 20 days a year.")
USER, CONVERSATION = "ada", "vacation"


@tool
def book_vacation(days: int) -> str:
    """Book so many days of vacation."""
    return f"{days} days are booked."


class State(TypedDict, total=False):
    """What the graph must not forget between two of its steps; what was said is not part of it."""

    turn: str
    question: str
    step: int
    calls: list[ToolCall]
    approved: bool


class Agent:
    """The graph's nodes, over one memory and one model.

    A node may run twice, after a crash or an interrupt. What it stores has an id that is the same both times, and is stored
    once where it says the same; a model may say something else the second time, so that goes by an idempotency key as well.
    """

    def __init__(self, memory: ConversationMemory, model: BaseChatModel) -> None:
        self.memory = memory
        self.model = model.bind_tools([book_vacation])

    def history(self, config: RunnableConfig) -> TieredChatMessageHistory:
        """The conversation a run is about, as its config names it."""
        about = config["configurable"]
        return self.memory.history(about["conversation_id"], user_id=about["user_id"])

    def listen(self, state: State, config: RunnableConfig) -> State:
        """Store what the user said, before anything can fail."""
        self.history(config).add_messages([HumanMessage(state["question"], id=f"{state['turn']} said")])
        return {"step": 0}

    def think(self, state: State, config: RunnableConfig) -> State:
        """Let the model answer the recent window, and store the answer."""
        history = self.history(config)
        reply = self.model.invoke([RULES, *history.window()], config)
        about, step = config["configurable"], f"{state['turn']} reply {state['step']}"
        saved = self.memory.save_messages(
            about["conversation_id"],
            [reply.model_copy(update={"id": step})],
            user_id=about["user_id"],
            idempotency_key=step,  # a node that runs again may get other words; the first ones count
        )
        return {"calls": saved.messages[0].message.tool_calls, "step": state["step"] + 1}

    def ask(self, state: State) -> State:
        """Wait for the manager, for as long as it takes: the checkpointer keeps the question."""
        return {"approved": interrupt(state["calls"])}

    def book(self, state: State, config: RunnableConfig) -> State:
        """Do what was asked for, or not, and store the results for the model to read."""
        results = [
            ToolMessage(
                book_vacation.invoke(call["args"]) if state["approved"] else "The manager said no.",
                tool_call_id=call["id"] or "",
                id=f"{state['turn']} result {state['step']} {call['id']}",
            )
            for call in state["calls"]
        ]
        self.history(config).add_messages(results)
        return {}


def graph_of(agent: Agent, saver: PostgresSaver) -> CompiledStateGraph[State]:
    """Hear, think, and where the model wants to book, ask and book and think again."""
    graph = StateGraph(State)
    for node in (agent.listen, agent.think, agent.ask, agent.book):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "listen")
    graph.add_edge("listen", "think")
    graph.add_conditional_edges("think", lambda state: "ask" if state["calls"] else END, ["ask", END])
    graph.add_edge("ask", "book")
    graph.add_edge("book", "think")
    return graph.compile(checkpointer=saver)


def answer(prompt: Sequence[BaseMessage]) -> AIMessage:
    """The rule of the scripted model: it books where it is asked to, and counts the questions it can see."""
    last = prompt[-1]
    if isinstance(last, ToolMessage):
        return AIMessage(f"Well: {last.text}")
    if "book" in last.text.lower():
        call = {"name": "book_vacation", "args": {"days": 5}, "id": "call-1"}
        return AIMessage("I have to ask your manager.", tool_calls=[call])
    asked = sum(isinstance(message, HumanMessage) for message in prompt)
    return AIMessage(f"You have 20 days a year. You have asked {asked} times.")


@contextmanager
def app(model: BaseChatModel) -> Iterator[tuple[CompiledStateGraph[State], ConversationMemory]]:
    """The application as a process has it: a memory, a checkpointer and a graph, made anew."""
    with (
        ConversationMemory.from_env() as memory,
        PostgresSaver.from_conn_string(os.environ["DATABASE_URL"]) as saver,
    ):
        memory.init_schema()
        saver.setup()
        yield graph_of(Agent(memory, model), saver), memory


def talk(model: BaseChatModel) -> None:
    """Two questions, an end of the program while the manager thinks, and the conversation as anybody can read it."""
    with app(model) as (graph, memory):
        config = memory.run_config(conversation_id=CONVERSATION, user_id=USER)
        for question in ("How many days do I have?", "Please book five of them."):
            graph.invoke({"turn": uuid4().hex, "question": question}, config)
    with app(model) as (graph, memory):
        while waiting := graph.get_state(config).next:
            print("after a restart the graph still waits at:", *waiting)
            graph.invoke(Command(resume=True), config)
        conversation = memory.get_conversation(CONVERSATION, user_id=USER)
        print(f"{conversation.title!r}, {conversation.message_count} messages:")
        for message in memory.get_messages(CONVERSATION, user_id=USER):
            print(f"  {message.role}: {message.content}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", metavar="NAME", help="as LangChain names it (default: a scripted one)")
    parser.add_argument("--env", action="store_true", help="use the servers of DATABASE_URL and REDIS_URL")
    options = parser.parse_args()
    with example_servers(env=options.env):
        talk(example_model(options.model, answer))


if __name__ == "__main__":
    main()
