"""Behind the callers: what was accepted is stored in a moment, whoever accepted it, and before a program ends."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Final
from uuid import UUID

from convmemory._async.journaling import AsyncJournaling
from convmemory._async.redis_store import AsyncRedisStore
from convmemory.errors import ConfigurationError, ConvMemoryError, NotOpen, StorageError
from convmemory.ids import ConversationKey
from convmemory.journal.entries import entries_in
from convmemory.tiers.driver_errors import held_up
from convmemory.tiers.waiting import aover, asleep, aspawn, aworks
from convmemory.windows.trust import NOWHERE

logger = logging.getLogger("convmemory.journal")

PAUSE: Final = 0.01
"""Seconds after which what was accepted is sent to PostgreSQL: what comes meanwhile goes with it."""
_SLOWEST: Final = 0.5
"""Seconds between two attempts while PostgreSQL is away."""
_AT_THE_END: Final = 1.0
"""Seconds for which a memory that is closed waits for the one who drains: he may be at it."""
_LINGER: Final = 1.0
"""Seconds without anything to do after which the one who drains ends; the next append begins another."""


class AsyncDraining(AsyncJournaling):
    """Who drains journals: one in each place that accepts, while there is something to do."""

    __slots__ = ()

    async def begin_journaling(self) -> None:
        """See whether Redis keeps what is to wait in it, and that somebody looks for what others have left there.

        Raises:
            ConfigurationError: It does not, or there is none. One that is out of reach is asked before anything waits in it.
        """
        redis = self.redis
        if redis is None:
            raise ConfigurationError(
                "durability, journal: writes cannot wait in Redis where there is no Redis tier"
            )
        try:
            why = await redis.keeps(anew=True)
        except StorageError as error:
            logger.warning("whether writes may wait in Redis is not known yet: %s", error)
            return
        if why is not None and not redis.is_full:
            raise ConfigurationError(f"durability, journal: {why}")
        self.wake()

    def sweep_if_due(self) -> None:
        """Have somebody store what waits, if it is time to look for journals whose writer is gone, or nobody is at it here.

        The event loop in which it was accepted may have ended before it was stored.
        """
        redis = self.redis
        if (
            redis is not None
            and redis.trust.journals
            and (redis.remembered or redis.remembered.sweep_is_due(time.monotonic(), take=False))
        ):
            self.wake()

    def wake(self) -> None:
        """Have somebody here store what was accepted, unless somebody does."""
        if self.redis is not None:
            home = self.redis.here()
            if not home.draining:
                home.draining = True
                home.drainer = aspawn(partial(self._behind, self.redis))
                if not aworks(home.drainer):  # no thread can be had: whoever comes next tries again
                    home.draining = False

    async def _behind(self, redis: AsyncRedisStore) -> None:
        home, remembered, pause, busy = redis.here(), redis.remembered, PAUSE, time.monotonic()
        try:
            while home.draining:
                await asleep(pause)
                try:
                    await self._round(redis)
                    pause = PAUSE
                except NotOpen:
                    return
                except ConvMemoryError as error:
                    logger.debug("what waits could not be stored yet: %s", error)
                    pause = min(2 * pause, _SLOWEST)
                if remembered:
                    busy = time.monotonic()
                elif time.monotonic() - busy > _LINGER:
                    home.draining = (
                        False  # said before the last look, so that nobody relies on one who is leaving
                    )
                    if remembered:
                        home.draining = True
        finally:
            home.draining = False

    async def _round(self, redis: AsyncRedisStore) -> None:
        await self._drained_all(redis)
        if redis.remembered.sweep_is_due(time.monotonic()):
            await self.swept()

    async def _drained_all(self, redis: AsyncRedisStore) -> None:
        """Have PostgreSQL store what this process has accepted. A conversation that somebody holds stops no other: it comes last."""
        for key in redis.remembered.conversations():
            try:
                await self.drained(key)
            except StorageError as error:
                if not held_up(error):
                    raise
                redis.remembered.postpone(key.uuid)
                logger.debug("what waits in a conversation could not be stored yet: %s", error)

    async def drained_of(self, user_id: str) -> None:
        """Have PostgreSQL store what this process has accepted of a user: lists and searches look there alone.

        Raises:
            StorageUnavailable: PostgreSQL is out of reach.
        """
        redis = self.redis
        if redis is not None and redis.remembered:
            for key in redis.remembered.conversations():
                if key.user_id == user_id:
                    await self.drained(key)

    async def swept(self, *, anyway: bool = False, of: str | None = None) -> int:
        """Store what waits in any journal of this Redis, whoever accepted it; how many entries that were.

        Unless ``anyway``, nothing is done where another process does it just now, and what waits in a conversation that somebody
        holds is left to the next time. ``of``: only what that user said.

        Raises:
            StorageUnavailable: A tier is out of reach; or somebody holds a conversation, and all others were seen to.
        """
        redis = await self.hot()
        count, held = 0, None
        if redis is not None and not redis.away:
            await self._lookout.to_write()  # which says whose caches these are
            for conversation in await redis.orphans(anyway=anyway):
                try:
                    count += await self._swept(redis, conversation, of)
                except StorageError as error:
                    if not held_up(error):
                        raise
                    held = error
        if held is not None and anyway:
            raise held
        return count

    async def _swept(self, redis: AsyncRedisStore, conversation: UUID, of: str | None) -> int:
        taken = await redis.take(ConversationKey(conversation, ""), NOWHERE)
        found = entries_in(taken[1]) if taken is not None else []
        if not found or of not in {None, found[-1].user_id}:
            return 0
        return await self._drained(redis, ConversationKey(conversation, found[-1].user_id))

    async def finish_draining(self, seconds: float) -> None:
        """Store what this process has accepted, and mark what it has not told, before it ends.

        What is left after so many seconds others find in Redis.
        """
        redis = self.redis
        if redis is None:
            return
        deadline = time.monotonic() + seconds
        while redis.remembered and time.monotonic() < deadline:
            try:
                await self._drained_all(redis)
            except NotOpen:
                break
            except ConvMemoryError:
                await asleep(PAUSE)
        home = redis.here()
        home.draining = False
        if home.drainer is not None:  # it must not connect again behind the end
            await aover([home.drainer], _AT_THE_END)
        await aover(home.behind, _AT_THE_END)
        if redis.remembered:
            figures = redis.remembered.figures()
            logger.warning(
                "%d accepted writes could not be stored before the end: they wait in Redis",
                figures["entries"],
            )
