"""The chat route in several processes over one pair of servers: read along, stopped, sent again, killed, and in numbers."""

import asyncio
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import pytest

fastapi = pytest.importorskip("fastapi", reason="not installed beside the package alone")
pytest.importorskip("langchain", reason="not installed beside the package alone")
import httpx  # noqa: E402 - comes with the tests of fastapi

from convmemory.api.callers import Served  # noqa: E402
from convmemory.api.chat import relay  # noqa: E402
from convmemory.api.chat.runs import Run  # noqa: E402
from convmemory.ids import new_uuid  # noqa: E402
from fix_chat import events_of, served  # noqa: E402
from fix_memory import until  # noqa: E402
from fix_servers import same_binaries  # noqa: E402
from scripted_chat import Reader, agent_of  # noqa: E402
from torture.servers import Hot  # noqa: E402

STREAM = {"accept": "text/event-stream"}


async def words(client, conversation="c"):
    found = await client.get(f"/conversations/{conversation}/messages")
    return [(one["role"], one["content"]) for one in found.json()["items"]]


@pytest.fixture
async def pair(make_chat):
    """Two applications over the same servers, each with a memory of its own, and a model that both have."""
    gate = asyncio.Event()
    model = Reader(lines=[["half ", gate, "and half"]])
    return await make_chat(agent_of(model, save_partial=True)), await make_chat(agent_of(model)), model, gate


async def begun(client, model, **more):
    said = {"json": {"message": "one", "conversation_id": "c"}, "headers": more}
    answer = asyncio.create_task(client.post("/chat", **said))
    await until(lambda: model.prompts)
    await asyncio.sleep(2 * relay.GATHERED)
    return said, answer


async def test_an_answer_is_read_along_from_another_process_and_comes_to_the_same_end(pair):
    one, other, model, gate = pair
    _, answer = await begun(one, model)
    busy = await other.post("/chat", json={"message": "two", "conversation_id": "c"})
    assert busy.status_code == 409
    resumed = asyncio.create_task(other.get("/chat/c/stream"))
    await asyncio.sleep(0.1)
    gate.set()
    told = events_of((await resumed).text)
    assert [kind for kind, _ in told] == ["begin", "text", "text", "end"]
    assert told[-1][1] == (await answer).json()
    assert (await other.get("/chat/c/stream")).status_code == 204
    after = await other.post("/chat", json={"message": "two", "conversation_id": "c"})
    assert after.json()["reply"] == "3 shown"
    assert len(await words(one)) == 4


async def test_an_answer_is_stopped_from_another_process(pair):
    one, other, model, _ = pair
    _, answer = await begun(one, model)
    assert (await other.post("/chat/c/stop")).status_code == 204
    assert (await answer).json()["stopped"] is True
    assert await words(one) == [("human", "one"), ("ai", "half ")]


async def test_a_request_sent_again_to_another_process_is_one_turn(pair):
    one, other, model, gate = pair
    said, answer = await begun(one, model, **{"idempotency-key": "k"})
    again = [
        asyncio.create_task(other.post("/chat", json=said["json"], headers=said["headers"] | more))
        for more in ({}, STREAM)
    ]
    await asyncio.sleep(0.1)
    gate.set()
    whole, streamed = await asyncio.gather(*again)
    assert whole.json()["messages"] == (await answer).json()["messages"]
    assert events_of(streamed.text)[-1][1]["messages"] == whole.json()["messages"]
    after = await other.post("/chat", json=said["json"], headers=said["headers"])
    assert after.json()["messages"] == whole.json()["messages"]
    assert len(model.prompts) == 1


async def test_what_is_more_than_redis_is_to_hold_is_cut_for_other_processes_alone(pair, monkeypatch):
    monkeypatch.setattr(relay, "MOST_BYTES", 10)
    one, other, model, gate = pair
    _, answer = await begun(one, model)
    assert (await other.get("/chat/c/stream")).status_code == 204
    gate.set()
    assert (await answer).json()["reply"] == "half and half"


async def test_what_is_cut_for_other_processes_is_answered_once_and_by_nobody_else(pair, monkeypatch):
    monkeypatch.setattr(relay, "MOST_BYTES", 10)
    one, other, model, gate = pair
    said, answer = await begun(one, model, **{"idempotency-key": "k"})
    for request in said, {"json": {"message": "two", "conversation_id": "c"}}:
        assert (await other.post("/chat", **request)).status_code == 409
    assert (await other.post("/chat/c/stop")).status_code == 204
    assert (await answer).json()["stopped"] is True
    gate.set()
    assert len(model.prompts) == 1


async def test_whoever_reads_along_is_told_that_the_rest_is_not_handed_on(pair, monkeypatch, keyspace):
    one, other, model, gate = pair
    model.lines[0][2] = "and half" * 1_000
    _, answer = await begun(one, model)
    along = asyncio.create_task(other.get("/chat/c/stream"))
    await asyncio.sleep(2 * relay.GATHERED)
    monkeypatch.setattr(relay, "MOST_BYTES", 500)
    gate.set()
    assert [kind for kind, _ in events_of((await along).text)] == ["begin", "text", "error"]
    assert len((await answer).json()["reply"]) > 8_000
    [name] = [name for name in keyspace.names() if b":run:" in name]
    assert sum(map(len, keyspace.client.hgetall(name).values())) < 1_000


@pytest.mark.parametrize("process", ["the same", "another"])
async def test_an_edit_sent_again_is_one_turn(make_chat, process):
    model = Reader(lines=[["first"], ["second"]])
    one, other = await make_chat(model), await make_chat(model)
    asked = (await one.post("/chat", json={"message": "q", "conversation_id": "c"})).json()
    said = {
        "json": {"message": "edited", "message_id": asked["question_id"], "conversation_id": "c"},
        "headers": {"idempotency-key": "k"},
    }
    answer = await one.post("/chat", **said)
    again = await (one if process == "the same" else other).post("/chat", **said)
    assert again.json()["messages"] == answer.json()["messages"]
    assert len(model.prompts) == 2


async def test_an_answer_that_is_given_anew_at_once_is_on_its_way_for_every_process(make_chat):
    gate = asyncio.Event()
    model = Reader(lines=[["first"], ["half ", gate, "and half"]])
    one, other = [await make_chat(model, protocol="ai-sdk") for _ in range(2)]
    question = {"id": "m", "role": "user", "parts": [{"type": "text", "text": "go"}]}
    said = {"json": {"id": "c", "messages": [question]}}
    await one.post("/chat", **said)
    said["json"]["trigger"] = "regenerate-message"
    anew = asyncio.create_task(one.post("/chat", **said))
    await until(lambda: len(model.prompts) == 2)
    question["id"] = "m2"
    assert (await other.post("/chat", json={"id": "c", "messages": [question]})).status_code == 409
    gate.set()
    assert "and half" in (await anew).text


async def test_an_end_that_redis_did_not_hear_of_is_told_it_when_it_is_back(
    make_chat, open_memory, redis_proxy, keyspace
):
    gate = asyncio.Event()
    model = Reader(lines=[["half ", gate, "and half"]])
    client = await make_chat(model, memory=await open_memory(redis_proxy.url, redis_timeout=0.3))
    _, answer = await begun(client, model)
    redis_proxy.mode = "refuse"
    redis_proxy.reset_all()
    gate.set()
    assert (await answer).json()["reply"] == "half and half"
    redis_proxy.mode = "pass"
    [name] = [name for name in keyspace.names() if b":run:" in name]
    await until(lambda: keyspace.client.hget(name, "state") == b"finished")


async def test_a_run_that_did_not_begin_after_all_is_told_as_broken_off_elsewhere(open_memory):
    served = [Served.of(await open_memory()) for _ in range(2)]
    found = await served[0].for_user("ada").create_conversation()
    one, other = [relay.Relay(each.relay, b"lost") for each in served]
    begun = Run(new_uuid().hex, "ada", found.uuid, "k")
    assert await one.begin(begun) is None
    elsewhere = await other.begin(Run(new_uuid().hex, "ada", found.uuid, "k"))
    await one.release(begun)

    assert [frame async for frame in elsewhere.follow()] == [b"lost"]


async def test_no_key_is_left_without_an_end_and_none_after_it(pair, keyspace):
    one, _, model, gate = pair
    _, answer = await begun(one, model)
    assert any(b":run:" in name for name in keyspace.names())
    gate.set()
    await answer
    assert keyspace.immortal() == []
    assert max(ms for name, ms in keyspace.lives().items() if b":run:" in name) <= 15_000


async def test_a_redis_that_is_full_at_the_end_of_an_answer_holds_up_no_other(
    make_chat, open_memory, tmp_path
):
    gate = asyncio.Event()
    model = Reader(lines=[["half ", gate, "and half"]])
    with same_binaries():
        server = Hot(tmp_path / "redis")
    server.start()
    try:
        client = await make_chat(model, memory=await open_memory(server.url))
        _, answer = await begun(client, model)
        server.client.config_set("maxmemory", 1)
        gate.set()
        assert (await answer).json()["reply"] == "half and half"
        async with asyncio.timeout(relay.ALIVE / 2):
            after = await client.post("/chat", json={"message": "two", "conversation_id": "c"})
        assert after.json()["reply"] == "3 shown"
    finally:
        server.end()


async def test_a_redis_that_goes_away_costs_an_answer_nothing(make_chat, open_memory, redis_proxy):
    gate = asyncio.Event()
    model = Reader(lines=[["half ", gate, "and half"]])
    client = await make_chat(model, memory=await open_memory(redis_proxy.url, redis_timeout=0.3))
    _, answer = await begun(client, model)
    redis_proxy.mode = "refuse"
    redis_proxy.reset_all()
    await asyncio.sleep(0.5)
    gate.set()
    assert (await answer).json()["reply"] == "half and half"
    async with asyncio.timeout(relay.ALIVE / 2):  # for an end that cannot be told nobody waits
        after = await client.post("/chat", json={"message": "two", "conversation_id": "c"})
    assert after.json()["reply"] == "3 shown"


STREAMS = int(os.environ.get("CONVMEMORY_TEST_STREAMS", "50"))
LIVES = int(os.environ.get("CONVMEMORY_TEST_LIVES", "1"))
"""How many streams at once, and how often a server is killed."""
SERVER = """
import asyncio, sys, uvicorn
from convmemory._async import run_relay
run_relay.LEASE = 2_000
from fastapi import FastAPI
from contextlib import asynccontextmanager
from convmemory import AsyncConversationMemory
from convmemory.api import create_chat_router, create_router
from scripted_chat import Reader, agent_of
memory = AsyncConversationMemory.from_env()
@asynccontextmanager
async def lifespan(app):
    async with memory:
        yield
class Slow(Reader):
    def _next(self, messages):
        return ["one ", 0.05, "two ", 0.05, "three"]
app = FastAPI(lifespan=lifespan)
runnable = Slow() if sys.argv[2] == "chain" else agent_of(Slow())(memory)
for prefix, protocol in (("", "plain"), ("/ai", "ai-sdk")):
    app.include_router(create_chat_router(memory, runnable, current_user=lambda: "ada", protocol=protocol), prefix=prefix)
app.include_router(create_router(memory, current_user=lambda: "ada"))
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""


@pytest.fixture
async def start(database_url, redis_url, schema, key_prefix):
    """A function that starts a server in a process of its own, and gives the process and its address."""
    started = []
    names = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CONVMEMORY_DB_SCHEMA": schema,
        "CONVMEMORY_KEY_PREFIX": key_prefix,
        "PYTHONPATH": os.pathsep.join(str(Path(__file__).parents[2] / name) for name in ("src", "tests")),
    }

    async def made(port, kind):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVER, str(port), kind, env=names
        )
        started.append(process)
        async with httpx.AsyncClient() as client:
            for _ in range(600):
                try:
                    await client.get(f"http://127.0.0.1:{port}/health/live")
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
                else:
                    return process, f"http://127.0.0.1:{port}"
        raise AssertionError("the server never came")

    yield made
    for process in started:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


def free_port():
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize("kind", ["chain", "agent"])
async def test_a_server_that_is_killed_loses_nothing_it_acknowledged_and_stores_nothing_twice(start, kind):
    port = free_port()
    acknowledged: dict[str, list] = {}
    process, url = await start(port, kind)
    for life in range(LIVES):
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:

            async def ask(name, client=client):
                sent = {"message": name, "conversation_id": name.split("-")[0]}
                headers = {"idempotency-key": name}
                try:
                    answer = await client.post("/chat", json=sent, headers=headers)
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    acknowledged[name] = answer.json()["messages"]

            names = [f"c{n}-{life}" for n in range(8)]
            going = [asyncio.create_task(ask(name)) for name in names]
            await asyncio.sleep(0.12 + 0.05 * life)
            process.send_signal(signal.SIGKILL)
            await asyncio.gather(*going)
            await process.wait()
        process, url = await start(port, kind)
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            for name in names:  # as a client does whose connection broke
                for _ in range(40):
                    sent = {"message": name, "conversation_id": name.split("-")[0]}
                    answer = await client.post("/chat", json=sent, headers={"idempotency-key": name})
                    if answer.status_code != 409:
                        break
                    await asyncio.sleep(0.5)  # the lease of the run that died
                assert answer.status_code == 200, answer.text
                assert acknowledged.setdefault(name, answer.json()["messages"]) == answer.json()["messages"]
    async with httpx.AsyncClient(base_url=url) as client:
        for number in range(8):
            stored = (await client.get(f"/conversations/c{number}/messages")).json()["items"]
            told = [one for life in range(LIVES) for one in acknowledged[f"c{number}-{life}"]]
            assert [one["id"] for one in stored] == [one["id"] for one in told]
            assert [one["content"] for one in stored[1::2]] == ["one two three"] * LIVES


async def test_many_streams_at_once_lose_no_turn(make_chat):
    class Slow(Reader):
        def _next(self, messages):
            del messages
            return ["one ", 0.3, "two ", 0.3, *["x"] * 50]

    client = await make_chat(Slow(), max_runs=1_000)
    limits = httpx.Limits(max_connections=250)
    async with (
        served(client.app, backlog=512) as url,
        httpx.AsyncClient(base_url=url, headers={"x-user": "ada"}, limits=limits, timeout=60) as real,
    ):

        async def ask(number):
            said = {"message": f"{number}", "conversation_id": f"c{number}"}
            answer = await real.post("/chat", json=said, headers=STREAM)
            return events_of(answer.text)[-1]

        began = time.perf_counter()
        for _ in range(2):
            ends = await asyncio.gather(*(ask(number) for number in range(STREAMS)))
            assert {kind for kind, _ in ends} == {"end"}
        took = time.perf_counter() - began
        found = await asyncio.gather(*(words(real, f"c{number}") for number in range(STREAMS)))
    assert all(len(one) == 4 for one in found)
    print(json.dumps({"seconds": took, "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
