"""The verbs of a memory on messages that are stored: all of them in a stream, and other words, or none, in their place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory._async.tiered import AsyncTieredStore
from convmemory.arguments import (
    ConversationRef,
    MessageRef,
    checked_limit,
    key_of,
    places_of,
    required_seq,
    row_of,
)
from convmemory.drafts import drafts_of
from convmemory.errors import InvalidArgument, MessageNotFound
from convmemory.ids import ConversationKey
from convmemory.models import Message
from convmemory.value_fields import checked_metadata


class AsyncMessageVerbs:
    """Stored messages under their verbs; a memory has them beside those on conversations and sessions.

    A message is named by its row's id, as a ``Message`` has it, or by the ``Message`` itself; a place by its ``seq``.
    """

    postgres: AsyncPostgresStore
    _store: AsyncTieredStore

    def iter_messages(
        self, conversation_id: ConversationRef, *, user_id: str, batch: int = 1_000, after: int = 0
    ) -> AsyncIterator[Message]:
        """All stored messages, oldest first, however many: only one batch of them is held at a time.

        Each is told once, whatever is written meanwhile: by ``seq``, which is never given twice. What is stored before the
        end is reached is told too.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            user_id: The conversation's owner.
            batch: 1 to 10,000 messages that are read at once.
            after: Only messages with a greater ``seq``: the last one that was seen, to go on from there.

        Raises:
            ConversationNotFound: At the first message: the user has no such conversation. Later: it was deleted.
        """
        key, place = key_of(conversation_id, user_id), required_seq("after", after)
        return self._every(key, checked_limit("batch", batch), place)

    async def _every(self, key: ConversationKey, batch: int, after: int) -> AsyncIterator[Message]:
        while True:
            found = await self._store.page(key, limit=batch, after=after)
            for message in found:
                after = message.place
                yield message
            if len(found) < batch:
                return

    async def delete_messages(
        self,
        conversation_id: ConversationRef,
        *,
        user_id: str,
        seqs: Iterable[int] | None = None,
        ids: Iterable[MessageRef] | None = None,
    ) -> int:
        """Delete messages, with their contexts and an automatic title made of one of them; how many there were.

        Those that are not there (any more) are passed over. No other message gets their places. They go 2,000 at a time: after an
        error some may be gone, and the call may be made again.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            user_id: The conversation's owner.
            seqs: Their places, at most 10,000; or
            ids: their ids, or the messages themselves.

        Raises:
            ConversationNotFound: The user has no such conversation.
        """
        key = key_of(conversation_id, user_id)
        places, rows = places_of(seqs, ids)
        return await self._store.remove(key, seqs=places, ids=rows)

    async def truncate(self, conversation_id: ConversationRef, *, user_id: str, after: int) -> int:
        """Delete all messages behind a place, as before an answer is made anew or a question is edited; how many.

        It goes bite by bite where there are many, the newest first; what is stored meanwhile stays.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            user_id: The conversation's owner.
            after: The ``seq`` of the last message that stays; 0 for none.

        Raises:
            ConversationNotFound: The user has no such conversation.
        """
        return await self._store.truncate(key_of(conversation_id, user_id), required_seq("after", after))

    async def replace_message(
        self, conversation_id: ConversationRef, message_id: MessageRef, message: Any, *, user_id: str
    ) -> Message:
        """Put another message in the place of a stored one, and return it as it is stored.

        Its ``id``, ``seq`` and time stay; tokens, latency, contexts and metadata are those of the new one, and an
        automatic title made of the old one is made anew.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            message_id: Which message.
            message: What ``save_messages`` takes for one, or a ``Draft`` with what is known of it.
            user_id: The conversation's owner.

        Raises:
            ConversationNotFound: The user has no such conversation.
            MessageNotFound: There is no such message in it.
        """
        key, row = key_of(conversation_id, user_id), row_of(message_id)
        drafts = drafts_of(message)
        if len(drafts) != 1:
            raise InvalidArgument("message", f"must be one message, not {len(drafts)}")
        await self._store.replace(key, row, drafts[0])
        return await self._one(key, message_id)

    async def annotate_message(
        self,
        conversation_id: ConversationRef,
        message_id: MessageRef,
        metadata: Mapping[str, Any],
        *,
        user_id: str,
    ) -> Message:
        """Note something of a stored message, such as feedback, and return it as it is stored.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            message_id: Which message.
            metadata: Names and values laid over those there; a name with ``None`` is taken out.
            user_id: The conversation's owner.

        Raises:
            ConversationNotFound: The user has no such conversation.
            MessageNotFound: There is no such message in it.
        """
        key, row = key_of(conversation_id, user_id), row_of(message_id)
        await self._store.drained(key)
        await self.postgres.annotate_message(key, row, checked_metadata(metadata))
        return await self._one(key, message_id)

    async def _one(self, key: ConversationKey, message: MessageRef) -> Message:
        found = await self.postgres.read_messages_by_id(key, [row_of(message).hex])
        if not found:  # deleted since
            raise MessageNotFound(row_of(message))
        return found[0]
