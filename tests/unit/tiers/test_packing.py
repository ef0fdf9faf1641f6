"""Commands as bytes: as redis-py packs them, and whatever a handler of signals raises meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from redis.connection import PythonRespSerializer

from convmemory.tiers.packing import PACKS, Packer, packed

pytestmark = pytest.mark.skipif(not PACKS, reason="hiredis is not installed")

INTERRUPTED = """
import signal, time
from convmemory.tiers.packing import Packer, packed

class Soft(Exception): ...

armed = False

def handler(*_):
    if armed:
        raise Soft

signal.signal(signal.SIGALRM, handler)
raised, packer, end = 0, Packer(), time.monotonic() + 6
while time.monotonic() < end:
    try:
        try:
            armed = True
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            while True:
                packed([("EVALSHA", "digest", 1, "name", 7, 2.5, "words", b"bytes")])
                packer.pack("HELLO", 3)
        finally:
            armed = False
    except Soft:
        raised += 1
print(raised)
"""


@pytest.mark.parametrize(
    "command",
    [
        ("EVALSHA", "digest", 1, "name", -7, 2.5, "w\u00f6rter", b"\0\xff", "", 2**70),
        ("CLIENT SETINFO", "LIB-NAME", "some"),
        (b"CLIENT SETNAME", "some"),
        ("PING",),
    ],
)
def test_a_command_is_packed_as_redis_py_does_it(command):
    plain = PythonRespSerializer(6000, lambda one: one if isinstance(one, bytes) else str(one).encode())
    assert b"".join(Packer().pack(*command)) == b"".join(plain.pack(*command))
    if " " not in str(command[0]):
        assert b"".join(packed([command, command])) == 2 * b"".join(plain.pack(*command))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no timers that interrupt")
def test_a_handler_that_raises_ends_no_process():
    """hiredis has Python make words of numbers, and goes on without them where that raised."""
    found = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, env=os.environ, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert int(found.stdout) > 10
