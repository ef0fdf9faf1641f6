"""Pairs of servers the suite runs over, each set up the way people run it: poolers, clusters, Sentinels, users, TLS."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis import Redis

from conformance.programs import Source, on_path
from convmemory.embedded.account import Account, postgres_account
from convmemory.embedded.processes import ServerProcess
from convmemory.embedded.runtime import runtime_directory
from torture import sentinel
from torture.servers import READY, Hot, Postgres, Server, free_port, wait_for

AWAY = 1.5
"""Seconds a server that was shut down stays away before it is started again."""
PASSWORD = "p@ss/word:1?#%"
"""Needs percent-encoding in a URL everywhere it can."""
QUOTED = "p%40ss%2Fword%3A1%3F%23%25"
PAGE = Path(__file__).parents[2] / "docs/how-to/production.md"
[ACL] = re.findall(
    r"^ACL SETUSER app on >password ~convmemory:\* (.*)$", PAGE.read_text("utf-8"), re.MULTILINE
)
[CLUSTER_ACL] = re.findall(r"^and on a cluster `(.*)` as well", PAGE.read_text("utf-8"), re.MULTILINE)
"""What the library asks of a Redis user, in the words of the documentation."""


@dataclass
class Place:
    """One server, or several that act as one: how programs reach it, and how its administrator does."""

    url: str
    description: str
    admin_url: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def start_later(server: Server) -> None:
    time.sleep(AWAY)
    server.start()


class Returning:
    """Starts servers again that were shut down, as a service manager would."""

    def __init__(self, servers: list[Server], revive: Callable[[Any], None] = start_later) -> None:
        self._servers = servers
        self._revive = revive
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._watching.start()

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._watching.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            for server in self._servers:
                if not server.alive:
                    self._revive(server)


@contextmanager
def using(source: Source, store: Path) -> Iterator[None]:
    """Have this process find the programs of ``source``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(source.variable, str(source.find(store)))
        yield


@contextmanager
def plain_postgres(directory: Path) -> Iterator[Place]:
    with _postgres(directory) as server:
        yield Place(server.url, _named(server.description))


@contextmanager
def pgbouncer(directory: Path) -> Iterator[Place]:
    """PostgreSQL behind PgBouncer in transaction mode, with two connections for everybody."""
    program = on_path("pgbouncer")
    with _postgres(directory) as server, ExitStack() as stack:
        account = postgres_account(directory / "pg/postgres")
        port = free_port()
        place = directory / "pgbouncer"
        place.mkdir(mode=0o700)
        config = place / "pgbouncer.ini"
        config.write_text(
            f"[databases]\nconvmemory = host=127.0.0.1 port={server.port} dbname=convmemory user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            "pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 500\n"
        )
        for path in (config, place):
            account.give(path)
        stack.callback(_run(program, [str(config)], place, port, account).end)
        url = f"postgresql://postgres@127.0.0.1:{port}/convmemory"
        version = _words([str(program), "--version"])[1]
        said = f"{_named(server.description)} behind PgBouncer {version}, transaction mode"
        yield Place(url, said)


@contextmanager
def secure_postgres(directory: Path) -> Iterator[Place]:
    """PostgreSQL that takes only TLS connections, from a user with a password."""
    certificate = _certificate(directory)
    with _postgres(directory) as server:
        data = directory / "pg/postgres"
        owner = postgres_account(data)
        for name in ("server.crt", "server.key"):
            shutil.copy(certificate / name, data / name)
            owner.give(data / name)
            (data / name).chmod(0o600)
        with server.connect() as conn:
            conn.execute(
                psycopg.sql.SQL("CREATE ROLE app LOGIN PASSWORD {}").format(psycopg.sql.Literal(PASSWORD))
            )
            conn.execute("GRANT CREATE ON DATABASE convmemory TO app")
            conn.execute("ALTER SYSTEM SET ssl = on")
            (data / "pg_hba.conf").write_text("hostssl all app 127.0.0.1/32 scram-sha-256\n")
            conn.execute("SELECT pg_reload_conf()")
        place = f"app:{QUOTED}@127.0.0.1:{server.port}/convmemory"
        url = f"postgresql://{place}?sslmode=verify-full&sslrootcert={certificate / 'server.crt'}"
        yield Place(url, f"{_named(server.description)}, TLS (`sslmode=verify-full`) and a password")


@contextmanager
def plain_redis(directory: Path, *, options: str = "") -> Iterator[Place]:
    server = Hot(directory / "redis", "--appendonly", "yes")
    with _serving([server]):
        yield Place(server.url + options, _named(server.description) + (f", `{options}`" if options else ""))


@contextmanager
def limited_redis(directory: Path) -> Iterator[Place]:
    """One server with a user who may do no more than the documentation says."""
    server = Hot(directory / "redis", "--appendonly", "yes")
    with _serving([server]):
        _limit(server.client, ACL)
        # users are not kept over a restart
        server.client.execute_command("CONFIG", "SET", "appendonly", "no")
        url = f"redis://app:{QUOTED}@127.0.0.1:{server.port}/0"
        yield Place(
            url, f"{_named(server.description)}, ACL user", server.url, {"CONVMEMORY_TEST_REDIS_RETURNS": ""}
        )


@contextmanager
def secure_redis(directory: Path) -> Iterator[Place]:
    """One server behind TLS with a password."""
    certificate, port = _certificate(directory), free_port()
    pair = [f"--tls-{what}-file" for what in ("cert", "key", "ca-cert")]
    files = [str(certificate / name) for name in ("server.crt", "server.key", "server.crt")]
    words = [word for both in zip(pair, files, strict=True) for word in both]
    server = Hot(directory / "redis", "--tls-port", str(port), "--tls-auth-clients", "no", *words)
    with _serving([server]):
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate / 'server.crt'}"
        yield Place(url, f"{_named(server.description)}, TLS (`rediss://`)", server.url)


@contextmanager
def redis_cluster(directory: Path, *, limited: bool = False) -> Iterator[Place]:
    """Three primaries that share the slots."""
    with sentinel.cluster(directory) as nodes, Returning(list(nodes)):
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        said = f"{_named(nodes[0].description)}, cluster of three primaries"
        if not limited:
            yield Place(f"redis+cluster://{hosts}", said)
            return
        for node in nodes:
            _limit(node.client, f"{ACL} {CLUSTER_ACL}")
        url, kept = f"redis+cluster://app:{QUOTED}@{hosts}", {"CONVMEMORY_TEST_REDIS_RETURNS": ""}
        yield Place(url, f"{said}, ACL user", f"redis+cluster://{hosts}", kept)


@contextmanager
def redis_sentinel(directory: Path) -> Iterator[Place]:
    """A primary and a replica under three Sentinels; the primary is lost on the way."""
    found = sentinel.SentinelSet(directory)

    def follow_the_heir(fallen: Hot) -> None:
        wait_for(lambda: found.primary() is not fallen, READY, "nobody took over")
        fallen.start()
        fallen.client.replicaof("127.0.0.1", str(found.primary().port))

    with found.running(), Returning(list(found._pair), follow_the_heir):
        url = f"redis+{found.address}/{sentinel.SERVICE}/0"
        yield Place(url, f"{_named(found.primary().description)}, Sentinel with a fail-over")


@contextmanager
def _postgres(directory: Path) -> Iterator[Postgres]:
    place = directory / "pg"
    place.mkdir(mode=0o711)
    with runtime_directory() as runtime, ExitStack() as stack:
        server = Postgres(place, runtime)
        server.start()
        stack.callback(server.end)
        yield server


@contextmanager
def _serving(servers: list[Hot]) -> Iterator[None]:
    with ExitStack() as stack:
        for server in servers:
            server.start()
            stack.callback(server.end)
        with Returning(list(servers)):
            yield


def _limit(client: Redis, commands: str) -> None:
    """Make the user ``app`` with these commands on our keys, and no other."""
    client.execute_command("ACL", "SETUSER", "app", "on", f">{PASSWORD}", "~t*", *commands.split())


def _certificate(directory: Path) -> Path:
    """A directory with a certificate for 127.0.0.1 that signs itself, and its key."""
    request = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout server.key -out server.crt"
    )
    place = directory / "tls"
    place.mkdir(mode=0o711)
    command = [str(on_path("openssl")), *request.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, cwd=place, check=True, capture_output=True)
    return place


def _run(program: Path, words: list[str], place: Path, port: int, account: Account) -> ServerProcess:
    """Start a program that listens on a port, and wait until it does."""

    def answers(_pid: int) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    process = ServerProcess(
        tier=program.name,
        command=[str(program), *words],
        log=place.parent / f"{program.name}.log",
        goodbye=signal.SIGINT,
        answers=answers,
        account=account,
    )
    process.start()
    process.wait_until_ready(READY)
    return process


def _named(description: str) -> str:
    """``PostgreSQL 16.14`` of ``PostgreSQL 16.14 (where it is)``."""
    return description.partition(" (")[0]


def _words(command: list[str]) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
