"""What the machine allows: bare drivers, written by hand for nothing but this benchmark.

A write is one statement (a counter moved, two rows inserted) and then one MULTI that extends a Redis list; a read is
one LRANGE. Both give LangChain messages and acknowledge after the commit, as a library with the same promises must.
They do less: no owner is checked, no repeat recognised, no field but the text kept, and a list that missed a write
would be served for a day.
"""

from __future__ import annotations

from typing import Any

import orjson
import redis
import redis.asyncio as aredis
from adapter import POOL, USER, WINDOW, Adapter
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from servers import empty_database, redis_url
from texts import Turn

TABLES = """
CREATE TABLE IF NOT EXISTS threads (id text PRIMARY KEY, owner text NOT NULL, length bigint NOT NULL,
                      touched timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS threads_by_owner ON threads (owner, touched DESC);
CREATE TABLE IF NOT EXISTS lines (thread text NOT NULL, place bigint NOT NULL, kind text NOT NULL, said text NOT NULL,
                    more jsonb, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (thread, place));
"""
APPEND = """
WITH thread AS (
    INSERT INTO threads AS known (id, owner, length) VALUES (%s, %s, 2)
    ON CONFLICT (id) DO UPDATE SET length = known.length + 2, touched = now()
    RETURNING id, length)
INSERT INTO lines (thread, place, kind, said)
SELECT thread.id, thread.length - 2 + new.n, new.kind, new.said
FROM thread, (VALUES (1, 'human', %s::text), (2, 'ai', %s::text)) AS new (n, kind, said)
"""
NEWEST = "SELECT kind, said FROM lines WHERE thread = %s ORDER BY place DESC LIMIT %s"
KINDS: dict[str, type[BaseMessage]] = {"human": HumanMessage, "ai": AIMessage}
HOT = 64
"""Messages a list keeps."""
DAY = 86_400


def packed(kind: str, said: str) -> bytes:
    return orjson.dumps({"t": kind, "c": said})


def unpacked(entries: list[bytes]) -> list[BaseMessage]:
    return [KINDS[entry["t"]](content=entry["c"]) for entry in map(orjson.loads, entries)]


def of_rows(rows: list[Any]) -> list[BaseMessage]:
    return [KINDS[kind](content=said) for kind, said in reversed(rows)]


def pool_options() -> dict[str, Any]:
    connection = {"autocommit": True, "prepare_threshold": 0}
    return {"min_size": 1, "max_size": POOL, "timeout": 120, "kwargs": connection, "open": False}


class Minimal(BaseChatMessageHistory):
    """The smallest history over one of these."""

    def __init__(self, owner: PostgresOnly, conversation: str) -> None:
        self._owner, self._conversation = owner, conversation

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        return self._owner.window(self._conversation)

    def add_messages(self, messages: Any) -> None:
        human, ai = messages
        self._owner.append(self._conversation, Turn(human.content, ai.content))

    def clear(self) -> None:
        raise NotImplementedError


class PostgresOnly(Adapter):
    name = "LIMIT pg only"
    database = "bench_limit_pg"
    limit = "LIMIT pg only"

    def open(self) -> None:
        self._pool = ConnectionPool(empty_database(self.database or ""), **pool_options())
        self._pool.open()
        with self._pool.connection() as conn:
            conn.execute(TABLES, prepare=False)

    def close(self) -> None:
        self._pool.close()

    def seed(self, conversation: str, messages: list[BaseMessage]) -> None:
        with self._pool.connection() as conn, conn.transaction():
            conn.execute("INSERT INTO threads VALUES (%s, %s, %s)", (conversation, USER, len(messages)))
            with conn.cursor().copy("COPY lines (thread, place, kind, said) FROM STDIN") as copy:
                for place, message in enumerate(messages, 1):
                    copy.write_row((conversation, place, message.type, message.content))

    def _newest(self, conversation: str, count: int | None) -> list[BaseMessage]:
        with self._pool.connection() as conn:
            return of_rows(conn.execute(NEWEST, (conversation, count)).fetchall())

    def window(self, conversation: str) -> list[BaseMessage]:
        return self._newest(conversation, WINDOW)

    def append(self, conversation: str, turn: Turn) -> None:
        with self._pool.connection() as conn:
            conn.execute(APPEND, (conversation, USER, turn.human, turn.ai))

    def everything(self, conversation: str) -> list[BaseMessage]:
        return self._newest(conversation, None)

    def history(self, conversation: str) -> Minimal:
        return Minimal(self, conversation)


class Tiered(PostgresOnly):
    name = "LIMIT redis+pg"
    database = "bench_limit_tiered"
    limit = "LIMIT redis+pg"
    uses_redis = True

    def open(self) -> None:
        super().open()
        self._redis = redis.Redis.from_url(redis_url())

    def close(self) -> None:
        super().close()
        self._redis.close()

    def seed(self, conversation: str, messages: list[BaseMessage]) -> None:
        super().seed(conversation, messages)
        entries = [packed(message.type, str(message.content)) for message in messages[-HOT:]]
        with self._redis.pipeline() as pipe:
            pipe.delete(f"limit:{conversation}")
            pipe.rpush(f"limit:{conversation}", *entries)
            pipe.expire(f"limit:{conversation}", DAY)
            pipe.execute()

    def window(self, conversation: str) -> list[BaseMessage]:
        entries = self._redis.lrange(f"limit:{conversation}", -WINDOW, -1)
        return unpacked(entries) if entries else super().window(conversation)

    def append(self, conversation: str, turn: Turn) -> None:
        super().append(conversation, turn)
        name = f"limit:{conversation}"
        with self._redis.pipeline() as pipe:
            pipe.rpushx(name, packed("human", turn.human), packed("ai", turn.ai))
            pipe.ltrim(name, -HOT, -1)
            pipe.expire(name, DAY)
            pipe.execute()


class TieredAsync(Adapter):
    name = "LIMIT redis+pg async"
    database = "bench_limit_async"
    limit = "LIMIT redis+pg async"
    is_async = True
    uses_redis = True

    async def open(self) -> None:
        self._pool = AsyncConnectionPool(empty_database(self.database), **pool_options())
        await self._pool.open()
        async with self._pool.connection() as conn:
            await conn.execute(TABLES, prepare=False)
        self._redis = aredis.Redis.from_url(redis_url())

    async def close(self) -> None:
        await self._pool.close()
        await self._redis.aclose()

    async def seed(self, conversation: str, messages: list[BaseMessage]) -> None:
        rows = [(conversation, at, m.type, m.content) for at, m in enumerate(messages, 1)]
        async with self._pool.connection() as conn, conn.transaction():
            await conn.execute("INSERT INTO threads VALUES (%s, %s, %s)", (conversation, USER, len(rows)))
            async with conn.cursor().copy("COPY lines (thread, place, kind, said) FROM STDIN") as copy:
                for row in rows:
                    await copy.write_row(row)
        entries = [packed(kind, str(said)) for _, _, kind, said in rows[-HOT:]]
        await self._redis.delete(f"limit-async:{conversation}")
        await self._redis.rpush(f"limit-async:{conversation}", *entries)
        await self._redis.expire(f"limit-async:{conversation}", DAY)

    async def window(self, conversation: str) -> list[BaseMessage]:
        return unpacked(await self._redis.lrange(f"limit-async:{conversation}", -WINDOW, -1))

    async def append(self, conversation: str, turn: Turn) -> None:
        async with self._pool.connection() as conn:
            await conn.execute(APPEND, (conversation, USER, turn.human, turn.ai))
        name = f"limit-async:{conversation}"
        async with self._redis.pipeline() as pipe:
            pipe.rpushx(name, packed("human", turn.human), packed("ai", turn.ai))
            pipe.ltrim(name, -HOT, -1)
            pipe.expire(name, DAY)
            await pipe.execute()

    async def everything(self, conversation: str) -> list[BaseMessage]:
        async with self._pool.connection() as conn:
            cursor = await conn.execute(NEWEST, (conversation, None))
            return of_rows(await cursor.fetchall())
