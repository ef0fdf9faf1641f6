"""Whether a message that comes again says what was stored, or something else under the same id."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from convmemory.encoding.message_classes import layout_of, nearest_kind
from convmemory.encoding.searchable import text_of
from convmemory.encoding.text_blocks import block_text


def says_the_same(old: BaseMessage, new: BaseMessage) -> bool:
    """Whether ``new`` says what ``old`` says.

    A client that sends its transcript again leaves out what it has no place for: usage, names, tool calls, blocks. What
    it has must be the same. ``says_the_same_v1`` in PostgreSQL decides it for what is stored.
    """
    if _role(old) != _role(new) or not _same_content(old, new):
        return False
    if isinstance(new, AIMessage) and new.tool_calls:
        return isinstance(old, AIMessage) and old.tool_calls == new.tool_calls
    return not isinstance(new, ToolMessage) or (
        isinstance(old, ToolMessage) and old.tool_call_id == new.tool_call_id
    )


def _role(message: BaseMessage) -> str:
    """LangChain's type, the same for a chunk and the whole message."""
    return layout_of(nearest_kind(message)).role


def _same_content(old: BaseMessage, new: BaseMessage) -> bool:
    if old.content == new.content:
        return True
    shown = _no_text(new.content)
    return text_of(old.content) == text_of(new.content) and (not shown or shown == _no_text(old.content))


def _no_text(content: Any) -> list[Any]:
    """The blocks of a content that are no text: pictures, files, a provider's own."""
    blocks = content if isinstance(content, list) else []
    return [one for one in blocks if block_text(one) is None]
