"""Which conversations a list has, in which order, and where its pages begin."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from convmemory.errors import InvalidArgument
from convmemory.ids import FIRST
from convmemory.models import Conversation

Order: TypeAlias = Literal["updated", "created"]
"""The one changed last first, or the one begun last."""
EVER: Final = "infinity"
NEVER: Final = "-infinity"
_LAST: Final = UUID(int=(1 << 128) - 1)
_MARKS: Final = {"updated": "u", "created": "c"}


@dataclass(frozen=True, slots=True)
class Meant:
    """Which conversations are meant; ``None`` where it does not matter.

    ``metadata`` is JSON that theirs contains; of ``since`` and ``until`` the last change was from then on, and before then.
    """

    archived: bool | None
    pinned: bool | None
    dept_id: str | None
    since: datetime | None
    until: datetime | None
    metadata: str | None

    def parameters(self) -> dict[str, Any]:
        """As the statements on lists take them."""
        return {
            "archived": self.archived,
            "pinned": self.pinned,
            "dept_id": self.dept_id,
            "since": self.since or NEVER,
            "until": self.until or EVER,
            "metadata": self.metadata,
        }


def place_of(found: Conversation, order: Order) -> tuple[datetime, UUID]:
    """Where a conversation stands in that order."""
    return found.updated_at if order == "updated" else found.created_at, found.uuid


def cursor_after(found: Conversation, order: Order) -> str:
    """Where the page after this conversation begins."""
    moment, uuid = place_of(found, order)
    return base64.urlsafe_b64encode(f"{_MARKS[order]}|{moment.isoformat()}|{uuid}".encode()).decode()


def read_cursor(cursor: str | None, order: Order) -> dict[str, Any]:
    """The place a cursor names, as parameters of the statements on lists.

    Raises:
        InvalidArgument: It is not a cursor that a page of this order gave.
    """
    if cursor is None:
        return {"before_time": EVER, "before_id": _LAST}
    try:
        mark, moment, uuid = base64.urlsafe_b64decode(cursor).decode().split("|")
        place = {"before_time": datetime.fromisoformat(moment), "before_id": UUID(uuid)}
    except (TypeError, ValueError) as error:
        raise InvalidArgument("cursor", "must be the next_cursor of a page, unchanged") from error
    if mark != _MARKS[order]:
        raise InvalidArgument("cursor", "must be the next_cursor of a page in the same order")
    return place


def read_above(found: Conversation | None, order: Order) -> dict[str, Any]:
    """Only what stands in front of a conversation, as parameters of ``list_everybodys.sql``; in front of nothing, all."""
    moment, uuid = (NEVER, FIRST) if found is None else place_of(found, order)
    return {"above_time": moment, "above_id": uuid}
