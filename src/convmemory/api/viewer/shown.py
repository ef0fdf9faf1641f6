"""A stored message as the page shows it."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field

from convmemory.api.bodies import MessageFound, message_found
from convmemory.api.viewer.markdown import html_of
from convmemory.chains.turn import PARTIAL_KEY
from convmemory.encoding.storable_text import clean_text
from convmemory.encoding.text_blocks import text_and_reasoning
from convmemory.models import Message

_AS_MARKDOWN: Final = frozenset({"ai", "system"})
"""Whose words are Markdown: what a user typed and what a tool returned are shown as they are."""


class MessageShown(MessageFound):
    """A stored message, ready to be shown."""

    html: str | None = Field(default=None, description="`content` as harmless HTML, where it is Markdown")
    reasoning: str = Field(default="", description="what the model thought before it answered")
    tool: str | None = Field(default=None, description="the tool whose result this is")
    failed: bool = Field(default=False, description="whether the tool failed")
    partial: bool = Field(default=False, description="whether the answer was broken off")


class MessagesShown(BaseModel):
    """A page of messages, oldest first."""

    items: list[MessageShown]


def message_shown(stored: Message) -> dict[str, Any]:
    """The fields of a ``MessageShown``."""
    said = stored.message
    thoughts = [text for kind, text in text_and_reasoning(said) if kind == "reasoning" and text]
    return {
        **message_found(stored),
        "html": html_of(stored.content) if stored.role in _AS_MARKDOWN and stored.content else None,
        "reasoning": clean_text("\n".join(thoughts)),
        "tool": clean_text(said.name) if stored.role == "tool" and said.name else None,
        "failed": getattr(said, "status", None) == "error",
        "partial": bool(getattr(said, "response_metadata", {}).get(PARTIAL_KEY)),
    }
