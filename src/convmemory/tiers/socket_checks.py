"""What is asked of a socket without a round trip: is the server still there, and has it answered in time."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Generator
from typing import Any, Final

import psycopg

NOTICEABLE: Final = 0.05
"""Seconds of waiting after which a caller who leaves has found the server wanting: an answer takes a few milliseconds."""


class DeadlineExceeded(psycopg.OperationalError):
    """The server did not answer within the statement time-out."""


class Deserted(DeadlineExceeded):
    """The caller did not wait for the answer: it was cancelled, or has a shorter time-out of its own."""


def within(gen: Generator[Any, Any, Any], seconds: float, descriptor: int) -> Generator[Any, Any, Any]:
    """Pass a psycopg generator through, and give up when the server has not answered on this socket in ``seconds``.

    A stopped server, or a network that swallows packets, otherwise holds the caller for ever: TCP
    keep-alives see neither, and a cancel request would wait for the same server.
    """
    deadline = time.monotonic() + seconds
    try:
        state = next(gen)
        while True:
            ready = yield state
            # psycopg before 3.3 says ready in blocking code as well where it has only waited long enough to look
            if time.monotonic() > deadline and not (ready and _readable(descriptor)):
                raise DeadlineExceeded(f"no answer within {seconds:g} s")
            state = gen.send(ready)
    except StopIteration as end:
        return end.value


def idle_connection_closed(pgconn: Any) -> bool:
    """Whether the server hung up on an idle connection: its socket is then readable. Costs no round trip."""
    if pgconn.status != psycopg.pq.ConnStatus.OK:
        return True
    try:
        while _readable(pgconn.socket):  # a farewell is read before the end that follows it
            pgconn.consume_input()  # a notice is no reason to drop the connection
    except psycopg.OperationalError:
        return True
    return bool(pgconn.status != psycopg.pq.ConnStatus.OK)


def _readable(fd: int) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([fd], [], [], 0)[0])
    poll = select.poll()  # select() cannot watch descriptors above 1,023
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


KEEPALIVE: Final[dict[int, int]] = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}
"""Socket options that find a vanished Redis host within a minute, where the platform has them."""
