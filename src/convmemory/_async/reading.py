"""Reading a conversation: the window where it can be trusted, with what waits beside it, and PostgreSQL for everything else."""

from __future__ import annotations

import logging
import time

from convmemory._async.draining import AsyncDraining
from convmemory._async.redis_store import AsyncRedisStore
from convmemory.errors import ConversationNotFound, StorageError, StorageUnavailable
from convmemory.ids import ConversationKey
from convmemory.journal.entries import without_rows
from convmemory.models import Message
from convmemory.tiers.otel import traced
from convmemory.windows.snapshots import ELSEWHERE, NO_CONVERSATION, NOT_ASKED, Reply, Snapshot
from convmemory.windows.trust import Standing

logger = logging.getLogger("convmemory.tiered")


def _messages(snapshot: Snapshot) -> int:
    return len(snapshot.entries)


class AsyncReading(AsyncDraining):
    """What is read of both tiers; the store of both has it."""

    __slots__ = ()

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
        redis = await self.hot()
        known = self.journals
        snapshot = await self._read(redis, key, want, hard, turns)
        if (
            self.journals and not known
        ):  # allowed since this process looked: what waits is not in what was read
            snapshot = await self._read(redis, key, want, hard, turns)
        return snapshot

    async def _read(
        self,
        redis: AsyncRedisStore | None,
        key: ConversationKey,
        want: int | None,
        hard: int,
        turns: int | None,
    ) -> Snapshot:
        if redis is not None and not redis.away and want is not None and want <= redis.window_limit:
            return await self._read_tiered(redis, key, want, hard, turns)
        await self.drained(key)
        if redis is not None and not redis.away:
            redis.health.counters.misses += 1
        snapshot = await self._read_durable(key, want, hard)
        await self._tell(key, snapshot.stamp)
        return snapshot

    async def _read_tiered(
        self, redis: AsyncRedisStore, key: ConversationKey, want: int, hard: int, turns: int | None
    ) -> Snapshot:
        asked = (want, hard) if turns is None else (-turns, want)
        standing, away = redis.trust.fresh(time.monotonic()), None
        if standing is None:
            standing, away = await self._lookout.to_read()
            self.sweep_if_due()
        if self.is_behind(redis, standing):
            standing, away = await self._lookout.to_read()
        if key.external_id is not None:
            await self.postgres.settle(key)
        reply = NOT_ASKED if standing is None else await self._look(redis, key, asked, standing)
        if reply.snapshot is not None:
            return reply.snapshot if turns is not None else reply.snapshot.newest(want, hard)
        redis.health.counters.misses += 1
        keep = max(want, redis.settings.window_messages)
        if away is not None:  # whoever asked again would wait as long again
            raise away
        try:
            return (await self._missed(redis, key, asked, (keep, hard), standing, reply)).newest(want, hard)
        except StorageUnavailable:
            still = (
                redis.trust.known if standing is None else None
            )  # whoever is cut off from it would find no newer window
            if still is None:
                raise
            # PostgreSQL failed another caller's look at the marks as well, so windows are served after all
            reply = await self._look(redis, key, asked, still)
            if reply.snapshot is None:
                raise
            return reply.snapshot

    async def _missed(  # noqa: PLR0917 - what a read knows when it has missed
        self,
        redis: AsyncRedisStore,
        key: ConversationKey,
        asked: tuple[int, int],
        filling: tuple[int, int],
        standing: Standing | None,
        reply: Reply,
    ) -> Snapshot:
        """Read PostgreSQL, and fill the window or tell it; what waits in its journal is stored first."""
        if self.journals and not self.waits_nothing(key, reply):
            await self.drained(key)  # which drops the lease
            reply = NOT_ASKED if standing is None else await self._look(redis, key, asked, standing)
            if reply.snapshot is not None:
                return reply.snapshot
        # what came to wait since is in no window that this one fills
        leased = reply.verdict == "lease" and not reply.waiting
        if leased and standing is not None and standing.journal:
            return await self._filled(redis, key, filling, reply)
        keep, hard = filling
        snapshot = await self._read_durable(key, keep, hard)
        if leased:
            await self._fill(redis, key, snapshot, reply, keep)
        elif reply.verdict in {"lease", "miss"}:
            await self._tell(key, snapshot.stamp)
        return snapshot

    async def _filled(
        self, redis: AsyncRedisStore, key: ConversationKey, filling: tuple[int, int], lease: Reply
    ) -> Snapshot:
        """Read PostgreSQL, and fill a window beside which a journal lies."""
        keep, hard = filling
        snapshot, life = await self.postgres.read_window_rows(key, keep, hard)
        redis.remembered.learn(key.uuid, life)
        try:
            await redis.fill_beside(key, snapshot, lease, keep, life)
        except StorageError:
            logger.debug("the window could not be filled")
        return without_rows(snapshot)

    async def _look(
        self,
        redis: AsyncRedisStore,
        key: ConversationKey,
        asked: tuple[int, int],
        standing: Standing,
    ) -> Reply:
        """Ask for the window; a Redis that is away, or is another than was meant, has none."""
        if standing.journal:
            return await self._look_beside(redis, key, asked, standing)
        try:
            reply = await redis.read_window(key, *asked, redis.reader(), standing)
        except StorageError:
            return NOT_ASKED
        if reply.verdict == ELSEWHERE:
            redis.trust.renamed(time.monotonic())
            return NOT_ASKED
        redis.health.counters.hits += reply.snapshot is not None
        return reply

    async def _look_beside(
        self, redis: AsyncRedisStore, key: ConversationKey, asked: tuple[int, int], standing: Standing
    ) -> Reply:
        """Ask for the window and what waits beside it, once what waits is stored where a window does not tell what that is.

        What this process accepted on another server lies beside none here. And where one may show twice what PostgreSQL
        has, it says so; while PostgreSQL is away it is shown as it is.
        """
        if redis.remembered.mine and redis.remembered.apart(key.uuid, standing.names):
            await self.drained(key)
        reply = NOT_ASKED
        for last in (False, True):
            try:
                reply = await redis.read_beside(key, *asked, redis.reader(), standing)
            except StorageError:
                return NOT_ASKED
            if reply.verdict == ELSEWHERE:
                redis.trust.renamed(time.monotonic())
                return NOT_ASKED
            if last or reply.snapshot is None or not reply.snapshot.doubtful:
                break
            try:
                await self.drained(key)
            except StorageUnavailable:
                break
        redis.health.counters.hits += reply.snapshot is not None
        if reply.life:
            redis.remembered.learn(key.uuid, reply.life)
        return reply

    @traced("convmemory.page", size=len)
    async def page(
        self, key: ConversationKey, *, limit: int, before: int | None = None, after: int | None = None
    ) -> list[Message]:
        """Stored messages between two seqs, from PostgreSQL; the window is told of what was read.

        Raises:
            ConversationNotFound: The user has no such conversation.
        """
        await self.hot()
        known = self.journals
        await self.drained(key)
        stamp, found = await self.postgres.read_messages(key, limit=limit, before=before, after=after)
        if self.journals and not known:
            return await self.page(key, limit=limit, before=before, after=after)
        await self._tell(key, stamp)
        if stamp == NO_CONVERSATION:
            raise ConversationNotFound(key.name)
        return found

    @traced("convmemory.read.postgres", size=_messages)
    async def _read_durable(self, key: ConversationKey, want: int | None, hard: int) -> Snapshot:
        if want is None:
            return await self.postgres.read_all(key)
        return await self.postgres.read_window(key, want, hard)

    async def _fill(
        self, redis: AsyncRedisStore, key: ConversationKey, snapshot: Snapshot, lease: Reply, keep: int
    ) -> None:
        try:
            await redis.fill(key, snapshot, lease, keep)
        except StorageError:
            logger.debug("the window could not be filled")

    async def _tell(self, key: ConversationKey, stamp: str) -> None:
        if self.redis is None or self.redis.away:
            return
        try:
            await self.redis.tell(key, stamp)
        except StorageError:
            logger.debug("the window could not be told")
