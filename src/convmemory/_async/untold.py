"""What may be committed and no window was told of, because the caller left: it is marked, as where Redis was away."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar
from uuid import UUID

from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory._async.redis_store import AsyncRedisStore
from convmemory.errors import ConvMemoryError
from convmemory.ids import ConversationKey
from convmemory.tiers.waiting import aapart, aworks
from convmemory.windows.trust import Standing

T = TypeVar("T")

logger = logging.getLogger("convmemory.tiered")


class AsyncUntold:
    """Callers who do not stay to tell the window: cancelled, or ended by a signal. The store of both tiers has it."""

    __slots__ = ()

    postgres: AsyncPostgresStore
    redis: AsyncRedisStore | None

    async def or_marked(
        self, key: ConversationKey, standing: Standing, change: Callable[[], Awaitable[T]]
    ) -> T:
        """Make a change that is to be told to these caches, or marked for them where its caller does not wait for the answer."""
        try:
            return await change()
        except ConvMemoryError:
            raise
        except BaseException:
            self.broke_off(key, standing)
            raise

    def broke_off(self, key: ConversationKey, standing: Standing) -> None:
        """Mark a conversation behind a caller who leaves: nobody may call again, and windows would go on without the change."""
        redis = self.redis
        if redis is not None and standing.names and key.known is not None:
            behind = redis.here().behind
            behind[:] = [work for work in behind if aworks(work)]
            behind.append(aapart(partial(self._marked, redis, key.known, standing)))

    async def _marked(self, redis: AsyncRedisStore, conversation: UUID, standing: Standing) -> None:
        try:
            await self.postgres.mark(conversation, standing.names)
        except ConvMemoryError as error:
            logger.warning("a window may lack what was stored until its conversation changes: %s", error)
        redis.trust.lost()
