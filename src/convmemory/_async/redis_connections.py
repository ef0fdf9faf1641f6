"""Clients of Redis by URL: one server, the primary that Sentinels name, or a cluster; each bounded in time."""

from __future__ import annotations

import codecs
import copy
from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import iscoroutinefunction, signature
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
from convmemory.tiers.waiting import ahere, asever

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


class AsyncThroughClient:
    """Commands that go through a client of redis-py, whichever kind it is."""

    def client(self) -> Any:
        """The client."""
        raise NotImplementedError

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
        return _connections(self._client)


def _connections(client: Any) -> list[Any]:
    """What a client holds, in its pool or in those of a cluster's nodes; redis-py has no name for it."""
    nodes = getattr(client, "nodes_manager", None)
    pools = [getattr(client, "connection_pool", None)] if nodes is None else nodes.nodes_cache.values()
    names = ("_available_connections", "_in_use_connections", "_connections")
    return [one for pool in pools for name in names for one in getattr(pool, name, ())]


def _goes_on_without(client: Any) -> bool:
    """Whether a connection of this client goes on where a reply did not come."""
    kind = getattr(getattr(client, "connection_pool", None), "connection_class", None)
    if not isinstance(kind, type) or issubclass(kind, AsyncEndsWithItsReply):
        return False
    wants = signature(kind.read_response).parameters.get("disconnect_on_error")  # type: ignore[attr-defined]
    return wants is not None and wants.default is False


def _twin_of_sentinels(client: Any, pool: Any) -> Any:
    own = ("connection_pool",)
    kind = type(pool.connection_class.__name__, (AsyncEndsWithItsReply, pool.connection_class), {})
    twin = copy.copy(client)
    twin.connection = None
    twin.connection_pool = type(pool)(
        pool.service_name,
        pool.sentinel_manager,
        is_master=pool.is_master,
        check_connection=pool.check_connection,
        max_connections=pool.max_connections,
        **{name: value for name, value in pool.connection_kwargs.items() if name not in own},
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
        return own + [one for client in (self._client, *self._sentinels) for one in _connections(client)]

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
        pool.connection_kwargs = _of_bytes(pool.connection_kwargs)
        pool.connection_class(**pool.connection_kwargs)  # an option it does not know is found here
    except ConfigurationError:
        raise
    except (TypeError, ValueError, redis.exceptions.RedisError) as error:
        raise not_a_redis_url(describe(error)) from None
    return client


def _bounds(settings: Settings) -> dict[str, Any]:
    return {
        **_NAMED,
        "socket_timeout": settings.redis_timeout,
        "socket_connect_timeout": settings.redis_timeout,
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
        "max_connections": settings.redis_pool_max + _SPARE,
        "retry": Retry(NoBackoff(), 1, supported_errors=(redis.exceptions.ConnectionError,)),
    }


def _said(place: RedisPlace) -> dict[str, Any]:
    """User, password, database and options of the URL, as arguments of redis-py."""
    said = _of_bytes(_parse_url(place.url))
    if said.pop("connection_class", None) is not None:
        said["ssl"] = True
    elsewhere = {"host", "port", "db"} if place.kind == CLUSTER else {"host", "port"}
    return {name: value for name, value in said.items() if name not in elsewhere}


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
        _of_bytes({"decode_responses": encoder().decode_responses, "encoding": encoder().encoding})
    return client


def _named(kind: type) -> str:
    return f"{kind.__module__.partition('.client')[0]}.{kind.__qualname__}"


def connections_of(client: Any, settings: Settings) -> int:
    """How many calls may be under way at once on a caller's own client: no more than it has connections for."""
    most = getattr(getattr(client, "connection_pool", None), "max_connections", None)
    return (
        min(settings.redis_pool_max, most) if isinstance(most, int) and most > 0 else settings.redis_pool_max
    )


def _of_bytes(said: Mapping[str, Any]) -> dict[str, Any]:
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
