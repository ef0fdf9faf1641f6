"""The durable tier: conversations, messages and retrieved contexts in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from convmemory._async.cache_register import BATCH, AsyncCacheRegister
from convmemory._async.journal_statements import AsyncJournalStatements
from convmemory._async.list_statements import AsyncListStatements
from convmemory._async.search_statements import AsyncSearchStatements
from convmemory._async.title_statements import AsyncTitleStatements
from convmemory.errors import ConversationChanged, ConversationNotFound, MessageNotFound, StorageUnavailable
from convmemory.ids import ConversationKey
from convmemory.models import Conversation, Draft, Message
from convmemory.storage import postgres_rows, revisions
from convmemory.storage.postgres_rows import StoredBatch
from convmemory.storage.revisions import Revision
from convmemory.storage.rooms import wanted
from convmemory.storage.text_arrays import array
from convmemory.storage.titles import TitleKeeper
from convmemory.tiers.driver_errors import POSTGRES
from convmemory.windows.collection import uncollected
from convmemory.windows.snapshots import NO_CONVERSATION, Snapshot, Written, snapshot_of

_BIGGEST: Final = 2**62
_WHOSE_DOING: Final = "its answer was lost, and whether it took the message that is gone cannot be told"
_ANEW: Final = 10
"""How often a conversation is made that is deleted at that very moment."""


class AsyncPostgresStore(
    AsyncCacheRegister,
    AsyncJournalStatements,
    AsyncListStatements,
    AsyncSearchStatements,
    AsyncTitleStatements,
):
    """Conversations, messages and contexts in PostgreSQL: the truth.

    Args:
        conninfo: ``postgresql://user:password@host:5432/database``, with a driver of SQLAlchemy's or without; ``None``
            takes it from ``settings``. Or an open ``AsyncConnectionPool`` of ``psycopg_pool``: its owner closes it, and it
            serves the process and event loop it was first used in.
        settings: Time-outs, pool size and the schema's name; ``Settings()`` has the defaults.
        password: Asked for the password of each new connection, where that is a token which expires; may be awaited.

    Nothing connects before ``open()``. A statement whose connection broke is sent once more: every one of
    them may be repeated. Once open, the store may be used in forked processes and in other event loops: each has
    connections of its own.
    """

    titler: TitleKeeper | None = None
    """Who makes titles of first turns, where a memory has somebody for that."""

    async def ping(self) -> dict[str, Any]:
        """As ``AsyncCacheRegister.ping``; and what is to be done where a setting of search asks for an extension that is not there."""
        lacking = {room.setting: await self.lacking(room) for room in wanted(self.settings)}
        return {**await super().ping(), **{setting: why or "on" for setting, why in lacking.items()}}

    async def settle(self, key: ConversationKey) -> None:
        """Have a key know its row, which follows from the installation's names where it is a name's.

        Raises:
            SchemaOutdated: The schema is not there.
        """
        if self.names is None:
            await self.installed()
        key.settle(str(self.names))

    async def _mine(self, key: ConversationKey) -> dict[str, Any]:
        await self.settle(key)
        return {"conversation": key.uuid, "user_id": key.user_id}

    async def append(
        self,
        key: ConversationKey,
        drafts: Sequence[Draft],
        *,
        dept_id: str | None = None,
        idempotency_key: str | None = None,
        since: int | None = None,
        must_exist: bool = False,
        own: Sequence[str] = (),
    ) -> tuple[StoredBatch, Written]:
        """Store a batch in order, in one statement; make and title the conversation if need be.

        Messages that are there already (of this LangChain id and these words, by ``idempotency_key``, or because this is
        a repeat) stay as they are. Where ``since`` tells the conversation's last seq when what is said here began, what
        is older is no repeat. Every cache is marked but those in ``own``, which the caller tells.

        Raises:
            ConversationNotFound: The conversation is somebody else's, or must exist and does not; nothing was written.
        """
        await self.settle(key)
        batch = postgres_rows.prepare(key, drafts, idempotency_key, since)
        postgres_rows.refuse_large(self.settings, batch.drafts, batch.encoded)
        since = since if idempotency_key is None else postgres_rows.SAME_CALL
        return await self.append_batch(
            key, batch, dept_id, since, make=not (key.named_only or must_exist), own=own
        )

    async def read_window(self, key: ConversationKey, want: int, hard: int) -> Snapshot:
        """The newest ``want`` messages, or the newest turn up to ``hard`` messages, in one statement.

        Raises:
            ConversationNotFound: The conversation is somebody else's, or may be. One that is not there reads empty.
        """
        return await self._read(key, "read_window", {"want": want, "hard": max(want, hard)})

    async def read_all(self, key: ConversationKey) -> Snapshot:
        """Every message, in one statement; otherwise as ``read_window``."""
        return await self._read(key, "read_all", {})

    async def _read(self, key: ConversationKey, name: str, more: Mapping[str, Any]) -> Snapshot:
        found = await self._run(name, {**await self._mine(key), **more})
        mine, snapshot = snapshot_of(found[::-1] if name == "read_window" else found)
        self.journals = self.journals or bool(found and found[0][5])
        if not mine or (key.named_only and not found):
            raise ConversationNotFound(key.name)
        return snapshot

    async def read_messages(
        self, key: ConversationKey, *, limit: int, before: int | None = None, after: int | None = None
    ) -> tuple[str, list[Message]]:
        """Stored messages between two seqs, oldest first: the newest ``limit``, or the oldest after ``after``.

        With the stamp they were read under, ``""`` where there is no conversation.

        Raises:
            ConversationNotFound: The conversation is somebody else's.
        """
        found = await self._run(
            "read_messages",
            {
                **await self._mine(key),
                "before": _BIGGEST if before is None else before,
                "after": -1 if after is None else after,
                "newest": after is None,
                "limit": limit,
            },
        )
        if not found:
            return NO_CONVERSATION, []
        mine, stamp, journals, *_ = found[0]
        self.journals = self.journals or bool(journals)
        if not mine:
            raise ConversationNotFound(key.name)
        rows = found if after is not None else reversed(found)
        with uncollected(len(found)):
            return stamp, [postgres_rows.message_of(key.name, row[3:]) for row in rows if row[3] is not None]

    async def read_messages_by_id(self, key: ConversationKey, ids: Sequence[str]) -> list[Message]:
        """Those of the messages with these row ids that are still there, oldest first; whoever appended has told of them."""
        rows = {"conversation": key.uuid, "user_id": key.user_id, "ids": list(ids)}
        return [
            postgres_rows.message_of(key.name, row) for row in await self._run("read_messages_by_id", rows)
        ]

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
            ConversationNotFound: The id is taken by somebody else, or kept for somebody's name.
        """
        await self.settle(key)
        if key.named_only:
            return await self.get_conversation(key), False
        stamp = postgres_rows.new_stamp()
        parameters = {
            **await self._mine(key),
            "external_id": key.external_id,
            "title": title,
            "dept_id": dept_id,
            "new_stamp": stamp,
            "first_stamp": stamp,
            "metadata": postgres_rows.json_text(metadata),
        }
        for _ in range(_ANEW):
            found = await self._run("create_conversation", parameters)
            if found or await self.owns(key) is not None:
                break  # else it was deleted while the statement waited for it, and is made after all
        return self._one(key, [row[:-1] for row in found]), bool(found[0][-1])

    async def get_conversation(self, key: ConversationKey) -> Conversation:
        """One conversation of the user; ``ConversationNotFound`` when there is none."""
        return self._one(key, await self._run("get_conversation", await self._mine(key)))

    async def update_conversation(
        self, key: ConversationKey, changes: Mapping[str, Any], if_version: int | None = None
    ) -> Conversation:
        """Change a conversation's ``title``, ``dept_id``, ``archived``, ``pinned`` or ``metadata``: those that ``changes`` names.

        Raises:
            ConversationChanged: It is of another version than ``if_version``.
        """
        metadata: Mapping[str, Any] = changes.get("metadata", {})
        parameters = {
            **await self._mine(key),
            "set_title": "title" in changes,
            "title": changes.get("title"),
            "set_dept": "dept_id" in changes,
            "dept_id": changes.get("dept_id"),
            "archived": changes.get("archived"),
            "pinned": changes.get("pinned"),
            "metadata": postgres_rows.json_text(metadata),
            "removed": postgres_rows.names_of_nothing(metadata),
            "if_version": if_version,
        }
        rows = await self._run("update_conversation", parameters)
        if not rows and if_version is not None:
            raise ConversationChanged(key.name, (await self.get_conversation(key)).version)
        return self._one(key, rows)

    async def delete_conversation(
        self, key: ConversationKey, *, own: Sequence[str] = (), mark: UUID | None = None
    ) -> Written:
        """Delete a conversation with all its messages; ``ConversationNotFound`` when there is none.

        A large one is gone at once, and its messages are taken away by ``finish``. Caches in ``own`` are
        marked too where there is a ``mark``, under that id.
        """
        return await self._change(key, "delete_conversation", own, mark=mark)

    async def clear_conversation(self, key: ConversationKey, *, own: Sequence[str] = ()) -> Written:
        """Delete all messages and keep the conversation; otherwise as ``delete_conversation``."""
        return await self._change(key, "clear_conversation", own)

    async def pop_message(
        self, key: ConversationKey, message: UUID, *, own: Sequence[str] = ()
    ) -> Written | None:
        """Delete the newest message if it is the row ``message``; ``None``, and nothing done, when it is not.

        Naming the row makes it safe to repeat: an attempt whose answer was lost is known by the stamp it left.

        Raises:
            StorageUnavailable: The answer was lost, the message is gone, and others have written since: who took it
                nobody can tell.
        """
        stamp = postgres_rows.new_stamp()
        parameters = {
            "id": message,
            "new_stamp": stamp,
            "first_stamp": stamp,
            "own": array(own),
        }
        found = await self._bitten(key, "pop_message", parameters, gone=[[None, False, False]])
        if not found or found[0][0] == "":
            return None
        if found[0][0] is None:
            raise StorageUnavailable(POSTGRES, "pop_message", _WHOSE_DOING)
        return Written(found[0][0], left_anywhere=found[0][1])

    async def revise_messages(
        self, key: ConversationKey, changes: Sequence[Revision], *, own: Sequence[str] = ()
    ) -> Written:
        """Put other words in the place of stored messages, or take the newest away; ``ConversationNotFound`` without one.

        A message that is no more what the revision says was stored stays as it is, so it is safe to repeat.
        """
        what = {**revisions.parameters(changes), "own": array(own)}
        found = await self._bitten(key, "revise_messages", what, gone=[[NO_CONVERSATION, False, False]])
        if not found:
            raise ConversationNotFound(key.name)
        stamp, left, _ = found[0]
        return Written(stamp, left_anywhere=left)

    async def remove_messages(
        self,
        key: ConversationKey,
        *,
        seqs: Sequence[int] = (),
        ids: Sequence[UUID] = (),
        within: tuple[int, int] | None = None,
        own: Sequence[str] = (),
    ) -> tuple[Written, int]:
        """Delete messages by seq or row id, or the newest ``BATCH`` of those ``within`` two seqs (the first left out); and how many.

        Those that are gone already are passed over, so it is safe to repeat.

        Raises:
            ConversationNotFound: The user has no such conversation.
        """
        after, upto, most = (None, None, None) if within is None else (*within, BATCH)
        which = {"seqs": list(seqs), "ids": list(ids), "after": after, "upto": upto, "most": most}
        found = await self._bitten(key, "remove_messages", {**which, "own": array(own)})
        if not found:
            raise ConversationNotFound(key.name)
        stamp, removed, left, _ = found[0]
        return Written(stamp, left_anywhere=left), removed

    async def replace_message(
        self, key: ConversationKey, message: UUID, draft: Draft, *, own: Sequence[str] = ()
    ) -> Written:
        """Put another message in the place of the row ``message``.

        Raises:
            ConversationNotFound: The user has no such conversation.
            MessageNotFound: There is no such message in it.
        """
        what = {
            **postgres_rows.replacement(self.settings, draft),
            "id": message,
            "own": array(own),
        }
        found = await self._bitten(key, "replace_message", what)
        if not found:
            raise ConversationNotFound(key.name)
        stamp, there, left, _ = found[0]
        if not there:
            raise MessageNotFound(message)
        return Written(stamp, left_anywhere=left)

    async def annotate_message(
        self, key: ConversationKey, message: UUID, metadata: Mapping[str, Any]
    ) -> None:
        """Lay ``metadata`` over that of the row ``message``; otherwise as ``replace_message``.

        Raises:
            InvalidArgument: It would be larger than the settings allow, and larger than it is.
        """
        most = self.settings.max_metadata_bytes
        noted = {"metadata": postgres_rows.json_text(metadata), "id": message, "most": most}
        removed = postgres_rows.names_of_nothing(metadata)
        found = await self._run("annotate_message", {**await self._mine(key), **noted, "removed": removed})
        if not found:
            raise ConversationNotFound(key.name)
        there, size = found[0]
        if not there:
            raise MessageNotFound(message)
        postgres_rows.refuse_size("metadata", size or 0, most)

    async def key_message(self, key: ConversationKey, message: UUID, keys: str | None) -> None:
        """Have the row ``message`` found by ``keys`` as well; otherwise as ``replace_message``."""
        found = await self._run("key_message", {**await self._mine(key), "id": message, "keys": keys})
        if not found:
            raise ConversationNotFound(key.name)
        if not found[0][0]:
            raise MessageNotFound(message)

    async def _bitten(
        self, key: ConversationKey, name: str, more: Mapping[str, Any], gone: Sequence[Any] = ()
    ) -> Sequence[Any]:
        """What a statement returns that takes messages away; before them, in calls of their own, what is many of their contexts."""
        parameters = {**await self._mine(key), **more, "batch": BATCH}
        while True:
            found = await self._run(name, parameters, gone=gone)
            if not found or not found[0][-1]:
                return found

    async def erase_conversation(
        self,
        key: ConversationKey,
        *,
        before: datetime | None,
        own: Sequence[str] = (),
        mark: UUID | None = None,
    ) -> tuple[Written, int, int] | None:
        """Delete a conversation as ``delete_conversation`` does; with the numbers of its messages and contexts.

        Contexts that are taken away by ``finish`` are not counted here.

        ``None``, and nothing done, where there is none, or where it was spoken in at ``before`` or later.
        """
        what = {"before": before, "own": array(own), "batch": BATCH, "mark": mark}
        gone = [[NO_CONVERSATION, True, True, 0, 0]]
        found = await self._run("erase_conversation", {**await self._mine(key), **what}, gone=gone)
        if not found:
            return None
        stamp, here, anywhere, messages, contexts = found[0]
        return Written(stamp, left_here=here, left_anywhere=anywhere), messages, contexts

    async def _change(self, key: ConversationKey, name: str, own: Sequence[str], **more: Any) -> Written:
        parameters = {**await self._mine(key), "own": array(own), "batch": BATCH, **more}
        found = await self._run(name, parameters, gone=[[NO_CONVERSATION, True, False]])
        if not found:
            raise ConversationNotFound(key.name)
        stamp, here, anywhere = found[0]
        return Written(stamp, left_here=here, left_anywhere=anywhere)

    async def owns(self, key: ConversationKey) -> bool | None:
        """Whether the conversation is the user's; ``None`` when there is none, and it may be made under this key."""
        found = await self._run("owner", await self._mine(key))
        if not found:
            return False if key.named_only else None
        return bool(found[0][0])

    def _one(self, key: ConversationKey, found: Sequence[Sequence[Any]]) -> Conversation:
        if not found:
            raise ConversationNotFound(key.name)
        return postgres_rows.conversation_of(found[0])
