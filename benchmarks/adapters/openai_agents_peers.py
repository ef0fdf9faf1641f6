"""openai-agents: ``SQLAlchemySession`` on PostgreSQL through asyncpg, and ``RedisSession``; both hold dicts."""

from __future__ import annotations

from typing import Any

import redis.asyncio as aredis
from adapter import POOL, WINDOW, Adapter
from agents.extensions.memory import RedisSession, SQLAlchemySession
from langchain_core.messages import BaseMessage
from servers import empty_database, redis_url, sqlalchemy_url
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from texts import Turn

SPREAD = text(
    "UPDATE agent_messages AS m SET created_at = m.created_at - (newest.id - m.id) * interval '1 second'"
    " FROM (SELECT max(id) AS id FROM agent_messages WHERE session_id = :session) AS newest"
    " WHERE m.session_id = :session"
)


def items(messages: list[BaseMessage]) -> list[dict[str, Any]]:
    roles = {"human": "user", "ai": "assistant"}
    return [{"role": roles[message.type], "content": message.content} for message in messages]


class Agents(Adapter):
    is_async = True

    def _make(self, conversation: str) -> Any:
        raise NotImplementedError

    async def seed(self, conversation: str, messages: list[BaseMessage]) -> None:
        await self._make(conversation).add_items(items(messages))

    async def window(self, conversation: str) -> list[Any]:
        return await self.kept(conversation, self._make).get_items(WINDOW)

    async def append(self, conversation: str, turn: Turn) -> None:
        await self.kept(conversation, self._make).add_items(items(turn.messages()))

    async def everything(self, conversation: str) -> list[Any]:
        return await self.kept(conversation, self._make).get_items()

    def text_of(self, message: dict[str, Any]) -> str:
        return message["content"]


class AgentsSQLAlchemy(Agents):
    name = "openai-agents SQLAlchemy"
    database = "bench_agents_sqlalchemy"

    async def open(self) -> None:
        url = sqlalchemy_url(empty_database(self.database), "asyncpg")
        self._engine = create_async_engine(url, pool_size=POOL, max_overflow=0, pool_timeout=120)
        await SQLAlchemySession("makes the tables", engine=self._engine, create_tables=True).get_items(1)

    async def close(self) -> None:
        await self._engine.dispose()

    def _make(self, conversation: str) -> SQLAlchemySession:
        return SQLAlchemySession(conversation, engine=self._engine)

    async def settle(self, conversation: str) -> None:
        """It sorts by time, and what is seeded at once has one time."""
        async with self._engine.begin() as conn:
            await conn.execute(SPREAD, {"session": conversation})


class AgentsRedis(Agents):
    name = "openai-agents Redis"
    uses_redis = True

    async def open(self) -> None:
        self._redis = aredis.Redis.from_url(redis_url())

    async def close(self) -> None:
        await self._redis.aclose()

    def _make(self, conversation: str) -> RedisSession:
        return RedisSession(conversation, redis_client=self._redis, key_prefix="agents")
