"""Two hundred answers at once through ``convmemory serve``: each is stored once, whatever its reader does, and nothing is left behind."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
import redis

from convmemory import ConversationMemory

pytestmark = pytest.mark.workers
STREAMS = int(os.environ.get("CONVMEMORY_TEST_STREAMS", "200"))
ROUNDS = int(os.environ.get("CONVMEMORY_TEST_ROUNDS", "4"))
TOKEN = "a-token-of-ones-own"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
STREAM = {"Accept": "text/event-stream"}
AGENT = """
import asyncio, gc, random

async def slow(turn):
    if turn.text == "tasks":
        yield str(sorted(one.get_name() for one in asyncio.all_tasks()))
        return
    for number in range(20):
        yield f"{number} "
        await asyncio.sleep(random.uniform(0.02, 0.1))
    yield f"end of {turn.text}"
"""
DEMO = "Where can I park?"
POOLS = 10 + 50 + 5
"""Connections that are kept, by default: to PostgreSQL, to Redis, and a few to spare."""
GROWTH = 12
"""Megabytes that the last round may have more than the second: what is kept of a turn that is over is its key."""


class Serve:
    """A ``convmemory serve`` that runs."""

    def __init__(self, process, address):
        self.process, self.address, self.pid = process, address, process.pid

    def megabytes(self):
        lines = Path(f"/proc/{self.pid}/status").read_text("utf-8").splitlines()
        [line] = [line for line in lines if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024

    def files(self):
        """Sockets and files that it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


@pytest.fixture
def start(tmp_path, database_url, redis_url, schema, key_prefix):
    """A function that starts it, on a port that may be named, with these options."""
    (tmp_path / "slow_agent.py").write_text(AGENT, "utf-8")
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CONVMEMORY_DB_SCHEMA": schema,
        "CONVMEMORY_KEY_PREFIX": key_prefix,
        "CONVMEMORY_SERVE_TOKEN": TOKEN,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
    }
    running = []

    def started(*options, port=0):
        if "--demo" in options:
            given = {
                name: value
                for name, value in environment.items()
                if "_URL" not in name and "_DB_" not in name
            }
        else:
            given = environment
        command = [sys.executable, "-m", "convmemory", "serve", "--json", "--port", str(port)]
        log = (tmp_path / "log").open("a")
        process = subprocess.Popen(
            [*command, "--max-runs", str(STREAMS * 2), *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=given,
            cwd=tmp_path,
        )
        running.append((process, log))
        line = process.stdout.readline()
        assert line, (tmp_path / "log").read_text("utf-8")
        return Serve(process, json.loads(line)["address"])

    yield started
    for process, log in running:
        if process.poll() is None:
            process.terminate()
        process.wait(60)
        process.stdout.close()
        log.close()


@asynccontextmanager
async def client_of(server):
    limits = httpx.Limits(max_connections=2 * STREAMS, max_keepalive_connections=0)
    async with httpx.AsyncClient(
        base_url=server.address, headers=HEADERS, limits=limits, timeout=120
    ) as client:
        yield client


def told(text):
    """The events of a stream: its kind, and what it says."""
    blocks = [
        dict(line.split(": ", 1) for line in block.split("\n"))
        for block in text.split("\n\n")
        if "data: " in block
    ]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


async def asked(client, method, path, **more):
    """An answer; a server that has too much to do, or is not done with what was asked before, is asked again."""
    while True:
        answer = await client.request(method, path, **more)
        # 409 also where Redis was not told of a run's end: for its lease
        if answer.status_code not in {409, 503}:
            return answer
        await asyncio.sleep(float(answer.headers.get("retry-after", "1")))


async def read(client, said, key):
    """As a page does that stays open."""
    answer = await asked(client, "POST", "/v1/chat", json=said, headers={**STREAM, "Idempotency-Key": key})
    assert answer.status_code == 200, answer.text
    return told(answer.text)[-1]


async def leave_and_come_back(client, said, key):
    """As a phone does whose connection breaks: what came is thrown away, and the answer read from its beginning."""
    headers = {**STREAM, "Idempotency-Key": key}
    async with client.stream("POST", "/v1/chat", json=said, headers=headers) as answer:
        async for _ in answer.aiter_bytes():
            break
    resumed = await asked(client, "GET", f"/v1/chat/{said['conversation_id']}/stream", headers=STREAM)
    if resumed.status_code != 200:  # it has come to its end meanwhile, or has not begun
        return await read(client, said, key)
    return told(resumed.text)[-1]


async def stop(client, said, key):
    """As who has read enough."""
    headers = {**STREAM, "Idempotency-Key": key}
    async with client.stream("POST", "/v1/chat", json=said, headers=headers) as answer:
        text = ""
        async for piece in answer.aiter_text():
            if not text and answer.status_code == 200:
                stopped = await asked(client, "POST", f"/v1/chat/{said['conversation_id']}/stop")
                assert stopped.status_code == 204
            text += piece
    return told(text)[-1] if answer.status_code == 200 else await read(client, said, key)


async def send_twice(client, said, key):
    """As a client does that is impatient."""
    one, other = await asyncio.gather(read(client, said, key), read(client, said, key))
    assert one[1]["messages"] == other[1]["messages"]
    return one


HABITS = (read, leave_and_come_back, read, stop, read, send_twice)


async def everybody(server, number, said):
    """A round: all streams at once, each in a conversation of its own; what each was told in the end."""
    async with client_of(server) as client:
        ends = await asyncio.gather(
            *(
                HABITS[at % len(HABITS)](
                    client, {"message": said(at), "conversation_id": f"c{at}"}, f"round {number} of {at}"
                )
                for at in range(STREAMS)
            )
        )
    assert Counter(kind for kind, _ in ends) == {"end": STREAMS}
    return [end["messages"] for _, end in ends]


async def stored(server):
    """What is stored of each conversation."""
    async with client_of(server) as client:

        async def of(at):
            answer = await client.get(f"/v1/conversations/c{at}/messages?limit=1000")
            return answer.json()["items"]

        found = []
        for at in range(0, STREAMS, 20):
            found += await asyncio.gather(*(of(one) for one in range(at, min(at + 20, STREAMS))))
    return found


def without_places(messages):
    return [(one["id"], one["role"], one["content"]) for one in messages]


async def settled(look, wanted, seconds=30):
    """Wait until it is so, and give what was seen last."""
    for _ in range(seconds * 4):
        if wanted(seen := look()):
            return seen
        await asyncio.sleep(0.25)
    return look()


@pytest.mark.parametrize("who", ["the demo's model", "a slow agent"])
async def test_no_turn_is_lost_and_nothing_is_left_behind(start, who, database_url, redis_url, key_prefix):
    demo = who == "the demo's model"
    server = start(*(["--demo"] if demo else ["--runnable", "slow_agent:slow"]))
    at_rest = server.files()
    sizes, all_told = [], [[] for _ in range(STREAMS)]
    for number in range(ROUNDS):
        ends = await everybody(server, number, lambda at: DEMO if demo else f"{number} of {at}")  # noqa: B023
        for messages, end in zip(all_told, ends, strict=True):
            messages.extend(end)
        sizes.append(server.megabytes())
    print(f"{who}: {STREAMS} at once, {ROUNDS} rounds; megabytes after each: {[round(one) for one in sizes]}")

    found = await stored(server)
    assert [without_places(one) for one in found] == [without_places(one) for one in all_told]
    if not demo:
        whole = [one[-1]["content"] for at, one in enumerate(found) if HABITS[at % len(HABITS)] is not stop]
        assert all("end of" in content for content in whole)
    if ROUNDS > 2:
        assert sizes[-1] - sizes[1] < GROWTH, sizes
    files = await settled(server.files, lambda seen: seen <= at_rest + POOLS)
    assert files <= at_rest + POOLS, (at_rest, files)
    if not demo:
        await nothing_is_left(server, database_url, redis_url, key_prefix)


async def nothing_is_left(server, database_url, redis_url, key_prefix):
    """No task, no connection that is busy, no key of a run."""
    with redis.Redis.from_url(redis_url) as client:
        keys = await settled(
            lambda: list(client.scan_iter(f"{key_prefix}*:run:*", count=1_000)), lambda seen: not seen
        )
    assert keys == []
    with psycopg.connect(database_url, autocommit=True) as connection:

        def busy():
            asked = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            return Counter(state for (state,) in connection.execute(asked))

        states = await settled(busy, lambda seen: not set(seen) - {"idle"})
        assert not set(states) - {"idle", None}, states
    async with client_of(server) as client:
        answer = await client.post("/v1/chat", json={"message": "tasks"})
    tasks = Counter(json.loads(answer.json()["reply"].replace("'", '"')))
    assert tasks["convmemory chat"] == 1  # which tells of them
    assert tasks["convmemory relay"] <= 1
    assert sum(tasks.values()) < 15, tasks


async def test_a_server_that_is_killed_with_all_of_them_on_their_way_loses_none(start):
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    server = start("--runnable", "slow_agent:slow", port=port)
    acknowledged = {}

    async def ask(client, at, *, again):
        said = {"message": f"of {at}", "conversation_id": f"c{at}"}
        for _ in range(200 if again else 1):
            try:
                answer = await client.post("/v1/chat", json=said, headers={"Idempotency-Key": f"key {at}"})
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                messages = without_places(answer.json()["messages"])
                assert acknowledged.setdefault(at, messages) == messages
                return
            assert answer.status_code in {409, 503}, answer.text  # the lease of the run that died
            await asyncio.sleep(0.5)

    async with client_of(server) as client:
        going = [asyncio.create_task(ask(client, at, again=False)) for at in range(STREAMS)]
        while len(acknowledged) < STREAMS // 4:  # noqa: ASYNC110 - the answers are another process's
            await asyncio.sleep(0.02)
        server.kill()
        await asyncio.gather(*going)
    before = len(acknowledged)
    server = start("--runnable", "slow_agent:slow", port=port)
    async with client_of(server) as client:
        await asyncio.gather(*(ask(client, at, again=True) for at in range(STREAMS)))
    found = await stored(server)
    print(f"killed with {before} of {STREAMS} answered")

    assert before < STREAMS
    assert [acknowledged[at] for at in range(STREAMS)] == [without_places(one) for one in found]
    assert all(one[-1]["content"].endswith(f"end of of {at}") for at, one in enumerate(found))
    assert all(len(one) == 2 for one in found)


@pytest.fixture(autouse=True)
def initialised(database_url, schema):
    with ConversationMemory.from_url(database_url, db_schema=schema) as memory:
        memory.init_schema()
