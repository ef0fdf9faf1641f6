"""The durable tier: conversations, messages and retrieved contexts in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from convmemory._async.statements import AsyncStatements
from convmemory.errors import ConversationNotFound
from convmemory.ids import ConversationKey
from convmemory.models import Conversation, Draft, Message, Page
from convmemory.storage import postgres_rows, revisions
from convmemory.storage.postgres_rows import StoredBatch
from convmemory.storage.revisions import Revision
from convmemory.windows.snapshots import Snapshot, Written, snapshot_of

_BIGGEST: Final = 2**62


class AsyncPostgresStore(AsyncStatements):
    """Conversations, messages and contexts in PostgreSQL: the truth.

    Args:
        conninfo: ``postgresql://user:password@host:5432/database``, with a driver of SQLAlchemy's or without; ``None``
            takes it from ``settings``.
        settings: Time-outs, pool size and the schema's name; ``Settings()`` has the defaults.

    Nothing connects before ``open()``. A statement whose connection broke is sent once more: every one of
    them may be repeated. Once open, the store may be used in forked processes and in other event loops: each has
    connections of its own.
    """

    async def append(
        self,
        key: ConversationKey,
        drafts: Sequence[Draft],
        *,
        dept_id: str | None = None,
        since: int | None = None,
        dirty: bool = False,
    ) -> tuple[StoredBatch, Written]:
        """Store a batch in order, in one statement; make and title the conversation if need be.

        Messages that are there already (of this LangChain id and these words, or because this is a repeat) stay as they
        are. Where ``since`` tells the conversation's last seq when what is said here began, what is older is no repeat.

        Raises:
            ConversationNotFound: The conversation is somebody else's; nothing was written.
        """
        batch = postgres_rows.prepare(key, drafts)
        parameters = batch.parameters() | {
            "conversation": key.uuid,
            "user_id": key.user_id,
            "external_id": key.external_id,
            "dept_id": dept_id,
            "new_incarnation": postgres_rows.new_incarnation(),
            "since": since,
            "dirty": dirty,
        }
        found = await self._run("append", parameters)
        if not found:
            raise ConversationNotFound(key.name)
        return batch.outcome(key, found[0])

    async def read_window(self, key: ConversationKey, want: int, hard: int) -> Snapshot:
        """The newest ``want`` messages, or the newest turn up to ``hard`` messages, in one statement.

        Raises:
            ConversationNotFound: The conversation is somebody else's. One that is not there reads empty.
        """
        return await self._read(key, "read_window", {"want": want, "hard": max(want, hard)})

    async def read_all(self, key: ConversationKey) -> Snapshot:
        """Every message, in one statement; otherwise as ``read_window``."""
        return await self._read(key, "read_all", {})

    async def _read(self, key: ConversationKey, name: str, more: Mapping[str, Any]) -> Snapshot:
        found = await self._run(name, {"conversation": key.uuid, "user_id": key.user_id, **more})
        mine, snapshot = snapshot_of(found)
        if not mine:
            raise ConversationNotFound(key.name)
        return snapshot

    async def read_messages(
        self, key: ConversationKey, *, limit: int, before: int | None = None, after: int | None = None
    ) -> list[Message]:
        """Stored messages between two seqs, oldest first: the newest ``limit``, or the oldest after ``after``."""
        found = await self._run(
            "read_messages",
            {
                "conversation": key.uuid,
                "user_id": key.user_id,
                "before": _BIGGEST if before is None else before,
                "after": -1 if after is None else after,
                "newest": after is None,
                "limit": limit,
            },
        )
        if not found:
            await self.get_conversation(key)
        return [postgres_rows.message_of(key.name, row) for row in found]

    async def read_messages_at(self, key: ConversationKey, seqs: Sequence[int]) -> list[Message]:
        """Those of the messages at ``seqs`` that are still there, oldest first."""
        place = {"conversation": key.uuid, "user_id": key.user_id, "seqs": list(seqs)}
        return [postgres_rows.message_of(key.name, row) for row in await self._run("read_messages_at", place)]

    async def create_conversation(
        self,
        key: ConversationKey,
        *,
        title: str | None = None,
        dept_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> tuple[Conversation, bool]:
        """Make a conversation, or return the one of that id that the user has already; and whether it was made.

        Raises:
            ConversationNotFound: The id is taken by somebody else.
        """
        incarnation = postgres_rows.new_incarnation()
        found = await self._run(
            "create_conversation",
            {
                "conversation": key.uuid,
                "user_id": key.user_id,
                "external_id": key.external_id,
                "title": title,
                "dept_id": dept_id,
                "new_incarnation": incarnation,
                "first_incarnation": incarnation,
                "metadata": postgres_rows.json_text("metadata", metadata),
            },
        )
        return self._one(key, [row[:-1] for row in found]), bool(found[0][-1])

    async def get_conversation(self, key: ConversationKey) -> Conversation:
        """One conversation of the user; ``ConversationNotFound`` when there is none."""
        return self._one(
            key, await self._run("get_conversation", {"conversation": key.uuid, "user_id": key.user_id})
        )

    async def list_conversations(
        self, user_id: str, *, limit: int, cursor: str | None = None
    ) -> Page[Conversation]:
        """A user's conversations, the one changed last first, ``limit`` a page."""
        place = postgres_rows.read_cursor(cursor) | {"user_id": user_id, "limit": limit + 1}
        found = [postgres_rows.conversation_of(row) for row in await self._run("list_conversations", place)]
        more = postgres_rows.cursor_after(found[limit - 1]) if len(found) > limit else None
        return Page[Conversation].built(items=tuple(found[:limit]), next_cursor=more)

    async def update_conversation(self, key: ConversationKey, changes: Mapping[str, Any]) -> Conversation:
        """Change a conversation's ``title``, ``dept_id`` or ``metadata``: those that ``changes`` names."""
        metadata: Mapping[str, Any] = changes.get("metadata", {})
        parameters = {
            "conversation": key.uuid,
            "user_id": key.user_id,
            "set_title": "title" in changes,
            "title": changes.get("title"),
            "set_dept": "dept_id" in changes,
            "dept_id": changes.get("dept_id"),
            "metadata": postgres_rows.json_text("metadata", metadata),
            "removed": [name for name, value in metadata.items() if value is None],
        }
        return self._one(key, await self._run("update_conversation", parameters))

    async def delete_conversation(self, key: ConversationKey, *, dirty: bool = False) -> Written:
        """Delete a conversation with all its messages; ``ConversationNotFound`` when there is none."""
        return await self._change(key, "delete_conversation", dirty=dirty)

    async def clear_conversation(self, key: ConversationKey, *, dirty: bool = False) -> Written:
        """Delete all messages and keep the conversation; ``ConversationNotFound`` when there is none."""
        return await self._change(key, "clear_conversation", dirty=dirty)

    async def pop_message(
        self, key: ConversationKey, message: UUID, *, dirty: bool = False
    ) -> Written | None:
        """Delete the newest message if it is the row ``message``; ``None``, and nothing done, when it is not.

        Naming the row makes it safe to repeat: what was deleted by an attempt whose answer was lost is not
        the newest any more.
        """
        return await self._changed(key, "pop_message", {"id": message, "dirty": dirty})

    async def revise_messages(
        self,
        key: ConversationKey,
        changes: Sequence[Revision],
        *,
        dirty: bool = False,
    ) -> Written:
        """Put other words in the place of stored messages, or take the newest away; ``ConversationNotFound`` without one.

        A message that is no more what the revision says was stored stays as it is, so it is safe to repeat.
        """
        described = revisions.parameters(changes) | {"dirty": dirty}
        written = await self._changed(key, "revise_messages", described)
        if written is None:
            raise ConversationNotFound(key.name)
        return written

    async def _change(self, key: ConversationKey, name: str, *, dirty: bool) -> Written:
        written = await self._changed(key, name, {"dirty": dirty})
        if written is None:
            raise ConversationNotFound(key.name)
        return written

    async def _changed(self, key: ConversationKey, name: str, more: Mapping[str, Any]) -> Written | None:
        parameters = {"conversation": key.uuid, "user_id": key.user_id, **more}
        found = await self._run(name, parameters, gone=[["0", 0]])
        return Written(str(found[0][0]), found[0][1]) if found else None

    async def owns(self, key: ConversationKey) -> bool | None:
        """Whether the conversation is the user's; ``None`` when there is no such conversation."""
        found = await self._run("owner", {"conversation": key.uuid, "user_id": key.user_id})
        return bool(found[0][0]) if found else None

    async def mark_dirty(self, conversation: UUID, written: Written) -> None:
        """Note that the cached window was not told of a committed change."""
        mark = {
            "conversation": conversation,
            "incarnation": int(written.incarnation),
            "version": written.version,
        }
        await self._run("mark_dirty", mark, fetch=False)

    async def read_dirty(self, limit: int) -> list[tuple[UUID, int, int]]:
        """Marks to drain: ``(conversation, incarnation, version)``, the oldest first."""
        return [(c, i, v) for c, i, v in await self._run("read_dirty", {"limit": limit})]

    async def clear_dirty(self, marks: Sequence[tuple[UUID, int, int]]) -> None:
        """Forget marks whose windows were dropped; one that was made again meanwhile stays."""
        conversations, incarnations, versions = (list(column) for column in zip(*marks, strict=True))
        parameters = {"conversations": conversations, "incarnations": incarnations, "versions": versions}
        await self._run("clear_dirty", parameters, fetch=False)

    def _one(self, key: ConversationKey, found: Sequence[Sequence[Any]]) -> Conversation:
        if not found:
            raise ConversationNotFound(key.name)
        return postgres_rows.conversation_of(found[0])
