"""A caller's own client of Redis: which fit, and who stands in for one that cannot be used as it is."""

from __future__ import annotations

import copy
from inspect import iscoroutinefunction, signature
from typing import Any, Final

import redis.asyncio as redis_client
import redis.asyncio.cluster as clusters
import redis.asyncio.connection as connections

from convmemory._async.redis_connections import (
    AsyncEndsWithItsReply,
    AsyncRedisClients,
    AsyncThroughClient,
    connections_held,
    hang_up_idle,
    of_bytes,
    once_more,
)
from convmemory.errors import ConfigurationError
from convmemory.settings import Settings
from convmemory.tiers.waiting import ahere, apacking

_PLAIN: Final = (connections.ConnectionPool, connections.BlockingConnectionPool)
_ALONE: Final = ("connection", "single_connection_client", "_single_connection_client")
"""Where a client of redis-py keeps a connection that all its commands share, and says so."""
_PATIENT: Final = ("connection_pool", "retry", "retry_on_error", "retry_on_timeout")
_TIME_OUTS: Final = ("socket_timeout", "socket_connect_timeout")
_UNSAID: Final = signature(redis_client.Redis.__init__).parameters
"""What a client has that was told nothing."""


class AsyncGivenClient:
    """A caller's own client. Nearly everywhere one of the same options stands in for it, with connections of this place alone.

    Left as it is, a client may share its only connection with every forked process, or be of another event loop; it may go on
    after a reply that did not come in time, which the next command is given then; wait as long as it likes, and try again as often.
    Of a cluster's, and of one with a pool of the caller's own class, none can be made: it serves where it was first used.
    """

    def __init__(self, client: Any, settings: Settings) -> None:
        self._given = client
        self._settings = settings
        self._first: Any = None
        self._used = False

    def here(self) -> AsyncRedisClients:
        """A twin of the client, or the client itself where it was first used and none can be made."""
        place = ahere()
        if not self._used:
            self._used, self._first = True, place
        own = place is self._first and not _has_twins(self._given)
        return AsyncOwnClient(self._given) if own else AsyncTwin(self._given, self._settings)


class AsyncOwnClient(AsyncThroughClient):
    """The client that was given, which its owner closes."""

    def __init__(self, client: Any) -> None:
        self._client = _of_its_pool(client)

    def client(self) -> Any:
        """The client."""
        return self._client

    async def doubt(self, since: float) -> None:
        """Leave its connections alone: they are its owner's."""

    async def close(self) -> None:
        """Leave it open: it is its owner's."""

    def connections(self) -> list[Any]:
        """None: they are its owner's."""
        return []


class AsyncTwin(AsyncThroughClient):
    """A client like the one that was given, with connections of its own."""

    def __init__(self, client: Any, settings: Settings) -> None:
        self._like = client
        self._settings = settings
        self._client: Any = None

    def client(self) -> Any:
        """The twin.

        Raises:
            ConfigurationError: Of this kind of client none can be made.
        """
        if self._client is None:
            self._client = _twin(self._like, self._settings)
        return self._client

    async def doubt(self, since: float) -> None:  # noqa: ARG002 - redis-py does not say when it heard of them
        """Hang up on the twin's idle connections."""
        await hang_up_idle(self._client)

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


def _has_twins(client: Any) -> bool:
    """Whether one like this client can be made anywhere: there is all that it takes to connect."""
    pool = getattr(client, "connection_pool", None)
    return type(pool) in _PLAIN or (_goes_on_without(client) and hasattr(pool, "sentinel_manager"))


def _of_its_pool(client: Any, pool: Any = None) -> Any:
    """The client, or one like it over another pool; no command goes over a connection that it keeps to itself."""
    alone = any(getattr(client, name, None) for name in _ALONE)
    if pool is None and not alone:
        return client
    found = copy.copy(client)
    found.auto_close_connection_pool = (
        False  # not when it is collected: the pool is its owner's, or closed by name
    )
    if pool is not None:
        found.connection_pool = pool
    for name in _ALONE:
        if hasattr(found, name):
            setattr(found, name, None if name == "connection" else False)
    return found


def _bounded(pool: Any, settings: Settings) -> dict[str, Any]:
    """What its connections are made with: its own time-outs where it has said any, and no more than a second attempt."""
    said = {name: value for name, value in pool.connection_kwargs.items() if name not in _PATIENT}
    for name in _TIME_OUTS:
        if said.get(name) in {None, _UNSAID[name].default}:
            said[name] = settings.redis_timeout
    return apacking() | said | once_more()


def _twin_of_sentinels(pool: Any, options: dict[str, Any]) -> Any:
    return type(pool)(
        pool.service_name,
        pool.sentinel_manager,
        is_master=pool.is_master,
        check_connection=pool.check_connection,
        max_connections=pool.max_connections,
        **options,
        connection_class=type(
            pool.connection_class.__name__, (AsyncEndsWithItsReply, pool.connection_class), {}
        ),
    )


def _twin(client: Any, settings: Settings) -> Any:
    pool: Any = getattr(client, "connection_pool", None)
    if not _has_twins(client):
        raise ConfigurationError(
            "redis: this client belongs to another event loop (or process), and one like it cannot be made: "
            "give the memory a URL instead, or use it in the event loop it was first used in"
        )
    options = _bounded(pool, settings)
    if hasattr(pool, "sentinel_manager"):
        return _of_its_pool(client, _twin_of_sentinels(pool, options))
    return _of_its_pool(
        client,
        connections.ConnectionPool(
            connection_class=pool.connection_class, max_connections=pool.max_connections, **options
        ),
    )


def given_client(client: Any) -> Any:
    """A caller's own client, if it is one of this colour that hands out bytes: what is stored is not always text.

    Raises:
        ConfigurationError: It is of the other colour, no client at all, or decodes replies.
    """
    ask = getattr(client, "execute_command", None)
    fits = isinstance(client, (redis_client.Redis, clusters.RedisCluster))  # others raise errors of their own
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
    if most is None:  # a cluster's has so many for each node, and asks where keys are while it holds one
        nodes = getattr(client, "nodes_manager", None)
        most = (getattr(nodes, "connection_kwargs", {}).get("max_connections") or 0) // 2
    return (
        min(settings.redis_pool_max, most) if isinstance(most, int) and most > 0 else settings.redis_pool_max
    )
