"""Between PostgreSQL's rows and what a cache must know before it serves windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID


class Mark(NamedTuple):
    """A window that a cache must drop; ``id`` is another one with every marking."""

    cache: str
    conversation: UUID
    id: UUID


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look found: the era of each cache that is registered, and the first of its marks.

    ``after`` is where the next page begins, ``None`` where this was the last one. ``idle``: it is time to note that
    the caches are in use. ``installation``: which one this is, and ``journals`` whether writes may wait in journals, where any of
    the caches is registered.
    """

    eras: dict[str, str]
    marks: list[Mark]
    after: UUID | None
    idle: bool
    installation: str | None
    journals: bool = False


def looked(rows: Sequence[Sequence[Any]], page: int) -> Looked:
    """Read the rows of ``look.sql``: a cache that has as many marks as asked for may have more."""
    marks = [Mark(name, conversation, id_) for name, *_, conversation, id_ in rows if id_ is not None]
    pages: dict[str, list[UUID]] = {}
    for mark in marks:
        pages.setdefault(mark.cache, []).append(mark.conversation)
    ends = [max(found) for found in pages.values() if len(found) == page]
    eras = {name: era for name, era, *_ in rows}
    idle = any(idle for _, _, idle, *_ in rows)
    installation, journals = rows[0][3:5] if rows else (None, False)
    return Looked(eras, marks, min(ends, default=None), idle, installation, bool(journals))
