"""Functions that are asked beside an event loop: by nobody's threads but their own, and by nobody where there are none."""

import asyncio
import threading

import pytest

from convmemory.tiers.asking import NoThread, aanswer, aload, asaid
from convmemory.tiers.waiting import spawn, works


@pytest.fixture
def no_threads(monkeypatch):
    """As in a container whose processes may have no more, or in a program that comes to its end."""

    def refused(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)


async def test_what_fills_the_threads_of_the_event_loop_holds_up_no_reading_and_no_password():
    over = threading.Event()
    loop = asyncio.get_running_loop()
    busy = [loop.run_in_executor(None, over.wait, 30) for _ in range(64)]
    try:
        async with asyncio.timeout(10):
            assert await aload(lambda: "read") == "read"
            assert await aanswer(lambda: "secret", 5.0) == "secret"
    finally:
        over.set()
        await asyncio.gather(*busy)


async def test_what_a_function_raises_is_raised():
    def missing():
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError, match="gone"):
        await aload(missing)


async def test_without_threads_files_are_read_all_the_same_and_others_are_told(no_threads):
    assert await aload(lambda: "read") == "read"
    with pytest.raises(NoThread):
        await asaid(lambda: "said", 1.0)


def test_work_that_gets_no_thread_is_not_begun(no_threads):
    assert not works(spawn(lambda: None))
