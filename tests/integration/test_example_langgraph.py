"""The LangGraph example: run as a user would, and its nodes when they fail, wait and run again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from langgraph.types import Command

from convmemory import ConversationMemory
from fix_memory import texts

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import langgraph_chat  # noqa: E402
from example_model import example_model  # noqa: E402

pytestmark = pytest.mark.usefixtures("unmeasured")
ADA = {"user_id": "ada"}
SCRIPTED = example_model(None, langgraph_chat.answer)
TALK = """\
after a restart the graph still waits at: ask
'How many days do I have?', 6 messages:
  human: How many days do I have?
  ai: You have 20 days a year. You have asked 1 times.
  human: Please book five of them.
  ai: I have to ask your manager.
  tool: 5 days are booked.
  ai: Well: 5 days are booked.
"""


@pytest.fixture
def names(database_url, redis_url, schema_name, key_prefix, monkeypatch):
    """The environment that names the servers of these tests."""
    for name, value in {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CONVMEMORY_DB_SCHEMA": schema_name,
        "CONVMEMORY_KEY_PREFIX": key_prefix,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def told(names):
    """Makes the config of a conversation of this test's own."""

    def about(memory, user="ada"):
        config = memory.run_config(conversation_id="vacation", user_id=user)
        config["configurable"]["thread_id"] = uuid4().hex
        return config

    return about


def ask(graph, config, question):
    graph.invoke({"turn": uuid4().hex, "question": question}, config)


def checkpointed(database_url) -> bytes:
    """All that the checkpointer wrote."""
    with psycopg.connect(database_url) as conn:
        rows = conn.execute(
            "SELECT blob FROM checkpoint_blobs UNION ALL SELECT blob FROM checkpoint_writes"
            " UNION ALL SELECT convert_to(checkpoint::text || metadata::text, 'UTF8') FROM checkpoints"
        ).fetchall()
    return b"".join(row[0] for row in rows if row[0])


def test_the_example_talks_waits_and_goes_on_after_a_restart(names, database_url):
    command = [sys.executable, str(EXAMPLES / "langgraph_chat.py"), "--env"]
    done = subprocess.run(
        command, env=dict(os.environ), capture_output=True, text=True, timeout=120, check=False
    )

    assert (done.stdout, done.returncode) == (TALK, 0), done.stderr
    with ConversationMemory.from_env() as memory:
        assert memory.get_conversation("vacation", **ADA).message_count == 6
    wrote = checkpointed(database_url)
    assert b"Please book five" in wrote  # the question it works on
    assert b"20 days a year" not in wrote  # what was answered lies in the conversation only


def test_a_manager_can_say_no(told):
    with langgraph_chat.app(SCRIPTED) as (graph, memory):
        config = told(memory)
        ask(graph, config, "Please book five.")
        graph.invoke(Command(resume=False), config)

        assert texts(memory.get_history("vacation", **ADA))[-2:] == [
            "The manager said no.",
            "Well: The manager said no.",
        ]


def test_a_node_that_runs_again_stores_nothing_twice(told):
    asked = []

    def other_words_each_time(prompt):
        asked.append(prompt)
        answer = langgraph_chat.answer(prompt)
        return answer.model_copy(update={"content": f"{answer.text} ({len(asked)})"})

    with langgraph_chat.app(SCRIPTED) as (_, memory):
        agent = langgraph_chat.Agent(memory, example_model(None, other_words_each_time))
        config, state = told(memory), {"turn": "t", "question": "Please book five.", "approved": True}
        for _ in range(2):
            state |= agent.listen(state, config)
        for _ in range(2):
            later = state | agent.think(state, config)
        for _ in range(2):
            agent.book(later, config)

        stored = memory.get_messages("vacation", **ADA)
        assert len(asked) == 2
        assert [m.role for m in stored] == ["human", "ai", "tool"]
        assert stored[1].content == "I have to ask your manager. (1)"


def test_a_model_that_fails_costs_neither_the_question_nor_the_state(told):
    asked = []

    def at_the_second_attempt(prompt):
        asked.append(prompt)
        return langgraph_chat.answer(prompt) if len(asked) > 1 else 1 / 0

    with langgraph_chat.app(example_model(None, at_the_second_attempt)) as (graph, memory):
        config = told(memory)
        with pytest.raises(ZeroDivisionError):
            ask(graph, config, "How many days?")
        assert texts(memory.get_history("vacation", **ADA)) == ["How many days?"]
        graph.invoke(None, config)  # from where it stopped

        assert texts(memory.get_history("vacation", **ADA)) == [
            "How many days?",
            "You have 20 days a year. You have asked 1 times.",
        ]


def test_two_users_with_a_conversation_of_one_name_have_two(told):
    with langgraph_chat.app(SCRIPTED) as (graph, memory):
        for user, times in (("ada", 2), ("bob", 1)):
            config = told(memory, user)
            for _ in range(times):
                ask(graph, config, "How many days?")

        last = {user: memory.get_history("vacation", user_id=user)[-1].content for user in ("ada", "bob")}
    assert (last["ada"][-8:], last["bob"][-8:]) == ("2 times.", "1 times.")
