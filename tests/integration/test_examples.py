"""The examples do what they say: each is run as a user would run it, and the notebook shows what it would show today."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import nbclient
import nbformat
import psycopg
import pytest
from langchain_core.messages import AIMessageChunk

from convmemory import ConversationMemory

pytestmark = pytest.mark.usefixtures("unmeasured")
EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "convmemory.ipynb"
RUNNING = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")


@pytest.fixture
def names(database_url, redis_url, schema_name, key_prefix):
    """The environment that names the servers of these tests."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CONVMEMORY_DB_SCHEMA": schema_name,
        "CONVMEMORY_KEY_PREFIX": key_prefix,
    }


@pytest.fixture
def memory(names, monkeypatch):
    """A look at what an example left behind."""
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    with ConversationMemory.from_env() as memory:
        memory.init_schema()
        yield memory


def program(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / name), *arguments]


def output(command: list[str], names: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, env=os.environ | (names or {}), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


@contextmanager
def service(names: dict[str, str]) -> Iterator[str]:
    """The address of the chat service, for as long as the block lasts."""
    command = program("fastapi_chat.py", "--env", "--port", "0")
    with subprocess.Popen(command, env=os.environ | names, stderr=subprocess.PIPE, text=True) as running:
        try:
            said = ""
            for line in running.stderr or ():
                said += line
                if found := RUNNING.search(line):
                    break
            else:
                pytest.fail(f"it did not start: {said}")
            yield found[1]
        finally:
            running.send_signal(signal.SIGTERM)
            running.communicate(timeout=30)


class Visitor:
    """Somebody who has logged in to the chat service."""

    def __init__(self, address: str, user: str) -> None:
        token = httpx.post(f"{address}/login", json={"user": user}, timeout=30).json()["token"]
        self.client = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=30)

    def turn(self, message: str, **where: Any) -> list[Event]:
        """What the service streams back."""
        with self.client.stream("POST", "/chat", json={"message": message, **where}) as response:
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = ((line, time.monotonic()) for line in response.iter_lines() if line)
            return [
                Event(kind.removeprefix("event: "), json.loads(data.removeprefix("data: ")), at)
                for (kind, _), (data, at) in zip(lines, lines, strict=True)
            ]


class Event(NamedTuple):
    """One server-sent event, and when it arrived."""

    kind: str
    data: dict[str, Any]
    at: float


def text_of(events: list[Event]) -> str:
    return "".join(event.data["text"] for event in events if event.kind == "text")


def test_the_page_lists_every_example():
    page = (EXAMPLES / "README.md").read_text("utf-8")
    parts = "replay_*.py"  # of replay.py
    programs = {path.name for path in EXAMPLES.glob("*.py") if "def main(" in path.read_text("utf-8")}
    programs -= {path.name for path in EXAMPLES.glob(parts)}

    assert {name for name in {*programs, NOTEBOOK.name} if f"]({name})" not in page} == set()
    assert len(programs) == 6


def test_the_rag_bot_answers_and_cites_on_servers_of_its_own():
    said = output(program("rag_bot.py"))

    turns = re.findall(r"^ (\d) (human|ai) +(.*)$", said, re.MULTILINE)
    assert [(seq, role) for seq, role, _ in turns] == [
        ("1", "human"),
        ("2", "ai"),
        ("3", "human"),
        ("4", "ai"),
    ]
    assert turns[1][2].startswith("Vacation is 20 days a year [1].")
    assert turns[3][2].startswith("You request vacation in the staff portal, two weeks ahead [1].")
    assert said.count("    [1] vacation (score ") == 2


def test_the_rag_bot_goes_on_in_another_process_and_stores_its_sources(names, memory):
    output(program("rag_bot.py", "--env", "What does a parking space cost?"), names)
    output(program("rag_bot.py", "--env", "How do I request it?"), names)

    _, first, _, second = memory.get_messages("handbook", user_id="ada")
    assert first.content == "A parking space costs 20 a month [1]."
    assert second.content.startswith("You request parking by mail to the front desk [1].")
    assert [found.doc_id for found in first.contexts] == ["parking"]
    assert second.contexts[0].doc_id == "parking"
    assert second.contexts[0].content.startswith("A parking space costs")
    assert second.contexts[0].score == 1.0


def test_without_the_turn_before_the_rag_bot_would_not_know(names, memory):
    output(program("rag_bot.py", "--env", "How do I request it?"), names)

    [_, alone] = memory.get_messages("handbook", user_id="ada")
    assert "parking" not in {found.doc_id for found in alone.contexts[:1]}


def test_the_agent_stores_calls_and_results_in_order_and_knows_which_order_is_meant(names, memory):
    said = output(program("tool_agent.py", "--env"), names).splitlines()

    assert said[1:] == [
        " 1 human Where is my order 1042?",
        " 2 ai    find_order(1042)",
        " 3 tool  a kettle, delivered on Monday",
        " 4 ai    Order 1042: a kettle, delivered on Monday.",
        " 5 human Then send it back, please.",
        " 6 ai    start_return(1042)",
        " 7 tool  label R-1042",
        " 8 ai    Order 1042: label R-1042.",
    ]
    _, call, result, answer, *_ = memory.get_messages("orders", user_id="ada")
    assert result.message.tool_call_id == call.message.tool_calls[0]["id"]
    assert answer.tokens_used


@pytest.fixture
def visitor():
    """A function that logs somebody in; their connections are closed in the end."""
    with ExitStack() as clients:

        def arrived(address: str, user: str) -> Visitor:
            made = Visitor(address, user)
            clients.enter_context(made.client)
            return made

        yield arrived


@pytest.fixture(scope="module")
def address(database_url, redis_url):
    """A chat service that these tests share; each is a user of its own."""
    name = f"t_{uuid4().hex[:12]}"
    names = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CONVMEMORY_DB_SCHEMA": name,
        "CONVMEMORY_KEY_PREFIX": f"{name}:",
    }
    with service(names) as found:
        yield found
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"DROP SCHEMA {name} CASCADE")


def test_the_chat_service_tells_tools_and_words_as_they_come(address, visitor):
    events = visitor(address, "piece by piece").turn("Where is my order 1042?")
    words = [event for event in events if event.kind == "text"]

    assert [event.kind for event in events] == ["begin", "tool", *["text"] * 7, "end"]
    assert events[1].data == {"name": "find_order", "result": "a kettle, delivered on Monday"}
    assert text_of(events) == "Order 1042: a kettle, delivered on Monday."
    assert words[-1].at - words[0].at > 0.1  # seven words, each of which takes the model 0.03 s


def test_the_second_turn_of_the_chat_service_knows_the_first(address, visitor):
    ada = visitor(address, "ada")
    first = ada.turn("Where is my order 1042?")[0].data
    by_conversation = ada.turn("Then send it back, please.", conversation_id=first["conversation_id"])
    by_session = ada.turn("And where is it now?", session_id=first["session_id"])
    elsewhere = ada.turn("Where is it?")

    assert text_of(by_conversation) == "Order 1042: label R-1042."
    assert text_of(by_session) == "Order 1042: a kettle, delivered on Monday."
    assert by_session[0].data == first
    assert text_of(elsewhere) == "Which order do you mean?"
    assert elsewhere[0].data["conversation_id"] != first["conversation_id"]


def test_the_chat_service_lists_shows_and_deletes_conversations(address, visitor):
    client = (grace := visitor(address, "grace")).client
    begin = grace.turn("Where is my order 2001?")[0].data
    name = begin["conversation_id"]
    path = f"/conversations/{name}"
    listed, shown = client.get("/conversations").json(), client.get(path).json()
    older = client.get(f"{path}/messages", params={"before": 3}).json()
    gone = [client.delete(path), client.get(path), client.delete(path)]
    afterwards = grace.turn("Where is it?", session_id=begin["session_id"])

    assert [(c["id"], c["title"], c["message_count"]) for c in listed["items"]] == [
        (name, "Where is my order 2001?", 4)
    ]
    assert listed["next_cursor"] is None
    assert [m["role"] for m in shown["messages"]] == ["human", "ai", "tool", "ai"]
    assert shown["messages"][3]["tokens_used"]
    assert [m["seq"] for m in older] == [1, 2]
    assert [answer.status_code for answer in gone] == [204, 404, 404]
    assert afterwards[0].data["conversation_id"] != name  # the session's is gone: a new one
    assert afterwards[0].data["session_id"] == begin["session_id"]


def test_a_session_of_the_chat_service_ends_and_the_conversation_stays(address, visitor):
    mary = visitor(address, "mary")
    begin = mary.turn("Where is my order 1042?")[0].data
    left = mary.client.delete(f"/sessions/{begin['session_id']}")
    again = mary.turn("Send it back.", **begin)

    assert left.status_code == 204
    assert again[0].data["session_id"] != begin["session_id"]
    assert text_of(again) == "Order 1042: label R-1042."


def test_to_a_stranger_a_conversation_of_the_chat_service_is_not_there(address, visitor):
    begin = (alan := visitor(address, "alan")).turn("Where is my order 1042?")[0].data
    name, eve = begin["conversation_id"], visitor(address, "eve")
    tries = [
        eve.client.get(f"/conversations/{name}"),
        eve.client.get(f"/conversations/{name}/messages"),
        eve.client.delete(f"/conversations/{name}"),
        eve.client.post("/chat", json={"message": "Hi", "conversation_id": name}),
    ]
    nowhere = eve.client.post("/chat", json={"message": "Hi", "conversation_id": "no such"})
    with_his_session = eve.turn("Where is it?", session_id=begin["session_id"])
    without_a_token = httpx.get(f"{address}/conversations", timeout=30)
    wrong = [{"message": ""}, {"message": "Hi", "conversation_id": ""}]

    assert [answer.status_code for answer in [*tries, nowhere]] == [404] * 5
    assert with_his_session[0].data["conversation_id"] != name
    assert (without_a_token.status_code, without_a_token.headers["www-authenticate"]) == (401, "Bearer")
    assert [eve.client.post("/chat", json=body).status_code for body in wrong] == [422, 422]
    assert alan.client.get(f"/conversations/{name}").json()["message_count"] == 4
    assert len(eve.client.get("/conversations").json()["items"]) == 1  # the one her own turn began


def test_users_of_the_chat_service_who_talk_at_once_are_not_mixed_up(address, visitor):
    def visit(order: int) -> tuple[list[str], list[str], bool]:
        user = visitor(address, f"user {order}")
        first = user.turn(f"Where is my order {order}?")
        name = first[0].data["conversation_id"]
        second = user.turn("Send it back.", conversation_id=name)
        stored = user.client.get(f"/conversations/{name}").json()["messages"]
        said = [message["content"] for message in stored if message["role"] == "human"]
        listed = user.client.get("/conversations").json()["items"]
        return [text_of(first), text_of(second)], said, [one["id"] for one in listed] == [name]

    orders = range(7001, 7013)
    with ThreadPoolExecutor(len(orders)) as crowd:
        visits = list(crowd.map(visit, orders))

    assert visits == [
        ([f"Order {n}: no such order."] * 2, [f"Where is my order {n}?", "Send it back."], True)
        for n in orders
    ]


def test_without_redis_the_chat_service_has_no_sessions_and_goes_on(names, visitor):
    with service(names | {"REDIS_URL": "redis://127.0.0.1:1/0"}) as address:
        ada = visitor(address, "ada")
        first = ada.turn("Where is my order 1042?")[0].data
        second = ada.turn("Then send it back, please.", **first)
        ready = httpx.get(f"{address}/ready", timeout=30)
        leaving = ada.client.delete("/sessions/abc")

    assert first["session_id"] is None
    assert text_of(second) == "Order 1042: label R-1042."
    assert (ready.status_code, ready.json()) == (200, {"status": "degraded"})
    assert (leaving.status_code, leaving.json()) == (503, {"detail": "try again"})


async def test_a_turn_of_the_chat_service_that_fails_says_so(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    answer = importlib.import_module("fastapi_chat").answer

    class Failing:
        async def astream(
            self, *_: object, **__: object
        ) -> AsyncIterator[tuple[AIMessageChunk, dict[str, Any]]]:
            yield AIMessageChunk("20 da"), {}
            raise RuntimeError("my key is hunter2")

    told = [event async for event in answer(Failing(), "Hi", {}, {})]

    assert [event.split("\n", 1)[0] for event in told] == ["event: begin", "event: text", "event: error"]
    assert told[-1].split("\n")[1] == 'data: {"detail": "RuntimeError"}'


@pytest.fixture(scope="module")
def notebook():
    """The notebook as it is committed, and as it comes out when it is run now."""
    committed = nbformat.read(NOTEBOOK, as_version=4)
    fresh = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(EXAMPLES)}}
    nbclient.NotebookClient(fresh, timeout=120, record_timing=False, resources=place).execute()
    return committed, fresh


def shown(document: nbformat.NotebookNode) -> dict[str, str]:
    """What a reader sees below each cell, with a picture as what it is instead of how it looks."""
    return {
        cell.id: "".join(one.get("text") or one.data["text/plain"] for one in cell.outputs)
        for cell in document.cells
        if cell.cell_type == "code"
    }


def test_the_notebook_shows_what_it_would_show_today(notebook):
    committed, fresh = notebook

    assert shown(fresh) == shown(committed)
    assert "You request vacation in the staff portal" in shown(committed)["ask"]
    assert shown(committed)["end"] == "[]\n"


def test_the_notebook_has_its_charts_and_nothing_of_the_machine_it_ran_on(notebook):
    committed, _ = notebook
    outputs = [one for cell in committed.cells if cell.cell_type == "code" for one in cell.outputs]
    text = "".join(shown(committed).values())

    assert [one.output_type for one in outputs if "image/png" in one.get("data", {})] == ["display_data"]
    assert {one.output_type for one in outputs} == {"stream", "display_data"}
    assert {one.name for one in outputs if one.output_type == "stream"} == {"stdout"}
    assert "/" not in text  # no path
    assert "Warning" not in text
    assert committed.metadata.kernelspec.name == "python3"
    assert all(set(cell.metadata) == set() for cell in committed.cells)
