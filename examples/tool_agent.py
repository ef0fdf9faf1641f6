"""An agent with two tools that remembers: ``create_agent`` with ``ConversationMemoryMiddleware``.

    python examples/tool_agent.py                                    two requests, on servers of its own
    python examples/tool_agent.py "Where is order 2001?"             your requests
    python examples/tool_agent.py --env --model openai:gpt-5-mini    on DATABASE_URL and REDIS_URL, with a real model

The agent has no checkpointer and is given one new message at a time: the middleware shows the model the turns before,
and stores the new one whole, calls and results in the order they happened. Needs ``langchain-convmemory[agents]``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from example_model import example_model
from example_servers import example_servers
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import tool

from convmemory import ConversationMemory, Message
from convmemory.middleware import ConversationMemoryMiddleware

USER, CONVERSATION = "ada", "orders"
REQUESTS = ("Where is my order 1042?", "Then send it back, please.")
ORDERS = {"1042": "a kettle, delivered on Monday", "2001": "a lamp, on its way"}


@tool
def find_order(number: str) -> str:
    """Look up what an order is and where."""
    return ORDERS.get(number, "no such order")


@tool
def start_return(number: str) -> str:
    """Begin the return of an order, and make its label."""
    return f"label R-{number}" if number in ORDERS else "no such order"


def clerk(prompt: Sequence[BaseMessage]) -> AIMessage:
    """The rule of the scripted model: call the tool that the request wants, then tell what it returned."""
    newest = prompt[-1]
    if isinstance(newest, ToolMessage):
        [call] = next(m for m in reversed(prompt) if isinstance(m, AIMessage)).tool_calls
        return AIMessage(f"Order {call['args']['number']}: {newest.text}.")
    numbers = re.findall(r"\b\d{4}\b", " ".join(m.text for m in prompt if m.type == "human"))
    if not numbers:
        return AIMessage("Which order do you mean?")
    name = start_return.name if "back" in newest.text else find_order.name
    return AIMessage(
        "", tool_calls=[{"name": name, "args": {"number": numbers[-1]}, "id": f"call-{len(prompt)}"}]
    )


def order_agent(memory: ConversationMemory, model: BaseChatModel) -> Runnable[Any, Any]:
    """An agent whose conversations are in the memory."""
    return create_agent(model, [find_order, start_return], middleware=[ConversationMemoryMiddleware(memory)])


def line(stored: Message) -> str:
    """One stored message, a call as a call."""
    calls = [
        f"{call['name']}({call['args']['number']})" for call in getattr(stored.message, "tool_calls", [])
    ]
    return f"{stored.seq:2} {stored.role:5} {' '.join(calls) or stored.content}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("requests", nargs="*", default=REQUESTS, metavar="REQUEST")
    parser.add_argument("--model", metavar="PROVIDER:NAME", help="a real model, as LangChain names it")
    parser.add_argument("--env", action="store_true", help="the servers that the environment names")
    options = parser.parse_args()
    with example_servers(env=options.env) as what, ConversationMemory.from_env() as memory:
        memory.init_schema()
        agent = order_agent(memory, example_model(options.model, clerk))
        config = memory.run_config(conversation_id=CONVERSATION, user_id=USER)
        for request in options.requests:
            agent.invoke({"messages": [("human", request)]}, config)
        print(f"On {what}:")
        print(*map(line, memory.get_messages(CONVERSATION, user_id=USER)), sep="\n")


if __name__ == "__main__":
    main()
