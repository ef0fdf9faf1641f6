"""What a list is asked for: the filters of every route that lists conversations."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import HTTPException, Query

from convmemory.storage.conversation_lists import Order

Cursor = Annotated[str | None, Query(description="the `next_cursor` of the page before")]
Counted = Annotated[bool, Query(description="whether to count what all pages have")]
Whether = Literal["true", "false", "all"]
FLAGS = {"true": True, "false": False, "all": None}


def filters(whether_archived: Whether) -> Any:
    """A dependency that gives the filters of a list as its verb takes them.

    Args:
        whether_archived: Which are listed where a request says nothing of it.
    """

    async def asked(  # one that is not awaited would be run in a thread, which takes longer
        *,
        archived: Annotated[
            Whether, Query(description="only those put away, those that are not, or all")
        ] = whether_archived,
        pinned: Annotated[
            Whether, Query(description="only those pinned, those that are not, or all")
        ] = "all",
        dept_id: Annotated[
            str | None, Query(min_length=1, max_length=255, description="only of this department")
        ] = None,
        since: Annotated[
            datetime | None, Query(description="only last changed from then on; with a time zone")
        ] = None,
        until: Annotated[
            datetime | None, Query(description="only last changed before then; with a time zone")
        ] = None,
        metadata: Annotated[
            str | None,
            Query(
                description="only whose metadata contains this JSON object", examples=['{"channel": "web"}']
            ),
        ] = None,
    ) -> dict[str, Any]:
        return {
            "archived": FLAGS[archived],
            "pinned": FLAGS[pinned],
            "dept_id": dept_id,
            "since": since,
            "until": until,
            "metadata": None if metadata is None else _object(metadata),
        }

    return asked


OrderAsked = Annotated[
    Order, Query(description="the one changed last first (`updated`), or the one begun last (`created`)")
]


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(422, "metadata: must be a JSON object")
    return found
