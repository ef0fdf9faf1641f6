"""Which blocks of a content are text and which are reasoning, in whichever provider's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from langchain_core.messages import BaseMessage

Kind = Literal["text", "reasoning"]

TEXT_TYPES: Final = (None, "input_text", "output_text", "text")
"""What a block of text has for its type: a provider's word for it, or none."""


def block_text(block: object) -> str | None:
    """The text of a block that is text, ``None`` where it is something else.

    Members are reached through ``dict`` and ``str`` themselves: a caller's subclass may do anything in its own.
    """
    if isinstance(block, str):
        return str.__str__(block)
    if not isinstance(block, dict):
        return None
    kind, text = dict.get(block, "type"), dict.get(block, "text")
    is_text = kind is None or (isinstance(kind, str) and str.__str__(kind) in TEXT_TYPES)
    return str.__str__(text) if is_text and isinstance(text, str) else None


def text_and_reasoning(message: BaseMessage) -> Iterator[tuple[Kind, str]]:
    """What a model said and what it thought before, piece by piece and in order, in whichever provider's words."""
    thought = message.additional_kwargs.get("reasoning_content")
    if isinstance(thought, str) and thought:
        yield "reasoning", thought
    if isinstance(message.content, str):
        yield "text", message.content
        return
    for block in message.content:
        if isinstance(block, str):
            yield "text", block
        elif isinstance(block, dict):
            yield from _in_block(block)


def _in_block(block: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    kind = block.get("type")
    if kind == "text":
        yield "text", str(block.get("text") or "")
    elif kind in {"reasoning", "thinking"}:
        summary = block.get("summary")
        told = block.get("reasoning") or block.get("thinking")
        if told:
            yield "reasoning", str(told)
        elif isinstance(summary, list):
            for one in summary:
                if isinstance(one, dict):
                    yield "reasoning", str(one.get("text") or "")
