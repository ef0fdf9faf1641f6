"""What a Redis URL names: one server, the primary of a Sentinel set, or a cluster. Read here, connected to elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from convmemory.errors import ConfigurationError

SERVER: Final = "server"
SENTINEL: Final = "sentinel"
CLUSTER: Final = "cluster"
_PORTS: Final = {SENTINEL: 26379, CLUSTER: 6379}
_FORMS: Final = (
    "redis://host:6379/0, rediss://..., unix:///path, redis+sentinel://host:26379,host:26379/service/0,"
    " redis+cluster://host:6379,host:6379"
)


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """A Redis URL taken apart as far as redis-py does not do it.

    ``url`` is the plain ``redis://`` or ``rediss://`` form with the first host: user, password, database and
    options are read from it. ``hosts`` are all Sentinels, or the nodes a cluster is asked by; ``service`` is the
    name the Sentinels know the primary by.
    """

    kind: str
    url: str = field(repr=False)
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""

    @property
    def address(self) -> str:
        """Where it is, for a message: no user and no password; empty where the URL does not say for certain."""
        if self.hosts:
            return ", ".join(_spelled(host, port) for host, port in self.hosts)
        parts = urlsplit(self.url)
        if (
            "@" in f"{parts.path}?{parts.query}#{parts.fragment}"
        ):  # then part of a password may look like a host
            return ""
        return (
            unquote(parts.path)
            if parts.scheme == "unix"
            else _spelled(parts.hostname or "localhost", parts.port or 6379)
        )


def redis_place(url: str) -> RedisPlace:
    """Read a Redis URL of any form.

    Raises:
        ConfigurationError: It is none of the forms; the message says what is, and not what was given.
    """
    scheme, _, rest = url.partition("://")
    transport, _, kind = scheme.partition("+")
    if not kind:
        if transport not in {"redis", "rediss", "unix"}:
            raise not_a_redis_url("unknown scheme")
        if transport in {"redis", "rediss"}:
            _path(SERVER, _split(url))  # redis-py takes database 0 for one that is no number
        return RedisPlace(SERVER, url)
    if kind not in _PORTS or transport not in {"redis", "rediss"}:
        raise not_a_redis_url("unknown scheme")
    authority = re.split("[/?#]", rest, maxsplit=1)[
        0
    ]  # by hand: newer Pythons read no list of hosts with brackets in it
    secret, at, listed = authority.rpartition("@")
    hosts = tuple(_host(one, _PORTS[kind]) for one in listed.split(","))
    parts = _split(f"{transport}://{secret}{at}{_spelled(*hosts[0])}{rest.removeprefix(authority)}")
    service, database = _path(kind, parts)
    return RedisPlace(kind, parts._replace(path=f"/{database}").geturl(), hosts, service)


def not_a_redis_url(why: str) -> ConfigurationError:
    """The error for a URL that cannot be used, which quotes nothing of it: it may hold a password."""
    return ConfigurationError(f"REDIS_URL: not a Redis URL ({_FORMS}): {why}")


def called(error: ConfigurationError, variable: str) -> ConfigurationError:
    """The same error about the URL as it was really given."""
    return ConfigurationError(f"{variable}:{str(error).partition(':')[2]}")


def _spelled(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise not_a_redis_url("a host cannot be read") from None


def _host(text: str, port: int) -> tuple[str, int]:
    found = _split(f"//{text}")
    try:
        name, given = found.hostname, found.port
    except ValueError:
        raise not_a_redis_url("a port cannot be read") from None
    if not name:
        raise not_a_redis_url("a host is missing")
    return name, given or port


def _path(kind: str, parts: SplitResult) -> tuple[str, str]:
    """The service and the database that the path names."""
    names = [unquote(name) for name in parts.path.strip("/").split("/") if name]
    service = names.pop(0) if kind == SENTINEL and names else ""
    database = names.pop(0) if names else "0"
    if kind == SENTINEL and not service:
        raise not_a_redis_url("the service that the Sentinels watch is missing")
    # the rest of a password with a bare "/" in it, which an error about the service would tell
    if "@" in service:
        raise not_a_redis_url("an '@' in the path: write a '/' of the password as %2F")
    if names or not database.isdecimal():
        raise not_a_redis_url("the path is not a database number")
    if kind == CLUSTER and int(database):
        raise not_a_redis_url("a cluster has only database 0")
    return service, database
