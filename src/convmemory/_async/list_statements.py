"""What PostgreSQL is asked for lists of conversations: of one user, and of everybody."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from convmemory._async.statements import AsyncStatements
from convmemory.ids import FIRST, ConversationKey
from convmemory.models import Conversation, Page
from convmemory.storage.conversation_lists import (
    EVER,
    NEVER,
    Meant,
    Order,
    cursor_after,
    read_above,
    read_cursor,
)
from convmemory.storage.postgres_rows import conversation_of

_STATEMENTS = {"updated": "list_conversations", "created": "list_by_creation"}


class AsyncListStatements(AsyncStatements):
    """Lists of conversations; the store of PostgreSQL has them beside conversations, messages and caches."""

    async def list_conversations(
        self, user_id: str, meant: Meant, order: Order, *, limit: int, cursor: str | None = None
    ) -> Page[Conversation]:
        """A user's conversations in that order, ``limit`` a page."""
        place = read_cursor(cursor, order) | meant.parameters() | {"user_id": user_id, "limit": limit + 1}
        await self._drained_of(user_id)
        return page_of(
            [conversation_of(row) for row in await self._run(_STATEMENTS[order], place)], limit, order
        )

    async def walk_user_conversations(
        self, user_id: str, meant: Meant, after: Conversation | None, limit: int
    ) -> list[Conversation]:
        """A user's conversations, the one spoken in longest ago first: the next ``limit`` after one of them."""
        await self._drained_of(user_id)
        moment, uuid = (NEVER, FIRST) if after is None else (after.updated_at, after.uuid)
        place = {"after_time": moment, "after_id": uuid, "user_id": user_id, "limit": limit}
        found = await self._run("walk_user_conversations", meant.parameters() | place)
        return [conversation_of(row) for row in found]

    async def count_conversations(self, user_id: str, meant: Meant) -> int:
        """How many conversations of a user's are meant."""
        await self._drained_of(user_id)
        [[number]] = await self._run("count_conversations", meant.parameters() | {"user_id": user_id})
        return int(number)

    async def list_everybodys(
        self,
        meant: Meant,
        order: Order,
        *,
        after: UUID,
        page: int,
        limit: int,
        cursor: str | None = None,
        above: Conversation | None = None,
    ) -> tuple[list[Conversation], int, UUID | None]:
        """Of the ``page`` conversations with the next greater ids, whoever's they are, the first ``limit`` in that order.

        Only those behind ``cursor``, and in front of ``above``. With how many of the stretch are meant, and the last of them
        all, where the next stretch begins; ``None`` at the end.
        """
        place = read_cursor(cursor, order) | read_above(above, order)
        where = {"after": after, "page": page, "limit": limit, "by_creation": order == "created"}
        found = await self._run("list_everybodys", meant.parameters() | place | where)
        if not found:
            return [], 0, None
        *rows, end = found
        last, number = end[0], end[8]
        return [conversation_of(row) for row in rows], number, last

    async def find_conversation(self, conversation: UUID) -> Conversation | None:
        """The conversation of that row, whoever's it is; ``None`` when there is none."""
        for row in await self._run("find_conversation", {"conversation": conversation}):
            return conversation_of(row)
        return None

    async def old_conversations(
        self, user_id: str, before: datetime | None, limit: int
    ) -> list[ConversationKey]:
        """Conversations of the user that were not spoken in since ``before``; ``None``: any."""
        where = {"user_id": user_id, "before": EVER if before is None else before, "limit": limit}
        found = await self._run("old_conversations", where)
        return [ConversationKey(uuid, owner) for uuid, owner in found]

    async def walk_conversations(
        self, after: UUID, before: datetime, dept_id: str | None, page: int
    ) -> tuple[list[ConversationKey], UUID | None]:
        """Those of the ``page`` conversations with the next greater ids that were not spoken in since, whoever's they are.

        And the last of all those, where the next stretch begins; ``None`` at the end.
        """
        where = {"after": after, "before": before, "dept_id": dept_id, "page": page}
        found = await self._run("walk_conversations", where)
        keys = [ConversationKey(uuid, owner) for uuid, owner in found if owner is not None]
        return keys, found[-1][0] if found else None


def page_of(found: list[Conversation], limit: int, order: Order) -> Page[Conversation]:
    """A page of ``limit``; of what was found there is one more where another page comes after."""
    more = cursor_after(found[limit - 1], order) if len(found) > limit else None
    return Page[Conversation].built(items=tuple(found[:limit]), next_cursor=more)
