"""The verbs of a memory on conversations and their messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import EllipsisType
from typing import Any, Literal, overload

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage

from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory._async.tiered import AsyncTieredStore
from convmemory.arguments import (
    MOST,
    ConversationRef,
    Size,
    checked_flag,
    checked_format,
    checked_limit,
    checked_seq,
    checked_title,
    checked_version,
    key_of,
    optional_id,
    window_size,
)
from convmemory.dialects.anthropic import AnthropicMessages, anthropic_messages
from convmemory.dialects.openai_chat import chat_messages
from convmemory.drafts import draft_of, drafts_of
from convmemory.errors import ConversationChanged, ConversationExists, ConversationNotFound, InvalidArgument
from convmemory.ids import ConversationKey, new_uuid
from convmemory.models import Appended, Conversation, Draft, Message, RetrievedContext
from convmemory.settings import Settings
from convmemory.value_fields import checked_metadata
from convmemory.windows.tool_pairing import for_prompt, in_order
from convmemory.windows.window_size import WindowSize


class AsyncConversationVerbs:
    """Conversations and messages under their verbs; a memory has them beside those on sessions.

    A conversation is named by its id (a UUID, or a name of 1 to 255 characters that is scoped to its user) or by a
    ``Conversation``. One that is not there and somebody else's both raise ``ConversationNotFound``; ``save_message``
    and ``save_messages`` make one that is not there.
    """

    postgres: AsyncPostgresStore
    settings: Settings
    _store: AsyncTieredStore

    async def create_conversation(
        self,
        user_id: str,
        *,
        conversation_id: ConversationRef | None = None,
        title: str | None = None,
        dept_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        exists: Literal["return", "update", "error"] = "return",
    ) -> Conversation:
        """Make a conversation, or return the one the user has under that id already.

        Args:
            user_id: Its owner.
            conversation_id: A UUID or a name of 1 to 255 characters; a new UUID when left out.
            title: Given by the user; without it the first human message gives one.
            dept_id: The department it belongs to.
            metadata: Anything JSON can hold.
            exists: What to do with one that is there: ``"return"`` it as it is, ``"update"`` it with what is given
                here, or raise an ``"error"``.

        Raises:
            ConversationExists: It is there, and ``exists="error"``.
            ConversationNotFound: The UUID is somebody else's conversation.
        """
        if exists not in ("return", "update", "error"):
            raise InvalidArgument("exists", f"must be 'return', 'update' or 'error', not {exists!r:.40}")
        key = key_of(new_uuid() if conversation_id is None else conversation_id, user_id)
        given: dict[str, Any] = {
            "title": None if title is None else checked_title(title),
            "dept_id": optional_id("dept_id", dept_id),
            "metadata": None if metadata is None else checked_metadata(metadata),
        }
        changes = {name: value for name, value in given.items() if value is not None}
        while True:
            found, made = await self.postgres.create_conversation(key, **given)
            if not made and exists == "error":
                raise ConversationExists(key.name)
            if made or not changes or exists == "return":
                return found
            try:
                return await self.postgres.update_conversation(key, changes)
            except ConversationNotFound:  # deleted in between: it is made after all
                continue

    async def get_conversation(
        self, conversation_id: ConversationRef, *, user_id: str, messages: bool | int = False
    ) -> Conversation:
        """One conversation; ``ConversationNotFound`` when the user has none of that id.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            user_id: Its owner.
            messages: ``True`` brings its messages as well (the newest 10,000 of them at most, oldest first), a number
                the newest so many; ``message_count`` says how many there are.
        """
        key = key_of(conversation_id, user_id)
        await self._store.drained(key)
        found = await self.postgres.get_conversation(key)
        if messages is False:
            return found
        size = MOST if messages is True else checked_limit("messages", messages)
        stored = await self._store.page(key, limit=size)
        return found.model_copy(update={"messages": tuple(stored)})

    async def rename_conversation(
        self, conversation_id: ConversationRef, title: str, *, user_id: str
    ) -> Conversation:
        """Give a conversation the user's own title, which no automatic title replaces."""
        key = key_of(conversation_id, user_id)
        return await self.postgres.update_conversation(key, {"title": checked_title(title)})

    async def update_conversation(
        self,
        conversation_id: ConversationRef,
        *,
        user_id: str,
        title: str | EllipsisType | None = ...,
        dept_id: str | EllipsisType | None = ...,
        archived: bool | EllipsisType = ...,
        pinned: bool | EllipsisType = ...,
        metadata: Mapping[str, Any] | EllipsisType = ...,
        if_version: int | None = None,
    ) -> Conversation:
        """Change what is known of a conversation, and only what is given; its place in the list stays.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            user_id: Its owner.
            title: The user's own title; ``None`` for an automatic one again, from the next human message.
            dept_id: Its department; ``None`` for none.
            archived: Whether it is put away.
            pinned: Whether it is to stand in front of the others.
            metadata: Names and values laid over those there; a name with ``None`` is taken out.
            if_version: Only where the conversation is at this ``version``, so that nobody else's change is undone.

        Raises:
            ConversationChanged: It is at another version by now.
        """
        key = key_of(conversation_id, user_id)
        changes: dict[str, Any] = {}
        if title is not ...:
            changes["title"] = None if title is None else checked_title(title)
        if dept_id is not ...:
            changes["dept_id"] = optional_id("dept_id", dept_id)
        if archived is not ...:
            changes["archived"] = checked_flag("archived", archived)
        if pinned is not ...:
            changes["pinned"] = checked_flag("pinned", pinned)
        if metadata is not ...:
            changes["metadata"] = checked_metadata(metadata)
        wanted = checked_version("if_version", if_version)
        if wanted is not None:
            await self._store.drained(key)  # what waits is a change as well
        if changes:
            return await self.postgres.update_conversation(key, changes, wanted)
        found = await self.postgres.get_conversation(key)
        if wanted not in {None, found.version}:
            raise ConversationChanged(key.name, found.version)
        return found

    async def archive_conversation(self, conversation_id: ConversationRef, *, user_id: str) -> Conversation:
        """Put a conversation away: lists leave it out, and everything else is as before, until it is taken back."""
        return await self.update_conversation(conversation_id, user_id=user_id, archived=True)

    async def unarchive_conversation(self, conversation_id: ConversationRef, *, user_id: str) -> Conversation:
        """Take a conversation back that was put away."""
        return await self.update_conversation(conversation_id, user_id=user_id, archived=False)

    async def pin_conversation(self, conversation_id: ConversationRef, *, user_id: str) -> Conversation:
        """Have a conversation stand in front of the others, where a page shows those with ``pinned=True`` first."""
        return await self.update_conversation(conversation_id, user_id=user_id, pinned=True)

    async def unpin_conversation(self, conversation_id: ConversationRef, *, user_id: str) -> Conversation:
        """Have a conversation stand among the others again."""
        return await self.update_conversation(conversation_id, user_id=user_id, pinned=False)

    async def delete_conversation(self, conversation_id: ConversationRef, *, user_id: str) -> None:
        """Delete a conversation with its messages and contexts, and what is cached of it."""
        await self._store.delete(key_of(conversation_id, user_id))

    async def save_message(
        self,
        conversation_id: ConversationRef,
        role: Any,
        content: str | list[Any] | EllipsisType = ...,
        metadata: Mapping[str, Any] | None = None,
        *,
        user_id: str,
        tokens_used: int | None = None,
        latency_ms: float | None = None,
        contexts: Sequence[RetrievedContext | Document] = (),
        created_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Message:
        """Store one message with what is known of it, and return it as it is stored; makes the conversation if need be.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            role: ``"user"`` or ``"human"``, ``"assistant"`` or ``"ai"``, ``"system"``; or in its place a whole message
                (LangChain's, OpenAI's dict, a text of the user's), and then no ``content``.
            content: What was said.
            metadata: Anything JSON can hold.
            user_id: The conversation's owner.
            tokens_used: Defaults to the message's own ``usage_metadata``.
            latency_ms: How long the answer took, in milliseconds; rounded to whole ones.
            contexts: The documents it leaned on, in the retriever's order.
            created_at: When it was said, with a time zone; defaults to now.
            idempotency_key: 1 to 255 characters. Whoever calls again with the same one stores nothing twice, and is
                given what is stored: of use for messages without an id, such as a job's that is run again.

        Raises:
            ConversationNotFound: The conversation is somebody else's.
            StorageUnavailable: PostgreSQL is out of reach. It may have stored the message all the same: call again
                with the same key.
        """
        known = {
            "tokens_used": tokens_used,
            "latency_ms": latency_ms,
            "contexts": contexts,
            "metadata": metadata,
            "created_at": created_at,
        }
        key = key_of(conversation_id, user_id)
        return (await self._save(key, [draft_of(role, content, known)], idempotency_key)).messages[0]

    async def save_messages(
        self,
        conversation_id: ConversationRef,
        messages: Any,
        *,
        user_id: str,
        idempotency_key: str | None = None,
    ) -> Appended:
        """Store messages (or ``Draft``s) in order, in one commit; otherwise as ``save_message``.

        An ``idempotency_key`` is for the whole batch: it goes by the place of each message that brings no id.
        None at all are stored without a word: no conversation is made of them, and no server is asked.
        """
        key, drafts = key_of(conversation_id, user_id), drafts_of(messages)
        if not drafts:
            return Appended.built(conversation_id=key.name, version=None, stored=0, messages=())
        return await self._save(key, drafts, idempotency_key)

    async def _save(
        self, key: ConversationKey, drafts: Sequence[Draft], idempotency_key: str | None
    ) -> Appended:
        repeat = optional_id("idempotency_key", idempotency_key)
        batch = await self._store.append(key, drafts, idempotency_key=repeat)
        earlier = batch.earlier  # a repeat: what was stored then is what there is
        found = await self.postgres.read_messages_by_id(key, earlier) if earlier else []
        return batch.appended({message.id.hex: message for message in found})

    @overload
    async def get_history(
        self,
        conversation_id: ConversationRef,
        limit: Size = ...,
        *,
        user_id: str,
        format: Literal["langchain"] = ...,
    ) -> list[BaseMessage]: ...

    @overload
    async def get_history(
        self,
        conversation_id: ConversationRef,
        limit: Size = ...,
        *,
        user_id: str,
        format: Literal["openai"],
    ) -> list[dict[str, Any]]: ...

    @overload
    async def get_history(
        self,
        conversation_id: ConversationRef,
        limit: Size = ...,
        *,
        user_id: str,
        format: Literal["anthropic"],
    ) -> AnthropicMessages: ...

    @overload
    async def get_history(
        self,
        conversation_id: ConversationRef,
        limit: Size = ...,
        *,
        user_id: str,
        format: str,
    ) -> list[BaseMessage] | list[dict[str, Any]]: ...

    async def get_history(
        self,
        conversation_id: ConversationRef,
        limit: Size = ...,
        *,
        user_id: str,
        format: str = "langchain",  # noqa: A002 - what callers of other libraries expect it to be called
    ) -> list[BaseMessage] | list[dict[str, Any]]:
        """The newest messages in whole turns, oldest first: what a model should see, and accepts.

        Each tool call comes with its result right behind it; one that was never answered is left out, and so is a result
        whose call is not there.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            limit: At most so many messages (default: the setting ``max_history_messages``, 6), more only where
                the newest turn alone is longer; ``None`` for all of them.
            user_id: The conversation's owner.
            format: ``"langchain"`` for LangChain messages, ``"openai"`` for the dicts of Chat Completions, ``"anthropic"``
                for those of the Messages API; the list's ``system`` then has the system texts.

        Raises:
            ConversationNotFound: The user has no such conversation.
        """
        key = key_of(conversation_id, user_id)
        want = window_size("limit", limit, self.settings.max_history_messages)
        wanted = checked_format(format)
        hard = max(self.settings.hard_max_messages, want or 1)
        snapshot = await self._store.read(key, want, hard)
        if not snapshot.there and not await self.postgres.owns(key):  # it may have been made since
            raise ConversationNotFound(key.name)
        window = WindowSize(want, hard).cut(snapshot)
        if wanted == "langchain":
            return for_prompt(window)
        return chat_messages(in_order(window)) if wanted == "openai" else anthropic_messages(in_order(window))

    async def get_messages(
        self,
        conversation_id: ConversationRef,
        *,
        user_id: str,
        limit: int = 50,
        before: int | None = None,
        after: int | None = None,
    ) -> list[Message]:
        """Stored messages with seq, tokens, latency and contexts, oldest first: for people and programs, not models.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            user_id: The conversation's owner.
            limit: 1 to 10,000: the newest so many, or with ``after`` the oldest so many.
            before: Only messages with a smaller ``seq``: the first ``seq`` of the page after.
            after: Only messages with a greater ``seq``: the last ``seq`` of the page before.
        """
        key = key_of(conversation_id, user_id)
        size = checked_limit("limit", limit)
        place = {"before": checked_seq("before", before), "after": checked_seq("after", after)}
        return await self._store.page(key, limit=size, **place)

    async def clear(self, conversation_id: ConversationRef, *, user_id: str) -> None:
        """Delete all messages of a conversation, and a title made of them; the conversation stays."""
        await self._store.clear(key_of(conversation_id, user_id))
