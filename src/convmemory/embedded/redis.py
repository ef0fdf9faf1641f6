"""Redis or Valkey on a unix socket, with an append-only file where the data is kept."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from convmemory.embedded.account import OWNER
from convmemory.embedded.plan import REDIS_DATA, REDIS_LOG, Plan
from convmemory.embedded.processes import ServerProcess


def redis_server(plan: Plan, binary: str, address: Path) -> ServerProcess:
    """Return the server of ``plan``, not yet started, that will answer at the socket ``address``."""
    data = Path(plan.directory, REDIS_DATA)
    data.mkdir(mode=0o700, exist_ok=True)
    settings = {
        "port": "0",
        "unixsocket": str(address),
        "unixsocketperm": "700",
        "dir": str(data),
        "save": "",
        "appendonly": "yes" if plan.durable else "no",
        "appendfsync": "everysec",
        "aof-use-rdb-preamble": "no",  # commands only: any Redis or Valkey can read what another one wrote
        "daemonize": "no",
    }
    return ServerProcess(
        tier="Redis",
        command=[binary, *(word for name, value in settings.items() for word in (f"--{name}", value))],
        log=Path(plan.directory, REDIS_LOG),
        goodbye=signal.SIGTERM,
        answers=lambda _process_id: _answers(address),
        account=OWNER,
    )


def _answers(address: Path) -> bool:
    """Tell whether PING is answered: a server that is still loading its file says something else."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(address))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False
