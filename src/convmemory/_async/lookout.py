"""Looking at PostgreSQL before windows are served: who caches them, under which era, and what must be dropped first."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from math import inf
from typing import Final

from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory._async.redis_store import AsyncRedisStore
from convmemory.errors import StorageError, StorageUnavailable
from convmemory.storage.cache_marks import Looked
from convmemory.tiers.driver_errors import POSTGRES, locked_out, not_permitted
from convmemory.windows.trust import NAMELESS, Cache, Standing, Ticket, Trust

logger = logging.getLogger("convmemory.lookout")
_SELDOM: Final = 60.0
"""Seconds after which a process that only writes looks who its caches are."""


class AsyncLookout:
    """Whether windows may be served, and in whose name; a cheap value over the two long-lived stores.

    Every process looks at PostgreSQL at least once a second while it serves windows. The look brings the eras of
    its caches and their marks; what is marked is dropped, and the marks are cleared, before anything is served.
    """

    __slots__ = ("_postgres", "_redis")

    def __init__(self, postgres: AsyncPostgresStore, redis: AsyncRedisStore) -> None:
        self._postgres = postgres
        self._redis = redis

    @property
    def _trust(self) -> Trust:
        return self._redis.trust  # another one in a forked process

    async def to_read(self, *, beside: bool = False) -> tuple[Standing | None, StorageUnavailable | None]:
        """What a read goes by, ``None`` where it must not believe any window; looks first where a look is due.

        With the error of a look that found no PostgreSQL: windows are served all the same, and nothing else can be.
        ``beside``: where another caller's look is late, as in an outage, this one looks as well, and finds it out.

        Raises:
            StorageUnavailable: PostgreSQL does not answer, and this process missed something.
        """
        now = time.monotonic()
        ticket = self._trust.begin(now, beside=beside)
        away = None if ticket is None else await self._look(ticket)
        if (ticket is None or ticket.began < now) and not self._trust.serves(time.monotonic()):
            return None, away  # what another caller began may be too old for this one
        return self._trust.known, away

    async def to_write(self) -> Standing:
        """What a write goes by: the caches it tells. One that knows none tells nobody, and marks them all.

        Raises:
            StorageUnavailable: PostgreSQL does not answer.
        """
        now = time.monotonic()
        if self._trust.older(now, _SELDOM) and (ticket := self._trust.begin(now)) is not None:
            away = await self._look(ticket)
            if away is not None:  # whoever asked again would wait as long again
                raise away
        return self._trust.standing

    async def _look(self, ticket: Ticket) -> StorageUnavailable | None:
        """Look, and say what to serve by; returns the error of a look that found no PostgreSQL."""
        trust = self._trust
        try:
            await self._looked(ticket)
        except StorageError as error:
            # PostgreSQL away: nobody can commit and mark either, so a process that lost nothing goes on serving. One that
            # lost something would only wait for the same server once more.
            if isinstance(error, StorageUnavailable) and error.tier == POSTGRES and not locked_out(error):
                trust.gave_up(time.monotonic())
                if not trust.trusted:
                    raise
                return error
            if error.tier == POSTGRES:
                trust.refused(time.monotonic())
                logger.warning("windows cannot be trusted: %s", error)
            else:  # what is marked was not dropped
                trust.lost()
                trust.left()
        except BaseException:
            trust.left()
            raise
        return None

    async def _looked(self, ticket: Ticket) -> None:
        caches = ticket.caches
        if caches is None:
            caches = await self._named()
            ticket = ticket._replace(caches=caches)
        if not caches:
            self._trust.left()
            return
        names = [cache.name for cache in caches]
        found = await self._postgres.look(names, ticket.after)
        if len(found.eras) < len(names):
            if not await self._registered([name for name in names if name not in found.eras]):
                return
            found = await self._postgres.look(names, ticket.after)
        if found.installation != self._postgres.installation:
            await self._made_anew()
        if self._redis.settings.journals and not found.journals and await self._allowed():
            found = await self._postgres.look(names, ticket.after)
        self._postgres.journals = found.journals
        if not await self._drained(caches, found):
            return
        if found.idle:
            await self._tidied(names)
        if found.after is None:
            self._trust.looked(ticket, found.eras, journals=found.journals)
        else:
            self._trust.paused(ticket, found.after)

    async def _tidied(self, names: Sequence[str]) -> None:
        await self._postgres.tidy_caches(names)
        await self._postgres.sweep()
        await self._postgres.sweep_documents()
        if self._postgres.journals:
            await self._postgres.tidy_removed()

    async def _made_anew(self) -> None:
        """Go on in another installation: the schema was dropped and made anew, and names mean other rows now."""
        former = self._postgres.installation
        installation = await self._postgres.ask_who()
        if installation != former:
            logger.warning("the schema was made anew: this is another installation now")
        self._redis.belong(installation, self._postgres.former)

    async def _named(self) -> tuple[Cache, ...]:
        """Ask the servers who they are; what they were before is no cache of this process any more."""
        if self._trust.former:  # idle connections may still lead there
            await self._redis.here().clients.doubt(inf)
        caches = await self._redis.caches()
        former = {cache.name for cache in self._trust.former} - {cache.name for cache in caches}
        if former:
            logger.warning("Redis is another server than before; what the one before holds is not served")
            await self._postgres.forget_caches(sorted(former))
        if self._trust.named(caches):
            logger.warning("%s", NAMELESS)
        return tuple(caches)

    async def _drained(self, caches: Sequence[Cache], found: Looked) -> bool:
        """Drop what is marked, then clear the marks; ``False`` where another server was asked than those we know.

        A cluster is marked node by node, and holds a window on one of them: what that node has dropped none has any more.
        """
        if not found.marks:
            return True
        conversations = [mark.conversation for mark in found.marks]
        said = await self._redis.drop(conversations, [cache.server for cache in caches])
        dropped = [mark for mark, done in zip(found.marks, said, strict=True) if done]
        if dropped:
            await self._postgres.clear_marks(dropped)
            self._redis.health.counters.drained += len(dropped)
            logger.info("windows dropped that had missed a write: %d", len(dropped))
        if len(dropped) == len(said):
            return True
        left = {mark.cache for mark, done in zip(found.marks, said, strict=True) if not done}
        await self._postgres.forget_caches(sorted(left))
        self._trust.renamed(time.monotonic())
        self._trust.left()
        return False

    async def _allowed(self) -> bool:
        """Have writes wait in journals, as this process wants; ``False``, and none waits yet, where PostgreSQL is too busy to."""
        try:
            await self._postgres.allow_journals()
        except StorageError as error:
            if not not_permitted(error):
                logger.info("writes cannot wait in journals yet: %s", error)
            elif self._postgres.barred is None:  # nobody else tells, and it goes on until somebody grants it
                self._postgres.barred = f"no write waits in a journal, as this role may not allow it: {error}"
                logger.warning("%s", self._postgres.barred)
            return False
        self._postgres.barred = None
        return True

    async def _registered(self, names: Sequence[str]) -> bool:
        """Have PostgreSQL know these caches; ``False``, and nothing is served for a while, where it is too busy to."""
        try:
            await self._postgres.register(names)
        except StorageError as error:
            self._trust.refused(time.monotonic())
            logger.info("the cache could not be registered yet: %s", error)
            return False
        return True
