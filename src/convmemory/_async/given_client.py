"""A caller's own client of Redis: which fit, and who stands in for one that cannot be used as it is."""

from __future__ import annotations

import copy
from inspect import iscoroutinefunction, signature
from typing import Any

import redis.asyncio as redis_client
import redis.asyncio.connection as connections

from convmemory._async.redis_connections import (
    AsyncEndsWithItsReply,
    AsyncRedisClients,
    AsyncThroughClient,
    connections_held,
    of_bytes,
)
from convmemory.errors import ConfigurationError
from convmemory.settings import Settings
from convmemory.tiers.waiting import ahere


class AsyncGivenClient:
    """A caller's own client. In another place than the first it was used in, one of the same options stands in for it.

    redis-py minds processes itself, and event loops not at all. One stands in everywhere for a client whose connections go on
    after a reply that did not come in time, as those to a primary do that Sentinels name: it would be the next command's.
    """

    def __init__(self, client: Any) -> None:
        self._given = client
        self._first: Any = None
        self._used = False

    def here(self) -> AsyncRedisClients:
        """The client itself where it was first used, and a twin of it everywhere else."""
        place = ahere()
        if not self._used:
            self._used, self._first = True, place
        own = place is self._first and not _goes_on_without(self._given)
        return AsyncOwnClient(self._given) if own else AsyncTwin(self._given)


class AsyncOwnClient(AsyncThroughClient):
    """The client that was given, which its owner closes."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def client(self) -> Any:
        """The client."""
        return self._client

    async def close(self) -> None:
        """Leave it open: it is its owner's."""

    def connections(self) -> list[Any]:
        """None: they are its owner's."""
        return []


class AsyncTwin(AsyncThroughClient):
    """A client like one that belongs to another event loop, with connections of its own."""

    def __init__(self, client: Any) -> None:
        self._like = client
        self._client: Any = None

    def client(self) -> Any:
        """The twin.

        Raises:
            ConfigurationError: Of this kind of client none can be made.
        """
        if self._client is None:
            self._client = _twin(self._like)
        return self._client

    async def close(self) -> None:
        """Close the twin's connections."""
        if self._client is not None:
            await self._client.connection_pool.disconnect()

    def connections(self) -> list[Any]:
        """The twin's connections."""
        return connections_held(self._client)


def _goes_on_without(client: Any) -> bool:
    """Whether a connection of this client goes on where a reply did not come."""
    kind = getattr(getattr(client, "connection_pool", None), "connection_class", None)
    if not isinstance(kind, type) or issubclass(kind, AsyncEndsWithItsReply):
        return False
    wants = signature(kind.read_response).parameters.get("disconnect_on_error")  # type: ignore[attr-defined]
    return wants is not None and wants.default is False


def _twin_of_sentinels(client: Any, pool: Any) -> Any:
    kind = type(pool.connection_class.__name__, (AsyncEndsWithItsReply, pool.connection_class), {})
    twin = copy.copy(client)
    twin.connection = None
    twin.connection_pool = type(pool)(
        pool.service_name,
        pool.sentinel_manager,
        is_master=pool.is_master,
        check_connection=pool.check_connection,
        max_connections=pool.max_connections,
        **{name: value for name, value in pool.connection_kwargs.items() if name != "connection_pool"},
        connection_class=kind,
    )
    return twin


def _twin(client: Any) -> Any:
    pool: Any = getattr(client, "connection_pool", None)
    if _goes_on_without(client) and hasattr(pool, "sentinel_manager"):
        return _twin_of_sentinels(client, pool)
    if type(pool) not in {connections.ConnectionPool, connections.BlockingConnectionPool}:
        raise ConfigurationError(
            "redis: this client belongs to another event loop (or process), and one like it cannot be made: "
            "give the memory a URL instead, or use it in the event loop it was first used in"
        )
    bounds = {"timeout": pool.timeout} if hasattr(pool, "timeout") else {}
    twin = copy.copy(client)
    twin.connection = None
    twin.connection_pool = type(pool)(
        connection_class=pool.connection_class,
        max_connections=pool.max_connections,
        **bounds,
        **pool.connection_kwargs,
    )
    return twin


def given_client(client: Any) -> Any:
    """A caller's own client, if it is one of this colour that hands out bytes: what is stored is not always text.

    Raises:
        ConfigurationError: It is of the other colour, no client at all, or decodes replies.
    """
    ask = getattr(client, "execute_command", None)
    fits = callable(getattr(client, "pipeline", None)) and callable(ask)
    if not fits or iscoroutinefunction(ask) != iscoroutinefunction(redis_client.Redis.execute_command):
        raise ConfigurationError(
            "redis: must be a URL, or a client of redis-py: an awaited one for a store that is awaited, a blocking one for"
            f" one that blocks; {_named(type(client))} does not fit here"
        )
    if encoder := getattr(client, "get_encoder", None):
        of_bytes({"decode_responses": encoder().decode_responses, "encoding": encoder().encoding})
    return client


def _named(kind: type) -> str:
    return f"{kind.__module__.partition('.client')[0]}.{kind.__qualname__}"


def connections_of(client: Any, settings: Settings) -> int:
    """How many calls may be under way at once on a caller's own client: no more than it has connections for."""
    most = getattr(getattr(client, "connection_pool", None), "max_connections", None)
    return (
        min(settings.redis_pool_max, most) if isinstance(most, int) and most > 0 else settings.redis_pool_max
    )
