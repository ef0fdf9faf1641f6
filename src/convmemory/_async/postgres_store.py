"""The durable tier: conversations, messages and retrieved contexts in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from pydantic import SecretStr

from convmemory._async.migrate import check_not_newer, install
from convmemory._async.postgres_connections import MIGRATION, AsyncBoundedConnection, connect, open_pool
from convmemory._async.prober import AsyncProber
from convmemory.errors import ConversationNotFound, NotOpen, StorageUnavailable
from convmemory.ids import ConversationKey
from convmemory.models import Conversation, Draft, Message, Page
from convmemory.settings import Settings, libpq_url
from convmemory.storage import postgres_rows
from convmemory.storage.postgres_rows import StoredBatch
from convmemory.storage.sql_and_lua import migrations
from convmemory.storage.sql_and_lua import sql as statement
from convmemory.tiers.breaker import TierHealth
from convmemory.tiers.driver_errors import POSTGRES, connection_lost, out_of_reach, translated
from convmemory.tiers.socket_checks import idle_connection_closed
from convmemory.windows.snapshots import Snapshot, Written, snapshot_of

_BIGGEST: Final = 2**62
_BRIEF: Final = frozenset({"append"})
"""Statements that answer with a few numbers, and come so often that a new cursor for each would be felt."""


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
        self._pool = self._new_pool()
        self._schema = sql.Identifier(self.settings.db_schema)
        self._statements: dict[str, bytes] = {}
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
            async with await self._connect() as conn:
                await check_not_newer(conn, self.settings.db_schema)
        if self._pool.closed:  # a closed pool cannot be opened again
            self._pool = self._new_pool()
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
            async with await self._connect() as conn:
                if await check_not_newer(conn, self.settings.db_schema) == len(migrations()):
                    return []
                conn.deadline = MIGRATION
                return await install(conn, self.settings.db_schema)

    def _new_pool(self) -> AsyncConnectionPool[AsyncBoundedConnection]:
        return open_pool(self._conninfo.get_secret_value(), self.settings)

    async def _connect(self) -> AsyncBoundedConnection:
        return await connect(
            self._conninfo.get_secret_value(), self.settings, self.settings.name_of("database_url")
        )

    async def ping(self) -> dict[str, Any]:
        """Ask the server for a sign of life: how many windows wait to be dropped."""
        [[dirty]] = await self._run("count_dirty", {})
        return {"dirty_windows": dirty}

    def figures(self) -> dict[str, Any]:
        """What this process knows without asking: its counters, and the pool's statistics."""
        return {**self.health.figures(), **self._pool.get_stats()}

    async def append(
        self,
        key: ConversationKey,
        drafts: Sequence[Draft],
        *,
        dept_id: str | None = None,
        dirty: bool = False,
    ) -> tuple[StoredBatch, Written]:
        """Store a batch in order, in one statement; make and title the conversation if need be.

        Messages that are there already (by LangChain id, or because this is a repeat) stay as they are.

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

    async def _run(
        self, name: str, parameters: Mapping[str, Any], *, fetch: bool = True, gone: Sequence[Any] = ()
    ) -> Sequence[Any]:
        """Run a statement; once more when its connection broke, since each of them may be repeated.

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
        with translated(POSTGRES, name, self._wanted, self._heard):
            try:
                return await self._send(query, parameters, fetch=fetch, brief=name in _BRIEF)
            except psycopg.OperationalError as error:
                if not connection_lost(error):
                    raise
            return await self._send(query, postgres_rows.again(parameters), fetch=fetch) or gone

    async def _send(
        self, query: bytes, parameters: Mapping[str, Any], *, fetch: bool, brief: bool = False
    ) -> Sequence[Any]:
        for _ in range(self._pool.max_size + 1):  # a server that restarted leaves every idle connection dead
            async with self._pool.connection() as conn:
                if idle_connection_closed(conn.pgconn):
                    await conn.close()  # the pool's own check would sleep before it tries the next one
                    continue
                return await conn.run(query, parameters, fetch=fetch, brief=brief)
        raise psycopg.OperationalError("the server closes every connection it accepts")

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
        await self._attempt("count_dirty", {}, fetch=True, gone=())

    def _compile(self, name: str) -> bytes:
        query = sql.SQL(statement(name)).format(schema=self._schema).as_bytes(None)
        self._statements[name] = query
        return query

    @property
    def _wanted(self) -> tuple[str, int]:
        """Which schema, and which version of it, a statement needs."""
        return self.settings.db_schema, len(migrations())
