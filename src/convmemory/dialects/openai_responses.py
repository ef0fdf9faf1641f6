"""Between messages and the items of OpenAI's Responses API: what goes in comes out equal.

An item is one message, of the role it has in a conversation: what was said, a tool's call, its result; reasoning
and what OpenAI's own tools did are the model's. So titles, windows and exports of such a conversation make sense.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    InvalidToolCall,
    ToolCall,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call

from convmemory.dialects.calls_and_results import call_of, with_calls
from convmemory.dialects.openai_chat import ONLY_ARGUMENT, chat_of, read_chat
from convmemory.dialects.openai_parts import content_for, parts_for
from convmemory.dialects.original_dicts import UNREADABLE, keep, original
from convmemory.encoding.python_values import Tagger, dumps, parse
from convmemory.encoding.searchable import text_of
from convmemory.encoding.tool_blocks import trace
from convmemory.errors import InvalidArgument

ITEM_KEY: Final = "convmemory_openai_item"
"""In ``additional_kwargs``: the item a message was made of, where the message alone would give another."""

_NOT_ARGUMENTS = ("call_id", "id", "status", "type")


def read_item(item: Any) -> BaseMessage:
    """Read one item; any kind is kept, whether it is known here or not: a wrapper's sealed envelope as well.

    Raises:
        InvalidArgument: It is no item, or holds what would not come back equal.
    """
    if not isinstance(item, Mapping):
        raise InvalidArgument("items", f"must be dicts of the Responses API, not {type(item).__name__}")
    for name, value in item.items():
        if not _is_kept(value):
            raise InvalidArgument(
                "items", f"{name!r} holds what would not come back equal: only what JSON has is kept"
            )
    message = _read(item)
    return keep(message, ITEM_KEY, item, items_of(message))


def _is_kept(value: Any) -> bool:
    """Whether a value comes back equal from where an item lies: inside a message's ``additional_kwargs``."""
    tagger = Tagger()
    try:
        plain = tagger.value([[[value]]], None)
        return not tagger.losses or bool(parse(dumps(plain)) == [[[value]]])
    except Exception:  # noqa: BLE001 - the caller's own objects
        return False


def items_of(message: BaseMessage) -> list[dict[str, Any]]:
    """One message as items: the one it was made of, or for another's its text and each of its tool calls."""
    kept = original(message, ITEM_KEY, _read)
    if kept is not None:
        return [kept]
    return [item for told in chat_of(message, _content) for item in _written(told)]


def _read(item: Mapping[str, Any]) -> BaseMessage:
    role = item.get("role")
    if isinstance(role, str):
        return _spoken(role, item)
    kind = str(item.get("type") or ("item_reference" if isinstance(item.get("id"), str) else "item"))
    try:
        return _done(kind, item)
    except UNREADABLE:
        return AIMessage(f"[{kind}]")


def _spoken(role: str, item: Mapping[str, Any]) -> BaseMessage:
    """What somebody said. The role is known, so it stays, also where the content is of no shape that can be read."""
    try:
        return _said(role, item.get("content") or "")
    except UNREADABLE:
        return _said(role, "[message]")


def _said(role: str, content: Any) -> BaseMessage:
    if role == "assistant":
        return AIMessage(content if isinstance(content, str) else _text(content))
    shown: Any = content if isinstance(content, str) else [_block(part) for part in content]
    if role == "user":
        return HumanMessage(shown)
    if role in {"developer", "system"}:
        return read_chat({"role": role, "content": shown})
    return ChatMessage(role=role, content=shown)


def _done(kind: str, item: Mapping[str, Any]) -> BaseMessage:
    call_id = item.get("call_id")
    if kind.endswith("_output") and isinstance(call_id or item.get("id"), str):
        return ToolMessage(_result(item.get("output")), tool_call_id=call_id or item["id"])
    if isinstance(call_id, str):
        return with_calls(AIMessage(""), [_call(kind, item)])
    thoughts = [*(item.get("summary") or ()), *(item.get("content") or ())]
    return AIMessage(_text(thoughts) or f"[{kind}]")


def _call(kind: str, item: Mapping[str, Any]) -> ToolCall | InvalidToolCall:
    if kind == "function_call":
        return call_of(item["name"], item["arguments"], item["call_id"])
    if kind == "custom_tool_call":
        return tool_call(name=item["name"], args={ONLY_ARGUMENT: item["input"]}, id=item["call_id"])
    args = {name: value for name, value in item.items() if name not in _NOT_ARGUMENTS}
    return tool_call(name=kind.removesuffix("_call"), args=args, id=item["call_id"])


def _result(output: Any) -> Any:
    """A tool's output as LangChain holds it: text and images as they are, records of other shapes as JSON."""
    if isinstance(output, str):
        return output
    if isinstance(output, list) and all(str(part.get("type")).startswith("input_") for part in output):
        return [_block(part) for part in output]
    return json.dumps(output, ensure_ascii=False, default=str)


def _text(parts: Any) -> str:
    """The text of an assistant's parts: what it said, refused, or summed up of its reasoning."""
    texts = (part.get("text") or part.get("refusal") for part in parts)
    return "\n".join(text for text in texts if isinstance(text, str))


def _content(role: str, content: Any) -> str | list[dict[str, Any]]:
    """A content as Chat Completions has it, and what only the Responses API takes as it is: a tool's pictures, for one."""
    if not isinstance(content, list) or role == "assistant":
        return content_for(role, content)
    parts: list[dict[str, Any]] = []
    for block in (block for block in content if trace(block) is None):
        own = isinstance(block, dict) and str(block.get("type")).startswith("input_")
        parts += [block] if own else parts_for("user", block)
    return parts or ""


def _block(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a Responses item as a part of a chat message; one that has no twin there stays as it is."""
    about = {name: value for name, value in part.items() if name != "type"}
    kind = part["type"] if "text" not in part else part.get("type", "input_text")
    if kind == "input_text":
        return {"type": "text", **about}
    if kind == "input_file":
        return {"type": "file", "file": about}
    if kind == "input_image" and isinstance(url := about.pop("image_url", None), str):
        return {"type": "image_url", "image_url": {"url": url, **about}}
    return dict(part)


def _part(block: Mapping[str, Any]) -> dict[str, Any]:
    """The way back from ``_block``."""
    kind = block.get("type")
    if kind == "text":
        return {"type": "input_text", "text": block["text"]}
    if kind == "file" and isinstance(block.get("file"), dict):
        return {"type": "input_file", **block["file"]}
    if kind == "image_url":
        image = block["image_url"] if isinstance(block["image_url"], dict) else {"url": block["image_url"]}
        about = {name: value for name, value in image.items() if name != "url"}
        return {"type": "input_image", "image_url": image["url"], **about}
    return dict(block)


def _written(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A chat message as items."""
    role, content = told["role"], told.get("content") or ""
    parts = content if isinstance(content, str) else [_part(block) for block in content]
    if "tool_call_id" in told:
        return [{"type": "function_call_output", "call_id": told["tool_call_id"], "output": parts}]
    if role != "assistant":
        return [{"role": role if role in {"developer", "system"} else "user", "content": parts}]
    said = text_of(content) or told.get("refusal") or ""
    calls = [_call_item(call) for call in told.get("tool_calls") or ()]
    return [{"role": role, "content": said}, *calls] if said or not calls else calls


def _call_item(call: Mapping[str, Any]) -> dict[str, Any]:
    if "custom" in call:
        return {"type": "custom_tool_call", "call_id": call.get("id"), **call["custom"]}
    function = call["function"]
    return {
        "type": "function_call",
        "call_id": call.get("id"),
        "name": function["name"],
        "arguments": function.get("arguments") or "{}",
    }
