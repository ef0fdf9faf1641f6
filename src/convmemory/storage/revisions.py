"""What a guardrail changes in a turn that is stored already: other words for a message, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.messages import BaseMessage, FunctionMessage

from convmemory.encoding.codec import Encoded, decode, encode
from convmemory.storage.postgres_rows import array, json_text
from convmemory.storage.titles import title_from

REMOVED: Final = "[removed]"
"""What a message says that was taken back when others had been stored after it already."""


_IDENTITY: Final = ("id", "role", "tool_call_id")
"""What is left of a message that was taken back: which it is, and where it belongs."""


@dataclass(frozen=True, slots=True)
class Revision:
    """Other words for a stored message: ``seq`` and ``stored`` say which, and what was stored there.

    One that is ``gone`` is taken away, and says ``new`` only where others have been stored after it.
    """

    seq: int
    stored: Encoded
    new: BaseMessage
    gone: bool


def taken_back(seq: int, stored: Encoded) -> Revision:
    """The revision that takes a message away."""
    said = decode(stored.body, stored.content)
    identity = (*_IDENTITY, "name") if isinstance(said, FunctionMessage) else _IDENTITY
    kept = {name: getattr(said, name) for name in identity if getattr(said, name, None) is not None}
    return Revision(seq, stored, type(said)(content=REMOVED, **kept), gone=True)


def parameters(changes: Sequence[Revision]) -> dict[str, Any]:
    """The parameters of ``revise_messages.sql`` that describe messages."""
    new = [encode(change.new) for change in changes]
    old_title, title = _titles(changes)
    return {
        "seqs": [change.seq for change in changes],
        "old_contents": array([change.stored.content for change in changes]),
        "old_bodies": array([change.stored.body for change in changes]),
        "contents": array([one.content for one in new]),
        "bodies": array([one.body for one in new]),
        "facts": [json_text(one.facts) if one.facts else None for one in new],
        "gone": [change.seq for change in changes if change.gone],
        "old_title": old_title,
        "title": title,
    }


def _titles(changes: Sequence[Revision]) -> tuple[str | None, str | None]:
    """The automatic title that the first of the human messages gave, if it gave one, and the one it gives now."""
    for change in changes:
        if change.stored.role == "human" and (
            old := title_from(decode(change.stored.body, change.stored.content))
        ):
            return old, None if change.gone else title_from(change.new)
    return None, None
