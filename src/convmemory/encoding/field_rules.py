"""What each field of a message may hold, and how a value that does not fit is made to.

LangChain checks a message when it is built and not when it is changed, so ``message.id = 5`` is possible.
Both ways use the same rules: what is written can be read, and what cannot be relied on is not let in.
Members are reached through ``dict`` and ``list`` themselves: a caller's subclass may do anything in its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from convmemory.encoding.storable_text import outline


def fits(name: str, value: Any) -> bool:
    """Whether a field's value has the shape that LangChain and this library rely on."""
    check = _FITS.get(name)
    return check is None or check(value)


def mend(name: str, value: Any) -> Any:
    """Make a value that does not fit fit: nothing becomes the empty value, anything else is kept inside it."""
    if name == "content" and isinstance(value, list):
        return [block if isinstance(block, (str, dict)) else outline(block) for block in list.__iter__(value)]
    if name in _TEXTS:
        return _as_text(value)
    if name == "usage_metadata" or name in _MAPS:
        return {"value": value}
    if name not in _CALLS:
        return value
    if not isinstance(value, list):
        return [] if value is None else [{"value": value}]
    return [item if _is_call(item) else {"value": item} for item in list.__iter__(value)]


def _as_text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return str(value) if type(value) in {int, float, UUID} else outline(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_content(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, list) and all(isinstance(block, (str, dict)) for block in list.__iter__(value))


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _is_call(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return _is_text_or_none(dict.get(value, "id")) and _is_text_or_none(dict.get(value, "name"))


def _are_calls(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_call, list.__iter__(value)))


_MAPS = frozenset({"additional_kwargs", "response_metadata"})
_CALLS = frozenset({"tool_calls", "invalid_tool_calls", "tool_call_chunks"})
_TEXTS = frozenset({"content", "name", "id", "role", "tool_call_id", "status", "chunk_position"})

_FITS: dict[str, Callable[[Any], bool]] = {
    "content": _is_content,
    "usage_metadata": lambda value: value is None or isinstance(value, dict),
    **dict.fromkeys(_MAPS, _is_map),
    **dict.fromkeys(_CALLS, _are_calls),
    **dict.fromkeys(("name", "id", "chunk_position"), _is_text_or_none),
    **dict.fromkeys(("role", "tool_call_id", "status"), _is_text),
}
