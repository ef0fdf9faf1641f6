"""What an operator sees: everybody's conversations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from heapq import nlargest
from typing import Any, Final
from uuid import UUID

from convmemory._async.list_verbs import checked_order, every_one, meant_by
from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory.arguments import ConversationRef, checked_limit, optional_id, row_of_conversation
from convmemory.ids import FIRST, checked_id
from convmemory.models import Conversation, Page
from convmemory.storage.conversation_lists import Meant, Order, cursor_after, place_of

_STRETCH: Final = 2_000
"""Conversations of everybody's that one statement looks at."""
_BATCH: Final = 100


class AsyncOperator:
    """Everybody's conversations, for operators: ``memory.operator`` gives it, and ``for_user`` does not.

    No verb here asks whose request it is. No index is by time, department or metadata alone, so that no turn pays for one: without a
    user each call looks at all conversations, some at a time, so that nobody waits for it.
    """

    def __init__(self, postgres: AsyncPostgresStore) -> None:
        self._postgres = postgres

    async def list_conversations(
        self,
        limit: int = 20,
        *,
        cursor: str | None = None,
        order: Order = "updated",
        user_id: str | None = None,
        archived: bool | None = None,
        pinned: bool | None = None,
        dept_id: str | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Page[Conversation]:
        """Everybody's conversations, the one changed last first, whoever's they are: each says its ``user_id``.

        Args:
            limit: 1 to 1,000 a page.
            cursor: The ``next_cursor`` of the page before, of the same order and filters.
            order: ``"updated"``: the one changed last first; ``"created"``: the one begun last.
            user_id: Only this user's, which are found by their owner.
            archived: Whether they are put away; ``None``: either.
            pinned: Whether they are pinned; ``None``: either.
            dept_id: Only those of this department.
            since: Only those last changed at this time or later; a ``timedelta`` is how long ago.
            until: Only those last changed before this time.
            metadata: Only those whose metadata has these names with these values in it.
        """
        size, by = checked_limit("limit", limit, 1_000), checked_order(order)
        meant = meant_by(
            archived=archived,
            pinned=pinned,
            dept_id=dept_id,
            since=since,
            until=until,
            metadata=metadata,
        )
        if user_id is not None:
            user = checked_id("user_id", user_id)
            return await self._postgres.list_conversations(user, meant, by, limit=size, cursor=cursor)
        best: list[Conversation] = []
        after: UUID | None = FIRST
        while after is not None:
            above = best[-1] if len(best) > size else None
            found, _, after = await self._postgres.list_everybodys(
                meant, by, after=after, page=_STRETCH, limit=size + 1, cursor=cursor, above=above
            )
            best = nlargest(size + 1, [*best, *found], key=lambda one: place_of(one, by))
        more = cursor_after(best[size - 1], by) if len(best) > size else None
        return Page[Conversation].built(items=tuple(best[:size]), next_cursor=more)

    def iter_conversations(
        self,
        *,
        user_id: str | None = None,
        archived: bool | None = None,
        pinned: bool | None = None,
        dept_id: str | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Conversation]:
        """Everybody's conversations, in no order that says anything, each once: for exports and reports.

        Args:
            user_id: Only this user's.
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
        return self._every_one(optional_id("user_id", user_id), meant)

    async def _every_one(self, user_id: str | None, meant: Meant) -> AsyncIterator[Conversation]:
        if user_id is not None:
            async for one in every_one(self._postgres, user_id, meant, _BATCH):
                yield one
            return
        after: UUID | None = FIRST
        while after is not None:
            found, _, after = await self._postgres.list_everybodys(
                meant, "created", after=after, page=_STRETCH, limit=_STRETCH
            )
            for one in found:
                yield one

    async def count_conversations(
        self,
        *,
        user_id: str | None = None,
        archived: bool | None = None,
        pinned: bool | None = None,
        dept_id: str | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """How many conversations all pages of ``list_conversations`` with these arguments have."""
        meant = meant_by(
            archived=archived,
            pinned=pinned,
            dept_id=dept_id,
            since=since,
            until=until,
            metadata=metadata,
        )
        if user_id is not None:
            return await self._postgres.count_conversations(checked_id("user_id", user_id), meant)
        number, after = 0, FIRST
        while True:
            _, meant_here, last = await self._postgres.list_everybodys(
                meant, "created", after=after, page=_STRETCH, limit=0
            )
            number += meant_here
            if last is None:
                return number
            after = last

    async def find_conversation(self, conversation_id: ConversationRef) -> Conversation | None:
        """The conversation of a UUID, whoever's it is: what traces and logs name it by; ``None`` when there is none.

        With the ``user_id`` it tells, every other verb reaches it: ``memory.get_messages(found, user_id=found.user_id)``.

        Raises:
            InvalidArgument: It is no UUID; of a name only its owner knows which conversation is meant.
        """
        return await self._postgres.find_conversation(row_of_conversation(conversation_id))
