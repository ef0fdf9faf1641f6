"""Which tool calls are answered: no model is shown a call without its result, or a result without its call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage


def for_prompt(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Drop what providers reject, wherever it stands: tool calls without results, results without calls.

    An AI message with calls and the results right after it stay or go together; ``pairing_errors`` finds
    nothing in what is returned. All other messages are kept, in order.
    """
    kept: list[BaseMessage] = []
    for block, unanswered in _blocks(messages):
        if not unanswered:
            kept.extend(block)
    return kept


def pairing_errors(messages: Sequence[BaseMessage]) -> list[str]:
    """Say where a provider would reject these messages, one line each; empty when it would not.

    The rule: a tool message answers a call of the AI message that it follows, with nothing but other tool
    messages between them, and every call is answered once before anything else is said.
    """
    errors = []
    pending: set[str | None] = set()
    for at, message in enumerate(messages):
        if not isinstance(message, ToolMessage):
            errors += [
                f"message {at} comes before the result of tool call {name!r}" for name in _sorted(pending)
            ]
            pending = _call_ids(message)
        elif message.tool_call_id in pending:
            pending.remove(message.tool_call_id)
        else:
            errors.append(f"message {at} is a tool result without its call {message.tool_call_id!r}")
    return errors + [f"the end comes before the result of tool call {name!r}" for name in _sorted(pending)]


def _blocks(messages: Sequence[BaseMessage]) -> Iterator[tuple[list[BaseMessage], set[str | None]]]:
    """Yield each message, an AI message with its results, and the calls left unanswered; no stray results."""
    block: list[BaseMessage] = []
    pending: set[str | None] = set()
    for message in messages:
        if not isinstance(message, ToolMessage):
            yield block, pending
            block, pending = [message], _call_ids(message)
        elif message.tool_call_id in pending:
            block.append(message)
            pending.remove(message.tool_call_id)
    yield block, pending


def _call_ids(message: BaseMessage) -> set[str | None]:
    """The calls a provider waits for. Invalid ones count: adapters send them like the others."""
    if not isinstance(message, AIMessage):
        return set()
    return {call.get("id") for call in (*message.tool_calls, *message.invalid_tool_calls)}


def _sorted(names: set[str | None]) -> list[str | None]:
    return sorted(names, key=str)
