"""The examples do what they say: each is run as a user would run it, and the notebook shows what it would show today."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import nbclient
import nbformat
import pytest

from convmemory import ConversationMemory

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
    return done.stdout


@contextmanager
def service(names: dict[str, str]) -> Iterator[httpx.Client]:
    """The chat service, for as long as the block lasts."""
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
            with httpx.Client(base_url=found[1], headers={"X-User-Id": "ada"}, timeout=30) as client:
                yield client
        finally:
            running.send_signal(signal.SIGTERM)
            running.communicate(timeout=30)


def test_the_page_lists_every_example():
    page = (EXAMPLES / "README.md").read_text("utf-8")
    parts = "replay_*.py"  # of replay.py
    programs = {path.name for path in EXAMPLES.glob("*.py") if "def main(" in path.read_text("utf-8")}
    programs -= {path.name for path in EXAMPLES.glob(parts)}

    assert {name for name in {*programs, NOTEBOOK.name} if f"]({name})" not in page} == set()
    assert len(programs) == 5


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


def test_the_chat_service_streams_remembers_and_keeps_users_apart(names, memory):
    with service(names) as client:
        asked = [
            client.post("/chat", json={"conversation_id": "hello", "message": message})
            for message in ("What is my name?", "My name is Ada.", "What is my name?")
        ]
        listed = client.get("/conversations").json()
        told = client.get("/conversations/hello/messages").json()
        older = client.get("/conversations/hello/messages", params={"before": 3}).json()
        eve = {"X-User-Id": "eve"}
        hers = client.get("/conversations", headers=eve).json()
        other = client.get("/conversations/hello/messages", headers=eve)
        uuid = str(memory.get_conversation("hello", user_id="ada").uuid)
        stolen = client.post("/chat", json={"conversation_id": uuid, "message": "Hi"}, headers=eve)
        nameless = client.post("/chat", json={"conversation_id": "", "message": "Hi"})

    assert [answer.text for answer in asked] == [
        "You have not told me your name yet.",
        "Your name is Ada.",
        "Your name is Ada.",
    ]
    assert asked[0].headers["transfer-encoding"] == "chunked"
    assert listed == {
        "conversations": [{"id": "hello", "title": "What is my name?", "messages": 6}],
        "next_cursor": None,
    }
    assert [(m["seq"], m["role"]) for m in told] == [
        (seq, role) for seq, role in enumerate(["human", "ai"] * 3, 1)
    ]
    assert told[1]["tokens_used"] == 4 + 8  # words in, words out
    assert [m["seq"] for m in older] == [1, 2]
    assert hers["conversations"] == []
    assert [answer.status_code for answer in (other, stolen, nameless)] == [404, 404, 422]


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
