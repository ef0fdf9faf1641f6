"""The verbs of a memory on sessions: a user's visits, which live in Redis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convmemory._async.redis_store import AsyncRedisStore
from convmemory._async.tiered import AsyncTieredStore
from convmemory.arguments import ConversationRef, SessionRef, name_of, optional_id, session_name
from convmemory.errors import StorageUnavailable
from convmemory.ids import checked_id
from convmemory.models import Session


class AsyncSessionVerbs:
    """Sessions under their verbs; a memory has them beside those on conversations.

    Every verb raises ``StorageUnavailable`` where the memory has no Redis tier, or Redis is out of reach. With
    ``user_id`` a session of somebody else is as good as none.
    """

    _store: AsyncTieredStore

    async def create_session(
        self,
        user_id: str,
        dept_id: str | None = None,
        *,
        conversation_id: ConversationRef | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """Begin a session for a user, optionally in a conversation; it ends 30 minutes after its last use.

        Raises:
            StorageUnavailable: Sessions live in Redis, which is out of reach.
        """
        user, dept = checked_id("user_id", user_id), optional_id("dept_id", dept_id)
        conversation = None if conversation_id is None else name_of(conversation_id)
        return await (await self._sessions()).create_session(
            user, dept_id=dept, conversation_id=conversation, metadata=metadata
        )

    async def get_session(self, session_id: SessionRef, *, user_id: str | None = None) -> Session | None:
        """A live session, its life begun anew; ``None`` when it has expired: begin a new one with its conversation."""
        user = optional_id("user_id", user_id)
        return await (await self._sessions()).get_session(session_name(session_id), user_id=user)

    async def extend_session(
        self,
        session_id: SessionRef,
        *,
        user_id: str | None = None,
        conversation_id: ConversationRef | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session | None:
        """Keep a session alive, and note the conversation it is in now or new metadata; ``None`` when it has expired."""
        conversation = None if conversation_id is None else name_of(conversation_id)
        return await (await self._sessions()).extend_session(
            session_name(session_id),
            user_id=optional_id("user_id", user_id),
            conversation_id=conversation,
            metadata=metadata,
        )

    async def end_session(self, session_id: SessionRef, *, user_id: str | None = None) -> bool:
        """End a session, by its id or its ``handle``, at once; whether it was still alive. Its conversation stays."""
        user = optional_id("user_id", user_id)
        return await (await self._sessions()).end_session(session_name(session_id), user_id=user)

    async def list_user_sessions(self, user_id: str) -> list[Session]:
        """A user's live sessions, the newest first, with the ``handle`` of each for an id: it can end it, and nothing else."""
        return await (await self._sessions()).list_user_sessions(checked_id("user_id", user_id))

    async def _sessions(self) -> AsyncRedisStore:
        redis = await self._store.hot()
        if redis is None:
            raise StorageUnavailable(
                "Redis", "keep sessions", "sessions live in Redis, and this memory has no Redis tier"
            )
        return redis
