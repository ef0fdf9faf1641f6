"""The two tiers as one: reads from the hot window where it can be trusted, writes told to it before they are acknowledged."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any
from uuid import UUID

from convmemory._async.cache_register import BATCH
from convmemory._async.lookout import AsyncLookout
from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory._async.reading import AsyncReading
from convmemory._async.redis_store import AsyncRedisStore
from convmemory.errors import ConversationNotFound, ConvMemoryError, StorageError
from convmemory.ids import ConversationKey, new_uuid
from convmemory.models import Draft, Message
from convmemory.storage.cache_marks import Mark
from convmemory.storage.postgres_rows import StoredBatch
from convmemory.storage.revisions import Revision, placed
from convmemory.tiers.driver_errors import unread
from convmemory.tiers.otel import traced
from convmemory.windows.snapshots import (
    DROPPED,
    ELSEWHERE,
    NO_CONVERSATION,
    Written,
)
from convmemory.windows.trust import Standing

logger = logging.getLogger("convmemory.tiered")


class AsyncTieredStore(AsyncReading):
    """One conversation store made of a durable tier and a hot one; a cheap value over the two long-lived stores.

    A read never returns less than a write acknowledged before it began, or than a read finished before it
    began, whatever happened to Redis meanwhile; ``docs/explanation/coherence.md`` has the protocol.
    Without ``redis`` every read is a read of PostgreSQL.
    """

    __slots__ = ("_lookout", "postgres", "redis")

    def __init__(self, postgres: AsyncPostgresStore, redis: AsyncRedisStore | None = None) -> None:
        self.postgres = postgres
        self.redis = redis
        if redis is not None:
            self._lookout = AsyncLookout(postgres, redis)

    async def hot(self) -> AsyncRedisStore | None:
        """The hot tier, if there is one, with the keys of this installation: what every call begins with.

        Raises:
            NotOpen: The memory was closed; Redis alone would go on answering.
            ConfigurationError: The ``RedisStore`` is in use with another database.
            StorageUnavailable: PostgreSQL has not said yet which installation this is, and does not answer.
        """
        self.postgres.look_open()
        redis = self.redis
        if redis is not None and (
            redis.installation is None or redis.installation != self.postgres.installation
        ):
            redis.belong(await self.postgres.installed(), self.postgres.former)
        return redis

    @traced("convmemory.append", size=attrgetter("stored"))
    async def append(
        self,
        key: ConversationKey,
        drafts: Sequence[Draft],
        *,
        dept_id: str | None = None,
        since: int | None = None,
        must_exist: bool = False,
        idempotency_key: str | None = None,
    ) -> StoredBatch:
        """Store a batch and tell the window; acknowledged means committed in PostgreSQL.

        ``since``, where it is known, is the conversation's last seq when what is said here began: a message stored before
        that is another one, whatever its LangChain id. What ``must_exist`` is not made: a turn that began in a conversation
        does not bring it back.

        Raises:
            ConversationNotFound: The conversation is somebody else's, or was deleted; nothing was written.
            StorageUnavailable: PostgreSQL is out of reach, and may have stored it all the same; sent again, the same words
                under an id of their own, or anything under the same ``idempotency_key``, are stored once.
        """
        more: Any = {
            "dept_id": dept_id,
            "since": since,
            "must_exist": must_exist,
            "idempotency_key": idempotency_key,
        }
        try:
            batch = await self._append(key, drafts, more)
        except StorageError:
            self.postgres.health.counters.failed_writes += 1
            raise
        if self.postgres.titler is not None and not batch.pending and batch.batch.answers():
            self._entitle(key)
        return batch

    async def _append(self, key: ConversationKey, drafts: Sequence[Draft], more: Any) -> StoredBatch:
        if not self.journals:
            standing = await self.own()
            if not standing.journal:
                try:
                    batch, written = await self.postgres.append(key, drafts, **more, own=standing.own)
                except StorageError as error:
                    if not unread(error):
                        raise
                    self.postgres.journals = True  # allowed since this process looked
                except ConvMemoryError:
                    raise
                except BaseException:
                    self.broke_off(key, standing)
                    raise
                else:
                    await self._publish(key, written, standing)
                    return batch
        return await self.append_or_accept(key, drafts, **more)

    @traced("convmemory.clear")
    async def clear(self, key: ConversationKey) -> None:
        """Delete a conversation's messages and what is cached of them."""
        written, standing, gone = await self._changed(
            key, lambda own: self.postgres.clear_conversation(key, own=own), drains=False
        )
        await self._publish(key, written, standing, gone)
        await self._finish(key, written)

    async def clear_if_there(self, key: ConversationKey) -> None:
        """As ``clear``; a conversation that does not exist is clear already, and somebody else's is still not found."""
        try:
            await self.clear(key)
        except ConversationNotFound:
            await self._refuse_anothers(key)

    @traced("convmemory.delete")
    async def delete(self, key: ConversationKey) -> None:
        """Delete a conversation and what is cached of it."""
        mark = new_uuid()
        written, standing, gone = await self._changed(
            key, lambda own: self.postgres.delete_conversation(key, own=own, mark=mark), drains=False
        )
        await self._told_of_its_end(key, written, standing, gone, mark)
        await self._finish(key, written)

    async def _told_of_its_end(
        self, key: ConversationKey, written: Written, standing: Standing, gone: Sequence[str], mark: UUID
    ) -> str:
        """As ``_publish``, of a delete; and forget what is being answered there, and the ``mark`` of a window that was told.

        What is left of that where it fails ends by itself, or with the next look.
        """
        said = await self._publish(key, written, standing, gone)
        if self.redis is not None and said not in {"", ELSEWHERE}:
            with suppress(StorageError):
                await self.redis.drop_run(key.uuid)
            marks = [Mark(name, key.uuid, mark) for name in standing.names]
            if marks:  # one that knows no cache has marked them all, for whoever looks
                with suppress(StorageError):
                    await self.postgres.clear_marks(marks)
        return said

    async def look(self) -> None:
        """Look at once which windows are marked, and drop those."""
        if self.redis is not None and not self.redis.away:
            self.redis.trust.lost()
            await self._lookout.to_read()

    @traced("convmemory.revise")
    async def revise(self, key: ConversationKey, changes: Sequence[Revision]) -> None:
        """Put other words in the place of stored messages, or take the newest away, and drop what is cached of them."""
        waited = [row for change in changes if not isinstance(change.seq, int) for row in change.seq]
        if waited:
            await self.drained(key)
            found = await self.postgres.read_messages_by_id(key, waited)
            changes = placed(changes, {message.id.hex: message.place for message in found})
        written, standing, _ = await self._changed(
            key, lambda own: self.postgres.revise_messages(key, changes, own=own)
        )
        await self._publish(key, written, standing)
        await self._finish(key, written)
        self._entitle(key)

    @traced("convmemory.pop")
    async def pop(self, key: ConversationKey) -> Message | None:
        """Remove and return the newest message; ``None`` when there is none. Two callers at once get two messages.

        Raises:
            ConversationNotFound: The user has no such conversation.
        """
        while True:
            await self.drained(key)
            stamp, newest = await self.postgres.read_messages(key, limit=1)
            if not newest:
                break
            row = newest[0].id
            written, standing, _ = await self._changed(key, partial(self._popped, key, row))
            if written is not None:  # else another message has come, or somebody else took this one
                await self._publish(key, written, standing)
                await self._finish(key, written)
                return newest[0]
        await self._tell(key, stamp)
        if stamp == NO_CONVERSATION:
            raise ConversationNotFound(key.name)
        return None

    def _entitle(self, key: ConversationKey) -> None:
        """Have a title made, where somebody makes titles and this was a first turn; nobody waits for it."""
        if self.postgres.titler is not None:
            self.postgres.titler.answered(key)

    async def _popped(self, key: ConversationKey, row: UUID, own: Sequence[str]) -> Written | None:
        return await self.postgres.pop_message(key, row, own=own)

    async def _finish(self, key: ConversationKey, written: Written) -> None:
        """Take away what a delete has left. It is acknowledged by now: what fails here somebody else goes on with."""
        if self.postgres.titler is not None:
            self.postgres.titler.changed(key)
        try:
            await self.postgres.finish(key, written)
        except StorageError as error:
            logger.warning("what was deleted is not all taken away yet: %s", error)

    async def pop_if_there(self, key: ConversationKey) -> Message | None:
        """As ``pop``; a conversation that does not exist has no message, and somebody else's is still not found."""
        try:
            return await self.pop(key)
        except ConversationNotFound:
            await self._refuse_anothers(key)
            return None

    async def _refuse_anothers(self, key: ConversationKey) -> None:
        if await self.postgres.owns(key) is False:
            raise ConversationNotFound(key.name)

    @traced("convmemory.remove")
    async def remove(self, key: ConversationKey, *, seqs: Sequence[int], ids: Sequence[UUID]) -> int:
        """Delete messages by their seqs and row ids; how many of them there were.

        Raises:
            ConversationNotFound: The user has no such conversation.
        """
        bites: list[dict[str, Any]] = [{"seqs": seqs[n : n + BATCH]} for n in range(0, len(seqs), BATCH)]
        bites += [{"ids": ids[n : n + BATCH]} for n in range(0, len(ids), BATCH)]
        return sum([await self._bite(key, which) for which in bites or [{}]])

    async def _bite(self, key: ConversationKey, which: Mapping[str, Any]) -> int:
        """Delete ``BATCH`` messages at most; how many there were."""
        (written, removed), standing, _ = await self._changed(
            key, lambda own: self.postgres.remove_messages(key, **which, own=own)
        )
        await self._publish(key, written, standing)
        await self._finish(key, written)
        return removed

    @traced("convmemory.truncate")
    async def truncate(self, key: ConversationKey, after: int) -> int:
        """Delete the messages behind ``after`` that are there now, the newest first; how many there were.

        Raises:
            ConversationNotFound: The user has no such conversation.
        """
        await self.drained(key)
        _, newest = await self.postgres.read_messages(key, limit=1)
        removed, last = 0, newest[0].place if newest else after
        while True:
            bite = await self._bite(key, {"within": (after, last)})
            removed += bite
            if bite < BATCH:
                return removed

    @traced("convmemory.replace")
    async def replace(self, key: ConversationKey, message: UUID, draft: Draft) -> None:
        """Put another message in the place of a stored one, and drop what is cached of it.

        Raises:
            ConversationNotFound: The user has no such conversation.
            MessageNotFound: There is no such message in it.
        """
        written, standing, _ = await self._changed(
            key, lambda own: self.postgres.replace_message(key, message, draft, own=own)
        )
        await self._publish(key, written, standing)
        await self._finish(key, written)
        self._entitle(key)

    @traced("convmemory.erase")
    async def erase(
        self, key: ConversationKey, before: datetime | None = None
    ) -> tuple[Counter[str], bool] | None:
        """Delete a conversation, all of it taken away when this returns: how many rows of which table, and was it cached.

        ``None``, and nothing done, where there is none, or where it was spoken in at ``before`` or later.
        """
        if before is not None:
            await self.drained(key)  # what waits was said since
        mark = new_uuid()
        found, standing, gone = await self._changed(
            key,
            lambda own: self.postgres.erase_conversation(key, before=before, own=own, mark=mark),
            drains=False,
        )
        if found is None:
            return None
        written, messages, contexts = found
        said = await self._told_of_its_end(key, written, standing, gone, mark)
        rows = Counter(conversations=1, messages=messages, message_contexts=contexts, documents=0)
        rows.update(await self.postgres.finish(key, written))
        return rows, said == DROPPED

    async def _publish(
        self, key: ConversationKey, written: Written, standing: Standing, stored: Sequence[str] = ()
    ) -> str:
        """Tell the window of a committed change; where that is impossible, mark it before it is acknowledged.

        What became of the window is returned, in the words of its script.

        Entries that it ``stored`` leave the journal at the same moment.
        What the statement marked is told as well: the mark may have been seen to by a look that came before. A cache that
        was not marked is told, or marked now, also where windows were given up meanwhile. For a caller who goes away (it was
        cancelled, or a signal came) it is marked behind it: nobody may call again, and reads would go on without the change.
        """
        if self.redis is None or (self.redis.off and not standing.names):
            return ""
        try:
            if stored:
                said = await self.redis.settle(key, written, standing, stored)
            else:
                said = await self.redis.publish(key, written, standing)
        except StorageError:
            said = ""
        except BaseException:
            self.broke_off(key, standing)
            raise
        if said == ELSEWHERE:
            self.redis.trust.renamed(time.monotonic())
        if said in ("", ELSEWHERE):
            self.redis.health.counters.dirty_marks += 1
            try:
                if standing.names:
                    await self.postgres.mark(key.uuid, standing.names)
            except StorageError:
                raise
            except BaseException:
                self.broke_off(key, standing)
                raise
            finally:
                self.redis.trust.lost()  # whoever looked since it failed here did not find this mark
        return said
