"""A server further away: passes bytes on both ways, each after half of a round trip's delay.

    python benchmarks/delayed.py MILLISECONDS HOST:PORT|/path/of/socket

Prints the port it listens on, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import sys


class Half(asyncio.Protocol):
    """One side of a connection: hands what it hears to the other, later."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.other: asyncio.Transport | None = None
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if (sock := transport.get_extra_info("socket")) and sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def lead_to(self, other: asyncio.Transport) -> None:
        self.other = other
        for data in self.early:
            self.data_received(data)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early.append(data)
        elif self.delay:
            asyncio.get_running_loop().call_later(self.delay, self.other.write, data)
        else:
            self.other.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self.other is not None:
            self.other.close()


async def main(milliseconds: float, target: str) -> None:
    loop, half = asyncio.get_running_loop(), milliseconds / 2000

    def client() -> Half:
        mine = Half(half)
        loop.create_task(meet(mine))
        return mine

    async def meet(mine: Half) -> None:
        if target.startswith("/"):
            transport, theirs = await loop.create_unix_connection(lambda: Half(half), target)
        else:
            host, _, port = target.rpartition(":")
            transport, theirs = await loop.create_connection(lambda: Half(half), host, int(port))
        theirs.lead_to(mine.transport)
        mine.lead_to(transport)

    server = await loop.create_server(client, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def precise() -> asyncio.AbstractEventLoop:
    """An event loop that can wait for less than a millisecond, which one over epoll rounds up."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=precise) as runner:
        runner.run(main(float(sys.argv[1]), sys.argv[2]))
