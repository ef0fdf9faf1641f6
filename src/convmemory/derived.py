"""The copies of a message's parts that PostgreSQL can search: derived, cleaned, never read back."""

from __future__ import annotations

from typing import Any

from convmemory.cleaning import clean_text

LOSSY_KEY = "convmemory_lossy"
"""In ``response_metadata`` of a message that came back with some parts as text: the list of their paths."""

_SHOWN_CHARS = 1_000  # of a name
_MOST_TOKENS = 2**31 - 1  # a PostgreSQL integer
_TEXT_BLOCKS = ("text", "input_text", "output_text")


def text_of(content: Any) -> str:
    """The text of a message's ``content``: itself, or its text blocks joined by newlines."""
    if isinstance(content, str):
        return str.__str__(content)
    if not isinstance(content, list):
        return ""
    texts = [block if isinstance(block, str) else _block_text(block) for block in content]
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def metadata_of(fields: dict[str, Any], losses: list[str]) -> dict[str, Any] | None:
    """The queryable facts of a message, ``None`` when there are none.

    ``fields`` are those not at their default. Names are cut at 1,000 characters; ``lossy`` also lists what
    the message had lost already when it was read and is now stored again.
    """
    if not fields and not losses:
        return None
    response = fields.get("response_metadata", {})
    known = {
        "name": fields.get("name"),
        "model": response.get("model_name") or response.get("model"),
        "tool_call_id": fields.get("tool_call_id"),
        "status": "error" if fields.get("status") == "error" else None,
    }
    found: dict[str, Any] = {
        key: _shown(text) for key, text in known.items() if text and isinstance(text, str)
    }
    calls = [call.get("name") for call in fields.get("tool_calls", ())]
    if calls:
        found["tool_calls"] = [_shown(name) for name in calls if isinstance(name, str)]
    lossy = [*_earlier_losses(response), *losses]
    if lossy:
        found["lossy"] = lossy
    return found or None


def tokens_of(fields: dict[str, Any]) -> int | None:
    """The total the model reported, ``None`` where it reported none that fits a column."""
    total = (fields.get("usage_metadata") or {}).get("total_tokens")
    return total if type(total) is int and 0 <= total <= _MOST_TOKENS else None


def _block_text(block: object) -> object:
    if not isinstance(block, dict):
        return None
    kind = block.get("type")
    return block.get("text") if kind is None or kind in _TEXT_BLOCKS else None


def _earlier_losses(response: dict[str, Any]) -> list[str]:
    paths = response.get(LOSSY_KEY)
    return [_shown(path) for path in paths if isinstance(path, str)] if isinstance(paths, list) else []


def _shown(text: str) -> str:
    return clean_text(text)[:_SHOWN_CHARS]
