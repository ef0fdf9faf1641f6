"""The session and the conversation a turn is in."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID, uuid5

from convmemory._async.user_memory import AsyncUserMemory
from convmemory.api.chat.places import Asked, NoQuestion
from convmemory.errors import ConversationNotFound, StorageUnavailable
from convmemory.models import Conversation, Session

_BY_KEY = UUID("5c0f5d1e-7c57-5a05-9d9e-0f4f6f6b8b1c")


async def session_of(mine: AsyncUserMemory, session_id: str | None) -> Session | None:
    """The user's session; ``None`` when it has ended, and while Redis is away: conversations go on without."""
    with suppress(StorageUnavailable):
        return await mine.get_session(session_id) if session_id else None
    return None


async def conversation_of(mine: AsyncUserMemory, asked: Asked, visit: Session | None) -> Conversation:
    """The conversation that is named, else the session's, else a new one: the same for a request that is sent again."""
    if asked.text is None and asked.message_id is None:
        raise NoQuestion
    if asked.conversation_id is not None:
        try:
            return await mine.get_conversation(asked.conversation_id)
        except ConversationNotFound:
            if asked.earlier or asked.text is None:
                raise
            return await mine.create_conversation(conversation_id=asked.conversation_id)
    if visit is not None and visit.conversation_id is not None:
        with suppress(ConversationNotFound):  # deleted since
            return await mine.get_conversation(visit.conversation_id)
    named = None if asked.key is None else uuid5(_BY_KEY, f"{len(mine.user_id)}:{mine.user_id}{asked.key}")
    return await mine.create_conversation(conversation_id=named)


async def visited(
    mine: AsyncUserMemory, asked: Asked, visit: Session | None, found: Conversation
) -> str | None:
    """Note in the session where the user is, in a new one if it has ended; its id, if there is a Redis to have it."""
    if visit is None and not asked.wants_session:
        return None
    with suppress(StorageUnavailable):
        kept = await mine.extend_session(visit, conversation_id=found.id) if visit else None
        return (kept or await mine.create_session(conversation_id=found.id)).id
    return None
