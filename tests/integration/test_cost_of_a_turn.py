"""What a turn costs where nothing wobbles: Python calls, bytes on the wire, and commands inside scripts.

Time is measured in ``benchmarks/``. These bounds are a little above what was counted when they were written; whoever
needs more says why in the commit that moves them.
"""

import sys
from collections import Counter
from contextlib import contextmanager
from itertools import takewhile

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import AsyncConversationMemory, ConversationMemory

TEXT = "word " * 80  # 400 bytes
CALLS = {"read": 220, "append": 420, "read awaited": 350, "append awaited": 730}
"""Function calls of a warm read of 6 messages and of an append of 2, the drivers' own included."""
BYTES = {"read": (380, 2_800), "append to Redis": (1_350, 40), "append to PostgreSQL": (1_350, 420)}
"""Sent and received, with messages of 400 bytes."""
COMMANDS = {"read": 4, "append": 10}
"""Of Redis, the script itself included."""
OVER_HTTP = {"list": 520, "page": 820}
"""Function calls that a list of 20 conversations and a page of 50 messages take more than the verb and an empty route do."""


def turn():
    return [HumanMessage(TEXT), AIMessage(TEXT)]


@contextmanager
def counted():
    """Calls of Python and C functions in this thread, by kind."""
    found = Counter()

    def count(_frame, event, _argument):
        found[event] += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        yield found
    finally:
        sys.setprofile(None)


def calls_of(work, times=20):
    """How many functions one call of ``work`` takes."""
    with counted() as found:
        for _ in range(times):
            work()
    return sum(found.values()) / times


async def awaited_calls_of(work, times=20, warm=0):
    """How many functions one awaited call of ``work`` takes, after some that warm it up."""
    for _ in range(warm):
        await work()
    with counted() as found:
        for _ in range(times):
            await work()
    return sum(found.values()) / times


@pytest.fixture
def warm(database_url, redis_url, schema, key_prefix):
    settings = {"db_schema": schema, "key_prefix": key_prefix, "pool_max": 1}
    with ConversationMemory.from_url(database_url, redis_url, **settings) as memory:
        history = memory.history("c", user_id="ana")
        for _ in range(8):
            history.add_messages(turn())
            assert history.messages
        memory.redis.trust._began = float("inf")  # the look at the marks, twice a second, has its own test
        yield memory, history


@pytest.mark.no_cover  # coverage is a profile of its own
def test_how_many_functions_a_blocking_turn_calls(warm):
    _, history = warm
    said = [turn() for _ in range(20)]

    assert calls_of(lambda: history.messages) <= CALLS["read"]
    assert calls_of(lambda: history.add_messages(said.pop())) <= CALLS["append"]


@pytest.mark.no_cover
async def test_how_many_functions_an_awaited_turn_calls(database_url, redis_url, schema, key_prefix):
    settings = {"db_schema": schema, "key_prefix": key_prefix, "pool_max": 1}
    async with AsyncConversationMemory.from_url(database_url, redis_url, **settings) as memory:
        history = memory.history("c", user_id="ana")
        for _ in range(8):
            await history.aadd_messages(turn())
            assert await history.aget_messages()
        memory.redis.trust._began = float("inf")
        said = [turn() for _ in range(20)]
        assert await awaited_calls_of(history.aget_messages) <= CALLS["read awaited"]
        assert await awaited_calls_of(lambda: history.aadd_messages(said.pop())) <= CALLS["append awaited"]


@pytest.mark.no_cover
async def test_how_many_functions_http_adds_to_a_list_and_to_a_page(
    database_url, redis_url, schema, key_prefix
):
    fastapi = pytest.importorskip("fastapi", reason="not installed beside the package alone")
    httpx = pytest.importorskip("httpx", reason="comes with the tests of fastapi")
    from convmemory.api import create_router

    async def current_user(x_user: str = fastapi.Header()):
        return x_user

    settings = {"db_schema": schema, "key_prefix": key_prefix, "pool_max": 1}
    async with AsyncConversationMemory.from_url(database_url, redis_url, **settings) as memory:
        mine = memory.for_user("ana")
        for name in range(20):
            await mine.save_messages(f"c{name}", turn() * (25 if name == 19 else 1))
        memory.redis.trust._began = float("inf")
        app = fastapi.FastAPI()

        @app.get("/nothing")
        async def nothing(user: str = fastapi.Depends(current_user)):
            return fastapi.Response(user)

        app.include_router(create_router(memory, current_user=current_user))

        async def cost(work):
            return await awaited_calls_of(work, warm=8)

        asked = {"base_url": "http://api", "headers": {"x-user": "ana"}}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), **asked) as client:
            empty = await cost(lambda: client.get("/nothing"))
            found = {
                "list": await cost(lambda: client.get("/conversations"))
                - await cost(mine.list_user_conversations),
                "page": await cost(lambda: client.get("/conversations/c19/messages"))
                - await cost(lambda: mine.get_messages("c19")),
            }
            assert len((await client.get("/conversations")).json()["items"]) == 20
            assert len((await client.get("/conversations/c19/messages")).json()["items"]) == 50

    over = {what: calls - empty for what, calls in found.items()}
    assert {what: calls for what, calls in over.items() if calls > OVER_HTTP[what]} == {}, over


def test_how_many_bytes_a_turn_puts_on_the_wire(postgres_proxy, redis_proxy, schema, key_prefix):
    settings = {"db_schema": schema, "key_prefix": key_prefix, "pool_max": 1}
    with ConversationMemory.from_url(postgres_proxy.url, redis_proxy.url, **settings) as memory:
        history = memory.history("c", user_id="ana")
        for _ in range(8):
            history.add_messages(turn())
            assert history.messages
        memory.redis.trust._began = float("inf")
        with redis_proxy.counting() as read:
            assert len(history.messages) == 6
        with redis_proxy.counting() as redis, postgres_proxy.counting() as postgres:
            history.add_messages(turn())

    for what, traffic in (("read", read), ("append to Redis", redis), ("append to PostgreSQL", postgres)):
        sent, received = BYTES[what]
        assert traffic.sent <= sent, what
        assert traffic.received <= received, what


def test_how_many_commands_a_turn_gives_redis(warm, keyspace):
    _, history = warm

    window = keyspace.window(history._key.uuid).decode()

    def commands(work):
        """Those between the script's own line and whatever comes next: nothing comes in between."""
        with keyspace.client.monitor() as monitor:
            work()
            keyspace.client.echo("that was all")
            seen = []
            while "that was all" not in (line := monitor.next_command())["command"]:
                seen.append(line)
        [begun] = [
            n for n, line in enumerate(seen) if line["client_type"] != "lua" and window in line["command"]
        ]
        return len(list(takewhile(lambda line: line["client_type"] == "lua", seen[begun + 1 :])))

    assert commands(lambda: history.messages) == COMMANDS["read"]
    assert commands(lambda: history.add_messages(turn())) == COMMANDS["append"]
