"""A stored message as the page shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel, Field

from convmemory.api.bodies import MessageFound, message_found
from convmemory.api.viewer.markdown import html_of
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
    return {
        **message_found(stored),
        "html": html_of(stored.content) if stored.role in _AS_MARKDOWN and stored.content else None,
        "reasoning": "\n".join(_thoughts(said)),
        "tool": getattr(said, "name", None) if stored.role == "tool" else None,
        "failed": getattr(said, "status", None) == "error",
        "partial": bool(getattr(said, "response_metadata", {}).get("partial")),
    }


def _thoughts(said: Any) -> Iterator[str]:
    if isinstance(said.content, list):
        for block in said.content:
            if isinstance(block, dict) and block.get("type") in ("reasoning", "thinking"):
                thought = block.get("reasoning") or block.get("thinking")
                if isinstance(thought, str):
                    yield thought
