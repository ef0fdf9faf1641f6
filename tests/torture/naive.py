"""The write-through cache everybody writes first: push to a list after the insert, fill it on a miss.

What the checker must not let pass. PostgreSQL is the library's own store; only the coherence is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

import convmemory._sync.memory
import convmemory.history
from convmemory._sync.tiered import TieredStore
from convmemory.ids import ConversationKey
from convmemory.models import Draft
from convmemory.storage.postgres_rows import StoredBatch
from convmemory.windows.snapshots import Snapshot

KEEP = 12
TTL = 1800


class NaiveStore(TieredStore):
    """LPUSH, LTRIM, EXPIRE after each insert; LRANGE for reads; the list is filled from PostgreSQL when it is empty."""

    __slots__ = ()

    def read(self, key: ConversationKey, want: int | None, hard: int, *_: Any) -> Snapshot:
        self.postgres.settle(key)
        if want is None or want > KEEP:
            return super()._read_durable(key, want, hard)
        try:
            cached = self._client.lrange(_name(key), 0, -1)
        except RedisError:
            return super()._read_durable(key, want, hard)
        if cached:
            self.redis.health.counters.hits += 1
            beyond = len(cached) == KEEP  # then there may be older ones, and the window is cut to whole turns
            return Snapshot("naive", len(cached) + beyond, 0, cached[::-1])
        snapshot = super()._read_durable(key, KEEP, hard)
        self._push(key, snapshot.entries)
        return snapshot.newest(want, hard)

    def append(self, key: ConversationKey, drafts: Sequence[Draft], **known: Any) -> StoredBatch:
        batch, written = self.postgres.append(key, drafts, **known)
        self._push(key, written.entries)
        return batch

    def clear(self, key: ConversationKey) -> None:
        self.postgres.clear_conversation(key)
        self._forget(key)

    def delete(self, key: ConversationKey) -> None:
        self.postgres.delete_conversation(key)
        self._forget(key)

    @property
    def _client(self) -> Redis:
        return self.redis._client

    def _push(self, key: ConversationKey, entries: Sequence[bytes]) -> None:
        if not entries:
            return
        try:
            with self._client.pipeline() as pipe:
                pipe.lpush(_name(key), *entries)
                pipe.ltrim(_name(key), 0, KEEP - 1)
                pipe.expire(_name(key), TTL)
                pipe.execute()
        except RedisError:
            return

    def _forget(self, key: ConversationKey) -> None:
        try:
            self._client.delete(_name(key))
        except RedisError:
            return


def _name(key: ConversationKey) -> str:
    return f"history:{key.uuid}"


def install() -> None:
    """Put the naive store where this process's histories look for theirs."""
    use(NaiveStore)


def use(store: type[TieredStore]) -> None:
    """Have every blocking history of this process read and write through ``store``."""
    convmemory.history.TieredStore = store
    convmemory._sync.memory.TieredStore = store
