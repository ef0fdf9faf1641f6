"""What an owner asks of the supervisor, and the answer it gets: two values that travel as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Self

RUN_LINK = "run"  # in the servers' directory: a link to the short private directory of their sockets
LOCK_FILE = "lock"
CONTROL_SOCKET = "control.sock"
POSTGRES_DATA = "postgres"
REDIS_DATA = "redis"
POSTGRES_LOG, REDIS_LOG, SUPERVISOR_LOG = LOGS = ("postgres.log", "redis.log", "supervisor.log")
DATABASE = "convmemory"


@dataclass(frozen=True, slots=True)
class Plan:
    """Which servers to run, from which binaries, over which directory.

    ``durable=False`` asks for scratch servers: no fsync, and what this start makes is removed in the end.
    ``timeout`` is how long each server may take to become ready, in seconds.
    """

    directory: str
    postgres_bin: str
    redis_binary: str | None
    redis_wanted: bool
    durable: bool
    max_connections: int
    timeout: float
    description: str

    def to_json(self) -> str:
        """Return the plan as the supervisor's argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the plan that :meth:`to_json` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Running:
    """Where the servers answer, and what they are.

    ``postgres_sockets`` is the directory of PostgreSQL's socket, ``redis_socket`` the path of the other
    server's; ``processes`` maps ``"supervisor"``, ``"postgres"`` and ``"redis"`` to process ids.
    """

    postgres_sockets: str
    redis_socket: str | None
    redis_wanted: bool
    durable: bool
    description: str
    processes: dict[str, int] = field(default_factory=dict)


def greeting(running: Running) -> bytes:
    """Return the line that tells an owner where its servers are."""
    return json.dumps({"running": asdict(running)}).encode() + b"\n"


def refusal(error: Exception) -> bytes:
    """Return the line that tells an owner why there are no servers."""
    return json.dumps({"failed": str(error)}).encode() + b"\n"
