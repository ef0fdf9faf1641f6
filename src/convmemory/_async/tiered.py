"""The two tiers as one: reads from the hot window where it can be trusted, writes told to it before they are acknowledged."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory._async.redis_store import AsyncRedisStore
from convmemory.errors import StorageError, StorageUnavailable
from convmemory.ids import ConversationKey
from convmemory.models import Draft, Message
from convmemory.storage.postgres_rows import StoredBatch
from convmemory.storage.revisions import Revision
from convmemory.tiers.driver_errors import POSTGRES
from convmemory.tiers.otel import traced
from convmemory.windows.snapshots import NOT_ASKED, Reply, Snapshot, Written

logger = logging.getLogger("convmemory.tiered")
_DRAIN: Final = 500
"""Dirty marks drained in one go."""


def _messages(snapshot: Snapshot) -> int:
    return len(snapshot.entries)


class AsyncTieredStore:
    """One conversation store made of a durable tier and a hot one; a cheap value over the two long-lived stores.

    A read never returns less than a write acknowledged before it began, or than a read finished before it
    began, whatever happened to Redis meanwhile; ``docs/explanation/coherence.md`` has the protocol.
    Without ``redis`` every read is a read of PostgreSQL.
    """

    __slots__ = ("postgres", "redis")

    def __init__(self, postgres: AsyncPostgresStore, redis: AsyncRedisStore | None = None) -> None:
        self.postgres = postgres
        self.redis = redis

    @traced("convmemory.read", size=_messages)
    async def read(
        self, key: ConversationKey, want: int | None, hard: int, turns: int | None = None
    ) -> Snapshot:
        """The newest ``want`` messages (``None``: all), or the newest turn up to ``hard`` messages if it is longer.

        Of ``turns`` the newest so many are meant, within the newest ``want`` messages; there may be more of them here.

        Raises:
            ConversationNotFound: The conversation is somebody else's. One that is not there reads empty.
            StorageUnavailable: PostgreSQL is out of reach and no valid window is at hand.
        """
        if self.redis is None or self.redis.health.open:
            return await self._read_durable(key, want, hard)
        if want is None or want > self.redis.settings.hard_max_messages:
            snapshot = await self._read_durable(key, want, hard)
            await self._tell(self.redis, key, snapshot)
            return snapshot
        return await self._read_tiered(self.redis, key, want, hard, turns)

    async def _read_tiered(
        self, redis: AsyncRedisStore, key: ConversationKey, want: int, hard: int, turns: int | None
    ) -> Snapshot:
        token = secrets.token_hex(8)
        asked = (want, hard) if turns is None else (-turns, want)
        trusts = await self._trusts(redis)
        reply = await self._look(redis, key, asked, token) if trusts else NOT_ASKED
        if reply.snapshot is not None:
            return reply.snapshot
        redis.health.counters.misses += 1
        keep = max(want, redis.settings.window_messages)
        try:
            snapshot = await self._read_durable(key, keep, hard)
        except StorageUnavailable:
            if trusts or not redis.trust.serves(time.monotonic()):
                raise
            # PostgreSQL failed another caller's look at the marks as well, so windows are served after all
            reply = await self._look(redis, key, asked, token)
            if reply.snapshot is None:
                raise
            return reply.snapshot
        if reply.verdict == "lease":
            await self._fill(redis, key, snapshot, reply.token, keep)
        elif reply.verdict == "miss":
            await self._tell(redis, key, snapshot)
        return snapshot.newest(want, hard)

    async def _look(
        self, redis: AsyncRedisStore, key: ConversationKey, asked: tuple[int, int], token: str
    ) -> Reply:
        """Ask for the window; a Redis that is away has none."""
        try:
            reply = await redis.read_window(key, *asked, token)
        except StorageError:
            return NOT_ASKED
        redis.health.counters.hits += reply.snapshot is not None
        return reply

    @traced("convmemory.append", size=attrgetter("stored"))
    async def append(
        self,
        key: ConversationKey,
        drafts: Sequence[Draft],
        *,
        dept_id: str | None = None,
        since: int | None = None,
    ) -> StoredBatch:
        """Store a batch and tell the window; acknowledged means committed in PostgreSQL.

        ``since``, where it is known, is the conversation's last seq when what is said here began: a message stored before
        that is another one, whatever its LangChain id.

        Raises:
            ConversationNotFound: The conversation is somebody else's; nothing was written.
            StorageUnavailable: PostgreSQL is out of reach; sent again, messages with an id are stored once.
        """
        marked = self._marks_at_once
        try:
            batch, written = await self.postgres.append(
                key, drafts, dept_id=dept_id, since=since, dirty=marked
            )
            await self._publish(key, written, marked=marked)
        except StorageError:
            self.postgres.health.counters.failed_writes += 1
            raise
        return batch

    @traced("convmemory.clear")
    async def clear(self, key: ConversationKey) -> None:
        """Delete a conversation's messages and what is cached of them."""
        marked = self._marks_at_once
        await self._publish(key, await self.postgres.clear_conversation(key, dirty=marked), marked=marked)

    @traced("convmemory.delete")
    async def delete(self, key: ConversationKey) -> None:
        """Delete a conversation and what is cached of it."""
        marked = self._marks_at_once
        await self._publish(key, await self.postgres.delete_conversation(key, dirty=marked), marked=marked)

    @traced("convmemory.revise")
    async def revise(self, key: ConversationKey, changes: Sequence[Revision]) -> None:
        """Put other words in the place of stored messages, or take the newest away, and drop what is cached of them."""
        marked = self._marks_at_once
        written = await self.postgres.revise_messages(key, changes, dirty=marked)
        await self._publish(key, written, marked=marked)

    @traced("convmemory.pop")
    async def pop(self, key: ConversationKey) -> Message | None:
        """Remove and return the newest message; ``None`` when there is none. Two callers at once get two messages.

        Raises:
            ConversationNotFound: The user has no such conversation.
        """
        while newest := await self.postgres.read_messages(key, limit=1):
            marked = self._marks_at_once
            written = await self.postgres.pop_message(key, newest[0].id, dirty=marked)
            if written is not None:  # else another message has come, or somebody else took this one
                await self._publish(key, written, marked=marked)
                return newest[0]
        return None

    @property
    def _marks_at_once(self) -> bool:
        """While Redis is left alone, the mark is part of the statement itself: no second trip."""
        return self.redis is not None and self.redis.health.open

    async def _publish(self, key: ConversationKey, written: Written, *, marked: bool) -> None:
        """Tell the window of a committed change; where that is impossible, mark it before it is acknowledged.

        What is ``marked`` is told as well if Redis came back meanwhile: its marks may have been drained before.
        """
        if self.redis is None:
            return
        try:
            await self.redis.publish(key, written)
        except StorageError:
            self.redis.health.counters.dirty_marks += 1
            if not marked:
                await self.postgres.mark_dirty(key.uuid, written)
                self.redis.trust.lost()  # whoever drained since it failed here did not find this mark

    async def _trusts(self, redis: AsyncRedisStore) -> bool:
        """Whether windows may be served: drains the marks of an outage first, and looks for others' once a second."""
        began = time.monotonic()
        ticket = redis.trust.begin(began)
        if ticket is None:
            return redis.trust.serves(began)
        try:
            await self._drain(redis)
        except StorageError as error:
            # PostgreSQL away: nobody can commit and mark either, so a process that lost nothing goes on serving. One that
            # lost something would only wait for the same server once more.
            redis.trust.gave_up(time.monotonic())
            away = isinstance(error, StorageUnavailable) and error.tier == POSTGRES
            if away and not redis.trust.trusted:
                raise
        except BaseException:
            redis.trust.left()
            raise
        else:
            redis.trust.drained(ticket, began)
        return redis.trust.trusted

    async def _drain(self, redis: AsyncRedisStore) -> None:
        """Drop the windows of all marks there are now; those made meanwhile are for the next look."""
        marks: Sequence[object] = range(_DRAIN)
        while len(marks) == _DRAIN:
            marks = await self._drain_some(redis)

    async def _drain_some(self, redis: AsyncRedisStore) -> Sequence[object]:
        marks = await self.postgres.read_dirty(_DRAIN)
        if marks:
            await redis.drop([conversation for conversation, _, _ in marks])
            await self.postgres.clear_dirty(marks)
            redis.health.counters.drained += len(marks)
            logger.info("dropped %d windows that had missed a write", len(marks))
        return marks

    @traced("convmemory.read.postgres", size=_messages)
    async def _read_durable(self, key: ConversationKey, want: int | None, hard: int) -> Snapshot:
        if want is None:
            return await self.postgres.read_all(key)
        return await self.postgres.read_window(key, want, hard)

    async def _fill(
        self, redis: AsyncRedisStore, key: ConversationKey, snapshot: Snapshot, token: str, keep: int
    ) -> None:
        try:
            await redis.fill(key, snapshot, token, keep)
        except StorageError:
            logger.debug("the window could not be filled")

    async def _tell(self, redis: AsyncRedisStore, key: ConversationKey, snapshot: Snapshot) -> None:
        try:
            await redis.tell(key, snapshot.incarnation, snapshot.version)
        except StorageError:
            logger.debug("the window could not be told")
