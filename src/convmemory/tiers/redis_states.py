"""What a Redis that answers says keeps it from its work for a while: it is full, it is loading, it is a replica."""

from __future__ import annotations

import re
from typing import Final

import redis.exceptions

STATES: Final = {
    "OOM": "its memory is full (maxmemory), and its maxmemory-policy lets it drop nothing",
    "MISCONF": "it takes no writes, since it could not write to its disk: see its log, and whether the disk is full",
    "NOREPLICAS": "it takes no writes while fewer replicas are connected than min-replicas-to-write",
    "LOADING": "it has just started and is reading its data",
    "READONLY": "it is a replica, and takes no writes",
    "MASTERDOWN": "it is a replica, and has lost its primary",
    "CLUSTERDOWN": "the cluster is down, or nobody serves some of its slots",
    "BUSY": "a script or a function of somebody's holds it up",
}
"""What a Redis that answers says of itself, by the first word of its answer; its own words may quote what it was sent."""
_STATE: Final = re.compile(rf"(?:^|-)({'|'.join(STATES)})\b")
_CLASSES: Final = {
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.BusyLoadingError: "LOADING",
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.MasterDownError: "MASTERDOWN",
    redis.exceptions.ClusterDownError: "CLUSTERDOWN",
}
"""redis-py's own for some of them, without that word."""


def state(error: BaseException | None) -> str | None:
    """What a Redis that answers says keeps it from its work for a while, in its own word, such as ``OOM``.

    One that some version of redis-py has no class for is a plain error, and Redis 6.2 says it inside what a script says.
    """
    if not isinstance(error, redis.exceptions.RedisError):
        return None
    for kind, word in _CLASSES.items():
        if isinstance(error, kind):
            return word
    if type(error) is not redis.exceptions.ResponseError:
        return None
    found = _STATE.search(str(error))
    return found[1] if found else None


def in_short(error: BaseException) -> str:
    """What kind of error it is, for a line in the log: what Redis says of itself, or the error's class and no more."""
    said = state(error)
    return STATES[said] if said else type(error).__name__
