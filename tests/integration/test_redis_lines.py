"""The short way to one Redis server: the same answers and errors as through redis-py's client, whatever becomes of a connection."""

import asyncio
import threading
import time
from functools import partial

import pytest
from redis import Redis
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as TooLate

from convmemory._async.redis_connections import AsyncRedisLink
from convmemory._sync.redis_connections import RedisLink
from convmemory.settings import Settings
from fix_memory import _awaitable

QUICK = Settings(redis_timeout=0.3)


class Line:
    """A link of either colour, awaited."""

    def __init__(self, colour: str, url: str) -> None:
        self.link = (AsyncRedisLink if colour == "awaited" else RedisLink)(url, QUICK)
        self.awaited = colour == "awaited"

    def __getattr__(self, name):
        call = getattr(self.link, name)
        return call if self.awaited or name == "connections" else _awaitable(call)


@pytest.fixture
async def line(colour, redis_proxy):
    line = Line(colour, redis_proxy.url)
    yield line
    await line.close()


async def test_it_answers_as_the_client_does(line, redis_proxy, key_prefix):
    name = f"{key_prefix}line"
    with Redis.from_url(redis_proxy.url) as client:
        assert await line.execute("HSET", name, "field", "\u00e9", "number", 7, "raw", b"\0\xff") == 3
        assert await line.execute("HMGET", name, "field", "raw", "none") == client.hmget(
            name, "field", "raw", "none"
        )
        assert await line.execute("EVAL", "return {KEYS[1], 1.9, false, {'x'}}", 1, name) == client.eval(
            "return {KEYS[1], 1.9, false, {'x'}}", 1, name
        )
    assert len(line.connections()) == 1


async def test_an_error_of_the_server_is_raised_and_the_connection_goes_on(line, key_prefix):
    name = f"{key_prefix}line"
    for _ in range(3):
        with pytest.raises(NoScriptError):
            await line.execute("EVALSHA", "0" * 40, 1, name)
    with pytest.raises(ResponseError, match="not an integer"):
        await line.execute_all([("SET", name, "word"), ("INCR", name), ("SET", name, "another")])

    assert await line.execute_all([("GET", name), ("DEL", name)]) == [b"another", 1]
    assert len(line.connections()) == 1


async def test_where_all_connections_were_cut_the_next_call_goes_through_all_the_same(line, redis_proxy):
    await asyncio.gather(*(line.execute("PING") for _ in range(4)))
    redis_proxy.reset_all()
    await asyncio.sleep(0.05)

    assert await line.execute("PING") in (b"PONG", True)
    assert len(line.connections()) == 1


async def test_no_answer_in_time_is_an_error_and_its_late_reply_nobodys(line, redis_proxy, key_prefix):
    name = f"{key_prefix}line"
    await line.execute("SET", name, "said")
    redis_proxy.mode = "drop_replies"
    began = time.monotonic()
    with pytest.raises(TooLate):
        await line.execute("GET", name)
    assert time.monotonic() - began < 10 * QUICK.redis_timeout
    assert line.connections() == []

    redis_proxy.mode = "pass"
    assert await line.execute("GET", name) == b"said"


async def test_whoever_is_cancelled_leaves_no_reply_for_the_next(redis_proxy, key_prefix):
    line = Line("awaited", redis_proxy.url)
    names = [f"{key_prefix}{n}" for n in range(50)]
    for name in names:
        await line.execute("SET", name, name)

    async def get(name):
        return await line.execute("GET", name)

    for wait in range(50):
        tasks = [asyncio.create_task(get(name)) for name in names[:8]]
        for _ in range(wait % 7):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [one.decode() for one in found if isinstance(one, bytes)] == [
            name for name, one in zip(names, found, strict=False) if isinstance(one, bytes)
        ]
        assert all(isinstance(one, (bytes, asyncio.CancelledError)) for one in found)
    await line.close()
    assert line.connections() == []


def test_threads_share_no_connection_at_a_time(redis_proxy, key_prefix):
    link, wrong = RedisLink(redis_proxy.url, QUICK), []

    def work(number):
        name = f"{key_prefix}{number}"
        for n in range(100):
            link.execute("SET", name, f"{number} {n}")
            if link.execute("GET", name) != f"{number} {n}".encode():
                wrong.append((number, n))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert len(link.connections()) <= 8
    link.close()
    assert link.connections() == []


async def test_of_idle_connections_that_went_silent_one_is_waited_for(line, redis_proxy):
    """A firewall forgets them without a word, all of them; new ones go through."""
    redis_proxy.latency, redis_proxy.mode = 0.05, "latency"
    ping = partial(line.link.execute, "PING")
    await asyncio.gather(*(ping() if line.awaited else asyncio.to_thread(ping) for _ in range(6)))
    redis_proxy.mode = "pass"
    began = time.monotonic()
    await line.execute("PING")
    held = len(line.connections())
    redis_proxy.forget_all()
    with pytest.raises(TooLate):
        await line.execute("PING")
    await line.doubt(began)

    assert held >= 2
    assert line.connections() == []
    assert await line.execute("PING") in (b"PONG", True)


async def test_whoever_is_answered_after_the_end_leaves_no_connection(line, redis_proxy):
    redis_proxy.latency, redis_proxy.mode = 0.1, "latency"
    ping = partial(line.link.execute, "PING")
    calls = [asyncio.create_task(ping() if line.awaited else asyncio.to_thread(ping)) for _ in range(4)]
    await asyncio.sleep(0.1)
    await line.close()
    await asyncio.gather(*calls, return_exceptions=True)
    assert line.connections() == []


async def test_an_event_loop_that_is_held_up_is_no_late_answer(redis_proxy):
    """The answers are there, and unread: an application has a moment of work between two awaits."""
    line = Line("awaited", redis_proxy.url)
    for _ in range(2):  # while connecting, and then over connections that are ready
        calls = [asyncio.create_task(line.execute("PING")) for _ in range(5)]
        await asyncio.sleep(0)
        time.sleep(2.5 * QUICK.redis_timeout)  # noqa: ASYNC251 - just that
        assert await asyncio.gather(*calls) == [await line.execute("PING")] * 5
    await line.close()


async def test_an_event_loop_that_is_held_up_waits_for_no_answer_that_does_not_come(redis_proxy):
    line = Line("awaited", redis_proxy.url)
    await line.execute("PING")
    redis_proxy.mode = "drop_replies"
    call = asyncio.create_task(line.execute("PING"))
    await asyncio.sleep(0)
    time.sleep(1.5 * QUICK.redis_timeout)  # noqa: ASYNC251 - just that
    with pytest.raises(TooLate):
        await asyncio.wait_for(call, 20 * QUICK.redis_timeout)
    await line.close()


async def test_what_was_heard_of_since_is_not_doubted(line):
    began = time.monotonic()
    await line.execute("PING")
    held = line.connections()
    await line.doubt(began)
    assert line.connections() == held
