"""What HTTP adds to two calls that pages make all the time: a list of conversations, and a page of messages.

A server for each pair of a loop and a parser, in a process of its own: it times the awaited call of the library, and a
request to its application without a server in between, in the loop that serves; a client on a socket times whole requests.
All of it interleaved, so that the ratios are of one time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from adapter import Adapter
from rest_app import PATHS
from servers import empty_database, program
from texts import conversation
from timing import summary

from convmemory import AsyncConversationMemory

APPLICATION = Path(__file__).resolve().parent.parent / "rest_app.py"
SERVERS = (("asyncio", "h11"), ("asyncio", "httptools"), ("uvloop", "httptools"))
USERS = {"full": "20 conversations, 50 messages", "new": "one conversation of no messages"}
ROWS = ("library", "application", "nothing in the application", "served", "nothing served")
WARM = 30
EACH = 3
"""Calls of one row before the next has its turn."""


def run(_adapters: list[Adapter], options: argparse.Namespace) -> dict[str, Any]:
    os.environ["DATABASE_URL"] = empty_database("bench_rest")
    asyncio.run(_filled())
    figures: dict[str, Any] = {}
    for loop, http in SERVERS:
        if any(find_spec(name) is None for name in {loop, http}):
            print(f"left out {loop} with {http}: not installed")
            continue
        for user, data in USERS.items():
            with program(APPLICATION, loop, http, "rest") as port, _Client(port, user) as client:
                for what in PATHS:
                    found = _measured(client, what, user, options.rounds * 10)
                    _show(f"{what}: {data}; {loop}, {http}", found)
                    figures[f"{what}, {user}, {loop}, {http}"] = found
    return figures


async def _filled() -> None:
    urls = os.environ["DATABASE_URL"], os.environ["REDIS_URL"]
    async with AsyncConversationMemory.from_url(*urls, db_schema="rest") as memory:
        await memory.init_schema()
        full = memory.for_user("full")
        for name in (*(f"c{n}" for n in range(30)), "talk"):
            await full.save_messages(name, conversation(60))
        await memory.for_user("new").create_conversation(conversation_id="talk")


class _Client:
    """A client that costs next to nothing, on one connection."""

    def __init__(self, port: int, user: str) -> None:
        self._head = f" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {user}\r\n\r\n"
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, address: str) -> bytes:
        """The body of an answer."""
        self._socket.sendall(f"GET {address}{self._head}".encode())
        head, _, body = self._read(b"").partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        [length] = [
            int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        ]
        while len(body) < length:
            body = self._read(body)
        return body

    def _read(self, before: bytes) -> bytes:
        return before + self._socket.recv(1_000_000)


def _measured(client: _Client, what: str, user: str, rounds: int) -> dict[str, Any]:
    calls = {
        "library": _told(client, f"/measured/library/{what}/{user}"),
        "application": _told(client, f"/measured/application/{what}/{user}"),
        "nothing in the application": _told(client, f"/measured/nothing/{what}/{user}"),
        "served": _timed(client, PATHS[what]),
        "nothing served": _timed(client, "/nothing"),
    }
    for call in calls.values():
        for _ in range(WARM):
            call()
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for row in random.sample(ROWS, len(ROWS)):
            taken[row] += [calls[row]() for _ in range(EACH)]
    return {row: summary(taken[row]) for row in ROWS}


def _told(client: _Client, address: str) -> Callable[[], float]:
    return lambda: float(client.get(address))


def _timed(client: _Client, address: str) -> Callable[[], float]:
    def call() -> float:
        began = time.perf_counter()
        client.get(address)
        return time.perf_counter() - began

    return call


def _show(title: str, found: dict[str, Any]) -> None:
    print(f"\n{title}: microseconds, p50 and p99; p50 beside the library's")
    base = found["library"]["p50"]
    for row in ROWS:
        one = found[row]
        print(f"{row:28}{one['p50']:8.0f} {one['p99']:8.0f}  x{one['p50'] / base:.2f}")
