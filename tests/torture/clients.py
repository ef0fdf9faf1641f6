"""What a worker gives the library as its Redis: a URL, or a client of a Sentinel set or of a cluster."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.cluster
import redis.retry
import redis.sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost

SERVICE = "torture"
"""The name under which the Sentinels know the primary."""


def redis_tier(address: str, mode: str, timeout: float) -> Any:
    """A client (or URL) for ``redis://...``, ``sentinel://host:port,host:port`` or ``cluster://host:port``."""
    kind, place = address.split("://", 1)
    if kind == "sentinel":
        return _sentinel([_host(one) for one in place.split(",")], mode, timeout)
    if kind == "cluster":
        host, port = _host(place)
        cluster: Any = redis.asyncio.cluster.RedisCluster if mode == "async" else redis.cluster.RedisCluster
        return cluster(host=host, port=port, socket_timeout=timeout, socket_connect_timeout=timeout)
    return address


def _sentinel(sentinels: list[tuple[str, int]], mode: str, timeout: float) -> Any:
    library: Any = redis.asyncio if mode == "async" else redis
    options = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    retry = library.retry.Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,))
    return library.sentinel.Sentinel(sentinels, sentinel_kwargs=options, **options).master_for(
        SERVICE, retry=retry
    )


def _host(place: str) -> tuple[str, int]:
    found = urlsplit(f"//{place}")
    return found.hostname or "127.0.0.1", found.port or 6379
