"""Between messages and the dicts of Anthropic's Messages API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    InvalidToolCall,
    RemoveMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata

from convmemory.dialects.anthropic_blocks import (
    Block,
    arguments,
    block_for,
    result_content,
    text_block,
    texts_of,
)
from convmemory.dialects.calls_and_results import Result, calls_in, results_in, traced, with_calls

_OPENING: Final = "(The conversation so far:)"
"""Said by the user where a conversation as it is shown begins with the assistant: the API wants a user's words first."""

_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_ASSISTANTS: Final = ("ai", "assistant", "model")
_SYSTEMS: Final = ("developer", "system")


class AnthropicMessages(list[dict[str, Any]]):
    """Messages as ``client.messages.create`` takes them; ``system`` has the system texts, which go in beside them.

    ``client.messages.create(..., system=found.system, messages=found)``. A slice is a plain list.
    """

    def __init__(self, messages: Iterable[Block] = (), system: Iterable[Block] = ()) -> None:
        super().__init__(messages)
        self.system: list[Block] = list(system)


def anthropic_messages(messages: Iterable[BaseMessage]) -> AnthropicMessages:
    """Messages as Anthropic takes them: users and assistants in turn, calls and results as blocks, system texts apart.

    What Anthropic has no shape for is given as its text. Thoughts stay where they bear their signature; what other
    providers' own tools did is left out, and so is a message of no words.
    """
    found = AnthropicMessages()
    names = _Names()
    for message in messages:
        if isinstance(message, RemoveMessage):
            continue
        if _role(message) == "system":
            found.system += texts_of(message.content)
        elif content := _content(message, names):
            _append(found, _role(message), content)
    if found and found[0]["role"] == "assistant":
        found.insert(0, {"role": "user", "content": _OPENING})
    return found


def is_reply(told: Mapping[str, Any]) -> bool:
    """Whether a dict is what the API answered, rather than what it is sent."""
    return (
        told.get("type") == "message"
        and told.get("role") == "assistant"
        and isinstance(told.get("content"), list)
    )


def read_reply(told: Mapping[str, Any]) -> AIMessage:
    """Read what the API answered, with its id, its model and what it cost."""
    about = {"model_name": told.get("model"), "stop_reason": told.get("stop_reason")}
    reply = AIMessage(
        list(told["content"]),
        id=told.get("id"),
        response_metadata={name: value for name, value in about.items() if value is not None},
        usage_metadata=_usage(told.get("usage")),
    )
    return with_calls(reply, calls_in(reply))


class _Names:
    """Ids of calls in the characters the API takes, each once in a request."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._now: dict[str | None, str] = {}

    def call(self, name: str | None) -> str:
        plain = _plain_name(name or "call")
        unique, n = plain, 1
        while unique in self._used:
            n += 1
            unique = f"{plain}_{n}"
        self._used.add(unique)
        self._now[name] = unique
        return unique

    def result(self, name: str) -> str:
        return self._now.get(name, _plain_name(name))


def _append(found: AnthropicMessages, role: str, content: str | list[Block]) -> None:
    """Add to the messages; what the same side says next is one message with what it said before."""
    if found and found[-1]["role"] == role:
        content = _ordered([*_blocks(found[-1]["content"]), *_blocks(content)])
        found[-1] = {"role": role, "content": content}
    else:
        found.append({"role": role, "content": content})


def _role(message: BaseMessage) -> str:
    if isinstance(message, SystemMessage):
        return "system"
    if isinstance(message, ChatMessage):
        if message.role in _SYSTEMS:
            return "system"
        return "assistant" if message.role in _ASSISTANTS else "user"
    return "assistant" if isinstance(message, AIMessage) else "user"


def _content(message: BaseMessage, names: _Names) -> str | list[Block]:
    if isinstance(message, ToolMessage):
        return [_result(one, names) for one in results_in(message)]
    if isinstance(message.content, str):
        said = message.content if message.content.strip() else ""
        calls = [_call(call, names) for call in calls_in(message)]
        return [*_blocks(said), *calls] if calls else said
    return _ordered(_told(message, names))


def _told(message: BaseMessage, names: _Names) -> list[Block]:
    """The blocks of a message, each call and result where it stands."""
    place = _role(message)
    calls = {call["id"]: call for call in calls_in(message)}
    results = {one.id: one for one in results_in(message)}
    told: list[Block | None] = []
    for block, found in traced(message.content):  # type: ignore[arg-type]  # a list, or it would have been a text
        if found is None or found.kind.startswith("server"):
            told.append(block_for(place, block))
        elif found.kind == "call" and found.id in calls:
            told.append(_call(calls.pop(found.id), names))
        elif found.kind == "result" and found.id in results:
            told.append(_result(results[found.id], names))
    return [block for block in told if block is not None] + [_call(call, names) for call in calls.values()]


def _call(call: ToolCall | InvalidToolCall, names: _Names) -> Block:
    name = _plain_name(call["name"] or "unknown")
    return {"type": "tool_use", "id": names.call(call["id"]), "name": name, "input": arguments(call["args"])}


def _result(one: Result, names: _Names) -> Block:
    told: Block = {"type": "tool_result", "tool_use_id": names.result(one.id)}
    if content := result_content(one.content) or ("failed" if one.failed else ""):
        told["content"] = content
    return {**told, "is_error": True} if one.failed else told


def _ordered(blocks: list[Block]) -> list[Block]:
    """Results first, as the API wants them."""
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _blocks(content: str | list[Block]) -> list[Block]:
    if isinstance(content, list):
        return content
    return [text_block(content)] if content else []


def _plain_name(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name)[:64]


def _usage(told: Any) -> UsageMetadata | None:
    if not isinstance(told, Mapping) or not isinstance(told.get("input_tokens"), int):
        return None
    cached = [told.get(name) or 0 for name in ("cache_read_input_tokens", "cache_creation_input_tokens")]
    read, output = told["input_tokens"] + sum(cached), told.get("output_tokens") or 0
    return UsageMetadata(
        input_tokens=read,
        output_tokens=output,
        total_tokens=read + output,
        input_token_details=InputTokenDetails(cache_read=cached[0], cache_creation=cached[1]),
    )
