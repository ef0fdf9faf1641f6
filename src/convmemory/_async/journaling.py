"""Writes that Redis acknowledges and PostgreSQL stores in a moment: accepted, drained in order and once, by any process."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar, cast

from convmemory._async.lookout import AsyncLookout
from convmemory._async.redis_store import AsyncRedisStore
from convmemory._async.untold import AsyncUntold
from convmemory.errors import (
    ConversationNotFound,
    StorageError,
    StorageUnavailable,
)
from convmemory.ids import ConversationKey
from convmemory.journal.entries import (
    Entry,
    Outcome,
    Write,
    entries_in,
    in_order,
    life_of,
    outcome,
    told_with_rows,
)
from convmemory.models import Draft
from convmemory.storage import postgres_rows
from convmemory.storage.postgres_rows import StoredBatch
from convmemory.tiers.driver_errors import POSTGRES, unread
from convmemory.windows.snapshots import ELSEWHERE, NOT_ASKED, Reply, Written
from convmemory.windows.trust import NOWHERE, Standing

T = TypeVar("T")

logger = logging.getLogger("convmemory.journal")

_STEPS = 3
"""How often an append is told of another life before it goes to PostgreSQL."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What became of an append: the entry that waits now, or nothing.

    ``waiting`` is what waited when it was declined, ``None`` where that is not known, and ``mine`` what this process remembered
    before. ``lost``: nobody answered, so that it may wait all the same, in this life, and is never appended again.
    """

    entry: Entry | None = None
    waiting: Sequence[bytes] | None = None
    mine: Sequence[Entry] = field(default=())
    lost: str | None = None


@dataclass(slots=True)
class _Tried:
    """What PostgreSQL was sent and did not answer, and may carry out whenever it likes: within one ``life``.

    ``None``: nothing was sent; ``""``: in whichever it finds, so that a journal must not take it as well.
    """

    life: str | None = None


class AsyncJournaling(AsyncUntold):
    """What the two tiers do where writes may wait: the store of both has it, and the verbs it leans on."""

    __slots__ = ()

    _lookout: AsyncLookout
    hot: Callable[[], Awaitable[AsyncRedisStore | None]]
    _publish: Callable[[ConversationKey, Written, Standing, Sequence[str]], Awaitable[str]]
    _entitle: Callable[[ConversationKey], None]
    wake: Callable[[], None]

    @property
    def journals(self) -> bool:
        """Whether writes may wait beside the windows of this Redis, as far as this process knows."""
        redis = self.redis
        return redis is not None and (redis.trust.journals or self.postgres.journals)

    async def append_or_accept(
        self,
        key: ConversationKey,
        drafts: Sequence[Draft],
        *,
        dept_id: str | None,
        since: int | None,
        must_exist: bool,
        idempotency_key: str | None,
    ) -> StoredBatch:
        """Accept a batch where that is wanted and can be; else store what waits, and the batch behind it.

        Raises:
            ConversationNotFound: The conversation is somebody else's, or was deleted; nothing was written.
            StorageUnavailable: PostgreSQL is out of reach, and it cannot wait either.
        """
        redis = cast("AsyncRedisStore", await self.hot())  # without one nothing waits
        settings, away = redis.settings, self.postgres.health.open
        await self.postgres.settle(key)
        batch = postgres_rows.prepare(key, drafts, idempotency_key, since)
        postgres_rows.refuse_large(self.postgres.settings, batch.drafts, batch.encoded)
        since = since if idempotency_key is None else postgres_rows.SAME_CALL
        write = Write(key, batch, since, dept_id, not (key.named_only or must_exist))
        said, tried = _Said(), _Tried()
        if settings.durability == "journal" or (settings.journals and away):
            said = await self._accepted(redis, write, away=away)
        if said.entry is None:
            try:
                return await self._committed(redis, write, said, tried)
            except StorageUnavailable as error:
                if (
                    error.tier != POSTGRES
                    or not settings.journals
                    or said.lost is not None
                    or tried.life == ""
                ):
                    raise
                said = await self._accepted(redis, write, away=True, within=tried.life)
                if said.entry is None:
                    raise
        return write.pending(said.entry.accepted)

    async def _accepted(
        self, redis: AsyncRedisStore, write: Write, *, away: bool, within: str | None = None
    ) -> _Said:
        """Have a batch wait; ``within`` a life and in no other, where PostgreSQL was sent it in that one."""
        key, remembered = write.key, redis.remembered
        mine = remembered.of(key.uuid)
        standing = await self._accepts(redis, away=away)
        if standing is None:
            return _Said()
        if remembered.apart(key.uuid, standing.names):
            remembered.declined["some are elsewhere"] += 1
            return _Said(mine=mine)
        life = within or remembered.life(key.uuid)
        for _ in range(_STEPS):
            entry = write.entry(life)
            try:
                verdict, told, waiting = await redis.accept(key, entry, standing, away=away)
            except StorageError:
                remembered.declined["no answer"] += 1
                return _Said(mine=mine, lost=life)
            if verdict != "life" or (within and life_of(told) != life_of(within)):
                break
            life = told
            remembered.learn(key.uuid, life)
        if verdict == "accepted":
            remembered.add(key, entry, standing.names)
            redis.health.counters.accepted += 1
            self.wake()
            return _Said(entry)
        remembered.declined[verdict] += 1
        if verdict == ELSEWHERE:
            redis.trust.renamed(time.monotonic())
        return _Said(waiting=waiting if verdict in {"absent", "full", "old"} else None, mine=mine)

    async def _accepts(self, redis: AsyncRedisStore, *, away: bool) -> Standing | None:
        """In whose name a write may wait now; ``None`` where it may not."""
        why: str | None = "out of reach"
        standing = None if redis.away else redis.trust.fresh(time.monotonic())
        try:
            if standing is None and not redis.away:
                standing, _ = await self._lookout.to_read(beside=away)
            if standing is not None:
                why = "not allowed yet" if not standing.journal else await redis.keeps()
        except StorageError:
            standing = None
        if redis.remembered.full:
            why = "too much is remembered"
        if standing is None or why is not None:
            redis.remembered.declined[why or "out of reach"] += 1
            return None
        return standing

    async def _committed(
        self, redis: AsyncRedisStore, write: Write, said: _Said, tried: _Tried
    ) -> StoredBatch:
        """Store what waits and then the batch, in one statement; tell the window, and let go of what waited.

        Where the journal takes it if nobody answers, the statement says in which life of the conversation it was meant: it may be
        carried out after that. One that has ended meanwhile is said no more.
        """
        key = write.key
        standing, pending = await self._before(redis, key, said)
        if redis.settings.journals and said.lost is None and (life := redis.remembered.life(key.uuid)):
            tried.life = life
            batch = await self._sent(redis, write, said, standing, pending, life)
            if batch is not None:
                return batch
            redis.remembered.learn(key.uuid, "")
        tried.life = ""
        batch = await self._sent(redis, write, said, standing, pending)
        if batch is None:
            raise ConversationNotFound(key.name)
        return batch

    async def _sent(  # noqa: PLR0917 - what a write knows when it goes to PostgreSQL
        self,
        redis: AsyncRedisStore,
        write: Write,
        said: _Said,
        standing: Standing,
        pending: Sequence[Entry],
        life: str = "",
    ) -> StoredBatch | None:
        """The statement; ``None`` where the conversation has another ``life``, or is not there."""
        key, about = write.key, (write.key, write.batch, write.dept_id, write.since)
        if not pending and said.lost is None:
            if life:
                found = await self._unless_unread(
                    partial(self.postgres.append_in_life, *about, life=life_of(life), rows=write.rows()),
                    key,
                    standing,
                )
                if found is None:
                    return None
            else:
                found = await self._unless_unread(
                    partial(self.postgres.append_batch, *about, make=write.make), key, standing
                )
            batch, written = found
            await self._publish(key, told_with_rows(batch, written), standing, ())
            return batch
        own = write.entry(sent=said.lost, within=life)
        done = await self._stored(redis, key, [*pending, own], standing)
        await self._publish(key, done.written, standing, [entry.id for entry in pending])
        if done.own is None:
            if own.id not in done.verdicts:
                return None
            return write.pending(own.accepted)  # it was stored, and somebody has removed it
        kept, *numbers = done.own
        if len(kept) < len(write.batch.ids):
            return write.pending(own.accepted)
        return write.batch.outcome(key, numbers)[0]

    async def _before(
        self, redis: AsyncRedisStore, key: ConversationKey, said: _Said | None = None
    ) -> tuple[Standing, list[Entry]]:
        """What a write goes by, and what is to be stored before it: what waits, and what this process remembers.

        Of a Redis that is out of reach, or another, nothing is known; then every cache is marked.
        """
        standing = await self.own()
        if said is not None and said.waiting is not None:
            return standing, in_order(entries_in(said.waiting, said.mine), said.mine)
        mine = redis.remembered.of(key.uuid)  # before what waits is read: what is accepted in between waits
        waiting: Sequence[bytes] = ()
        if not redis.away:
            taken = await self._taken(redis, key, standing)
            if taken is None:
                standing = NOWHERE
            else:
                waiting = taken
        return standing, in_order(entries_in(waiting, mine), mine)

    async def _taken(
        self, redis: AsyncRedisStore, key: ConversationKey, standing: Standing
    ) -> Sequence[bytes] | None:
        try:
            taken = await redis.take(key, standing, key.user_id)
        except StorageError:
            return None
        if taken is None:
            redis.trust.renamed(time.monotonic())
            return None
        life, waiting = taken
        if life:
            redis.remembered.learn(key.uuid, life)
        return waiting

    async def _stored(
        self, redis: AsyncRedisStore, key: ConversationKey, entries: Sequence[Entry], standing: Standing
    ) -> Outcome:
        """Store entries; what PostgreSQL has told of them this process need not remember."""
        rows = await self._unless_unread(partial(self.postgres.store_entries, key, entries), key, standing)
        done = outcome(rows, entries)
        redis.remembered.forget(key.uuid, done.verdicts)
        redis.health.counters.stored += sum(1 for entry in entries if entry.life)
        refused = sum(verdict == "refused" for verdict in done.verdicts.values())
        if refused:
            redis.health.counters.refused += refused
            logger.error(
                "PostgreSQL refused %d entries of conversation %s for what is in them: see `convmemory journal refused`",
                refused,
                key.uuid,
            )
        return done

    async def _unless_unread(
        self, statement: Callable[..., Awaitable[T]], key: ConversationKey, standing: Standing
    ) -> T:
        """Run a statement that tells these caches; where they are taken for some without journals, one that marks all."""
        try:
            return await self.or_marked(key, standing, partial(statement, own=standing.own))
        except StorageError as error:
            if not unread(error):
                raise
            self.postgres.journals = True  # allowed since this process looked
        return await statement(own=())

    async def own(self) -> Standing:
        """The caches a write tells; none while Redis is left alone, so that the statement marks them all.

        Raises:
            StorageUnavailable: PostgreSQL does not answer.
        """
        redis = await self.hot()
        if redis is None or redis.away:
            return NOWHERE
        standing = await self._lookout.to_write()
        if self.is_behind(redis, standing):
            standing = await self._lookout.to_write()
            return standing if standing.journal else NOWHERE
        return standing

    def is_behind(self, redis: AsyncRedisStore, standing: Standing | None) -> bool:
        """Whether writes were allowed to wait since this process looked: then it looks again."""
        behind = standing is not None and self.postgres.journals and not standing.journal
        if behind:
            redis.trust.lost()
        return behind

    async def drained(self, key: ConversationKey) -> int:
        """Have PostgreSQL store what waits of a conversation; how many entries that were. Nothing is asked where none may wait.

        Raises:
            StorageUnavailable: PostgreSQL is out of reach; what waits goes on waiting.
        """
        redis = self.redis
        if redis is None or not self.journals:
            return 0
        await self.hot()
        return await self._drained(redis, key)

    async def _drained(self, redis: AsyncRedisStore, key: ConversationKey) -> int:
        await self.postgres.settle(key)
        standing, pending = await self._before(redis, key)
        if pending:
            done = await self._stored(redis, key, pending, standing)
            await self._publish(key, done.written, standing, [entry.id for entry in pending])
            self._entitle(key)  # whoever stored it may make no titles
        return len(pending)

    async def _changed(
        self, key: ConversationKey, change: Callable[[Sequence[str]], Awaitable[T]], *, drains: bool = True
    ) -> tuple[T, Standing, list[str]]:
        """Make a change that knows what waits: it is stored before, or goes with what a delete takes away.

        With what was returned, whom to tell, and the entries to let go of.
        """
        for _ in range(_STEPS):
            known, doomed = self.journals, list[Entry]()
            if known and drains:
                await self.drained(key)
            if known and not drains and self.redis is not None:
                await self.postgres.settle(key)
                standing, doomed = await self._before(self.redis, key)
            else:
                standing = await self.own()
            if standing.journal and not known:
                continue  # this process has just learned of it
            try:
                result = await self.or_marked(key, standing, partial(change, standing.own))
            except StorageError as error:
                if not unread(error):
                    raise
                self.postgres.journals = True  # allowed since this process looked
                continue
            if doomed and self.redis is not None:
                self.redis.remembered.forget(key.uuid, [entry.id for entry in doomed])
            if known and not drains and self.redis is not None:
                self.redis.remembered.learn(key.uuid, "")
            return result, standing, [entry.id for entry in doomed]
        raise StorageUnavailable(
            POSTGRES, "append", "writes are allowed to wait, and no more, again and again"
        )

    def waits_nothing(self, key: ConversationKey, reply: Reply) -> bool:
        """Whether nothing waits of a conversation, by what Redis answered and what this process remembers."""
        asked = reply.verdict in {"lease", "miss"} and reply is not NOT_ASKED
        return (
            asked and not reply.waiting and self.redis is not None and not self.redis.remembered.of(key.uuid)
        )
