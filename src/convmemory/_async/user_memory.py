"""A memory on behalf of one user: every verb, without ``user_id``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal, overload

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

from convmemory._async.search import AsyncUserSearch
from convmemory.arguments import ConversationRef, MessageRef, SessionRef, Size
from convmemory.dialects.anthropic import AnthropicMessages
from convmemory.models import Appended, Conversation, Message, Page, RetrievedContext, Session, Telemetry

if TYPE_CHECKING:
    from convmemory._async.memory import AsyncConversationMemory
    from convmemory.history import TieredChatMessageHistory
from convmemory.storage.conversation_lists import Order
from convmemory.windows.window_size import TokenCounter


class AsyncUserMemory:
    """The memory of one user: what ``memory.for_user(user_id)`` gives, and all that the handler of a request needs.

    A cheap value that owns no connection; every verb is the memory's own of the same name, for this user only.
    A session or a conversation of somebody else is as good as none.
    """

    __slots__ = ("_memory", "_user_id")

    def __init__(self, memory: AsyncConversationMemory, user_id: str) -> None:
        self._memory = memory
        self._user_id = user_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._user_id!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AsyncUserMemory):
            return NotImplemented
        return self._memory is other._memory and self._user_id == other._user_id

    def __hash__(self) -> int:
        return hash((id(self._memory), self._user_id))

    @property
    def user_id(self) -> str:
        """Whose memory it is."""
        return self._user_id

    async def create_session(
        self,
        dept_id: str | None = None,
        *,
        conversation_id: ConversationRef | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """Begin a session; see ``AsyncConversationMemory.create_session``."""
        return await self._memory.create_session(
            self._user_id, dept_id, conversation_id=conversation_id, metadata=metadata
        )

    async def get_session(self, session_id: SessionRef) -> Session | None:
        """The user's live session of that id, its life begun anew; ``None`` when there is none."""
        return await self._memory.get_session(session_id, user_id=self._user_id)

    async def extend_session(
        self,
        session_id: SessionRef,
        *,
        conversation_id: ConversationRef | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session | None:
        """Keep the user's session alive, and note what is given; ``None`` when there is none."""
        return await self._memory.extend_session(
            session_id, user_id=self._user_id, conversation_id=conversation_id, metadata=metadata
        )

    async def end_session(self, session_id: SessionRef) -> bool:
        """End the user's session at once; whether it was still alive."""
        return await self._memory.end_session(session_id, user_id=self._user_id)

    async def list_user_sessions(self) -> list[Session]:
        """The user's live sessions, the newest first."""
        return await self._memory.list_user_sessions(self._user_id)

    async def create_conversation(
        self,
        *,
        conversation_id: ConversationRef | None = None,
        title: str | None = None,
        dept_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        exists: Literal["return", "update", "error"] = "return",
    ) -> Conversation:
        """Make a conversation; see ``AsyncConversationMemory.create_conversation``."""
        return await self._memory.create_conversation(
            self._user_id,
            conversation_id=conversation_id,
            title=title,
            dept_id=dept_id,
            metadata=metadata,
            exists=exists,
        )

    async def get_conversation(
        self, conversation_id: ConversationRef, *, messages: bool | int = False
    ) -> Conversation:
        """One conversation, with its messages where asked for; ``ConversationNotFound`` when there is none."""
        return await self._memory.get_conversation(conversation_id, user_id=self._user_id, messages=messages)

    async def list_user_conversations(
        self,
        limit: int = 20,
        *,
        cursor: str | None = None,
        order: Order = "updated",
        archived: bool | None = False,
        pinned: bool | None = None,
        dept_id: str | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Page[Conversation]:
        """The user's conversations, ``limit`` a page; see ``AsyncConversationMemory.list_user_conversations``."""
        return await self._memory.list_user_conversations(
            self._user_id,
            limit,
            cursor=cursor,
            order=order,
            archived=archived,
            pinned=pinned,
            dept_id=dept_id,
            since=since,
            until=until,
            metadata=metadata,
        )

    def iter_conversations(
        self,
        *,
        batch: int = 100,
        archived: bool | None = None,
        pinned: bool | None = None,
        dept_id: str | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Conversation]:
        """All of the user's conversations; see ``AsyncConversationMemory.iter_conversations``."""
        return self._memory.iter_conversations(
            self._user_id,
            batch=batch,
            archived=archived,
            pinned=pinned,
            dept_id=dept_id,
            since=since,
            until=until,
            metadata=metadata,
        )

    async def count_conversations(
        self,
        *,
        archived: bool | None = False,
        pinned: bool | None = None,
        dept_id: str | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """How many conversations all pages of ``list_user_conversations`` with these arguments have."""
        return await self._memory.count_conversations(
            self._user_id,
            archived=archived,
            pinned=pinned,
            dept_id=dept_id,
            since=since,
            until=until,
            metadata=metadata,
        )

    async def rename_conversation(self, conversation_id: ConversationRef, title: str) -> Conversation:
        """Give a conversation the user's own title, which no automatic title replaces."""
        return await self._memory.rename_conversation(conversation_id, title, user_id=self._user_id)

    async def update_conversation(
        self,
        conversation_id: ConversationRef,
        *,
        title: str | EllipsisType | None = ...,
        dept_id: str | EllipsisType | None = ...,
        archived: bool | EllipsisType = ...,
        pinned: bool | EllipsisType = ...,
        metadata: Mapping[str, Any] | EllipsisType = ...,
        if_version: int | None = None,
    ) -> Conversation:
        """Change what is given, and only that; see ``AsyncConversationMemory.update_conversation``."""
        return await self._memory.update_conversation(
            conversation_id,
            user_id=self._user_id,
            title=title,
            dept_id=dept_id,
            archived=archived,
            pinned=pinned,
            metadata=metadata,
            if_version=if_version,
        )

    async def archive_conversation(self, conversation_id: ConversationRef) -> Conversation:
        """Put a conversation away; see ``AsyncConversationMemory.archive_conversation``."""
        return await self._memory.archive_conversation(conversation_id, user_id=self._user_id)

    async def unarchive_conversation(self, conversation_id: ConversationRef) -> Conversation:
        """Take a conversation back that was put away."""
        return await self._memory.unarchive_conversation(conversation_id, user_id=self._user_id)

    async def pin_conversation(self, conversation_id: ConversationRef) -> Conversation:
        """Have a conversation stand in front of the others; see ``AsyncConversationMemory.pin_conversation``."""
        return await self._memory.pin_conversation(conversation_id, user_id=self._user_id)

    async def unpin_conversation(self, conversation_id: ConversationRef) -> Conversation:
        """Have a conversation stand among the others again."""
        return await self._memory.unpin_conversation(conversation_id, user_id=self._user_id)

    async def delete_conversation(self, conversation_id: ConversationRef) -> None:
        """Delete a conversation with its messages and contexts, and what is cached of it."""
        await self._memory.delete_conversation(conversation_id, user_id=self._user_id)

    async def save_message(
        self,
        conversation_id: ConversationRef,
        role: Any,
        content: str | list[Any] | EllipsisType = ...,
        metadata: Mapping[str, Any] | None = None,
        *,
        tokens_used: int | None = None,
        latency_ms: float | None = None,
        contexts: Sequence[RetrievedContext | Document] = (),
        created_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Message:
        """Store one message and return it as it is stored; see ``AsyncConversationMemory.save_message``."""
        return await self._memory.save_message(
            conversation_id,
            role,
            content,
            metadata,
            user_id=self._user_id,
            tokens_used=tokens_used,
            latency_ms=latency_ms,
            contexts=contexts,
            created_at=created_at,
            idempotency_key=idempotency_key,
        )

    async def save_messages(
        self, conversation_id: ConversationRef, messages: Any, *, idempotency_key: str | None = None
    ) -> Appended:
        """Store messages (or ``Draft``s) in order, in one commit."""
        return await self._memory.save_messages(
            conversation_id, messages, user_id=self._user_id, idempotency_key=idempotency_key
        )

    @overload
    async def get_history(
        self, conversation_id: ConversationRef, limit: Size = ..., *, format: Literal["langchain"] = ...
    ) -> list[BaseMessage]: ...

    @overload
    async def get_history(
        self, conversation_id: ConversationRef, limit: Size = ..., *, format: Literal["openai"]
    ) -> list[dict[str, Any]]: ...

    @overload
    async def get_history(
        self, conversation_id: ConversationRef, limit: Size = ..., *, format: Literal["anthropic"]
    ) -> AnthropicMessages: ...

    @overload
    async def get_history(
        self, conversation_id: ConversationRef, limit: Size = ..., *, format: str
    ) -> list[BaseMessage] | list[dict[str, Any]]: ...

    async def get_history(
        self,
        conversation_id: ConversationRef,
        limit: Size = ...,
        *,
        format: str = "langchain",  # noqa: A002 - as the memory's
    ) -> list[BaseMessage] | list[dict[str, Any]]:
        """The newest messages in whole turns, oldest first: what a model should see, and accepts."""
        return await self._memory.get_history(conversation_id, limit, user_id=self._user_id, format=format)

    async def get_messages(
        self,
        conversation_id: ConversationRef,
        *,
        limit: int = 50,
        before: int | None = None,
        after: int | None = None,
    ) -> list[Message]:
        """Stored messages, oldest first; see ``AsyncConversationMemory.get_messages``."""
        return await self._memory.get_messages(
            conversation_id, user_id=self._user_id, limit=limit, before=before, after=after
        )

    async def clear(self, conversation_id: ConversationRef) -> None:
        """Delete all messages of a conversation, and a title made of them; the conversation stays."""
        await self._memory.clear(conversation_id, user_id=self._user_id)

    def iter_messages(
        self, conversation_id: ConversationRef, *, batch: int = 1_000, after: int = 0
    ) -> AsyncIterator[Message]:
        """All stored messages, oldest first, however many; see ``AsyncConversationMemory.iter_messages``."""
        return self._memory.iter_messages(conversation_id, user_id=self._user_id, batch=batch, after=after)

    async def delete_messages(
        self,
        conversation_id: ConversationRef,
        *,
        seqs: Iterable[int] | None = None,
        ids: Iterable[MessageRef] | None = None,
    ) -> int:
        """Delete messages by their places or their ids; how many there were."""
        return await self._memory.delete_messages(conversation_id, user_id=self._user_id, seqs=seqs, ids=ids)

    async def truncate(self, conversation_id: ConversationRef, *, after: int) -> int:
        """Delete all messages behind a place; how many there were."""
        return await self._memory.truncate(conversation_id, user_id=self._user_id, after=after)

    async def replace_message(
        self, conversation_id: ConversationRef, message_id: MessageRef, message: Any
    ) -> Message:
        """Put another message in the place of a stored one; see ``AsyncConversationMemory.replace_message``."""
        return await self._memory.replace_message(conversation_id, message_id, message, user_id=self._user_id)

    async def annotate_message(
        self, conversation_id: ConversationRef, message_id: MessageRef, metadata: Mapping[str, Any]
    ) -> Message:
        """Lay names and values over the metadata of a stored message, such as feedback."""
        return await self._memory.annotate_message(
            conversation_id, message_id, metadata, user_id=self._user_id
        )

    @property
    def search(self) -> AsyncUserSearch:
        """What the user and their models said, found by its words: ``messages`` for people, ``recall`` for agents."""
        return AsyncUserSearch(self._memory.search, self._user_id)

    def history(
        self,
        conversation_id: ConversationRef,
        *,
        max_messages: Size = ...,
        max_turns: int | None = None,
        max_tokens: int | None = None,
        token_counter: TokenCounter | None = None,
        dept_id: str | None = None,
        save_on_error: str | None = None,
        input_messages_key: str | None = None,
        telemetry: Telemetry = True,
    ) -> TieredChatMessageHistory:
        """One conversation as a LangChain chat history; see ``TieredChatMessageHistory``."""
        return self._memory.history(
            conversation_id,
            user_id=self._user_id,
            max_messages=max_messages,
            max_turns=max_turns,
            max_tokens=max_tokens,
            token_counter=token_counter,
            dept_id=dept_id,
            save_on_error=save_on_error,
            input_messages_key=input_messages_key,
            telemetry=telemetry,
        )

    def run_config(self, *, conversation_id: ConversationRef) -> RunnableConfig:
        """The ``config`` for one run of a chain or an agent in that conversation."""
        return self._memory.run_config(conversation_id=conversation_id, user_id=self._user_id)
