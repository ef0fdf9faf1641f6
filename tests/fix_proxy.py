"""A TCP proxy in front of a real server: it counts what crosses the wire, and fails it on purpose.

proxy = make_proxy(redis_url)
client = Redis.from_url(proxy.url)
with proxy.counting() as counted: ...      # counted.round_trips, counted.requests
proxy.mode = "drop_replies"                # what happens to traffic from now on, see MODES
proxy.reset_all()                          # every connection is reset; new ones follow the mode
proxy.forget_all()                         # open connections go silent; new ones follow the mode
proxy.lead_to(other_url)                 # every connection is reset; new ones go to another server
"""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url

MODES = {
    "pass": "everything goes through",
    "latency": "everything goes through `latency` seconds later, each way",
    "blackhole": "connections are accepted and nothing goes through",
    "drop_replies": "requests go through, replies vanish",
    "cut_reply": "the next reply is lost and its connection reset; then as pass",
    "late": "what is asked, and who connects, goes through once the mode is another one, whoever has given up meanwhile",
    "cut_request": "requests lose their last bytes, and then their connection",
    "refuse": "new connections are refused, open ones live on",
}
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST instead of FIN
_CHUNK = 1 << 16
_STAND_IN = re.compile(rb"(K\x00\x00\x00\x0c)(.{4})", re.DOTALL)
"""A server's word on which process of it serves a client: a pooler gives one of its own."""
_CUT = 8  # bytes that a cut request lacks: less than the last command or message takes


@dataclass
class Traffic:
    """``round_trips``: bursts of a client that were answered; ``requests``: what the protocol counts as one; bytes both ways."""

    round_trips: int = 0
    requests: int = 0
    connections: int = 0
    sent: int = 0
    received: int = 0


class Requests(Protocol):
    """Counts the requests in what one client sends."""

    def feed(self, data: bytes) -> int: ...


class PostgresRequests:
    """Counts simple queries ('Q') and synchronisation points ('S'), one of which ends every statement."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False

    def feed(self, data: bytes) -> int:
        self._rest += data
        found = 0
        while (message := self._next()) is not None:
            found += message in {b"Q", b"S"}
        return found

    def _next(self) -> bytes | None:
        """Take one message off; its type, empty for those before the session has begun."""
        header = 1 if self._started else 0
        if len(self._rest) < header + 8 - 4 * header:
            return None
        kind = self._rest[:header]
        length = header + int.from_bytes(self._rest[header : header + 4])
        if len(self._rest) < length:
            return None
        if not self._started:  # StartupMessage is protocol 3.x; SSL and GSSAPI are asked for in its place
            self._started = int.from_bytes(self._rest[4:6]) == 3
        self._rest = self._rest[length:]
        return kind


class RedisRequests:
    """Counts commands, which are arrays of bulk strings."""

    def __init__(self) -> None:
        self._rest = b""
        self._strings = 0

    def feed(self, data: bytes) -> int:
        self._rest += data
        found = 0
        while (line := self._line()) is not None:
            sign, number = line[:1], int(line[1:])
            if sign == b"*":
                self._strings = number
            else:
                self._rest = self._rest[number + 2 :]
                self._strings -= 1
            found += self._strings == 0
        return found

    def _line(self) -> bytes | None:
        """Take one header off, once all that belongs to it is here."""
        line, end, rest = self._rest.partition(b"\r\n")
        if not end or (line[:1] == b"$" and len(rest) < int(line[1:]) + 2):
            return None
        self._rest = rest
        return line


class Link:
    """One client's connection and the server's it is passed on to: a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client, self._server = client, server
        self._requests = proxy.kind()
        self._asked = False
        self._lock = threading.Lock()
        self._running = 2
        self._over = False
        self.forgotten = False
        self.threads = [
            threading.Thread(target=self._pump, args=(client, server, self._request), daemon=True),
            threading.Thread(target=self._pump, args=(server, client, self._reply), daemon=True),
        ]
        for thread in self.threads:
            thread.start()

    def reset(self) -> None:
        """End it; the client sees a connection reset by its peer, and nothing of what was still on its way."""
        self._over = True
        with suppress(OSError):
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._hang_up(socket.SHUT_RD)  # wakes the threads, and says nothing to the client yet

    def _hang_up(self, how: int) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(how)

    def _pump(self, source: socket.socket, sink: socket.socket, passes: Callable[[bytes], bool]) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if self._proxy.pooled and source is self._server:
                    data = _STAND_IN.sub(lambda key: key[1] + b"\x7f\xff\xff\xfe", data)
                if passes(data) and not self._over:
                    sink.sendall(data)
                elif source is self._client and self._proxy.mode == "cut_request":
                    sink.sendall(data[:-_CUT])
                    self.reset()
        self._finish()

    def _finish(self) -> None:
        with self._lock:
            self._running -= 1
            last = not self._running
        if not last:
            self._hang_up(socket.SHUT_RD)
            return
        self._client.close()
        self._server.close()

    def _request(self, data: bytes) -> bool:
        with self._proxy.lock:
            self._asked = True
            self._proxy.traffic.requests += self._requests.feed(data)
            self._proxy.traffic.sent += len(data)
        self._proxy.wait()
        while self._proxy.mode == "late" and not self._over:
            time.sleep(0.01)
        return not self.forgotten and self._proxy.mode not in {"blackhole", "cut_request"}

    def _reply(self, data: bytes) -> bool:
        self._proxy.wait()
        mode = self._proxy.mode
        if mode == "cut_reply":
            self._proxy.mode = "pass"
            self.reset()
        if self.forgotten or mode in {"cut_reply", "drop_replies", "blackhole"}:
            return False
        with self._proxy.lock:
            self._proxy.traffic.round_trips += self._asked
            self._proxy.traffic.received += len(data)
            self._asked = False
        return True


class Proxy:
    """Listens on a port of its own and passes what it hears on to one server, or fails to, as ``mode`` says."""

    def __init__(self, url: str) -> None:
        self.kind: Callable[[], Requests]
        self.traffic = Traffic()
        self.latency = 0.1
        self.pooled = False
        """Whether clients are told another process id than the server's, as behind a pooler."""
        self.lock = threading.Lock()
        self._mode = "pass"
        self._links: list[Link] = []
        self._closed = False
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port: int = found.getsockname()[1]
        # bound by its number it keeps the port while nobody listens; one the system chose would be lost
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.url = self._pointed_at(url)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _pointed_at(self, url: str) -> str:
        """Note where ``url`` leads, and return it leading here instead."""
        here = f"127.0.0.1:{self.port}"
        if url.startswith("postgres"):
            self.kind, said = PostgresRequests, conninfo_to_dict(url)
            self._target = _address(str(said["host"]), int(said.get("port") or 5432), ".s.PGSQL.{}")
            secret = f":{quote(str(said['password']), safe='')}" if said.get("password") else ""
            return f"postgresql://{said['user']}{secret}@{here}/{said['dbname']}"
        self.kind, found = RedisRequests, parse_url(url)
        self._target = found.get("path") or (found.get("host", "localhost"), found.get("port", 6379))
        secret = f":{quote(found['password'], safe='')}@" if found.get("password") else ""
        return f"redis://{secret}{here}/{found.get('db', 0)}"

    @property
    def mode(self) -> str:
        """What happens to traffic: one of ``MODES``."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        assert mode in MODES, mode
        was, self._mode = self._mode, mode
        if mode == "refuse":
            self._stop_listening()
        elif was == "refuse":
            self._listener.listen()
            self._accepting = threading.Thread(target=self._accept, daemon=True)
            self._accepting.start()

    @contextmanager
    def counting(self) -> Iterator[Traffic]:
        """What crosses the wire inside the ``with``, once it is over."""
        counted = Traffic()
        with self.lock:
            before = Traffic(**vars(self.traffic))
        yield counted
        with self.lock:
            for name, value in vars(self.traffic).items():
                setattr(counted, name, value - getattr(before, name))

    def wait(self) -> None:
        """Hold a chunk up, in the mode ``latency``."""
        if self._mode == "latency":
            time.sleep(self.latency)

    def forget_all(self) -> None:
        """Let nothing through on the connections that are open, without a word, as a firewall does; new ones work."""
        with self.lock:
            for link in self._links:
                link.forgotten = True

    def lead_to(self, url: str, *, cut: bool = True) -> None:
        """Lead to another server from now on, as a name does whose address was changed; open connections may live on."""
        self._pointed_at(url)
        if cut:
            self.reset_all()

    def reset_all(self) -> None:
        """Reset every open connection, and return once they are gone."""
        with self.lock:
            links, self._links = self._links, []
        for link in links:
            link.reset()
        for thread in (thread for link in links for thread in link.threads):
            thread.join(5)

    def close(self) -> None:
        """Stop listening and end every connection."""
        if self._mode != "refuse":
            self._stop_listening()
        self._listener.close()
        self.reset_all()

    def _stop_listening(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), and leaves the port ours
        self._accepting.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.traffic.connections += 1
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                server = _connected(self._target)
            except OSError:  # the server itself is down
                client.close()
                continue
            with self.lock:
                self._links.append(Link(self, client, server))


Address = str | tuple[str, int]


def _address(host: str, port: int, socket_name: str) -> Address:
    return f"{host}/{socket_name.format(port)}" if host.startswith("/") else (host, port)


def _connected(target: Address) -> socket.socket:
    if isinstance(target, tuple):
        server = socket.create_connection(target)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server
    server = socket.socket(socket.AF_UNIX)
    server.connect(target)
    return server


@pytest.fixture
def make_proxy() -> Iterator[Callable[[str], Proxy]]:
    """A function that puts a proxy in front of a server's URL; all of them are closed in the end."""
    made: list[Proxy] = []

    def make(url: str) -> Proxy:
        made.append(Proxy(url))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def postgres_proxy(make_proxy: Callable[[str], Proxy], database_url: str) -> Proxy:
    return make_proxy(database_url)


@pytest.fixture
def redis_proxy(make_proxy: Callable[[str], Proxy], redis_url: str) -> Proxy:
    return make_proxy(redis_url)
