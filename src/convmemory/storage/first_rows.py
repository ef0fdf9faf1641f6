"""What the rows of 0.1 are now: ids that follow from others, roles, and what the library noted apart from the caller's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID, uuid5

from convmemory.encoding.codec import decode, encode
from convmemory.ids import message_key

_OF_RUNS: Final = ("first_token_ms", "model", "input_tokens", "output_tokens")
"""What 0.1 noted of a reply by its run, in the place of whatever the caller called so."""


def renewed(  # noqa: PLR0917 - the columns of a row, in order
    old: UUID, now: UUID, row_id: UUID, role: str, content: str, body: str, metadata: Mapping[str, Any] | None
) -> tuple[UUID, str, dict[str, Any], dict[str, Any]]:
    """The id, role, metadata and facts of a message whose conversation was the row ``old`` and is the row ``now``.

    0.1 laid what it noted over the caller's metadata, so that a name of both has its value alone: it is taken for noted
    where it says what the message says, or may be a figure of a reply's run.
    """
    message = decode(body, content)
    encoded = encode(message)
    said = encoded.facts or {}
    facts: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, value in (metadata or {}).items():
        noted = said.get(name) == value or (role == "ai" and name in _OF_RUNS)
        (facts if noted else own)[name] = value
    given = message.id
    if given and row_id == uuid5(old, str(given).encode("utf-8", "surrogatepass").hex()):
        row_id = message_key(now, str(given))
    return row_id, encoded.role if role == "human" else role, own, facts
