"""How many tokens an answer took, as its model reported them: one reading for what is stored and what is told.

What a caller hands in is read through ``dict`` itself, since a subclass may do anything in its own methods; what a run of
LangChain's tells is read as it is, where a failure costs the figures alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

MOST: Final = 2**31 - 1
"""The largest number a PostgreSQL integer holds."""


class Tokens(NamedTuple):
    """What a call took, as the model counts; ``None`` where it did not say."""

    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None


def counted(value: object) -> int | None:
    """A count that fits a column; ``None`` for anything else (``True`` is no count)."""
    return value if type(value) is int and 0 <= value <= MOST else None


def total_of(usage: object) -> int | None:
    """The total of a message's ``usage_metadata``, ``None`` where it reported none."""
    return counted(dict.get(usage, "total_tokens")) if isinstance(usage, dict) else None


def brief_usage(usage: object) -> str | None:
    """The figures of a usage that is nothing but three whole numbers in LangChain's order; ``None`` for any other."""
    if type(usage) is not dict or tuple(usage) != Tokens._fields:
        return None
    figures = usage.values()
    return ",".join(map(str, figures)) if all(type(figure) is int for figure in figures) else None


def usage_of(figures: Any) -> dict[str, int]:
    """The usage that ``brief_usage`` made three figures of; ``ValueError`` where they are no such."""
    if type(figures) is not list or not all(type(figure) is int for figure in figures):
        raise ValueError("the usage has figures of the wrong kind")
    return dict(zip(Tokens._fields, figures, strict=True))


def tokens_of(message: Any, output: Mapping[str, Any]) -> Tokens:
    """The tokens of a call, under the names LangChain settled on; older models tell them beside the message."""
    usage = getattr(message, "usage_metadata", None) or {}
    older = output.get("token_usage") or output.get("usage") or {}
    once = ("prompt_tokens", "completion_tokens", "total_tokens")
    return Tokens(
        *(counted(usage.get(new, older.get(old))) for new, old in zip(Tokens._fields, once, strict=True))
    )
