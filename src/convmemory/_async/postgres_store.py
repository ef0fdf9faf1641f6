"""The durable tier: conversations, messages and retrieved contexts in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self, TypeVar
from uuid import UUID, uuid4

from psycopg import sql
from psycopg_pool import PoolTimeout
from pydantic import SecretStr

from convmemory._async.migrate import check_not_newer, install
from convmemory._async.postgres_connections import MIGRATION, connect, open_pool
from convmemory._async.prober import AsyncProber
from convmemory.errors import ConversationNotFound, NotOpen, StorageUnavailable
from convmemory.ids import ConversationKey
from convmemory.models import Conversation, Draft, Message, Page
from convmemory.settings import Settings, libpq_url
from convmemory.storage import postgres_rows
from convmemory.storage.cache_marks import Looked, Mark, looked
from convmemory.storage.postgres_rows import StoredBatch
from convmemory.storage.sql_and_lua import migrations
from convmemory.storage.sql_and_lua import sql as statement
from convmemory.tiers.breaker import TierHealth
from convmemory.tiers.driver_errors import POSTGRES, out_of_reach, translated
from convmemory.windows.snapshots import NO_CONVERSATION, Snapshot, Written, snapshot_of
from convmemory.windows.trust import FIRST

T = TypeVar("T")
_BIGGEST: Final = 2**62
_BRIEF: Final = frozenset({"append"})
"""Statements that answer with a few numbers, and come so often that a new cursor for each would be felt."""
_LOCKS: Final = frozenset(f"{verb}_conversation" for verb in ("clear", "create", "delete", "update")) | {
    "append",
    "pop_message",
}
"""Statements that wait for the row of their conversation, with a connection in hand."""


class AsyncPostgresStore:
    """Conversations, messages and contexts in PostgreSQL: the truth.

    Args:
        conninfo: ``postgresql://user:password@host:5432/database``, with a driver of SQLAlchemy's or without; ``None``
            takes it from ``settings``.
        settings: Time-outs, pool size and the schema's name; ``Settings()`` has the defaults.

    Nothing connects before ``open()``. A statement whose connection broke is sent once more: every one of
    them may be repeated.
    """

    def __init__(self, conninfo: str | None = None, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.health = TierHealth(POSTGRES)
        self._conninfo = SecretStr(libpq_url(conninfo) if conninfo else self.settings.postgres_conninfo())
        self._pool = self._reach(open_pool)
        self._schema = sql.Identifier(self.settings.db_schema)
        self._statements: dict[str, bytes] = {}
        self.installation: str | None = None
        self._opened = False
        self._refused = 0
        self._prober = AsyncProber(self.health, self._sign_of_life)

    async def open(self) -> Self:
        """Connect, and check that the schema is not newer than this library.

        Raises:
            StorageUnavailable: Nobody answers in time, or the password is wrong.
            SchemaOutdated: The schema is newer than this library.
        """
        if self._opened:
            return self
        # the connection can break between being made and being used
        with translated(POSTGRES, "open", self._wanted):
            async with await self._reach(connect) as conn:
                _, self.installation = await check_not_newer(conn, self.settings.db_schema)
        if self._pool.closed:  # a closed pool cannot be opened again
            self._pool = self._reach(open_pool)
        await self._pool.open()
        self._opened = True
        return self

    async def close(self) -> None:
        """Close the pool; closing twice does nothing."""
        if self._opened:
            self._opened = False
            self._prober.stop()
            await self._pool.close()

    async def init_schema(self) -> list[str]:
        """Create the schema or bring it up to date; names of the migrations that were applied.

        Safe when several processes do it at once, and without the right to create when nothing is missing.
        Migrations take as long as they need, and so does waiting for another process's: no time-out ends them.
        """
        with translated(POSTGRES, "init_schema", self._wanted):
            async with await self._reach(connect) as conn:
                version, self.installation = await check_not_newer(conn, self.settings.db_schema)
                if version == len(migrations()):
                    return []
                conn.deadline = MIGRATION
                applied = await install(conn, self.settings.db_schema)
                _, self.installation = await check_not_newer(conn, self.settings.db_schema)
                return applied

    async def installed(self) -> str:
        """Which installation this is: a random id that the first migration made, and every key in Redis carries.

        Raises:
            SchemaOutdated: The schema is not there.
        """
        if self.installation is None:
            [[_, self.installation]] = await self._run("installed", {})
        return self.installation or ""

    async def settle(self, key: ConversationKey) -> None:
        """Have a key know its row: that of a name follows from the installation.

        Raises:
            SchemaOutdated: The schema is not there.
        """
        if key.external_id is not None:
            key.settle(self.installation or await self.installed())

    async def _mine(self, key: ConversationKey) -> dict[str, Any]:
        await self.settle(key)
        return {"conversation": key.uuid, "user_id": key.user_id}

    def _reach(self, how: Callable[[str, Settings], T]) -> T:
        return how(self._conninfo.get_secret_value(), self.settings)

    async def ping(self) -> dict[str, Any]:
        """Ask the server for a sign of life: how many windows wait to be dropped, and how many caches there are."""
        [[dirty, caches]] = await self._run("count_marks", {})
        return {"dirty_windows": dirty, "caches": caches}

    def figures(self) -> dict[str, Any]:
        """What this process knows without asking: its counters, and the pool's statistics."""
        return {**self.health.figures(), **self._pool.get_stats()}

    async def append(
        self,
        key: ConversationKey,
        drafts: Sequence[Draft],
        *,
        dept_id: str | None = None,
        own: Sequence[str] = (),
    ) -> tuple[StoredBatch, Written]:
        """Store a batch in order, in one statement; make and title the conversation if need be.

        Messages that are there already (by LangChain id, or because this is a repeat) stay as they are. Every cache
        is marked but those in ``own``, which the caller tells.

        Raises:
            ConversationNotFound: The conversation is somebody else's; nothing was written.
        """
        await self.settle(key)
        batch = postgres_rows.prepare(key, drafts)
        parameters = batch.parameters() | {
            "conversation": key.uuid,
            "user_id": key.user_id,
            "external_id": key.external_id,
            "dept_id": dept_id,
            "own": postgres_rows.array(own),
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
        found = await self._run(name, {**await self._mine(key), **more})
        mine, snapshot = snapshot_of(found)
        if not mine:
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
        mine, stamp, *_ = found[0]
        if not mine:
            raise ConversationNotFound(key.name)
        return stamp, [postgres_rows.message_of(key.name, row[2:]) for row in found if row[2] is not None]

    async def read_messages_at(self, key: ConversationKey, seqs: Sequence[int]) -> list[Message]:
        """Those of the messages at ``seqs`` that are still there, oldest first; whoever appended has told of them."""
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
        stamp = uuid4()
        found = await self._run(
            "create_conversation",
            {
                **await self._mine(key),
                "external_id": key.external_id,
                "title": title,
                "dept_id": dept_id,
                "new_stamp": stamp,
                "first_stamp": stamp,
                "metadata": postgres_rows.json_text("metadata", metadata),
            },
        )
        return self._one(key, [row[:-1] for row in found]), bool(found[0][-1])

    async def get_conversation(self, key: ConversationKey) -> Conversation:
        """One conversation of the user; ``ConversationNotFound`` when there is none."""
        return self._one(key, await self._run("get_conversation", await self._mine(key)))

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
            **await self._mine(key),
            "set_title": "title" in changes,
            "title": changes.get("title"),
            "set_dept": "dept_id" in changes,
            "dept_id": changes.get("dept_id"),
            "metadata": postgres_rows.json_text("metadata", metadata),
            "removed": [name for name, value in metadata.items() if value is None],
        }
        return self._one(key, await self._run("update_conversation", parameters))

    async def delete_conversation(self, key: ConversationKey, *, own: Sequence[str] = ()) -> Written:
        """Delete a conversation with all its messages; ``ConversationNotFound`` when there is none."""
        return await self._change(key, "delete_conversation", own)

    async def clear_conversation(self, key: ConversationKey, *, own: Sequence[str] = ()) -> Written:
        """Delete all messages and keep the conversation; ``ConversationNotFound`` when there is none."""
        return await self._change(key, "clear_conversation", own)

    async def pop_message(
        self, key: ConversationKey, message: UUID, *, own: Sequence[str] = ()
    ) -> Written | None:
        """Delete the newest message if it is the row ``message``; ``None``, and nothing done, when it is not.

        Naming the row makes it safe to repeat: what was deleted by an attempt whose answer was lost is not
        the newest any more.
        """
        return await self._changed(key, "pop_message", own, {"id": message})

    async def _change(self, key: ConversationKey, name: str, own: Sequence[str]) -> Written:
        written = await self._changed(key, name, own, {})
        if written is None:
            raise ConversationNotFound(key.name)
        return written

    async def _changed(
        self, key: ConversationKey, name: str, own: Sequence[str], more: Mapping[str, Any]
    ) -> Written | None:
        parameters = {**await self._mine(key), "own": postgres_rows.array(own)}
        found = await self._run(name, {**parameters, **more}, gone=[[NO_CONVERSATION]])
        return Written(found[0][0]) if found else None

    async def owns(self, key: ConversationKey) -> bool | None:
        """Whether the conversation is the user's; ``None`` when there is no such conversation."""
        found = await self._run("owner", await self._mine(key))
        return bool(found[0][0]) if found else None

    async def look(self, names: Sequence[str], after: UUID = FIRST, page: int = 500) -> Looked:
        """Which of these caches are registered, and the windows they must drop, those of smaller ids first."""
        place = {"names": postgres_rows.array(names), "after": after, "page": page}
        return looked(await self._run("look", place), page)

    async def register(self, names: Sequence[str]) -> None:
        """Register caches, unless somebody just did; waits a moment at most for the writes that are under way."""
        await self._run("register", {"names": postgres_rows.array(names)}, fetch=False)

    async def mark(self, conversation: UUID, names: Sequence[str]) -> None:
        """Note that these caches were not told of a committed change."""
        parameters = {"conversation": conversation, "names": postgres_rows.array(names)}
        await self._run("mark", parameters, fetch=False)

    async def clear_marks(self, marks: Sequence[Mark]) -> None:
        """Forget marks whose windows were dropped; one that was made again meanwhile stays."""
        caches, conversations, ids = ([*column] for column in zip(*marks, strict=True))
        parameters = {"caches": postgres_rows.array(caches), "conversations": conversations, "ids": ids}
        await self._run("clear_marks", parameters, fetch=False)

    async def tidy_caches(self, names: Sequence[str]) -> None:
        """Note that these caches are in use, and forget those that nobody has used for an hour."""
        await self._run("tidy_caches", {"names": postgres_rows.array(names)}, fetch=False)

    async def forget_caches(self, names: Sequence[str] | None = None) -> int:
        """Forget caches, all of them by default; how many there were. Nothing from before is served afterwards.

        Whoever uses one looks at PostgreSQL at least once a second, and registers it anew.
        """
        found = await self._run(
            "forget_caches", {"names": None if names is None else postgres_rows.array(names)}
        )
        return int(found[0][0])

    def _one(self, key: ConversationKey, found: Sequence[Sequence[Any]]) -> Conversation:
        if not found:
            raise ConversationNotFound(key.name)
        return postgres_rows.conversation_of(found[0])

    async def _run(
        self, name: str, parameters: Mapping[str, Any], *, fetch: bool = True, gone: Sequence[Any] = ()
    ) -> Sequence[Any]:
        """Run a statement; once more when it did not get through, since each of them may be repeated.

        ``gone`` stands in for no rows at the second attempt: the first may have deleted them.
        """
        if not self._opened:
            raise NotOpen("PostgreSQL: call open() first, and do not use it after close()")
        if self.health.open:
            raise StorageUnavailable(
                POSTGRES, name, "it did not answer a moment ago and is left alone until it does"
            )
        return await self._attempt(name, parameters, fetch=fetch, gone=gone)

    async def _attempt(
        self, name: str, parameters: Mapping[str, Any], *, fetch: bool, gone: Sequence[Any]
    ) -> Sequence[Any]:
        query = self._statements.get(name) or self._compile(name)
        turn = parameters["conversation"] if name in _LOCKS else None
        with translated(POSTGRES, name, self._wanted, self._heard):
            brief = name in _BRIEF
            return await self._pool.send(query, parameters, fetch=fetch, brief=brief, turn=turn, gone=gone)

    def _heard(self, error: BaseException | None) -> None:
        """Tell the breaker how it went. A pool is merely busy if nobody was refused since a statement last went through."""
        if error is None:
            self._refused = self._pool.connection_class.refused
            self.health.succeeded()
            return
        busy = isinstance(error, PoolTimeout) and self._refused == self._pool.connection_class.refused
        if out_of_reach(error) and not busy and self.health.failed(error):
            self._prober.start()

    async def _sign_of_life(self) -> None:
        await self._attempt("count_marks", {}, fetch=True, gone=())

    def _compile(self, name: str) -> bytes:
        query = sql.SQL(statement(name)).format(schema=self._schema).as_bytes(None)
        self._statements[name] = query
        return query

    @property
    def _wanted(self) -> tuple[str, int]:
        """Which schema, and which version of it, a statement needs."""
        return self.settings.db_schema, len(migrations())
