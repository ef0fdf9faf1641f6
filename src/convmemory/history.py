"""``TieredChatMessageHistory``: one conversation as LangChain's ``BaseChatMessageHistory``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any, Final

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message
from langchain_core.runnables.config import run_in_executor

from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory._async.redis_store import AsyncRedisStore
from convmemory._async.tiered import AsyncTieredStore
from convmemory._sync.postgres_store import PostgresStore
from convmemory._sync.redis_store import RedisStore
from convmemory._sync.tiered import TieredStore
from convmemory.agent_turn import AgentTurn
from convmemory.arguments import (
    ConversationRef,
    checked_counter,
    checked_telemetry,
    history_size,
    keeps_input,
    key_of,
    optional_id,
)
from convmemory.chains.lost_input import listen_to_chains, said_in
from convmemory.chains.recorder import RECORDER
from convmemory.chains.resent import without_transcript
from convmemory.chains.steps import Step, step_of
from convmemory.chains.turn import Reported, Run, Told, Turn
from convmemory.drafts import drafts_of
from convmemory.errors import AsyncOnly, ConfigurationError, ConversationNotFound, InvalidArgument
from convmemory.models import Draft, Telemetry
from convmemory.storage.postgres_rows import StoredBatch
from convmemory.windows.snapshots import Snapshot
from convmemory.windows.tool_pairing import for_prompt_before
from convmemory.windows.window_size import TokenCounter, prompt_within

_NOT_FOUND: Final = (
    "of a chain must be a message, a list of messages or a text, alone or in a dict under output_messages_key, and its input "
    "must be found under input_messages_key: LangChain stored nothing of this turn"
)
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
        max_turns: How many of the newest turns it returns, all of them within the setting ``hard_max_messages``, or
            within ``max_messages`` where that is given too.
        max_tokens: How many tokens it returns at most, in whole turns, as ``token_counter`` counts them.
        dept_id: The department of a conversation that its first write makes.
        on_write_error: Called with the error and this history when a write fails, before the error is raised:
            ``RunnableWithMessageHistory`` swallows it.
        save_on_error: ``"input"`` stores what the user said also when the turn of a
            ``RunnableWithMessageHistory`` fails, is cancelled, or its stream is closed early.
        input_messages_key: As given to ``RunnableWithMessageHistory``; ``save_on_error`` needs it where the
            chain's input has several keys and none is ``"input"``.
        telemetry: Store tokens, latency and retrieved documents (whole, an ``"excerpt"``, their ``"ids"``) beside replies.
    """

    def __init__(
        self,
        conversation_id: ConversationRef,
        *,
        user_id: str,
        postgres: PostgresStore | AsyncPostgresStore,
        redis: RedisStore | AsyncRedisStore | None = None,
        max_messages: int | EllipsisType | None = ...,
        max_turns: int | None = None,
        max_tokens: int | None = None,
        token_counter: TokenCounter | None = None,
        dept_id: str | None = None,
        on_write_error: WriteErrorHook | None = None,
        save_on_error: str | None = None,
        input_messages_key: str | None = None,
        telemetry: Telemetry = True,
    ) -> None:
        self._blocking, self._awaited = _tiered(postgres, redis)
        self._key = key_of(conversation_id, user_id)
        self._size = history_size(postgres.settings, max_messages, max_turns, max_tokens, token_counter)
        self._dept_id = optional_id("dept_id", dept_id)
        self._on_write_error = on_write_error
        self._keeps_input = keeps_input(save_on_error)
        self._input_messages_key = input_messages_key
        self._telemetry = checked_telemetry(telemetry)
        if self._keeps_input:
            listen_to_chains()
        else:
            listen_where_chains_are()

    def __repr__(self) -> str:
        return f"TieredChatMessageHistory({self.conversation_id!r}, user_id={self.user_id!r})"

    def __str__(self) -> str:
        """The messages as text, as LangChain has it; where reading must be awaited, no more than whose they are."""
        return repr(self) if self._blocking is None else super().__str__()

    @property
    def conversation_id(self) -> str:
        """The conversation, as it was named."""
        return self._key.name

    @property
    def user_id(self) -> str:
        """Whose conversation it is."""
        return self._key.user_id

    @property
    def conversation(self) -> tuple[str, str]:
        """Which conversation it is, whoever's."""
        return self.user_id, self.conversation_id

    @property
    def keeper(self) -> TieredChatMessageHistory | None:
        """Who stores what the user said in a turn that is not stored: this history, with ``save_on_error="input"``."""
        return self if self._keeps_input else None

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """The recent window, oldest message first: as it was stored, and read anew each time.

        Where a ``RunnableWithMessageHistory`` reads it for its model it is what ``window()`` gives, and the same all turn long.
        """
        store = self._sync("aget_messages()")
        step = step_of(self)
        if (pinned := _pinned(step)) is not None:
            return pinned
        return self._remember(store.read(self._key, *self._asked), step)

    async def aget_messages(self) -> list[BaseMessage]:
        """The recent window; see ``messages``."""
        if self._awaited is None:
            return await run_in_executor(None, lambda: self.messages)
        step = step_of(self)
        if (pinned := _pinned(step)) is not None:
            return pinned
        return self._remember(await self._awaited.read(self._key, *self._asked), step)

    def window(
        self, max_tokens: int | None = None, token_counter: TokenCounter | None = None
    ) -> list[BaseMessage]:
        """The recent window as a prompt may hold it: each tool call with its result right behind it, and nothing without.

        With ``max_tokens`` only the newest whole turns that fit, as ``token_counter`` counts them.
        """
        return prompt_within(self.messages, max_tokens, checked_counter(max_tokens, token_counter))

    async def awindow(
        self, max_tokens: int | None = None, token_counter: TokenCounter | None = None
    ) -> list[BaseMessage]:
        """The recent window as a prompt may hold it; see ``window``."""
        counter = checked_counter(max_tokens, token_counter)
        return prompt_within(await self.aget_messages(), max_tokens, counter)

    def add_messages(self, messages: Sequence[BaseMessage | Draft]) -> None:
        """Store messages (or ``Draft``s) in order; returning means PostgreSQL has committed them.

        Raises:
            ConversationNotFound: The conversation is somebody else's, or was deleted while this turn of a chain went on.
            StorageUnavailable: PostgreSQL is out of reach, and may have stored them all the same; adding the same words
                again stores them once where each message has an id of its own.
        """
        store = self._sync("aadd_messages()")
        told, turn = self._drafts(messages)
        self._append(store, told, turn, None if turn is None else turn.since)

    def _append(
        self, store: TieredStore, told: Told, turn: Turn | AgentTurn | None, since: int | None
    ) -> StoredBatch | None:
        """Store what was told, in a conversation that must be there if it was in this turn."""
        if not told.drafts:
            return None
        there = turn is not None and turn.there
        with Reported(self._report):
            batch = store.append(self._key, told.drafts, dept_id=self._dept_id, since=since, must_exist=there)
        if turn is not None:
            turn.there = True
        told.settle()
        return batch

    async def aadd_messages(self, messages: Sequence[BaseMessage | Draft]) -> None:
        """Store messages in order; see ``add_messages``."""
        if self._awaited is None:
            await run_in_executor(None, self.add_messages, messages)
            return
        told, turn = self._drafts(messages)
        await self._aappend(self._awaited, told, turn, None if turn is None else turn.since)

    async def _aappend(
        self, store: AsyncTieredStore, told: Told, turn: Turn | AgentTurn | None, since: int | None
    ) -> StoredBatch | None:
        if not told.drafts:
            return None
        there = turn is not None and turn.there
        with Reported(self._report):
            batch = await store.append(
                self._key, told.drafts, dept_id=self._dept_id, since=since, must_exist=there
            )
        if turn is not None:
            turn.there = True
        told.settle()
        return batch

    def begin_turn(self, messages: Sequence[BaseMessage], run: Run | None) -> AgentTurn:
        """The turn of an agent whose state holds ``messages``; ``ConversationMemoryMiddleware`` begins with it."""
        store = self._sync("abegin_turn()")
        snapshot = store.read(self._key, *self._asked)
        return AgentTurn.begun(self._size.cut(snapshot), snapshot, messages, run)

    async def abegin_turn(self, messages: Sequence[BaseMessage], run: Run | None) -> AgentTurn:
        """The turn of an agent whose state holds ``messages``; see ``begin_turn``."""
        if self._awaited is None:
            return await run_in_executor(None, self.begin_turn, messages, run)
        snapshot = await self._awaited.read(self._key, *self._asked)
        return AgentTurn.begun(self._size.cut(snapshot), snapshot, messages, run)

    def store_turn(self, turn: AgentTurn, told: Told) -> None:
        """Store ``told``, what is pending of an agent's turn, and what guardrails changed of what is stored.

        Raises:
            ConversationNotFound: The conversation was deleted since the turn began: it does not bring it back.
        """
        store = self._sync("astore_turn()")
        if turn.changes:
            with Reported(self._report):
                store.revise(self._key, turn.changes)
            turn.changes = []
        turn.settle(self._append(store, told, turn, turn.said_since))

    async def astore_turn(self, turn: AgentTurn, told: Told) -> None:
        """Store what is pending of an agent's turn; see ``store_turn``."""
        if self._awaited is None:
            await run_in_executor(None, self.store_turn, turn, told)
            return
        if turn.changes:
            with Reported(self._report):
                await self._awaited.revise(self._key, turn.changes)
            turn.changes = []
        turn.settle(await self._aappend(self._awaited, told, turn, turn.said_since))

    def add_message(self, message: BaseMessage) -> None:
        """Store one message; see ``add_messages``."""
        self.add_messages([message])

    def clear(self) -> None:
        """Delete the conversation's messages; one that does not exist is clear already."""
        self._sync("aclear()").clear_if_there(self._key)

    async def aclear(self) -> None:
        """Delete the conversation's messages; see ``clear``."""
        if self._awaited is None:
            await run_in_executor(None, self.clear)
            return
        await self._awaited.clear_if_there(self._key)

    def _sync(self, instead: str) -> TieredStore:
        if self._blocking is None:
            raise AsyncOnly(
                f"this history is over async stores: await {instead}, or make it from ConversationMemory "
                "(or PostgresStore and RedisStore) to call it from blocking code"
            )
        return self._blocking

    def _remember(self, snapshot: Snapshot, step: Step | None) -> list[BaseMessage]:
        """Cut a snapshot to the window; what a chain is shown as its turn begins is what it is shown again.

        It reads twice and de-duplicates by counting, so the two reads of one turn must agree; anybody else
        wants to see what is there now. What it reads goes to a model as it is.
        """
        window = self._size.cut(snapshot)
        if step is not None and step.entering:
            step.turn.said = self._given(step.inputs)
            window = for_prompt_before(window, step.turn.said)
            step.turn.history = self
            step.turn.since, step.turn.there = snapshot.since, snapshot.there
            step.turn.pinned = list(window)
        return window

    @property
    def _asked(self) -> tuple[int | None, int, int | None]:
        return self._size.messages, self._size.hard, self._size.turns

    def _given(self, inputs: Any) -> list[BaseMessage]:
        """The messages a chain adds to its window, as far as that can be told."""
        try:
            return said_in(inputs, self._input_messages_key)
        except InvalidArgument:
            return []

    def _drafts(self, messages: Sequence[BaseMessage | Draft]) -> tuple[Told, Turn | None]:
        """Messages on their way in, and their turn if they are of one, which knows how the conversation stood when it began.

        A chain's come with what its runs tell of them, and streamed ones as one chunk.
        """
        step = step_of(self)
        if step is None:
            return Told(drafts_of(messages)), None
        kept = len(step.turn.kept)  # a stream closed midway tells its part after what was said was kept
        new = messages[kept:] if list(messages[:kept]) == step.turn.kept else messages
        new = without_transcript(new, step.turn.pinned or [], step.turn.said)
        try:
            whole = [message_chunk_to_message(m) if isinstance(m, BaseMessageChunk) else m for m in new]
            drafts = drafts_of(whole)
        except InvalidArgument as error:
            step.turn.refused = error
            raise
        step.turn.stored = True
        return RECORDER.tell(step.run, drafts, self._telemetry), step.turn

    def keep_input(self, turn: Turn, inputs: Any) -> list[BaseMessage]:
        """Store what the user said in a turn that was not stored, and return it; for ``save_on_error="input"``."""
        said = said_in(inputs, self._input_messages_key)
        told = Told(drafts_of(said))
        self._append(self._sync("akeep_input()"), told, turn, None)
        return said

    async def akeep_input(self, turn: Turn, inputs: Any) -> list[BaseMessage]:
        """Store what the user said in a turn that was not stored; see ``keep_input``."""
        if self._awaited is None:
            return await run_in_executor(None, self.keep_input, turn, inputs)
        said = said_in(inputs, self._input_messages_key)
        await self._aappend(self._awaited, Told(drafts_of(said)), turn, None)
        return said

    def tell_unstored(self, refused: Exception | None) -> None:
        """Report a turn of a chain that came to its end and was not stored: LangChain swallows why."""
        store = self._blocking or self._awaited
        if store is not None:
            store.postgres.health.counters.failed_writes += 1
        self._report(refused or InvalidArgument("output", _NOT_FOUND))

    def _report(self, error: Exception) -> None:
        # the text of one that was deleted has its name, which may tell
        why = "it was deleted meanwhile" if isinstance(error, ConversationNotFound) else error
        logger.error("messages of conversation %s were not stored: %s", self._key.known, why)
        if self._on_write_error is not None:
            self._on_write_error(error, self)


def listen_where_chains_are() -> None:
    """Hear of the turns of ``RunnableWithMessageHistory`` from now on, if the program has it.

    A history is often made when its turn has begun: what was retrieved before, or a retry around it, is part of the turn.
    """
    if "langchain_core.runnables.history" in sys.modules:
        listen_to_chains()


def _pinned(step: Step | None) -> list[BaseMessage] | None:
    """The window this turn began with, where a chain reads it again at its end."""
    if step is None or step.entering or step.turn.pinned is None:
        return None
    return list(step.turn.pinned)


def _tiered(postgres: object, redis: object) -> tuple[TieredStore | None, AsyncTieredStore | None]:
    """The stores as one, in the colour they have.

    Raises:
        ConfigurationError: They have two, or are no stores; the message says what would be right.
    """
    if isinstance(postgres, PostgresStore) and (redis is None or isinstance(redis, RedisStore)):
        return TieredStore(postgres, redis), None
    if isinstance(postgres, AsyncPostgresStore) and (redis is None or isinstance(redis, AsyncRedisStore)):
        return None, AsyncTieredStore(postgres, redis)
    argument = "redis" if isinstance(postgres, PostgresStore | AsyncPostgresStore) else "postgres"
    wrong = type(redis if argument == "redis" else postgres).__name__
    raise ConfigurationError(
        f"{argument}: both stores must be blocking (PostgresStore, RedisStore) or both async, not of type {wrong}; "
        "memory.history(...) has both at hand"
    )
