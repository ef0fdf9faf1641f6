"""Between messages and the dicts of OpenAI's Chat Completions: what goes in comes out equal.

LangChain's own conversion does most of it. It refuses what models do send (arguments that are no JSON, calls of
custom tools) and says some things in other words; such dicts are kept beside their message.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    InvalidToolCall,
    RemoveMessage,
    ToolCall,
    convert_to_messages,
    convert_to_openai_messages,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call

from convmemory.dialects.original_dicts import UNREADABLE, keep, original
from convmemory.encoding.searchable import text_of
from convmemory.encoding.storable_text import clean_json

CHAT_KEY: Final = "convmemory_openai_message"
"""In ``additional_kwargs``: the dict a message was made of, where the message alone would give another."""

ONLY_ARGUMENT: Final = "__arg1"
"""The name LangChain has for the text a custom tool is called with."""

_NOT_ONLY_CONTENT = ("audio", "function_call", "refusal", "tool_calls")
_THOUGHTS = ("reasoning", "reasoning_content", "redacted_thinking", "thinking")
"""Blocks of other providers that Chat Completions has no place for."""


def read_chat(told: Mapping[str, Any]) -> BaseMessage:
    """Read one chat message; a dict of another shape that LangChain reads is read as well.

    An ``id`` becomes the message's own. Raises one of ``UNREADABLE`` where it is no message.
    """
    message = _read(told)
    if "role" not in told:
        return message
    # an SDK's object dumps what it does not have as None, and the id is between us and the caller
    said = {name: value for name, value in told.items() if value is not None or name == "content"}
    said.pop("id", None)
    return keep(message, CHAT_KEY, said, chat_of(message))


def chat_messages(messages: Iterable[BaseMessage]) -> list[dict[str, Any]]:
    """Messages as Chat Completions takes them, in order.

    Calls that were stored one by one, as the Agents SDK does, are one message: their results must follow it.
    """
    told: list[dict[str, Any]] = []
    for one in (chat for message in messages for chat in chat_of(message)):
        if told and told[-1].get("tool_calls") and _is_only_calls(one):
            told[-1] = {**told[-1], "tool_calls": [*told[-1]["tool_calls"], *one["tool_calls"]]}
        else:
            told.append(one)
    return told


def chat_of(message: BaseMessage) -> list[dict[str, Any]]:
    """One message as chat messages: one, or more where a human message holds the results of tools.

    Content that OpenAI has no shape for is given as its text; reasoning is left out.
    """
    kept = original(message, CHAT_KEY, _read)
    if kept is not None:
        return [kept]
    if isinstance(message, RemoveMessage):
        return []
    try:
        return _written(message)
    except UNREADABLE:
        return _written(_plain(message))


def call_of(name: Any, arguments: Any, call_id: Any) -> ToolCall | InvalidToolCall:
    """A tool call as LangChain has it; an invalid one where the arguments, a JSON text, are no JSON object."""
    try:
        args = json.loads(arguments or "{}", strict=False) if isinstance(arguments, str) else arguments
    except (RecursionError, ValueError):
        args = None
    if isinstance(args, Mapping):
        return tool_call(name=name, args=dict(args), id=call_id)
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return invalid_tool_call(name=name, args=text, id=call_id, error="the arguments are no JSON object")


def with_calls(reply: AIMessage, calls: Sequence[ToolCall | InvalidToolCall]) -> AIMessage:
    """The reply, with each call in the list it belongs to."""
    valid = [call for call in calls if call["type"] == "tool_call"]
    invalid = [call for call in calls if call["type"] == "invalid_tool_call"]
    return AIMessage(**{**vars(reply), "tool_calls": valid, "invalid_tool_calls": invalid})


def _read(told: Mapping[str, Any]) -> BaseMessage:
    said = {name: value for name, value in told.items() if value is not None}
    calls = said.get("tool_calls", ())
    if "content" in told or (told.get("role") == "assistant" and any(map(said.get, _NOT_ONLY_CONTENT))):
        said.setdefault("content", "")
    ours = [call for call in calls if "function" in call or "custom" in call]
    if not ours or len(ours) < len(calls):
        return convert_to_messages([said])[0]
    del said["tool_calls"]
    reply = convert_to_messages([said])[0]
    if not isinstance(reply, AIMessage):
        raise TypeError("only an assistant's message has tool calls")
    return with_calls(reply, [_call(call) for call in ours])


def _call(call: Mapping[str, Any]) -> ToolCall | InvalidToolCall:
    if "custom" in call:
        custom = call["custom"]
        return tool_call(name=custom["name"], args={ONLY_ARGUMENT: custom["input"]}, id=call.get("id"))
    return call_of(call["function"]["name"], call["function"].get("arguments", ""), call.get("id"))


def _written(message: BaseMessage) -> list[dict[str, Any]]:
    content = message.content
    if isinstance(content, list):
        message = message.model_copy(update={"content": [one for one in content if not _is_thought(one)]})
    written = convert_to_openai_messages(
        [message], text_format="string" if isinstance(content, str) else "block"
    )
    for told in written:
        told["content"] = told["content"] or ""
    if isinstance(message, AIMessage) and message.invalid_tool_calls:
        invalid = [_invalid(call) for call in message.invalid_tool_calls]
        written[0]["tool_calls"] = [*written[0].get("tool_calls", ()), *invalid]
    return written


def _invalid(call: InvalidToolCall) -> dict[str, Any]:
    """An invalid call as well: what a tool answered to it would have nothing to refer to."""
    function = {"name": call["name"], "arguments": call["args"]}
    return {"type": "function", "id": call["id"], "function": function}


def _is_only_calls(told: Mapping[str, Any]) -> bool:
    return bool(told.get("tool_calls")) and not told.get("content") and not told.get("refusal")


def _is_thought(block: object) -> bool:
    return isinstance(block, dict) and block.get("type") in _THOUGHTS


def _plain(message: BaseMessage) -> BaseMessage:
    """The message as far as every API can take it."""
    change: dict[str, Any] = {"content": text_of(message.content)}
    if isinstance(message, AIMessage):
        change["tool_calls"] = [{**call, "args": clean_json(call["args"])} for call in message.tool_calls]
    return message.model_copy(update=change)
