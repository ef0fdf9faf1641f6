"""What operators ask of journals: what waits in Redis, that it be stored now, and what PostgreSQL refused."""

from __future__ import annotations

from datetime import UTC, datetime

from convmemory._async.tiered import AsyncTieredStore
from convmemory.arguments import checked_limit
from convmemory.ids import ConversationKey
from convmemory.journal.entries import entries_in
from convmemory.journal.reports import Refused, Waiting
from convmemory.windows.trust import NOWHERE


class AsyncJournals:
    """The journals of everybody, for operators; ``memory.journals`` has them. No handler of a user's request needs this."""

    __slots__ = ("_store",)

    def __init__(self, store: AsyncTieredStore) -> None:
        self._store = store

    async def waiting(self) -> list[Waiting]:
        """What waits for PostgreSQL in this Redis, the oldest first; nothing where there is no Redis tier.

        Raises:
            StorageUnavailable: Redis is out of reach.
        """
        redis, found = await self._store.hot(), list[Waiting]()
        if redis is None:
            return found
        for conversation in await redis.orphans(anyway=True):
            taken = await redis.take(ConversationKey(conversation, ""), NOWHERE)
            entries = entries_in(taken[1]) if taken is not None else []
            if entries:
                size = sum(len(entry.text.encode()) for entry in entries)
                since = datetime.fromtimestamp(entries[0].accepted, UTC)
                found.append(Waiting(conversation, entries[-1].user_id, len(entries), size, since))
        return sorted(found, key=lambda one: one.since)

    async def drain(self) -> int:
        """Store what waits now, whoever accepted it; how many entries that were.

        Raises:
            StorageUnavailable: A tier is out of reach; what was not stored goes on waiting.
        """
        return await self._store.swept(anyway=True)

    async def forbid(self) -> int:
        """Have no write wait any more, once no process has the settings for it; how many entries were stored first.

        From then on every call costs what it did before. A process that still has ``durability="journal"`` or ``journal="outage"``
        allows it again at its next look.

        Raises:
            StorageUnavailable: A tier is out of reach, or PostgreSQL is too busy to: ask again.
        """
        count = await self.drain()
        await self._store.postgres.allow_journals(allowed=False)
        return count + await self.drain()  # what was accepted in between

    async def refused(self, limit: int = 100) -> list[Refused]:
        """Entries that PostgreSQL refused for what is in them, the newest first; the table ``journal_refused`` has them whole."""
        rows = await self._store.postgres.refused_entries(checked_limit("limit", limit))
        return [
            Refused(conversation, entry, user_id, messages, at, cause)
            for conversation, entry, user_id, at, cause, messages in rows
        ]
