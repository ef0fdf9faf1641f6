"""What a list is asked for: the filters of every route that lists conversations."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal

from fastapi import HTTPException
from pydantic import Field

from convmemory.api.queries import Query
from convmemory.storage.conversation_lists import Order

Whether = Literal["true", "false", "all"]
FLAGS = {"true": True, "false": False, "all": None}


class Listed(Query):
    """Which page of a list, and of what; those put away only where they are asked for."""

    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, description="the `next_cursor` of the page before")
    order: Order = Field(
        default="updated",
        description="the one changed last first (`updated`), or the one begun last (`created`)",
    )
    count: bool = Field(default=False, description="whether to count what all pages have")
    archived: Whether = Field(default="false", description="only those put away, those that are not, or all")
    pinned: Whether = Field(default="all", description="only those pinned, those that are not, or all")
    dept_id: str | None = Field(
        default=None, min_length=1, max_length=255, description="only of this department"
    )
    since: datetime | None = Field(
        default=None, description="only last changed from then on; with a time zone"
    )
    until: datetime | None = Field(
        default=None, description="only last changed before then; with a time zone"
    )
    metadata: str | None = Field(
        default=None,
        description="only whose metadata contains this JSON object",
        examples=['{"channel": "web"}'],
    )

    def page(self) -> dict[str, Any]:
        """Which page, as the verb that lists takes it."""
        return {"limit": self.limit, "cursor": self.cursor, "order": self.order}

    def where(self) -> dict[str, Any]:
        """Of what, as the verbs that list and count take it."""
        return {
            "archived": FLAGS[self.archived],
            "pinned": FLAGS[self.pinned],
            "dept_id": self.dept_id,
            "since": self.since,
            "until": self.until,
            "metadata": None if self.metadata is None else _object(self.metadata),
        }


class ListedOfAll(Listed):
    """The same for operators, who are shown those put away as well."""

    archived: Whether = Field(default="all", description="only those put away, those that are not, or all")
    user_id: str | None = Field(default=None, min_length=1, max_length=255, description="only this user's")

    def where(self) -> dict[str, Any]:
        """Of what, and whose."""
        return {"user_id": self.user_id, **super().where()}


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(422, "metadata: must be a JSON object")
    return found
