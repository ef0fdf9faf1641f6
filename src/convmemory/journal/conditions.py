"""What a Redis must be set to before writes may wait in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

CHECK_EVERY: Final = 10.0
"""Seconds after which a server is asked again whether it keeps what it is given."""
FULLEST: Final = 0.8
"""Share of ``maxmemory`` above which nothing more is accepted."""
Info = Mapping[str, Any]


def unkept(
    ack: str,
    memory: Sequence[Info | None],
    persistence: Sequence[Info | None],
    fsync: str | None,
    replication: Sequence[Info | None] = (),
) -> str | None:
    """Why these servers do not keep what ``ack`` promises; ``None`` where they do.

    ``memory`` and ``persistence`` are what each server's ``INFO`` says, ``None`` where it may not be asked; ``fsync`` is its
    ``appendfsync``, ``None`` where that may not be asked. ``replication`` tells of the replicas that follow.
    """
    for info in memory:
        policy = None if info is None else info.get("maxmemory_policy")
        if policy is None:
            return "Redis does not say what it evicts (INFO memory): allow INFO to its user"
        if policy != "noeviction" and not str(policy).startswith("volatile-"):
            return f"Redis evicts keys that have no time to live (maxmemory-policy {policy}): set noeviction or volatile-lru"
    why = None if ack == "memory" else _unwritten(ack, persistence, fsync)
    if why is None and ack == "replica" and not any(map(_followed, replication)):
        return "no replica follows this Redis, which journal_ack='replica' needs: start one, or set 'always'"
    return why


def _unwritten(ack: str, persistence: Sequence[Info | None], fsync: str | None) -> str | None:
    if any(info is None or not int(info.get("aof_enabled", 0)) for info in persistence):
        return f"Redis keeps no append-only file, which journal_ack={ack!r} needs: set appendonly yes, or journal_ack='memory'"
    if fsync == "no" or (ack == "always" and fsync != "always"):
        wanted = "always" if ack == "always" else "everysec"
        found = "does not say its appendfsync (CONFIG GET)" if fsync is None else f"has appendfsync {fsync}"
        return f"Redis {found}, and journal_ack={ack!r} needs {wanted}"
    return None


def _followed(info: Info | None) -> bool:
    replicas = [
        value for name, value in (info or {}).items() if name.startswith("slave") and name[5:].isdigit()
    ]
    return any(isinstance(one, Mapping) and one.get("state") == "online" for one in replicas)


def too_full(memory: Sequence[Info | None]) -> bool:
    """Whether one of the servers has so little room left that nothing more is to wait in it."""
    return any(
        info is not None and 0 < int(info.get("maxmemory", 0)) * FULLEST < int(info.get("used_memory", 0))
        for info in memory
    )
