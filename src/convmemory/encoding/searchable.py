"""The copies of a message's parts that PostgreSQL can search: derived, cleaned, never read back.

Members are reached through ``dict`` and ``list`` themselves: a caller's subclass may do anything in its own.
"""

from __future__ import annotations

from typing import Any

from convmemory.encoding.storable_text import clean_text
from convmemory.encoding.text_blocks import block_text

LOSSY_KEY = "convmemory_lossy"
"""In ``response_metadata`` of a message that came back with some parts as text: the list of their paths."""

_SHOWN_CHARS = 1_000  # of a name


def text_of(content: Any) -> str:
    """The text of a message's ``content``: itself, or its text blocks joined by newlines."""
    if isinstance(content, str):
        return str.__str__(content)
    if not isinstance(content, list):
        return ""
    return "\n".join(text for block in list.__iter__(content) if (text := block_text(block)))


def facts_of(fields: dict[str, Any], losses: list[str]) -> dict[str, Any] | None:
    """The queryable facts of a message, ``None`` when there are none.

    ``fields`` are those not at their default. Names are cut at 1,000 characters; ``lossy`` also lists what
    the message had lost already when it was read and is now stored again.
    """
    if not fields and not losses:
        return None
    response = fields.get("response_metadata", {})
    calls = list.__iter__(fields.get("tool_calls", []))
    status = _text(fields.get("status"))
    known = {
        "name": _text(fields.get("name")),
        "model": _text(dict.get(response, "model_name")) or _text(dict.get(response, "model")),
        "tool_call_id": _text(fields.get("tool_call_id")),
        "status": status if status == "error" else None,
        "tool_calls": [name for call in calls if (name := _text(dict.get(call, "name")))],
        "lossy": [*_earlier_losses(response), *losses],
    }
    return {key: value for key, value in known.items() if value} or None


def _earlier_losses(response: dict[str, Any]) -> list[str]:
    paths = dict.get(response, LOSSY_KEY)
    return [text for path in list.__iter__(paths) if (text := _text(path))] if isinstance(paths, list) else []


def _text(value: object) -> str | None:
    return clean_text(str.__str__(value))[:_SHOWN_CHARS] if isinstance(value, str) else None
