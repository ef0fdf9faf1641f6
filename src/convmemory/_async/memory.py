"""The memory of an application: conversations and sessions over both tiers, under the core verbs."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import ConfigurableFieldSpec, RunnableConfig

from convmemory._async.conversation_verbs import AsyncConversationVerbs
from convmemory._async.journals import AsyncJournals
from convmemory._async.list_verbs import AsyncListVerbs
from convmemory._async.message_verbs import AsyncMessageVerbs
from convmemory._async.operators import AsyncOperator
from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory._async.redis_store import AsyncRedisStore
from convmemory._async.retention import AsyncRetention
from convmemory._async.search import AsyncSearch
from convmemory._async.session_verbs import AsyncSessionVerbs
from convmemory._async.tiered import AsyncTieredStore
from convmemory._async.titler import AsyncTitler
from convmemory._async.user_memory import AsyncUserMemory
from convmemory.arguments import (
    ConversationRef,
    Size,
    checked_embeddings,
    checked_stores,
    given_url,
    key_of,
    refuse_parts,
)
from convmemory.chains.run_config import factory_conversation, factory_fields, run_config
from convmemory.errors import ConfigurationError, StorageError
from convmemory.history import TieredChatMessageHistory, WriteErrorHook, listen_where_chains_are
from convmemory.ids import checked_id
from convmemory.models import Check, Telemetry, TierReport
from convmemory.settings import Settings
from convmemory.storage.titles import Titles
from convmemory.windows.window_size import TokenCounter


class AsyncConversationMemory(AsyncConversationVerbs, AsyncListVerbs, AsyncMessageVerbs, AsyncSessionVerbs):
    """Everything an application remembers: conversations in PostgreSQL, their recent window and sessions in Redis.

    Args:
        postgres: The durable tier.
        redis: The hot tier; ``None`` reads PostgreSQL every time and has no sessions.
        on_write_error: Called with the error and the history when a history's write fails.
        titles: A model (any runnable that takes messages) or a function of a list of messages, which makes the title of a
            conversation once its first turn is stored; beside the request, and never in the place of a user's title.
        embeddings: A model that tells what messages mean, for ``search``; the setting ``search_vectors`` is its name.

    Usually made by ``from_url(...)`` or ``from_env()``; one object serves a whole process. Nothing connects
    before ``open()`` (or ``async with``).
    """

    def __init__(
        self,
        postgres: AsyncPostgresStore,
        redis: AsyncRedisStore | None = None,
        *,
        on_write_error: WriteErrorHook | None = None,
        titles: Titles | None = None,
        embeddings: Embeddings | None = None,
    ) -> None:
        checked_stores(type(self).__name__, (postgres, AsyncPostgresStore), (redis, AsyncRedisStore))
        self.postgres = postgres
        self.redis = redis
        self.settings = postgres.settings
        self._store = AsyncTieredStore(postgres, redis)
        postgres.drains = None if redis is None else self._store.drained_of
        self._on_write_error = on_write_error
        self._titler = None if titles is None else AsyncTitler(postgres, titles)
        if self._titler is not None:
            postgres.titler = self._titler
        self._embeddings = checked_embeddings(embeddings, self.settings)

    @classmethod
    def from_url(
        cls,
        postgres: Any,
        redis: Any = None,
        *,
        password: Callable[[], Any] | None = None,
        on_write_error: WriteErrorHook | None = None,
        titles: Titles | None = None,
        embeddings: Embeddings | None = None,
        **settings: Any,
    ) -> Self:
        """A memory over a PostgreSQL URL and a Redis URL (or a ready pool and a ready client); not open yet.

        Args:
            postgres: ``postgresql://user:password@host:5432/database``, or an open ``AsyncConnectionPool`` of ``psycopg_pool``,
                which its owner closes.
            password: Asked for the password of each new connection, where that is a token which expires.
            redis: ``redis://host:6379/0``, ``rediss://``, ``unix://``, or a client; ``None``: no Redis tier.
            on_write_error: See the class.
            titles: See the class.
            embeddings: See the class.
            settings: Any field of ``Settings``, such as ``max_history_messages=20``.

        Raises:
            ConfigurationError: A URL or a setting cannot be used; the message names it.
        """
        redis = redis if redis not in (None, "") else settings.pop("redis_url", None)
        refuse_parts(settings)
        url = given_url(postgres) if isinstance(postgres, str | None) else None
        found = Settings(database_url=url, **settings)
        durable = AsyncPostgresStore(None if url else postgres, found, password=password)
        return cls._over(durable, redis, on_write_error, titles, embeddings)

    @classmethod
    def from_env(
        cls,
        *,
        password: Callable[[], Any] | None = None,
        on_write_error: WriteErrorHook | None = None,
        titles: Titles | None = None,
        embeddings: Embeddings | None = None,
        **settings: Any,
    ) -> Self:
        """A memory as the environment says (``DATABASE_URL``, ``REDIS_URL``, ...); ``settings`` win over it."""
        found = Settings.from_env(**settings)
        durable = AsyncPostgresStore(settings=found, password=password)
        return cls._over(durable, found.redis_conninfo(), on_write_error, titles, embeddings)

    @classmethod
    def _over(
        cls,
        durable: AsyncPostgresStore,
        redis: Any,
        on_write_error: WriteErrorHook | None,
        titles: Titles | None,
        embeddings: Embeddings | None,
    ) -> Self:
        hot = None if redis is None else AsyncRedisStore(redis, durable.settings)
        return cls(durable, hot, on_write_error=on_write_error, titles=titles, embeddings=embeddings)

    async def open(self) -> Self:
        """Connect to PostgreSQL; Redis is connected to when it is first needed, and missed when it is away.

        Raises:
            StorageUnavailable: PostgreSQL does not answer in time, or refuses the password.
            SchemaOutdated: The database's schema is newer than this library.
            ConfigurationError: Writes are to wait in Redis, and it does not keep what it is given as ``journal_ack`` wants.
        """
        listen_where_chains_are()
        await self.postgres.open()
        if self.redis is not None:
            await self.redis.open()
        if self.postgres.installation is not None:  # else the schema is not there yet
            await self._store.hot()
        if self.settings.journals:
            try:
                await self._store.begin_journaling()
            except ConfigurationError:
                await self.close()
                raise
        return self

    async def close(self) -> None:
        """Close all connections, once titles that are being made had five seconds; closing twice does nothing.

        Writes that were accepted and wait for PostgreSQL are stored first; for those that cannot be within ``statement_timeout`` the
        log has a line, and another process finds them in Redis.
        """
        await self._store.finish_draining(self.settings.statement_timeout)
        if self._titler is not None:
            await self._titler.close()
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
        return Check(postgres=durable, redis=None if self.redis is None else await self._report(self.redis))

    async def _report(self, store: AsyncPostgresStore | AsyncRedisStore) -> TierReport:
        said, problem, reachable, health = {}, None, True, store.health
        try:
            said = await store.ping()
        except StorageError as error:
            problem, reachable = str(error), False
        complaint = store.complaint if isinstance(store, AsyncRedisStore) else None
        barred = store.barred if isinstance(store, AsyncPostgresStore) and not store.journals else None
        figures = store.figures() | said
        if refused := said.get("journal_refused"):
            problem = f"{refused} accepted writes were refused for what is in them: see `convmemory journal refused`"
        return TierReport(
            tier=health.tier,
            reachable=reachable,
            breaker="refused" if complaint and not health.open else health.breaker,
            problem=problem or complaint or barred,
            last_failure=health.last_failure,
            figures=figures,
        )

    @property
    def retention(self) -> AsyncRetention:
        """How long things are kept: ``erase_user`` and ``prune``, for operators."""
        return AsyncRetention(self._store)

    @property
    def operator(self) -> AsyncOperator:
        """Everybody's conversations, listed, walked and counted: for operators."""
        return AsyncOperator(self.postgres)

    @property
    def journals(self) -> AsyncJournals:
        """Writes that wait in Redis for PostgreSQL, everybody's: for operators."""
        return AsyncJournals(self._store)

    @property
    def search(self) -> AsyncSearch:
        """What was said, found by its words: ``messages`` for people, ``recall`` for agents."""
        return AsyncSearch(self.postgres, self._embeddings)

    def for_user(self, user_id: str) -> AsyncUserMemory:
        """The same verbs for one user, without ``user_id``: a cheap value, and all that a request's handler needs."""
        return AsyncUserMemory(self, checked_id("user_id", user_id))

    def history(
        self,
        conversation_id: ConversationRef,
        *,
        user_id: str,
        max_messages: Size = ...,
        max_turns: int | None = None,
        max_tokens: int | None = None,
        token_counter: TokenCounter | None = None,
        dept_id: str | None = None,
        save_on_error: str | None = None,
        input_messages_key: str | None = None,
        telemetry: Telemetry = True,
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
            max_turns=max_turns,
            max_tokens=max_tokens,
            token_counter=token_counter,
            dept_id=dept_id,
            on_write_error=self._on_write_error,
            save_on_error=save_on_error,
            input_messages_key=input_messages_key,
            telemetry=telemetry,
        )

    def history_factory(self, user_id: str, conversation_id: Any = ...) -> TieredChatMessageHistory:
        """``get_session_history`` of ``RunnableWithMessageHistory``, with ``history_factory_config`` beside it."""
        return self.history(factory_conversation(conversation_id), user_id=user_id)

    @property
    def history_factory_config(self) -> list[ConfigurableFieldSpec]:
        """The fields ``history_factory`` is called with: ``user_id`` and ``conversation_id``."""
        listen_where_chains_are()
        return factory_fields()

    def run_config(self, *, conversation_id: ConversationRef, user_id: str) -> RunnableConfig:
        """The ``config`` for one run of a chain, an agent or a graph: whose conversation it is, and what names it in traces.

        ``configurable`` has ``user_id`` and ``conversation_id``, by which a history is made, and a UUID as the ``thread_id`` of a
        checkpointer, which no two users' conversations share. The metadata has that UUID as ``conversation_id``, ``thread_id`` and
        ``session_id``, and the name and the user as ``conversation_name`` and ``user_id``.
        """
        return run_config(key_of(conversation_id, user_id))
