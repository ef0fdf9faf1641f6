"""What a guardrail changes in a turn that is stored already: other words for a message, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from langchain_core.messages import BaseMessage, FunctionMessage

from convmemory.encoding.codec import Encoded, decode, encode
from convmemory.ids import other_row_id
from convmemory.storage.postgres_rows import StoredBatch, json_text
from convmemory.storage.text_arrays import array
from convmemory.storage.titles import title_from

REMOVED: Final = "[removed]"
"""What a message says that was taken back when others had been stored after it already."""


Place: TypeAlias = int | tuple[str, ...]
"""A seq; or the row ids that a message may be found by while it waits for one, the surest first."""

_IDENTITY: Final = ("id", "role", "tool_call_id")
"""What is left of a message that was taken back: which it is, and where it belongs."""


@dataclass(frozen=True, slots=True)
class Revision:
    """Other words for a stored message: ``seq`` and ``stored`` say which, and what was stored there.

    One that is ``gone`` is taken away, and says ``new`` only where others have been stored after it.
    """

    seq: Place
    stored: Encoded
    new: BaseMessage
    gone: bool


def place_of(stored: StoredBatch, n: int) -> Place:
    """Where a row of a batch is."""
    if not stored.pending:
        return abs(stored.seqs[n])
    batch, encoded = stored.batch, stored.batch.encoded[n]
    return other_row_id(batch.ids[n], batch.since, encoded.role, encoded.content, encoded.body), batch.ids[n]


def taken_back(seq: Place, stored: Encoded) -> Revision:
    """The revision that takes a message away."""
    said = decode(stored.body, stored.content)
    identity = (*_IDENTITY, "name") if isinstance(said, FunctionMessage) else _IDENTITY
    kept = {name: getattr(said, name) for name in identity if getattr(said, name, None) is not None}
    return Revision(seq, stored, type(said)(content=REMOVED, **kept), gone=True)


def placed(changes: Sequence[Revision], seqs: Mapping[str, int]) -> list[Revision]:
    """The revisions of stored messages; ``seqs`` has the places of those that waited for one, by row id."""
    found = []
    for change in changes:
        if isinstance(change.seq, int):
            found.append(change)
        elif seq := next((seqs[row] for row in change.seq if row in seqs), 0):
            found.append(Revision(seq, change.stored, change.new, change.gone))
    return found


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
