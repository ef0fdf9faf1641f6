"""What is closed for an event loop that is gone, whatever redis-py and asyncio keep it under."""

import asyncio
import socket

import pytest

from convmemory.tiers.waiting import asever


class Connection:
    """A connection of redis-py as ``asever`` sees one."""


async def streams(sock):
    return await asyncio.open_connection(sock=sock)


def left_behind(sock):
    """A connection whose event loop was closed without a word."""
    loop = asyncio.new_event_loop()
    connection = Connection()
    connection._reader, connection._writer = loop.run_until_complete(streams(sock))
    loop.close()
    return connection


def test_a_connection_of_a_loop_that_is_closed_is_closed_at_once():
    ours, theirs = socket.socketpair()
    connection = left_behind(ours)

    asever(connection)

    theirs.settimeout(5)
    assert theirs.recv(1) == b""
    assert (connection._reader, connection._writer) == (None, None)
    asever(connection)  # twice is as good as once
    theirs.close()


@pytest.mark.parametrize("hidden", ["_writer", "_reader", "both"])
def test_a_redis_py_that_keeps_its_streams_elsewhere_is_left_to_the_collector(hidden):
    connection = Connection()
    if hidden != "both":
        setattr(connection, {"_writer": "_reader", "_reader": "_writer"}[hidden], None)
    before = dict(vars(connection))

    asever(connection)

    assert vars(connection) == before
