"""Between rows of ``search_messages.sql`` and what is told of them: pages and their cursors, snippets, what is recalled."""

from __future__ import annotations

import base64
import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from convmemory.errors import InvalidArgument
from convmemory.models import Message, Page
from convmemory.search_results import Recalled, Recollection, SearchHit
from convmemory.storage.postgres_rows import message_of
from convmemory.storage.search_queries import Part
from convmemory.storage.snippets import snippet_of

_FOUR_BYTES: Final = "I"
_MOST_WORTH: Final = 2**40
"""More than any word is worth: a thousand times the logarithm of a number of messages."""
_MOST_SHOWN: Final = 500
"""Of so many hits on earlier pages a cursor knows that they were shown: it is sent in a URL."""
FIRST_PAGE: Final[dict[str, Any]] = dict.fromkeys(
    ["weights", "middle", "as_of", "score", "told", "last_in", "last_at", "shown", "all_shown"]
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of ``search_messages.sql``."""

    place: int | None
    found: bool
    score: int
    told: datetime
    share: float
    weights: list[int]
    middle: float | None
    as_of: datetime
    below: int
    conversation: UUID
    external_id: str | None
    title: str | None
    marked: str | None
    message: Sequence[Any]

    @classmethod
    def of(cls, row: Sequence[Any]) -> Row:
        """Read it."""
        columns: list[Any] = [*row[:13], row[13:]]
        return cls(*columns)

    @property
    def name(self) -> str:
        """The conversation as it is called."""
        return self.external_id or str(self.conversation)

    @property
    def seq(self) -> int | None:
        """The place of the message; ``None`` of a title."""
        seq: int | None = self.message[1]
        return seq

    @property
    def number(self) -> int:
        """What tells it from other hits, as ``search_v1`` in PostgreSQL has it."""
        return (
            int(self.conversation.hex[-8:], 16) + (-100 if self.seq is None else self.seq) * 2654435761
            & 2**32 - 1
        )

    def cursor(self, shown: Sequence[int] | None) -> str:
        """Where the page behind this row begins, with what the ranking was made of, so that it stays the same, and what was shown."""
        place = [
            self.score,
            self.told.isoformat(),
            self.conversation.hex,
            self.seq,
            self.weights,
            self.middle,
            self.as_of.isoformat(),
            None
            if shown is None
            else base64.b64encode(array(_FOUR_BYTES, shown[-_MOST_SHOWN:]).tobytes()).decode(),
        ]
        return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode()


def read_cursor(cursor: object) -> dict[str, Any]:
    """The place a cursor names, as parameters of ``search_messages.sql``.

    Raises:
        InvalidArgument: It is not a cursor that a page gave.
    """
    if cursor is None:
        return FIRST_PAGE
    try:
        if not isinstance(cursor, str):
            raise TypeError  # noqa: TRY301 - one answer to whatever is none
        place = json.loads(base64.urlsafe_b64decode(cursor))
        score, told, conversation, seq, weights, middle, as_of, numbers = place
        shown = None if numbers is None else array(_FOUR_BYTES, base64.b64decode(numbers)).tolist()
        return {
            "score": _number(score, 2**62),
            "told": _moment(told),
            "last_in": UUID(conversation),
            "last_at": -100 if seq is None else _number(seq, 2**62),
            "weights": [None if weight is None else _number(weight, _MOST_WORTH) for weight in weights],
            "middle": None if middle is None else _share(middle),
            "as_of": _moment(as_of),
            "shown": shown,
            "all_shown": shown is not None and len(shown) < _MOST_SHOWN,
        }
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise InvalidArgument("cursor", "must be the next_cursor of a page, unchanged") from error


def _number(value: object, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < most:
        raise ValueError
    return value


def _share(value: object) -> float:
    if not isinstance(value, int | float) or not -1 <= value <= 1:
        raise ValueError
    return float(value)


def _moment(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.utcoffset() is None:
        raise ValueError
    return moment.astimezone(UTC)


def page_of(
    rows: Sequence[Row],
    limit: int,
    parts: Sequence[Part],
    shown: Sequence[int] | None,
    *,
    typos: bool = False,
) -> Page[SearchHit]:
    """A page of hits; of rows there is one more where another page comes after. With ``typos`` what is alike is marked as well.

    ``shown`` are the numbers of hits on the pages before, ``None`` where no page need know.
    """
    found = [row for row in rows if row.place is not None]
    sought = [_run(part.text) for part in parts if part.kind == "pairs" and part.sign > 0]
    alike = [part.alike for part in parts if typos and part.alike is not None]
    plain = [part.text for part in parts if part.sign > 0 and part.kind != "pairs"]
    told = None if shown is None else [*shown, *(row.number for row in found[:limit])]
    more = found[limit - 1].cursor(told) if len(found) > limit else None
    return Page[SearchHit].built(
        items=tuple(_hit(row, sought, alike, plain) for row in found[:limit]), next_cursor=more
    )


def _run(query: str) -> str:
    """The run that a query of pairs was made of."""
    first, *others = query.removesuffix(":*").strip("'").split("' <-> '")
    return first + "".join(pair[1:] for pair in others)


def _hit(row: Row, sought: Sequence[str], alike: Sequence[str], plain: Sequence[str]) -> SearchHit:
    snippet, highlights = snippet_of(row.marked or "", sought, alike, plain)
    row_id, seq, role, *_, created, _, _, _ = row.message
    return SearchHit.built(
        conversation_id=row.name,
        uuid=row.conversation,
        title=row.title,
        seq=seq,
        message_id=row_id,
        role=role,
        created_at=created,
        snippet=snippet,
        highlights=highlights,
        rank=round(row.share, 6),
    )


def reordered(rows: Sequence[Row], best: object, most: int) -> list[Row]:
    """The rows of what was found, in the order a caller's ``rerank`` gave it; those that it left out are gone.

    Raises:
        InvalidArgument: It gave something that was not found, or nothing to walk.
    """
    if not isinstance(best, Iterable):
        raise InvalidArgument(
            "rerank", f"must return some of what it was given, in a list, not {type(best).__name__}"
        )
    groups = {group[0].place: group for group in _groups(rows)}
    places = {(row.name, row.seq): row.place for row in rows if row.found}
    order: dict[int | None, None] = {}
    for one in best:
        place = places.get((getattr(one, "conversation_id", ""), getattr(one, "seq", None)))
        if place is None:
            raise InvalidArgument("rerank", "must return some of what it was given, in another order")
        order[place] = None
    kept = [replace(row, place=n) for n, place in enumerate(list(order)[:most]) for row in groups[place]]
    return kept or [replace(row, place=None) for row in rows[:1]]


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each message that was found, with its neighbours."""
    return [list(group) for place, group in groupby(rows, lambda row: row.place) if place is not None]


def recalled(rows: Sequence[Row]) -> Recalled:
    """What was found, best first, each with its neighbours; a message that was told already is not told again."""
    groups = _groups(rows)
    told = {(row.conversation, row.seq) for group in groups for row in group if row.found}
    kept: list[Recollection] = []
    for group in groups:
        [best] = [row for row in group if row.found]
        beside: list[Message] = []
        for row in group:
            if (row.conversation, row.seq) not in told:
                told.add((row.conversation, row.seq))
                beside.append(message_of(row.name, row.message))
        kept.append(
            Recollection.built(
                message=message_of(best.name, best.message),
                title=best.title,
                score=round(best.share, 6),
                beside=tuple(beside),
            )
        )
    return Recalled.built(items=tuple(kept), below=rows[0].below if rows else 0)
