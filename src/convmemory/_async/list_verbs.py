"""Lists of a user's conversations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory.arguments import checked_limit, optional_flag, optional_id, optional_moment
from convmemory.errors import InvalidArgument
from convmemory.ids import checked_id
from convmemory.models import Conversation, Page
from convmemory.storage.conversation_lists import Meant, Order
from convmemory.storage.postgres_rows import json_text
from convmemory.value_fields import checked_metadata


class AsyncListVerbs:
    """Lists of one user's conversations; a memory has them beside those on each of them."""

    postgres: AsyncPostgresStore

    async def list_user_conversations(
        self,
        user_id: str,
        limit: int = 20,
        *,
        cursor: str | None = None,
        order: Order = "updated",
        archived: bool | None = False,
        pinned: bool | None = None,
        dept_id: str | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Page[Conversation]:
        """A user's conversations, the one spoken in last first; those put away only where they are asked for.

        What is written while pages are read moves no other conversation from its place: each stands on one page. One that is
        spoken in meanwhile goes to the front of a first page; with ``order="created"`` none moves at all.

        Args:
            user_id: Their owner.
            limit: 1 to 1,000 a page.
            cursor: The ``next_cursor`` of the page before, of the same order and filters.
            order: ``"updated"``: the one changed last first; ``"created"``: the one begun last.
            archived: Whether they are put away; ``None``: either.
            pinned: Whether they are pinned; ``None``: either.
            dept_id: Only those of this department.
            since: Only those last changed at this time or later; a ``timedelta`` is how long ago.
            until: Only those last changed before this time.
            metadata: Only those whose metadata has these names with these values in it.
        """
        size = checked_limit("limit", limit, 1_000)
        meant = meant_by(
            archived=archived,
            pinned=pinned,
            dept_id=dept_id,
            since=since,
            until=until,
            metadata=metadata,
        )
        return await self.postgres.list_conversations(
            checked_id("user_id", user_id), meant, checked_order(order), limit=size, cursor=cursor
        )

    def iter_conversations(
        self,
        user_id: str,
        *,
        batch: int = 100,
        archived: bool | None = None,
        pinned: bool | None = None,
        dept_id: str | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Conversation]:
        """All of a user's conversations, the one spoken in longest ago first: a batch of them at a time.

        Each is told once, and none that was there when it began is missed, whatever is written meanwhile; pages of
        ``list_user_conversations`` are for people, and one that is spoken in moves to the first of them.

        Args:
            user_id: Their owner.
            batch: 1 to 1,000 conversations that are read at once.
            archived: Whether they are put away; ``None``: either.
            pinned: Whether they are pinned; ``None``: either.
            dept_id: Only those of this department.
            since: Only those last changed at this time or later; a ``timedelta`` is how long ago.
            until: Only those last changed before this time.
            metadata: Only those whose metadata has these names with these values in it.
        """
        meant = meant_by(
            archived=archived,
            pinned=pinned,
            dept_id=dept_id,
            since=since,
            until=until,
            metadata=metadata,
        )
        return every_one(
            self.postgres, checked_id("user_id", user_id), meant, checked_limit("batch", batch, 1_000)
        )

    async def count_conversations(
        self,
        user_id: str,
        *,
        archived: bool | None = False,
        pinned: bool | None = None,
        dept_id: str | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """How many conversations all pages of ``list_user_conversations`` with these arguments have."""
        meant = meant_by(
            archived=archived,
            pinned=pinned,
            dept_id=dept_id,
            since=since,
            until=until,
            metadata=metadata,
        )
        return await self.postgres.count_conversations(checked_id("user_id", user_id), meant)


async def every_one(
    postgres: AsyncPostgresStore, user_id: str, meant: Meant, batch: int
) -> AsyncIterator[Conversation]:
    """A user's conversations that are meant, each once."""
    told: set[UUID] = set()
    last: Conversation | None = None
    while found := await postgres.walk_user_conversations(user_id, meant, last, batch):
        for last in found:
            if last.uuid not in told:
                told.add(last.uuid)
                yield last
        if len(found) < batch:
            return


def checked_order(value: object) -> Order:
    """In which order a list is asked for."""
    if value == "updated":
        return "updated"
    if value == "created":
        return "created"
    raise InvalidArgument("order", f"must be 'updated' or 'created', not {value!r:.40}")


def meant_by(
    *,
    archived: object,
    pinned: object,
    dept_id: object,
    since: object,
    until: object,
    metadata: Any,
) -> Meant:
    """Which conversations are meant, each of what was given checked."""
    return Meant(
        archived=optional_flag("archived", archived),
        pinned=optional_flag("pinned", pinned),
        dept_id=optional_id("dept_id", dept_id),
        since=optional_moment("since", since),
        until=optional_moment("until", until),
        metadata=None if metadata is None else json_text(checked_metadata(metadata)),
    )
