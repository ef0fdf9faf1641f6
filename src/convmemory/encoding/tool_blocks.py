"""Which tools a message calls and which it answers, in whichever provider's shape it says so.

LangChain has fields for both. Beside them, or instead of them, a content may hold the blocks of a provider: Anthropic's
``tool_use`` and ``tool_result`` (the results in a human message), the items of OpenAI's Responses API, the parts of Gemini and
Bedrock, the blocks of langchain-core v1. Members are reached through ``dict`` and ``list`` themselves: a caller's subclass may
do anything in its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    InvalidToolCall,
    ToolCall,
    ToolMessage,
)

from convmemory.encoding.text_blocks import block_text

Kind = Literal["call", "result", "server_call", "server_result"]

_OF_A_RESULT: Final = ("tool_use_id", "tool_call_id")
_BY_TYPE: Final[dict[str, tuple[Kind, tuple[str, ...]]]] = {
    "invalid_tool_call": ("call", ("id",)),
    "mcp_tool_use": ("server_call", ("id",)),
    "server_tool_call": ("server_call", ("id",)),
    "server_tool_use": ("server_call", ("id",)),
    "tool_call": ("call", ("id",)),
    "tool_result": ("result", ("tool_use_id",)),
    "tool_use": ("call", ("id",)),
}
"""What a block is by its type, and the names its id may have."""

_PARTS: Final[dict[str, Kind]] = {
    "functionCall": "call",
    "function_call": "call",
    "toolUse": "call",
    "functionResponse": "result",
    "function_response": "result",
    "toolResult": "result",
}
"""Parts without a type, named by their one key: Gemini's, in both spellings, and Bedrock's."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What a block tells of tools: a call or a result, of the caller's tool or of one the provider runs itself.

    ``id`` is what call and result have in common, the tool's name where the provider gave no id (``by_name``); ``about`` is
    the part of the block that describes it.
    """

    kind: Kind
    id: str | None
    about: dict[str, Any]
    by_name: bool = False


def trace(block: object) -> Trace | None:
    """What one block of a content tells of tools; ``None`` where it is something else."""
    if not isinstance(block, dict):
        return None
    kind = dict.get(block, "type")
    if not isinstance(kind, str):
        return _part(block)
    kind = str.__str__(kind)
    if kind == "non_standard" and isinstance(inner := dict.get(block, "value"), dict):
        return trace(inner) if dict.get(inner, "type") != kind else None
    named = _BY_TYPE.get(kind) or (("server_result", _OF_A_RESULT) if kind.endswith("tool_result") else None)
    if named is None:
        return _item(block, kind)
    return Trace(named[0], next((name for key in named[1] if (name := _text(block, key))), None), block)


def calls_of(message: BaseMessage) -> Iterator[tuple[str | None, ToolCall | InvalidToolCall | Trace]]:
    """The calls a provider waits for, with their ids, each id once: those in LangChain's fields, then those only a block tells of.

    Invalid ones count: adapters send them like the others. A block that has no id is one of the calls beside it.
    """
    fields: list[ToolCall | InvalidToolCall] = []
    if isinstance(message, AIMessage):
        fields += message.tool_calls
        fields += message.invalid_tool_calls
    known: set[str | None] = set()
    for call in fields:
        name = call.get("id")
        if name is None or name not in known:
            yield name, call
        known.add(name)
    if type(message.content) is str:
        return
    for one in _traces(message.content, "call"):
        if one.id not in known and not (fields and (one.by_name or one.id is None)):
            yield one.id, one
            if one.id is not None and not one.by_name:
                known.add(one.id)


def call_ids(message: BaseMessage) -> list[str | None]:
    """The ids of the calls a provider waits for, each once."""
    return list(dict.fromkeys(name for name, _ in calls_of(message)))


def result_ids(message: BaseMessage) -> list[str | None]:
    """The calls this message answers, in order."""
    if isinstance(message, ToolMessage):
        return [message.tool_call_id]
    if type(message.content) is str:
        return []
    return [one.id for one in _traces(message.content, "result")]


def server_ids(message: BaseMessage, kind: Literal["server_call", "server_result"]) -> list[str | None]:
    """The calls of the provider's own tools in this message, or the results of such calls."""
    return [] if type(message.content) is str else [one.id for one in _traces(message.content, kind)]


def begins_turn(message: BaseMessage) -> bool:
    """Whether a person says something here: a human message that only carries results of tools is part of a turn."""
    return isinstance(message, HumanMessage) and not only_results(message.content)


def only_results(content: object) -> bool:
    """Whether a content holds results of tools, and nothing else that is said."""
    if type(content) is str or not isinstance(content, list):
        return False
    said = [found for block in list.__iter__(content) if (found := trace(block)) or not is_blank(block)]
    return bool(said) and all(found is not None and found.kind == "result" for found in said)


def is_blank(block: object) -> bool:
    """Whether a block is text of no words, or a mark for the provider's cache."""
    text = block_text(block)
    if text is not None:
        return not text.strip()
    return (
        isinstance(block, dict) and dict.get(block, "type") is None and dict.__contains__(block, "cachePoint")
    )


def _traces(content: Any, kind: Kind) -> Iterator[Trace]:
    blocks: Iterable[object] = list.__iter__(content) if isinstance(content, list) else ()
    return (found for block in blocks if (found := trace(block)) is not None and found.kind == kind)


def _item(block: dict[str, Any], kind: str) -> Trace | None:
    """An item of the Responses API. What OpenAI's own tools did has an ``id`` and no ``call_id``."""
    call_id = _text(block, "call_id")
    if kind == "function_call" and call_id is None:
        return Trace("call", _text(block, "name"), block, by_name=True)
    if call_id is None or not kind.endswith(("_call", "_call_output")):
        return None
    return Trace("call" if kind.endswith("_call") else "result", call_id, block)


def _part(block: dict[str, Any]) -> Trace | None:
    for name in dict.keys(block):
        kind = _PARTS.get(name) if type(name) is str else None
        about = dict.get(block, name)
        if kind is not None and isinstance(about, dict):
            given = _text(about, "id") or _text(about, "toolUseId")
            return Trace(kind, given or _text(about, "name"), about, by_name=given is None)
    return None


def _text(block: dict[str, Any], name: str) -> str | None:
    value = dict.get(block, name)
    return str.__str__(value) if isinstance(value, str) else None
