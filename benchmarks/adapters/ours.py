"""convmemory itself: blocking, awaited, and without Redis."""

from __future__ import annotations

from typing import Any

from adapter import POOL, USER, WINDOW, Adapter
from langchain_core.messages import BaseMessage
from servers import empty_database, redis_url
from texts import Turn

from convmemory import AsyncConversationMemory, ConversationMemory, TieredChatMessageHistory


class ConvMemory(Adapter):
    name = "convmemory"
    ours = True
    database = "bench_convmemory"
    uses_redis = True

    def open(self) -> None:
        self.memory = ConversationMemory.from_url(
            empty_database(self.database), redis_url() if self.uses_redis else None, pool_max=POOL
        )
        self.memory.open()
        self.memory.init_schema()

    def close(self) -> None:
        self.memory.close()

    def seed(self, conversation: str, messages: list[BaseMessage]) -> None:
        self.memory.save_messages(conversation, messages, user_id=USER)

    def window(self, conversation: str) -> list[BaseMessage]:
        return self.kept(conversation, self.history).messages

    def append(self, conversation: str, turn: Turn) -> None:
        self.kept(conversation, self.history).add_messages(turn.messages())

    def everything(self, conversation: str) -> list[BaseMessage]:
        return self.memory.get_history(conversation, user_id=USER, limit=None)

    def history(self, conversation: str) -> TieredChatMessageHistory:
        return self.memory.history(conversation, user_id=USER, max_messages=WINDOW)


class ConvMemoryPostgresOnly(ConvMemory):
    name = "convmemory, no Redis"
    database = "bench_convmemory_pg"
    limit = "LIMIT pg only"
    uses_redis = False


class ConvMemoryAsync(Adapter):
    name = "convmemory async"
    ours = True
    database = "bench_convmemory_async"
    limit = "LIMIT redis+pg async"
    is_async = True
    uses_redis = True

    async def open(self) -> None:
        self.memory = AsyncConversationMemory.from_url(
            empty_database(self.database), redis_url(), pool_max=POOL
        )
        await self.memory.open()
        await self.memory.init_schema()

    async def close(self) -> None:
        await self.memory.close()

    async def seed(self, conversation: str, messages: list[BaseMessage]) -> None:
        await self.memory.save_messages(conversation, messages, user_id=USER)

    def _make(self, conversation: str) -> Any:
        return self.memory.history(conversation, user_id=USER, max_messages=WINDOW)

    async def window(self, conversation: str) -> list[BaseMessage]:
        return await self.kept(conversation, self._make).aget_messages()

    async def append(self, conversation: str, turn: Turn) -> None:
        await self.kept(conversation, self._make).aadd_messages(turn.messages())

    async def everything(self, conversation: str) -> list[BaseMessage]:
        return await self.memory.get_history(conversation, user_id=USER, limit=None)
