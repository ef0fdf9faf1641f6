"""Which blocks of a content are text, in whichever provider's words."""

from __future__ import annotations

from typing import Final

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
