"""Calls and results of tools as LangChain has them, out of whichever provider's blocks they stand in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, InvalidToolCall, ToolCall, ToolMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call

from convmemory.encoding.tool_blocks import Trace, calls_of, trace


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool answered: ``content`` as the provider has it, text or blocks or whatever else."""

    id: str
    content: Any
    failed: bool = False


def call_of(name: Any, arguments: Any, call_id: Any) -> ToolCall | InvalidToolCall:
    """A tool call as LangChain has it; an invalid one where the arguments, a JSON text, are no JSON object."""
    try:
        args = json.loads(arguments or "{}", strict=False) if isinstance(arguments, str) else arguments
    except (RecursionError, ValueError):
        args = None
    if isinstance(args, Mapping):
        return tool_call(name=name, args=dict(args), id=call_id)
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, default=str)
    return invalid_tool_call(name=name, args=text, id=call_id, error="the arguments are no JSON object")


def with_calls(reply: AIMessage, calls: Sequence[ToolCall | InvalidToolCall]) -> AIMessage:
    """The reply, with each call in the list it belongs to."""
    valid = [call for call in calls if call["type"] == "tool_call"]
    invalid = [call for call in calls if call["type"] == "invalid_tool_call"]
    return AIMessage(**{**vars(reply), "tool_calls": valid, "invalid_tool_calls": invalid})


def calls_in(message: BaseMessage) -> list[ToolCall | InvalidToolCall]:
    """The calls of a message: those in LangChain's fields, and those that only a block tells of."""
    return [_call(one) if isinstance(one, Trace) else one for _, one in calls_of(message)]


def results_in(message: BaseMessage) -> list[Result]:
    """The results a message holds."""
    if isinstance(message, ToolMessage):
        return [Result(message.tool_call_id, message.content, message.status == "error")]
    if isinstance(message.content, str):
        return []
    found = [one for _, one in traced(message.content) if one is not None and one.kind == "result"]
    return [_result(one) for one in found if one.id is not None]


def traced(content: list[Any]) -> Iterator[tuple[Any, Trace | None]]:
    """Each block of a content, with what it tells of tools."""
    return ((block, trace(block)) for block in content)


def _call(one: Trace) -> ToolCall | InvalidToolCall:
    about = one.about
    given: Any = next((about[name] for name in ("input", "args", "arguments") if name in about), {})
    return call_of(about.get("name") or about.get("type") or "tool", given, one.id)


def _result(one: Trace) -> Result:
    about = one.about
    content = next((about[name] for name in ("content", "output", "response") if name in about), "")
    return Result(str(one.id), content, bool(about.get("is_error")) or about.get("status") == "error")
