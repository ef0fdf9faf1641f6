"""Between messages and the dicts of OpenAI's Chat Completions: what goes in comes out equal, and only what the API takes.

LangChain reads most of it. It refuses what models do send (arguments that are no JSON, calls of custom tools) and says some
things in other words; such dicts are kept beside their message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    InvalidToolCall,
    RemoveMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.messages.tool import tool_call

from convmemory.dialects.calls_and_results import call_of, calls_in, results_in, with_calls
from convmemory.dialects.openai_parts import content_for, is_content, is_name, name_for
from convmemory.dialects.original_dicts import UNREADABLE, keep, original
from convmemory.encoding.searchable import text_of
from convmemory.encoding.storable_text import clean_json

CHAT_KEY: Final = "convmemory_openai_message"
"""In ``additional_kwargs``: the dict a message was made of, where the message alone would give another."""

ONLY_ARGUMENT: Final = "__arg1"
"""The name LangChain has for the text a custom tool is called with."""

ContentOf = Callable[[str, Any], str | list[dict[str, Any]]]

_NOT_ONLY_CONTENT = ("audio", "function_call", "refusal", "tool_calls")
_ROLES: Final = {
    "ai": "assistant", "assistant": "assistant", "developer": "developer", "human": "user", "model": "assistant",
    "system": "system", "user": "user",
}  # fmt: skip
"""The API's roles by what a ``ChatMessage`` may call them; others speak as a user of that name."""


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
    return keep(message, CHAT_KEY, said, chat_of(message)) if is_chat(said) else message


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


def chat_of(message: BaseMessage, content_of: ContentOf = content_for) -> list[dict[str, Any]]:
    """One message as chat messages: one, or more where a human message holds the results of tools.

    What OpenAI has no shape for is given as its text; reasoning, and what other providers' own tools did, is left out.
    ``content_of`` says what content a role may have.
    """
    kept = original(message, CHAT_KEY, _read)
    if kept is not None and is_chat(kept):
        return [kept]
    if isinstance(message, RemoveMessage):
        return []
    results = [
        {"role": "tool", "tool_call_id": one.id, "content": content_of("tool", one.content)}
        for one in results_in(message)
    ]
    if isinstance(message, ToolMessage):
        return [{**results[0], "name": message.name} if message.name else results[0]]
    told = _spoken(message, content_of)
    return results if results and not told["content"] and "tool_calls" not in told else [*results, told]


def is_chat(told: Mapping[str, Any]) -> bool:
    """Whether Chat Completions takes this dict as it is; names the API does not know are the caller's own affair."""
    role: Any = told.get("role")
    if role not in _NEEDED or not all(name in told for name in _NEEDED[role]):
        return False
    if role == "assistant" and told.get("content") is None and not any(map(told.get, _NOT_ONLY_CONTENT)):
        return False
    shaped = all(is_right(told[name]) for name, is_right in _SHAPES.items() if name in told)
    return shaped and is_content(role, told.get("content"))


def _read(told: Mapping[str, Any]) -> BaseMessage:
    said = {name: value for name, value in told.items() if value is not None}
    calls = said.get("tool_calls", ())
    if "content" in told or (told.get("role") == "assistant" and any(map(said.get, _NOT_ONLY_CONTENT))):
        said.setdefault("content", "")
    ours = [call for call in calls if "function" in call or "custom" in call]
    if not ours or len(ours) < len(calls):
        return _with_block_calls(convert_to_messages([said])[0])
    del said["tool_calls"]
    reply = convert_to_messages([said])[0]
    if not isinstance(reply, AIMessage):
        raise TypeError("only an assistant's message has tool calls")
    return with_calls(reply, [_call(call) for call in ours])


def _with_block_calls(message: BaseMessage) -> BaseMessage:
    """The calls that a dict has among its blocks, as Anthropic's do, are calls for LangChain too."""
    if not isinstance(message, AIMessage) or isinstance(message.content, str):
        return message
    calls = calls_in(message)
    return with_calls(message, calls) if calls else message


def _call(call: Mapping[str, Any]) -> ToolCall | InvalidToolCall:
    if "custom" in call:
        custom = call["custom"]
        return tool_call(name=custom["name"], args={ONLY_ARGUMENT: custom["input"]}, id=call.get("id"))
    return call_of(call["function"]["name"], call["function"].get("arguments", ""), call.get("id"))


def _spoken(message: BaseMessage, content_of: ContentOf) -> dict[str, Any]:
    """What a message says itself, beside the results it may hold."""
    role, name = _speaker(message)
    content = text_of(message.content) if role == "function" else content_of(role, message.content)
    told = {"role": role, "content": content}
    if name and (name := name_for(name)):
        told["name"] = name
    if calls := [_told_call(call) for call in calls_in(message)]:
        told["tool_calls"] = calls
    return told


def _speaker(message: BaseMessage) -> tuple[str, str | None]:
    if isinstance(message, HumanMessage):
        return "user", message.name
    if isinstance(message, SystemMessage):
        return message.additional_kwargs.get("__openai_role__", "system"), message.name
    if isinstance(message, FunctionMessage):
        return "function", message.name or "function"
    role = message.role if isinstance(message, ChatMessage) else "assistant"
    return _ROLES.get(role, "user"), message.name or (None if role in _ROLES else role)


def _told_call(call: ToolCall | InvalidToolCall) -> dict[str, Any]:
    """An invalid call as well: what a tool answered to it would have nothing to refer to."""
    function = {"name": call["name"] or "unknown", "arguments": _arguments(call["args"])}
    return {"type": "function", "id": call["id"] or "", "function": function}


def _arguments(args: Any) -> str:
    if args is None or isinstance(args, str):
        return args or ""
    try:
        return json.dumps(args, ensure_ascii=False)
    except UNREADABLE:
        return json.dumps(clean_json(args), ensure_ascii=False)


def _is_call(call: Any) -> bool:
    kind = call.get("type") if isinstance(call, Mapping) else None
    if kind not in {"custom", "function"} or not isinstance(call.get("id"), str):
        return False
    return _has_texts(call.get(kind), "name", "input" if kind == "custom" else "arguments")


def _has_texts(value: Any, *names: str) -> bool:
    return isinstance(value, Mapping) and all(isinstance(value.get(name), str) for name in names)


def _is_only_calls(told: Mapping[str, Any]) -> bool:
    return bool(told.get("tool_calls")) and not told.get("content") and not told.get("refusal")


_NEEDED: Final[dict[Any, tuple[str, ...]]] = {
    "assistant": (),
    "developer": ("content",),
    "function": ("name", "content"),
    "system": ("content",),
    "tool": ("tool_call_id", "content"),
    "user": ("content",),
}
_SHAPES: Final[dict[str, Callable[[Any], bool]]] = {
    "name": is_name,
    "tool_call_id": lambda value: isinstance(value, str),
    "refusal": lambda value: value is None or isinstance(value, str),
    "audio": lambda value: value is None or _has_texts(value, "id"),
    "function_call": lambda value: value is None or _has_texts(value, "name", "arguments"),
    "tool_calls": lambda value: isinstance(value, list) and all(map(_is_call, value)),
}
"""What the values have to be that a model is shown, beside the content."""
