"""``TieredChatMessageHistory``: one conversation as LangChain's ``BaseChatMessageHistory``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message
from langchain_core.runnables.config import ensure_config, run_in_executor

from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory._async.redis_store import AsyncRedisStore
from convmemory._async.tiered import AsyncTieredStore
from convmemory._sync.postgres_store import PostgresStore
from convmemory._sync.redis_store import RedisStore
from convmemory._sync.tiered import TieredStore
from convmemory.arguments import drafts_of, optional_id, window_size
from convmemory.codec import unpack
from convmemory.coherence import Snapshot
from convmemory.errors import AsyncOnly, ConfigurationError, ConversationNotFound
from convmemory.keys import conversation_key
from convmemory.window import for_prompt, recent, within_tokens

logger = logging.getLogger("convmemory.history")

WriteErrorHook = Callable[[Exception, "TieredChatMessageHistory"], None]


class TieredChatMessageHistory(BaseChatMessageHistory):
    """One user's conversation over Redis and PostgreSQL: a cheap value that owns no connection; make one a request.

    Args:
        conversation_id: A UUID, or any string of 1 to 255 characters, which is then scoped to the user.
        user_id: Whose conversation it is. Somebody else's raises ``ConversationNotFound`` on read and write;
            one that does not exist reads empty and is made by its first write.
        postgres: An open ``PostgresStore``, or ``AsyncPostgresStore`` for awaited use only.
        redis: The ``RedisStore`` of the same colour; ``None`` reads PostgreSQL every time.
        max_messages: How many of the newest messages ``messages`` returns, in whole turns (default: the
            setting ``max_history_messages``, 6); ``None`` for all of them.
        on_write_error: Called with the error and this history when a write fails, before the error is raised:
            ``RunnableWithMessageHistory`` swallows it.
    """

    def __init__(
        self,
        conversation_id: object,
        *,
        user_id: str,
        postgres: PostgresStore | AsyncPostgresStore,
        redis: RedisStore | AsyncRedisStore | None = None,
        max_messages: int | EllipsisType | None = ...,
        dept_id: str | None = None,
        on_write_error: WriteErrorHook | None = None,
    ) -> None:
        self._key = conversation_key(conversation_id, user_id)
        self._max_messages = window_size("max_messages", max_messages, postgres.settings.max_history_messages)
        self._hard_max = max(postgres.settings.hard_max_messages, self._max_messages or 1)
        self._dept_id = optional_id("dept_id", dept_id)
        self._on_write_error = on_write_error
        self._pinned: list[BaseMessage] | None = None
        self._blocking: TieredStore | None = None
        self._awaited: AsyncTieredStore | None = None
        if isinstance(postgres, PostgresStore) and not isinstance(redis, AsyncRedisStore):
            self._blocking = TieredStore(postgres, redis)
        elif isinstance(postgres, AsyncPostgresStore) and not isinstance(redis, RedisStore):
            self._awaited = AsyncTieredStore(postgres, redis)
        else:
            raise ConfigurationError(
                "redis: both stores must be blocking (PostgresStore, RedisStore) or both async"
            )

    def __repr__(self) -> str:
        return f"TieredChatMessageHistory({self.conversation_id!r}, user_id={self.user_id!r})"

    @property
    def conversation_id(self) -> str:
        """The conversation, as it was named."""
        return self._key.name

    @property
    def user_id(self) -> str:
        """Whose conversation it is."""
        return self._key.user_id

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """The recent window, oldest message first: read anew each time, but once a run where a chain drives it."""
        store = self._sync("aget_messages()")
        if (pinned := self._pin()) is not None:
            return pinned
        return self._remember(store.read(self._key, self._max_messages, self._hard_max))

    async def aget_messages(self) -> list[BaseMessage]:
        """The recent window; see ``messages``."""
        if self._awaited is None:
            return await run_in_executor(None, lambda: self.messages)
        if (pinned := self._pin()) is not None:
            return pinned
        return self._remember(await self._awaited.read(self._key, self._max_messages, self._hard_max))

    def window(
        self, max_tokens: int | None = None, token_counter: Callable[[list[BaseMessage]], int] | None = None
    ) -> list[BaseMessage]:
        """The recent window as a prompt may hold it: no orphan tool results, no unanswered calls.

        With ``max_tokens`` only the newest whole turns that fit, as ``token_counter`` counts them.
        """
        return _fit(self.messages, max_tokens, token_counter)

    async def awindow(
        self, max_tokens: int | None = None, token_counter: Callable[[list[BaseMessage]], int] | None = None
    ) -> list[BaseMessage]:
        """The recent window as a prompt may hold it; see ``window``."""
        return _fit(await self.aget_messages(), max_tokens, token_counter)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store messages in order; returning means PostgreSQL has committed them.

        Raises:
            ConversationNotFound: The conversation is somebody else's.
            StorageUnavailable: PostgreSQL is out of reach; adding them again stores them once if they carry ids.
        """
        store = self._sync("aadd_messages()")
        drafts = drafts_of(self._whole(messages))
        if not drafts:
            return
        try:
            store.append(self._key, drafts, dept_id=self._dept_id)
        except Exception as error:
            self._report(error)
            raise
        finally:
            self._pinned = None

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store messages in order; see ``add_messages``."""
        if self._awaited is None:
            await run_in_executor(None, self.add_messages, messages)
            return
        drafts = drafts_of(self._whole(messages))
        if not drafts:
            return
        try:
            await self._awaited.append(self._key, drafts, dept_id=self._dept_id)
        except Exception as error:
            self._report(error)
            raise
        finally:
            self._pinned = None

    def add_message(self, message: BaseMessage) -> None:
        """Store one message; see ``add_messages``."""
        self.add_messages([message])

    def clear(self) -> None:
        """Delete the conversation's messages; one that does not exist is clear already."""
        store = self._sync("aclear()")
        self._pinned = None
        try:
            store.clear(self._key)
        except ConversationNotFound:
            if store.postgres.owns(self._key) is False:
                raise

    async def aclear(self) -> None:
        """Delete the conversation's messages; see ``clear``."""
        if self._awaited is None:
            await run_in_executor(None, self.clear)
            return
        self._pinned = None
        try:
            await self._awaited.clear(self._key)
        except ConversationNotFound:
            if await self._awaited.postgres.owns(self._key) is False:
                raise

    def _sync(self, instead: str) -> TieredStore:
        if self._blocking is None:
            raise AsyncOnly(
                f"this history is over async stores: await {instead}, or make it from ConversationMemory "
                "(or PostgresStore and RedisStore) to call it from blocking code"
            )
        return self._blocking

    def _remember(self, snapshot: Snapshot) -> list[BaseMessage]:
        """Cut a snapshot to the window, and keep it for the rest of the run where a chain drives this history."""
        found = [unpack(entry) for entry in snapshot.entries]
        window = recent(found, self._max_messages, hard_max=self._hard_max, whole=snapshot.whole)
        if self._driven():
            self._pinned = window
            return list(window)
        return window

    def _pin(self) -> list[BaseMessage] | None:
        return list(self._pinned) if self._pinned is not None and self._driven() else None

    def _driven(self) -> bool:
        """Whether ``RunnableWithMessageHistory`` is calling: only then does the running config name this object.

        It reads twice and de-duplicates by counting, so the two reads of one run must agree; anybody else
        wants to see what is there now.
        """
        configurable: dict[str, Any] = ensure_config().get("configurable", {})
        return configurable.get("message_history") is self

    def _whole(self, messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
        """What a chain streamed arrives as one chunk; it is stored as the message it amounts to."""
        if not self._driven():
            return messages
        return [message_chunk_to_message(m) if isinstance(m, BaseMessageChunk) else m for m in messages]

    def _report(self, error: Exception) -> None:
        logger.error("messages of conversation %s were not stored: %s", self._key.uuid, error)
        if self._on_write_error is not None:
            self._on_write_error(error, self)


def _fit(
    messages: list[BaseMessage],
    max_tokens: int | None,
    token_counter: Callable[[list[BaseMessage]], int] | None,
) -> list[BaseMessage]:
    window = for_prompt(messages)
    if max_tokens is None:
        return window
    if token_counter is None:
        raise ConfigurationError(
            "token_counter: needed with max_tokens, e.g. model.get_num_tokens_from_messages"
        )
    return within_tokens(window, max_tokens, token_counter)
