"""Clients of Redis by URL: one server, the primary that Sentinels name, or a cluster; each bounded in time."""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, Protocol

import redis.asyncio as redis_client
import redis.asyncio.cluster as clusters
import redis.asyncio.connection as connections
import redis.asyncio.sentinel as sentinels
import redis.exceptions
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from convmemory._async.prober import AsyncProber
from convmemory._async.redis_lines import AsyncRedisLines, Command
from convmemory.errors import ConfigurationError
from convmemory.settings import Settings
from convmemory.storage.redis_urls import CLUSTER, SERVER, RedisPlace, called, not_a_redis_url, redis_place
from convmemory.tiers.driver_errors import describe
from convmemory.tiers.socket_checks import KEEPALIVE
from convmemory.tiers.turns import AsyncTurns
from convmemory.tiers.waiting import apacking, asever

# typed in one of the driver's colours only
_parse_url: Any = connections.parse_url
_ClusterNode: Any = clusters.ClusterNode
_Sentinel: Any = redis_client.Sentinel

_SPARE: Final = 10
"""Connections beyond those that calls take at once: a cluster's client asks for the slots beside them."""
_NO: Final = ("", "0", "false", "no", "none", "off")


def _names_itself() -> dict[str, Any]:
    """What connections tell the server of this client. Left to itself redis-py reads files for each of them, in the event loop."""
    try:
        module = import_module("redis.driver_info")
    except ImportError:  # an older one has read them once
        return {}
    return {"driver_info": module.DriverInfo()}


_NAMED: Final = _names_itself()


class AsyncEndsWithItsReply:
    """A connection that ends with the reply it waited for in vain: else the next command, maybe of another user, is given that."""

    async def read_response(self, *arguments: Any, **named: Any) -> Any:
        """Read a reply, and hang up if that fails, as nearly every connection of redis-py does."""
        read: Any = super().read_response  # type: ignore[misc]  # what this is mixed into has it
        return await read(*arguments, **{"disconnect_on_error": True, **named})


class AsyncPrimaryConnection(AsyncEndsWithItsReply, sentinels.SentinelManagedConnection):
    """The connection to a primary."""


class AsyncSecurePrimaryConnection(AsyncPrimaryConnection, SSLConnection):
    """The same over TLS."""


class AsyncRedisClients(Protocol):
    """Where a place's client comes from, and its way to the server."""

    def client(self) -> Any:
        """The client of this place."""

    async def execute(self, *command: Any) -> Any:
        """Send a command and return its reply."""

    async def execute_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one trip and return their replies."""

    async def doubt(self, since: float) -> None:
        """Hang up on idle connections that were not heard of since then, where they are this place's own."""

    async def close(self) -> None:
        """Close what was made for this place."""

    def connections(self) -> list[Any]:
        """The connections that were made for this place."""


class AsyncRedisHome:
    """The connections of one process and event loop, and who asks after the server there."""

    def __init__(self, clients: AsyncRedisClients, prober: AsyncProber, turns: AsyncTurns) -> None:
        self.clients = clients
        self.prober = prober
        self.turns = turns
        self.drainer: Any = None
        self.draining = False
        """Whether somebody does store what was accepted here, and who."""
        self.behind: list[Any] = []
        """Who marks what was stored here, and its caller did not wait to have told."""

    async def leave(self) -> None:
        """Close what was made here."""
        self.draining = False
        self.prober.stop()
        await self.clients.close()

    def drop(self) -> None:
        """Close every socket where it stands."""
        self.draining = False
        self.prober.stop()
        for connection in self.clients.connections():
            asever(connection)

    def disown(self) -> None:
        """Touch nothing: another process goes on with these connections, and is asked for by name in its own."""


class AsyncThroughClient(ABC):
    """Commands that go through a client of redis-py, whichever kind it is."""

    @abstractmethod
    def client(self) -> Any:
        """The client."""

    async def execute(self, *command: Any) -> Any:
        """Send a command and return its reply."""
        return await self.client().execute_command(*command)

    async def execute_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one trip, or one a node, and return their replies."""
        async with self.client().pipeline(transaction=False) as pipe:
            for command in commands:  # not pipe.eval(): an awaited cluster's puts nothing in the pipe
                pipe.execute_command(*command)
            replies: list[Any] = await pipe.execute()
            return replies


def connections_held(client: Any) -> list[Any]:
    """What a client holds, in its pool or in those of a cluster's nodes; redis-py has no name for it."""
    nodes = getattr(client, "nodes_manager", None)
    pools = [getattr(client, "connection_pool", None)] if nodes is None else nodes.nodes_cache.values()
    names = ("_available_connections", "_in_use_connections", "_connections")
    return [one for pool in pools for name in names for one in getattr(pool, name, ())]


async def hang_up_idle(client: Any) -> None:
    """Close what a client keeps ready for its next commands; it connects anew."""
    pool = getattr(client, "connection_pool", None)
    if pool is not None:
        with suppress(redis.exceptions.RedisError, OSError):
            await pool.disconnect(inuse_connections=False)


class AsyncRedisLink(AsyncThroughClient):
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
        self._lines = AsyncRedisLines(server.connection_pool) if self._place.kind == SERVER else None
        self._sentinels: list[Any] = []

    def client(self) -> Any:
        """The client; the same one until ``close``."""
        if self._client is None:
            self._client = self._cluster() if self._place.kind == CLUSTER else self._primary()
        return self._client

    async def execute(self, *command: Any) -> Any:
        """Send a command and return its reply: of one server the short way."""
        if self._lines is not None:
            return await self._lines.execute(*command)
        return await super().execute(*command)

    async def execute_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one trip and return their replies, as ``execute`` does."""
        if self._lines is not None:
            return await self._lines.execute_all(commands)
        return await super().execute_all(commands)

    async def doubt(self, since: float) -> None:
        """Hang up on idle connections that were not heard of since then; a cluster's client does it by itself."""
        if self._lines is not None:
            await self._lines.doubt(since)
        await hang_up_idle(self._client)

    async def close(self) -> None:
        """Close every connection that was made; the client may be used again, and then makes new ones."""
        if self._lines is not None:
            await self._lines.close()
        for client in (self._client, *self._sentinels):
            if client is not None:
                await client.aclose()

    @property
    def most(self) -> int:
        """How many calls may be under way at once."""
        return int(_parse_url(self._place.url).get("max_connections") or self._settings.redis_pool_max)

    def connections(self) -> list[Any]:
        """The connections of the client and of those it asks for the primary."""
        own = self._lines.connections if self._lines is not None else []
        return own + [one for client in (self._client, *self._sentinels) for one in connections_held(client)]

    def _cluster(self) -> Any:
        nodes = [_ClusterNode(host, port) for host, port in self._place.hosts]
        return redis_client.RedisCluster(startup_nodes=nodes, **_bounds(self._settings) | _said(self._place))

    def _primary(self) -> Any:
        bounds, said = _bounds(self._settings) | apacking(), _said(self._place)
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
    options = _bounds(settings) | apacking() | once_more()
    if url.startswith("unix:"):
        del options["socket_keepalive"], options["socket_keepalive_options"]
    try:
        client = redis_client.Redis.from_url(url, **options)
        pool = client.connection_pool
        pool.connection_kwargs = of_bytes(pool.connection_kwargs)
        pool.connection_class(**pool.connection_kwargs)  # an option it does not know is found here
    except ConfigurationError:
        raise
    except (TypeError, ValueError, redis.exceptions.RedisError) as error:
        why = (
            "is each option after the '?' one of redis-py's, with a value it reads?"
            if "?" in url
            else describe(error)
        )
        raise not_a_redis_url(why) from None
    return client


def _bounds(settings: Settings) -> dict[str, Any]:
    return {
        **_NAMED,
        "socket_timeout": settings.redis_timeout,
        "socket_connect_timeout": settings.redis_timeout,
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
        "max_connections": settings.redis_pool_max + _SPARE,
        "retry": once_more()["retry"],
    }


def once_more() -> dict[str, Any]:
    """Options that have a command tried once more, and at once, where a connection was cut: each of them may be repeated.

    Clients of redis-py before 6 go by the second; that of a cluster does not know it.
    """
    cut = redis.exceptions.ConnectionError
    return {"retry": Retry(NoBackoff(), 1, supported_errors=(cut,)), "retry_on_error": [cut]}


def _said(place: RedisPlace) -> dict[str, Any]:
    """User, password, database and options of the URL, as arguments of redis-py."""
    said = of_bytes(_parse_url(place.url))
    if said.pop("connection_class", None) is not None:
        said["ssl"] = True
    elsewhere = {"host", "port", "db"} if place.kind == CLUSTER else {"host", "port"}
    return {name: value for name, value in said.items() if name not in elsewhere}


def of_bytes(said: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a client without those that change nothing about the bytes it hands out.

    Raises:
        ConfigurationError: One of them does.
    """
    rest = dict(said)
    if str(rest.pop("decode_responses", False)).lower() not in _NO:
        raise ConfigurationError("redis: leave decode_responses out; windows are read as bytes")
    encoding = str(rest.pop("encoding", "utf-8"))
    try:
        plain = codecs.lookup(encoding).name == "utf-8"
    except LookupError:
        plain = False
    if not plain:
        raise ConfigurationError("redis: leave encoding out; keys and values are written as UTF-8")
    return rest
