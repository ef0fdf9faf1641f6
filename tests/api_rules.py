"""What the APIs of models refuse: by the types of their own SDKs, and by the order they want messages in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from anthropic.types import ContentBlockParam, MessageParam
from anthropic.types.tool_result_block_param import Content
from openai.types.chat import (
    ChatCompletionContentPartParam,
    ChatCompletionContentPartRefusalParam,
    ChatCompletionContentPartTextParam,
    ChatCompletionMessageParam,
    ChatCompletionMessageToolCallUnionParam,
)
from pydantic import TypeAdapter, ValidationError

Told = dict[str, Any]

CHAT = TypeAdapter(ChatCompletionMessageParam)
CHAT_CALL = TypeAdapter(ChatCompletionMessageToolCallUnionParam)
CHAT_TEXT = TypeAdapter(ChatCompletionContentPartTextParam)
CHAT_PARTS = {
    "user": TypeAdapter(ChatCompletionContentPartParam),
    "assistant": TypeAdapter(ChatCompletionContentPartTextParam | ChatCompletionContentPartRefusalParam),
}
ANTHROPIC = TypeAdapter(MessageParam)
ANTHROPIC_BLOCK = TypeAdapter(ContentBlockParam)
ANTHROPIC_RESULT = TypeAdapter(Content)


def openai_refuses(told: Sequence[Told]) -> list[object]:
    """What is wrong with the messages of a request to Chat Completions."""
    wrong = [value for one in told for adapter, value in _of_chat(one) if not _fits(adapter, value)]
    wrong += [one for one in told if one.get("content") == []]
    waiting: list[str] = []
    for one in told:
        if one["role"] == "tool":
            wrong += (
                []
                if one["tool_call_id"] in waiting
                else [f"a result without its call: {one['tool_call_id']}"]
            )
            waiting = [name for name in waiting if name != one["tool_call_id"]]
        else:
            wrong += [f"no result of {name} before the next message" for name in waiting]
            waiting = [call["id"] for call in one.get("tool_calls", ())]
    return wrong + [f"no result of {name} at the end" for name in waiting]


def anthropic_refuses(told: Sequence[Told]) -> list[object]:
    """What is wrong with the messages of a request to Anthropic's Messages API."""
    wrong = [value for one in told for adapter, value in _of_anthropic(one) if not _fits(adapter, value)]
    roles = [one["role"] for one in told]
    if roles[:1] == ["assistant"] or any(a == b for a, b in pairwise(roles)):
        wrong.append(roles)
    called: list[str] = []
    waiting: list[str] = []
    for one in told:
        blocks = _blocks(one)
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(results) != sorted(waiting):
            wrong.append(f"calls {waiting} and results {results}")
        kinds = [block["type"] != "tool_result" for block in blocks]
        if not one["content"] or kinds != sorted(kinds):
            wrong.append(one)
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        called += waiting
        wrong += [block for block in blocks if block["type"] == "text" and not block["text"].strip()]
    return wrong + ([waiting] if waiting else []) + ([called] if len(called) != len(set(called)) else [])


def _of_chat(one: Told) -> Iterator[tuple[TypeAdapter[Any], object]]:
    """A message and what stands in its lists, of which the types are lazy."""
    yield CHAT, one
    parts = one.get("content")
    for part in parts if isinstance(parts, list) else ():
        yield CHAT_PARTS.get(one["role"], CHAT_TEXT), part
    for call in one.get("tool_calls", ()):
        yield CHAT_CALL, call


def _of_anthropic(one: Told) -> Iterator[tuple[TypeAdapter[Any], object]]:
    yield ANTHROPIC, one
    for block in _blocks(one):
        yield ANTHROPIC_BLOCK, block
        inside = block.get("content") if block["type"] == "tool_result" else None
        for part in inside if isinstance(inside, list) else ():
            yield ANTHROPIC_RESULT, part


def _blocks(one: Told) -> list[Told]:
    return one["content"] if isinstance(one["content"], list) else []


def _fits(adapter: TypeAdapter[Any], value: object) -> bool:
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
