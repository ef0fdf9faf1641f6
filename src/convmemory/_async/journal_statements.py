"""The journals in PostgreSQL: what waited in Redis is stored, in order and once; and who may have writes wait at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from convmemory._async.statements import AsyncStatements
from convmemory.errors import ConversationNotFound
from convmemory.ids import ConversationKey
from convmemory.journal.entries import Entry, window_of
from convmemory.storage.postgres_rows import Batch, StoredBatch
from convmemory.storage.text_arrays import array
from convmemory.windows.snapshots import Snapshot, Written

_BATCH: Final = 2000
"""Rows that are forgotten at once."""


class AsyncJournalStatements(AsyncStatements):
    """The statements on what waits in journals; the store of PostgreSQL has them beside those on conversations."""

    _mine: Callable[[ConversationKey], Awaitable[dict[str, Any]]]

    async def store_entries(
        self, key: ConversationKey, entries: Sequence[Entry], own: Sequence[str]
    ) -> Sequence[Sequence[Any]]:
        """Store entries of one conversation in one transaction: the rows of ``store_entries.sql``.

        Entries that are stored already, and those of another life, are passed over, so it is safe to repeat.
        """
        parameters = {
            "conversation": key.uuid,
            "user_id": key.user_id,
            "entries": f"[{','.join(entry.text for entry in entries)}]",
            "own": array(own),
            "search": self.settings.search_configuration,
        }
        return await self._run("store_entries", parameters)

    async def append_batch(
        self,
        key: ConversationKey,
        batch: Batch,
        dept_id: str | None,
        since: int | None,
        *,
        make: bool,
        own: Sequence[str],
    ) -> tuple[StoredBatch, Written]:
        """Store a batch that has its row ids; see ``append``."""
        found = await self._run("append", self._to_append(key, batch, dept_id, since, make=make, own=own))
        if found[0][0] is None:
            raise ConversationNotFound(key.name)
        return batch.outcome(key, *found[0])

    async def append_in_life(
        self,
        key: ConversationKey,
        batch: Batch,
        dept_id: str | None,
        since: int | None,
        *,
        life: str,
        rows: Sequence[str],
        own: Sequence[str],
    ) -> tuple[StoredBatch, Written] | None:
        """As ``append_batch``, in one life of the conversation.

        ``None``, and nothing done, where it has another, or one of the ``rows`` that the batch may have was removed.
        """
        parameters = self._to_append(key, batch, dept_id, since, make=False, own=own)
        parameters["life"] = life
        parameters["rows"] = array(rows)
        found = await self._run("append_in_life", parameters)
        return batch.outcome(key, *found[0]) if found and found[0][0] else None

    def _to_append(
        self,
        key: ConversationKey,
        batch: Batch,
        dept_id: str | None,
        since: int | None,
        *,
        make: bool,
        own: Sequence[str],
    ) -> dict[str, Any]:
        parameters = batch.parameters()
        parameters["conversation"] = key.uuid
        parameters["user_id"] = key.user_id
        parameters["external_id"] = key.external_id
        parameters["dept_id"] = dept_id
        parameters["since"] = since
        parameters["own"] = array(own)
        parameters["make"] = make
        parameters["search"] = self.settings.search_configuration
        return parameters

    async def read_window_rows(self, key: ConversationKey, want: int, hard: int) -> tuple[Snapshot, str]:
        """As ``read_window``, with the row of each message behind it, and the conversation's life."""
        asked = {"want": want, "hard": max(want, hard)}
        found = await self._run("read_window_rows", {**await self._mine(key), **asked})
        mine, snapshot, life = window_of(found[::-1])
        if not mine or (key.named_only and not found):
            raise ConversationNotFound(key.name)
        return snapshot, life

    async def allow_journals(self, *, allowed: bool = True) -> None:
        """Have writes wait in journals, or no more; waits a moment at most for the writes that are under way."""
        await self._run("allow_journals", {"allowed": allowed}, fetch=False)

    async def refused_entries(self, limit: int) -> Sequence[Sequence[Any]]:
        """Entries that PostgreSQL refused for what is in them, the newest first: the rows of ``refused_entries.sql``."""
        return await self._run("refused_entries", {"limit": limit})

    async def tidy_removed(self) -> None:
        """Forget which messages were removed more than 30 days ago, some of them at a time."""
        await self._run("tidy_removed", {"batch": _BATCH}, fetch=False)
