"""A memory over the real servers, in both colours: one awaited text of each test runs against either."""

from __future__ import annotations

import asyncio
import gc
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any

import psycopg
import pytest
from langchain_core.messages import BaseMessage
from redis import Redis

from convmemory import (
    AsyncConversationMemory,
    AsyncPostgresStore,
    AsyncRedisStore,
    AsyncUserMemory,
    ConversationMemory,
    PostgresStore,
    RedisStore,
    TieredChatMessageHistory,
    UserMemory,
)
from convmemory._async.journals import AsyncJournals
from convmemory._async.operators import AsyncOperator
from convmemory._async.retention import AsyncRetention
from convmemory._async.search import AsyncSearch, AsyncUserSearch
from convmemory._async.tiered import AsyncTieredStore
from convmemory._sync.journals import Journals
from convmemory._sync.operators import Operator
from convmemory._sync.retention import Retention
from convmemory._sync.search import Search, UserSearch
from convmemory._sync.tiered import TieredStore
from convmemory.chains.recorder import RECORDER
from convmemory.storage.redis_keys import Keys

try:
    from blockbuster import blockbuster_ctx
except ImportError:  # where only what the package itself needs is installed
    blockbuster_ctx = None

TWINS = {
    ConversationMemory: AsyncConversationMemory,
    TieredStore: AsyncTieredStore,
    PostgresStore: AsyncPostgresStore,
    RedisStore: AsyncRedisStore,
    Journals: AsyncJournals,
    Operator: AsyncOperator,
    Retention: AsyncRetention,
    Search: AsyncSearch,
    UserSearch: AsyncUserSearch,
    UserMemory: AsyncUserMemory,
}
MakeMemory = Callable[..., Awaitable[Any]]


class Awaited:
    """A blocking object whose calls can be awaited wherever its twin's must be."""

    def __init__(self, blocking: Any) -> None:
        self.blocking = blocking

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.blocking, name)
        if inspect.iscoroutinefunction(getattr(TWINS[type(self.blocking)], name, None)):
            return _awaitable(found)
        if name == "for_user":
            return lambda user_id: Awaited(found(user_id))
        return Awaited(found) if type(found) in TWINS else found


def _awaitable(call: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def awaited(*arguments: Any, **named: Any) -> Any:
        return call(*arguments, **named)

    return awaited


def unblocked() -> AbstractContextManager[Any]:
    """Have a call of ours that makes the event loop wait, for a file or for a socket, raise ``BlockingError``."""
    return nullcontext() if blockbuster_ctx is None else _watched()


@contextmanager
def _watched() -> Iterator[None]:
    with blockbuster_ctx("convmemory._async") as watch:
        for name, one in watch.functions.items():
            if name.startswith("threading.Lock"):  # held for an instant, by everybody, and dear to watch
                one.deactivate()
            # a client that is given looks up its version, connection by connection
            one.can_block_in("redis/utils.py", {"get_lib_version"})
        yield


def is_blocking(history: TieredChatMessageHistory) -> bool:
    return history._blocking is not None


async def read(history: TieredChatMessageHistory) -> list[BaseMessage]:
    """``messages``, the way this history's colour is read."""
    return history.messages if is_blocking(history) else await history.aget_messages()


async def add(history: TieredChatMessageHistory, messages: Sequence[BaseMessage]) -> None:
    """``add_messages``, the way this history's colour is written."""
    if is_blocking(history):
        history.add_messages(messages)
    else:
        await history.aadd_messages(messages)


async def wipe(history: TieredChatMessageHistory) -> None:
    """``clear``, the way this history's colour is cleared."""
    if is_blocking(history):
        history.clear()
    else:
        await history.aclear()


async def until(happened: Callable[[], bool], within: float = 30.0) -> None:
    """Wait for something others do, for at most so many seconds."""
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.01)


async def every(messages: Any) -> list[Any]:
    """What a stream brings, the way its colour is walked."""
    return [one async for one in messages] if hasattr(messages, "__aiter__") else list(messages)


def texts(messages: Sequence[Any]) -> list[Any]:
    """What messages say, stored ones too."""
    return [message.content for message in messages]


@pytest.fixture
def no_run_left() -> Iterator[None]:
    """No run that began in this test is open after it; what an earlier one left behind is that one's."""
    known = {*RECORDER._runs, *RECORDER._unkept}

    def left() -> set[Any]:
        return {*RECORDER._runs, *RECORDER._unkept} - known

    yield
    if left():  # a stream that was left lying ends when it is collected
        gc.collect()
        assert RECORDER.open_runs >= 0  # looks at what nobody can end any more
    assert left() == set()


@pytest.fixture(params=["blocking", "awaited"])
def colour(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
async def make_memory(
    colour: str, database_url: str, redis_url: str, schema_name: str, key_prefix: str
) -> AsyncIterator[MakeMemory]:
    """A function that opens a memory of this test's colour over this test's schema and keys; closed in the end."""
    made: list[Any] = []
    watch = unblocked() if colour == "awaited" else nullcontext()

    async def make(postgres: str = database_url, redis: Any = redis_url, **settings: Any) -> Any:
        settings = {"db_schema": schema_name, "key_prefix": key_prefix} | settings
        if colour == "blocking":
            memory: Any = Awaited(ConversationMemory.from_url(postgres, redis, **settings))
        else:
            memory = AsyncConversationMemory.from_url(postgres, redis, **settings)
        made.append(memory)
        return memory if await memory.open() else None

    with watch:
        yield make
        for memory in made:
            await memory.close()


@pytest.fixture
async def memory(schema: str, make_memory: MakeMemory) -> Any:
    """An open memory with the default settings and an empty schema."""
    return await make_memory()


@pytest.fixture
def blocking_memory(
    database_url: str, redis_url: str, schema: str, key_prefix: str
) -> Iterator[ConversationMemory]:
    """An open ``ConversationMemory`` with an empty schema, for what threads and blocking code do."""
    made = ConversationMemory.from_url(database_url, redis_url, db_schema=schema, key_prefix=key_prefix)
    with made as found:
        yield found


@pytest.fixture
def blocking(schema: str, database_url: str, redis_url: str, key_prefix: str) -> Iterator[ConversationMemory]:
    """An open memory of the blocking colour, for tests that are about blocking code."""
    with ConversationMemory.from_url(
        database_url, redis_url, db_schema=schema, key_prefix=key_prefix
    ) as memory:
        yield memory


@pytest.fixture
def database(database_url: str, schema_name: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the test's own to look at the tables with."""
    with psycopg.connect(database_url, autocommit=True, options=f"-c search_path={schema_name}") as found:
        yield found


@pytest.fixture
def keyspace(redis_url: str, key_prefix: str, database_url: str, schema_name: str) -> Iterator[Keyspace]:
    with Redis.from_url(redis_url) as client:
        yield Keyspace(client, key_prefix, lambda: installation(database_url, schema_name))


def installation(database_url: str, schema: str) -> str:
    """Which installation a schema is: what the keys in Redis carry."""
    with psycopg.connect(database_url) as conn:
        [[found]] = conn.execute(f"SELECT id::text FROM {schema}.installation").fetchall()
    return str(found)


def namespace(database_url: str, schema: str) -> str:
    """What the rows of a schema's named conversations follow from."""
    with psycopg.connect(database_url) as conn:
        [[found]] = conn.execute(f"SELECT names::text FROM {schema}.installation").fetchall()
    return str(found)


class Keyspace:
    """This test's keys in Redis, looked at from outside."""

    def __init__(self, client: Redis, prefix: str, whose: Callable[[], str]) -> None:
        self.client = client
        self.prefix = prefix
        self._whose = whose

    @cached_property
    def keys(self) -> Keys:
        """How the library names them."""
        return Keys(self.prefix, self._whose())

    def names(self) -> list[bytes]:
        return sorted(self.client.scan_iter(match=f"{self.prefix}*", count=1000))

    def window(self, conversation: Any) -> bytes:
        return self.keys.window(conversation).encode()

    def immortal(self) -> list[bytes]:
        """The keys that would never go away."""
        return [name for name in self.names() if self.client.pttl(name) == -1]

    def lives(self) -> dict[bytes, int]:
        """The milliseconds each key has left."""
        return {name: self.client.pttl(name) for name in self.names()}

    def expire(self) -> None:
        """What the passing of time does to every key."""
        for name in self.names():
            self.client.unlink(name)
