"""The memory of an application: conversations and sessions over both tiers, under the core verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, overload
from uuid import UUID

from langchain_core.messages import BaseMessage
from langchain_core.runnables import ConfigurableFieldSpec, RunnableConfig

from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory._async.redis_store import AsyncRedisStore
from convmemory._async.tiered import AsyncTieredStore
from convmemory.arguments import (
    Size,
    checked_limit,
    checked_seq,
    checked_title,
    optional_id,
    wants_openai,
    window_size,
)
from convmemory.chains.run_config import factory_fields, run_config
from convmemory.dialects.openai_chat import chat_messages
from convmemory.drafts import drafts_of
from convmemory.encoding.codec import unpack
from convmemory.errors import ConversationNotFound, InvalidArgument, StorageError, StorageUnavailable
from convmemory.history import TieredChatMessageHistory, WriteErrorHook
from convmemory.ids import checked_id, conversation_key, new_row_id
from convmemory.models import (
    Appended,
    Check,
    Conversation,
    Draft,
    Page,
    RetrievedContext,
    Session,
    StoredMessage,
    TierReport,
)
from convmemory.settings import Settings
from convmemory.windows.cutting import recent
from convmemory.windows.snapshots import NO_CONVERSATION


class AsyncConversationMemory:
    """Everything an application remembers: conversations in PostgreSQL, their recent window and sessions in Redis.

    Args:
        postgres: The durable tier.
        redis: The hot tier; ``None`` reads PostgreSQL every time and has no sessions.
        on_write_error: Called with the error and the history when a history's write fails.

    Usually made by ``from_url(...)`` or ``from_env()``; one object serves a whole process. Nothing connects
    before ``open()`` (or ``async with``).
    """

    def __init__(
        self,
        postgres: AsyncPostgresStore,
        redis: AsyncRedisStore | None = None,
        *,
        on_write_error: WriteErrorHook | None = None,
    ) -> None:
        self.postgres = postgres
        self.redis = redis
        self.settings = postgres.settings
        self._store = AsyncTieredStore(postgres, redis)
        self._on_write_error = on_write_error

    @classmethod
    def from_url(
        cls,
        postgres: str,
        redis: Any = None,
        *,
        on_write_error: WriteErrorHook | None = None,
        **settings: Any,
    ) -> Self:
        """A memory over a PostgreSQL URL and a Redis URL (or a ready redis-py client); not open yet.

        Args:
            postgres: ``postgresql://user:password@host:5432/database``.
            redis: ``redis://host:6379/0``, ``rediss://``, ``unix://``, or a client; ``None``: no Redis tier.
            on_write_error: See the class.
            settings: Any field of ``Settings``, such as ``max_history_messages=20``.

        Raises:
            ConfigurationError: A URL or a setting cannot be used; the message names it.
        """
        return cls._over(Settings(database_url=postgres, **settings), redis, on_write_error)

    @classmethod
    def from_env(cls, *, on_write_error: WriteErrorHook | None = None, **settings: Any) -> Self:
        """A memory as the environment says (``DATABASE_URL``, ``REDIS_URL``, ...); ``settings`` win over it."""
        found = Settings.from_env(**settings)
        return cls._over(found, found.redis_conninfo(), on_write_error)

    @classmethod
    def _over(cls, settings: Settings, redis: Any, on_write_error: WriteErrorHook | None) -> Self:
        hot = None if redis is None else AsyncRedisStore(redis, settings)
        return cls(AsyncPostgresStore(settings=settings), hot, on_write_error=on_write_error)

    async def open(self) -> Self:
        """Connect to PostgreSQL; Redis is connected to when it is first needed, and missed when it is away.

        Raises:
            StorageUnavailable: PostgreSQL does not answer in time, or refuses the password.
            SchemaOutdated: The database's schema is newer than this library.
        """
        await self.postgres.open()
        if self.postgres.installation is not None:  # else the schema is not there yet
            await self._store.hot()
        return self

    async def close(self) -> None:
        """Close all connections; closing twice does nothing."""
        await self.postgres.close()
        if self.redis is not None:
            await self.redis.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def init_schema(self) -> list[str]:
        """Create the schema or bring it up to date; the names of the migrations applied. Safe to call at every start."""
        return await self.postgres.init_schema()

    async def check(self) -> Check:
        """Ask both tiers for a sign of life, and report breakers, failed writes, dirty windows and pool figures."""
        durable = await self._report(self.postgres)
        return Check(durable, None if self.redis is None else await self._report(self.redis))

    async def _report(self, store: AsyncPostgresStore | AsyncRedisStore) -> TierReport:
        said, problem, health = {}, None, store.health
        try:
            said = await store.ping()
        except StorageError as error:
            problem = str(error)
        figures = store.figures() | said
        return TierReport(health.tier, problem is None, health.breaker, problem, health.last_failure, figures)

    async def create_session(
        self,
        user_id: str,
        *,
        dept_id: str | None = None,
        conversation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """Begin a session for a user, optionally in a conversation; it ends 30 minutes after its last use.

        Raises:
            StorageUnavailable: Sessions live in Redis, which is out of reach.
        """
        user, dept = checked_id("user_id", user_id), optional_id("dept_id", dept_id)
        conversation = optional_id("conversation_id", conversation_id)
        return await (await self._sessions()).create_session(
            user, dept_id=dept, conversation_id=conversation, metadata=metadata
        )

    async def get_session(self, session_id: str) -> Session | None:
        """A live session, its life begun anew; ``None`` when it has expired: begin a new one with its conversation."""
        return await (await self._sessions()).get_session(checked_id("session_id", session_id))

    async def extend_session(
        self,
        session_id: str,
        *,
        conversation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session | None:
        """Keep a session alive, and note the conversation it is in now or new metadata; ``None`` when it has expired."""
        name = checked_id("session_id", session_id)
        return await (await self._sessions()).extend_session(
            name, conversation_id=conversation_id, metadata=metadata
        )

    async def end_session(self, session_id: str) -> bool:
        """End a session, by its id or its ``handle``, at once; whether it was still alive. Its conversation stays."""
        return await (await self._sessions()).end_session(checked_id("session_id", session_id))

    async def list_user_sessions(self, user_id: str) -> list[Session]:
        """A user's live sessions, the newest first; each has its ``handle`` for an id, which can end it and nothing else."""
        return await (await self._sessions()).list_user_sessions(checked_id("user_id", user_id))

    async def _sessions(self) -> AsyncRedisStore:
        redis = await self._store.hot()
        if redis is None:
            raise StorageUnavailable(
                "Redis", "sessions", "sessions live in Redis, and this memory has no Redis tier"
            )
        return redis

    async def create_conversation(
        self,
        user_id: str,
        *,
        conversation_id: object = None,
        title: str | None = None,
        dept_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Conversation:
        """Make a conversation, or return the one the user has under that id already.

        Args:
            user_id: Its owner.
            conversation_id: A UUID or a name of 1 to 255 characters; a new UUID when left out.
            title: Given by the user; without it the first human message gives one.
            dept_id: The department it belongs to.
            metadata: Anything JSON can hold.

        Raises:
            ConversationNotFound: The UUID is somebody else's conversation.
        """
        key = conversation_key(UUID(new_row_id()) if conversation_id is None else conversation_id, user_id)
        named = None if title is None else checked_title(title)
        dept = optional_id("dept_id", dept_id)
        return await self.postgres.create_conversation(key, title=named, dept_id=dept, metadata=metadata)

    async def get_conversation(self, conversation_id: object, *, user_id: str) -> Conversation:
        """One conversation without its messages; ``ConversationNotFound`` when the user has none of that id."""
        return await self.postgres.get_conversation(conversation_key(conversation_id, user_id))

    async def list_user_conversations(
        self, user_id: str, *, limit: int = 20, cursor: str | None = None
    ) -> Page[Conversation]:
        """A user's conversations, the one changed last first.

        Args:
            user_id: Their owner.
            limit: 1 to 1,000 a page.
            cursor: The ``next_cursor`` of the page before.
        """
        size = checked_limit("limit", limit, 1_000)
        return await self.postgres.list_conversations(
            checked_id("user_id", user_id), limit=size, cursor=cursor
        )

    async def rename_conversation(self, conversation_id: object, title: str, *, user_id: str) -> Conversation:
        """Give a conversation the user's own title, which no automatic title replaces."""
        key = conversation_key(conversation_id, user_id)
        return await self.postgres.rename_conversation(key, checked_title(title))

    async def delete_conversation(self, conversation_id: object, *, user_id: str) -> None:
        """Delete a conversation with its messages and contexts, and what is cached of it."""
        await self._store.delete(conversation_key(conversation_id, user_id))

    async def save_message(
        self,
        conversation_id: object,
        message: Any,
        *,
        user_id: str,
        tokens_used: int | None = None,
        latency_ms: int | None = None,
        contexts: Sequence[RetrievedContext] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> Appended:
        """Store one message with what is known of it; makes the conversation if it is not there.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            message: A LangChain message, ``("human", "text")``, ``{"role": "user", "content": "text"}`` or text.
            user_id: The conversation's owner.
            tokens_used: Defaults to the message's own ``usage_metadata``.
            latency_ms: How long the answer took, in milliseconds.
            contexts: The documents it leaned on, in the retriever's order.
            metadata: Anything JSON can hold.

        Raises:
            ConversationNotFound: The conversation is somebody else's.
            StorageUnavailable: PostgreSQL is out of reach; nothing was half-written.
        """
        if isinstance(message, Draft):
            raise InvalidArgument(
                "message", "is a Draft, which brings its own facts: pass it to save_messages"
            )
        known = (tokens_used, latency_ms, tuple(contexts), metadata)
        drafts = drafts_of([Draft(draft.message, *known) for draft in drafts_of(message)])
        return await self._save(conversation_id, drafts, user_id)

    async def save_messages(self, conversation_id: object, messages: Any, *, user_id: str) -> Appended:
        """Store messages (or ``Draft``s) in order, in one commit; otherwise as ``save_message``."""
        return await self._save(conversation_id, drafts_of(messages), user_id)

    async def _save(self, conversation_id: object, drafts: Sequence[Draft], user_id: str) -> Appended:
        key = conversation_key(conversation_id, user_id)
        return await self._store.append(key, drafts)

    @overload
    async def get_history(
        self, conversation_id: object, *, user_id: str, limit: Size = ..., format: Literal["langchain"] = ...
    ) -> list[BaseMessage]: ...

    @overload
    async def get_history(
        self, conversation_id: object, *, user_id: str, limit: Size = ..., format: Literal["openai"]
    ) -> list[dict[str, Any]]: ...

    async def get_history(
        self,
        conversation_id: object,
        *,
        user_id: str,
        limit: Size = ...,
        format: str = "langchain",  # noqa: A002 - what callers of other libraries expect it to be called
    ) -> list[BaseMessage] | list[dict[str, Any]]:
        """The newest messages in whole turns, oldest first: what a model should see.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            user_id: The conversation's owner.
            limit: At most so many messages (default: the setting ``max_history_messages``, 6), more only where
                the newest turn alone is longer; ``None`` for all of them.
            format: ``"langchain"`` for LangChain messages, ``"openai"`` for the dicts of Chat Completions.

        Raises:
            ConversationNotFound: The user has no such conversation.
        """
        key = conversation_key(conversation_id, user_id)
        want = window_size("limit", limit, self.settings.max_history_messages)
        as_openai = wants_openai(format)
        hard = max(self.settings.hard_max_messages, want or 1)
        snapshot = await self._store.read(key, want, hard)
        if snapshot.stamp == NO_CONVERSATION and not await self.postgres.owns(
            key
        ):  # it may have been made since
            raise ConversationNotFound(key.name)
        window = recent([unpack(e) for e in snapshot.entries], want, hard_max=hard, whole=snapshot.whole)
        return chat_messages(window) if as_openai else window

    async def get_messages(
        self,
        conversation_id: object,
        *,
        user_id: str,
        limit: int = 50,
        before: int | None = None,
        after: int | None = None,
    ) -> list[StoredMessage]:
        """Stored messages with seq, tokens, latency and contexts, oldest first: for people and programs, not models.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            user_id: The conversation's owner.
            limit: 1 to 10,000: the newest so many, or with ``after`` the oldest so many.
            before: Only messages with a smaller ``seq``: the first ``seq`` of the page after.
            after: Only messages with a greater ``seq``: the last ``seq`` of the page before.
        """
        key = conversation_key(conversation_id, user_id)
        size = checked_limit("limit", limit)
        place = {"before": checked_seq("before", before), "after": checked_seq("after", after)}
        return await self._store.page(key, limit=size, **place)

    async def clear(self, conversation_id: object, *, user_id: str) -> None:
        """Delete all messages of a conversation and keep the conversation."""
        await self._store.clear(conversation_key(conversation_id, user_id))

    def history(
        self,
        conversation_id: object,
        *,
        user_id: str,
        max_messages: Size = ...,
        dept_id: str | None = None,
        save_on_error: str | None = None,
        input_messages_key: str | None = None,
        telemetry: bool = True,
    ) -> TieredChatMessageHistory:
        """One conversation as a LangChain chat history: a cheap value, made anew for every request.

        The arguments are those of ``TieredChatMessageHistory``.
        """
        return TieredChatMessageHistory(
            conversation_id,
            user_id=user_id,
            postgres=self.postgres,
            redis=self.redis,
            max_messages=max_messages,
            dept_id=dept_id,
            on_write_error=self._on_write_error,
            save_on_error=save_on_error,
            input_messages_key=input_messages_key,
            telemetry=telemetry,
        )

    def history_factory(self, user_id: str, conversation_id: str) -> TieredChatMessageHistory:
        """``get_session_history`` of ``RunnableWithMessageHistory``, with ``history_factory_config`` beside it."""
        return self.history(conversation_id, user_id=user_id)

    @property
    def history_factory_config(self) -> list[ConfigurableFieldSpec]:
        """The fields ``history_factory`` is called with: ``user_id`` and ``conversation_id``."""
        return factory_fields()

    def run_config(self, *, conversation_id: object, user_id: str) -> RunnableConfig:
        """The ``config`` for one run of a chain: both ids, also as metadata (with ``thread_id``) of its traces."""
        return run_config(conversation_key(conversation_id, user_id).name, user_id)
