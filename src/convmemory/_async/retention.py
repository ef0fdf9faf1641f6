"""What an operator deletes: all that a user said, and what nobody came back to. Conversation by conversation, with a receipt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

from convmemory._async.redis_store import AsyncRedisStore
from convmemory._async.tiered import AsyncTieredStore
from convmemory.arguments import moment_of, optional_id
from convmemory.errors import InvalidArgument, StorageError
from convmemory.ids import FIRST, ConversationKey, checked_id
from convmemory.models import Erased

_PAGE: Final = 500
"""Conversations that are looked up at once."""
_STRETCH: Final = 5_000
"""Conversations of everybody's that one statement looks at."""

Progress: TypeAlias = Callable[[Erased], object]
"""Called with what has been deleted so far, after every conversation and every session."""


class AsyncRetention:
    """How long things are kept; ``memory.retention`` gives it. For operators: no verb here asks whose request it is.

    Each conversation is gone at once, with a transaction that tells or marks every cache, so that nothing comes back through
    a window; its rows are taken away in many short ones. What was done stays done when a run breaks off: run it again.
    """

    def __init__(self, store: AsyncTieredStore) -> None:
        self._store = store

    async def erase_user(self, user_id: str, *, progress: Progress | None = None) -> Erased:
        """Delete everything of a user in both stores: conversations, messages, contexts, windows, sessions.

        It goes on until it finds nothing more, so end what writes for the user first. Of what lies elsewhere (backups, logs,
        traces, replicas that lag) it knows nothing.

        Args:
            user_id: Whose.
            progress: Called with what has been deleted so far, after every conversation and session.

        Raises:
            StorageUnavailable: A store is out of reach; what was deleted before stays deleted.
        """
        user, tally = checked_id("user_id", user_id), _Tally(progress)
        redis = await self._store.hot()
        while await self._conversations(user, None, tally) or await self._sessions(redis, user, tally):
            pass
        await self._store.look()  # for what a run that broke off has marked: all it sent is committed by now
        if self._store.journals:  # and what waited there
            await self._store.swept(anyway=True, of=user)
        while (left := await self._store.postgres.unfinished()) is not None:  # nobody knows whose it was
            more = True
            while more:  # also where somebody is at it, who may not go on: then it is waited for
                _, more = await self._store.postgres.sweep(left)
        await self._documents(user, tally)
        return tally.receipt()

    async def prune(
        self,
        *,
        older_than: timedelta | datetime,
        user_id: str | None = None,
        dept_id: str | None = None,
        progress: Progress | None = None,
    ) -> Erased:
        """Delete conversations that were not spoken in since, each with its messages and contexts, and what is cached of it.

        One that is spoken in before its turn comes stays.

        Args:
            older_than: How long ago, or since when: what ``updated_at`` of a conversation is compared with.
            user_id: Only this user's.
            dept_id: Only this department's; not together with ``user_id``.
            progress: Called with what has been deleted so far, after every conversation and session.

        Raises:
            StorageUnavailable: PostgreSQL is out of reach; what was deleted before stays deleted.
        """
        before, tally = moment_of("older_than", older_than), _Tally(progress)
        user, dept = optional_id("user_id", user_id), optional_id("dept_id", dept_id)
        if user is not None and dept is not None:
            raise InvalidArgument("dept_id", "goes without user_id: give one of them")
        if user is not None:
            while await self._conversations(user, before, tally):
                pass
            return tally.receipt()
        after: UUID | None = FIRST
        while after is not None:
            found, after = await self._store.postgres.walk_conversations(after, before, dept, _STRETCH)
            await self._erased(found, before, tally)
        return tally.receipt()

    async def _documents(self, user_id: str, tally: _Tally) -> None:
        """Take away the user's documents that no message has any more."""
        more = True
        while more:
            removed, more = await self._store.postgres.sweep_documents(user_id)
            if removed:
                tally.add(Counter(documents=removed))

    async def _conversations(self, user_id: str, before: datetime | None, tally: _Tally) -> bool:
        """Delete some of the user's; whether there were any."""
        found = await self._store.postgres.old_conversations(user_id, before, _PAGE)
        await self._erased(found, before, tally)
        return bool(found)

    async def _erased(self, found: Sequence[ConversationKey], before: datetime | None, tally: _Tally) -> None:
        deleted = list[UUID]()
        for key in found:
            if (erased := await self._store.erase(key, before)) is not None:
                tally.add(erased[0], cached=erased[1])
                deleted.append(key.uuid)
        redis = self._store.redis
        if deleted and redis is not None and not redis.away:
            with suppress(StorageError):  # what readers noted meanwhile: that there is no such conversation
                await redis.drop(deleted)

    async def _sessions(self, redis: AsyncRedisStore | None, user_id: str, tally: _Tally) -> bool:
        """End the user's; whether there were any. The list of them goes with its last entry, at the next look."""
        found = [] if redis is None else await redis.list_user_sessions(user_id)
        for session in found:
            if redis is not None and await redis.end_session(session.handle):
                tally.ended()
        return bool(found)


class _Tally:
    """What was deleted so far, told to whoever wants to know."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._rows: Counter[str] = Counter(conversations=0, messages=0, message_contexts=0, documents=0)
        self._windows = self._sessions = 0

    def add(self, rows: Counter[str], *, cached: bool = False) -> None:
        self._rows.update(rows)
        self._windows += cached
        self._tell()

    def ended(self) -> None:
        self._sessions += 1
        self._tell()

    def receipt(self) -> Erased:
        return Erased(rows=dict(self._rows), windows=self._windows, sessions=self._sessions)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self.receipt())
