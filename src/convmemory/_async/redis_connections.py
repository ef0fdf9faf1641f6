"""Clients of Redis by URL: one server, the primary that Sentinels name, or a cluster; each bounded in time."""

from __future__ import annotations

from typing import Any

import redis.asyncio as redis_client
import redis.asyncio.cluster as clusters
import redis.asyncio.connection as connections
import redis.asyncio.sentinel as sentinels
import redis.exceptions
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from convmemory.errors import ConfigurationError
from convmemory.settings import Settings
from convmemory.storage.redis_urls import CLUSTER, SERVER, RedisPlace, called, not_a_redis_url, redis_place
from convmemory.tiers.driver_errors import describe
from convmemory.tiers.socket_checks import KEEPALIVE

# typed in one of the driver's colours only
_parse_url: Any = connections.parse_url
_ClusterNode: Any = clusters.ClusterNode
_Sentinel: Any = redis_client.Sentinel


class AsyncPrimaryConnection(sentinels.SentinelManagedConnection):
    """A connection that ends with the reply it waited for in vain; redis-py's own would hand that to the next command."""

    async def read_response(self, *arguments: Any, **named: Any) -> Any:
        """Read a reply, and hang up if that fails, as every other connection of redis-py does."""
        return await super().read_response(*arguments, **{"disconnect_on_error": True, **named})


class AsyncSecurePrimaryConnection(AsyncPrimaryConnection, SSLConnection):
    """The same over TLS."""


class AsyncRedisLink:
    """A client made when it is first asked for, and closed with all that it opened.

    It waits because a cluster's client asks for the slots as soon as it is made; every other connects with its
    first command.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        self._settings = settings
        try:
            self._place = redis_place(url)
            server = redis_from_url(self._place.url, settings)  # also says what is wrong with any other URL
        except ConfigurationError as error:
            raise called(error, settings.name_of("redis_url")) from None
        self._client: Any = server if self._place.kind == SERVER else None
        self._sentinels: list[Any] = []

    @property
    def address(self) -> str:
        """Where it is, for a message: no user and no password."""
        return self._place.address

    def client(self) -> Any:
        """The client; the same one until ``close``."""
        if self._client is None:
            self._client = self._cluster() if self._place.kind == CLUSTER else self._primary()
        return self._client

    async def close(self) -> None:
        """Close every connection that was made; the client may be used again, and then makes new ones."""
        for client in (self._client, *self._sentinels):
            if client is not None:
                await client.aclose()

    def _cluster(self) -> Any:
        nodes = [_ClusterNode(host, port) for host, port in self._place.hosts]
        return redis_client.RedisCluster(startup_nodes=nodes, **_bounds(self._settings) | _said(self._place))

    def _primary(self) -> Any:
        bounds, said = _bounds(self._settings), _said(self._place)
        secure = {name: value for name, value in said.items() if name.startswith("ssl")}
        asked = bounds | secure | {"retry": Retry(NoBackoff(), 0)}  # there are others to ask
        sentinel = _Sentinel(self._place.hosts, sentinel_kwargs=asked, **bounds | said)
        self._sentinels = list(sentinel.sentinels)
        kind = AsyncSecurePrimaryConnection if secure else AsyncPrimaryConnection
        return sentinel.master_for(self._place.service, connection_class=kind)


def redis_from_url(url: str, settings: Settings) -> redis_client.Redis:
    """A client of one server that gives up after ``redis_timeout`` seconds, and tries once more where the connection was cut.

    Every command that is sent through it may be repeated.

    Raises:
        ConfigurationError: The URL is not a Redis URL.
    """
    options = _bounds(settings)
    if url.startswith("unix:"):
        del options["socket_keepalive"], options["socket_keepalive_options"]
    try:
        client = redis_client.Redis.from_url(url, **options)
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # an option it does not know is found here
    except (TypeError, ValueError, redis.exceptions.RedisError) as error:
        raise not_a_redis_url(describe(error)) from None
    return client


def _bounds(settings: Settings) -> dict[str, Any]:
    return {
        "socket_timeout": settings.redis_timeout,
        "socket_connect_timeout": settings.redis_timeout,
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
        "retry": Retry(NoBackoff(), 1, supported_errors=(redis.exceptions.ConnectionError,)),
    }


def _said(place: RedisPlace) -> dict[str, Any]:
    """User, password, database and options of the URL, as arguments of redis-py."""
    said = dict(_parse_url(place.url))
    if said.pop("connection_class", None) is not None:
        said["ssl"] = True
    elsewhere = {"host", "port", "db"} if place.kind == CLUSTER else {"host", "port"}
    return {name: value for name, value in said.items() if name not in elsewhere}
