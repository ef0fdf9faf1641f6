"""The replay proves what it says: its real command with the kill, and its proof shown to fail when rows are damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from convmemory import ConversationMemory

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))  # where the example's own modules find one another

import replay_app  # noqa: E402
import replay_formats  # noqa: E402
import replay_proof  # noqa: E402

pytestmark = pytest.mark.usefixtures("unmeasured")
SAMPLE = EXAMPLES / "sample_conversations.json"
COPY = (
    "INSERT INTO messages (conversation_id, seq, id, role, content, body)"
    " SELECT conversation_id, last_seq + 1, gen_random_uuid(), role, content, {body}"
    " FROM messages JOIN conversations USING (conversation_id) WHERE seq = 2"
)
KINDS: dict[str, Callable[[int], BaseMessage]] = {
    "s": lambda at: SystemMessage(f"{at}"),
    "h": lambda at: HumanMessage(f"{at}"),
    "a": lambda at: AIMessage(f"{at}"),
    "t": lambda at: ToolMessage(f"{at}", tool_call_id=f"{at}"),
}
PERFECT = "59 of 59 messages, 0 lost, 0 duplicated, 0 out of order, 0 unequal"


@pytest.fixture
def settings(schema_name, key_prefix):
    return {"db_schema": schema_name, "key_prefix": key_prefix}


@pytest.fixture
def memory(database_url, redis_url, settings):
    with ConversationMemory.from_url(database_url, redis_url, **settings) as memory:
        memory.init_schema()
        yield memory


@pytest.fixture
def told(memory):
    """The sample, replayed as the run "t": its talks and its steps."""
    talks = replay_formats.read_talks(SAMPLE)
    steps = replay_formats.steps_of(talks)
    replay_app.replay(memory, steps, "t", 0, lambda _event: None)
    return talks, steps


@pytest.fixture
def sql(database_url, schema_name, memory):
    """Runs a statement on the messages table behind the memory's back; how many rows it touched."""

    def run(text: str, **values: Any) -> int:
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute(f"SET search_path TO {schema_name}, public".encode())
            return conn.execute(text.encode(), values).rowcount

    return run


@pytest.fixture
def command(database_url, redis_url, settings):
    """Runs the example as a user would, by default on the servers of these tests."""
    given = ["--database-url", database_url, "--redis-url", redis_url]
    names = {"CONVMEMORY_DB_SCHEMA": settings["db_schema"], "CONVMEMORY_KEY_PREFIX": settings["key_prefix"]}

    def run(*arguments: str, servers: list[str] = given) -> tuple[int, list[str]]:
        line = [sys.executable, str(EXAMPLES / "replay.py"), *arguments, *servers]
        done = subprocess.run(
            line, env=os.environ | names, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout.splitlines() or done.stderr.splitlines()

    return run


def test_the_sample_survives_the_kill_on_servers_of_its_own(command):
    status, said = command(servers=[])

    assert status == 0, said
    assert said[-1].startswith(f"OK: {PERFECT}; "), said
    assert " windows checked, 0 wrong; 7 sessions; survived kill -9 at message " in said[-1]
    assert 15 <= int(said[-1].rpartition(" ")[2]) <= 45  # about half-way: what was in the pipe counts as well


def test_a_list_of_dialogues_is_replayed_on_the_servers_given(command, tmp_path, sql):
    refund = json.loads(SAMPLE.read_text(encoding="utf-8"))["refund"]
    file = tmp_path / "dialogues.json"
    file.write_text(json.dumps([refund, refund]), encoding="utf-8")

    status, said = command(str(file))

    assert status == 0, said
    assert said[-1].startswith("OK: 44 of 44 messages, 0 lost"), said
    assert sql("SELECT FROM messages") == 44


@pytest.mark.parametrize(
    ("spoils", "verdict", "why"),
    [
        # a window that is read anew, as after the kill, shows what was spoiled as well
        ("NEW.content := NEW.content || '!'", f"FAILED: {PERFECT[:-9]}2 unequal", "windows checked"),
        (
            "RAISE 'no'",
            "FAILED: 10 of 59 messages, 49 lost",
            "the app came to its end before it could be killed",
        ),
    ],
)
def test_a_database_that_spoils_messages_fails_the_replay(command, sql, spoils, verdict, why):
    sql(f"CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {spoils}; RETURN NEW; END $$")
    sql(
        "CREATE TRIGGER spoil BEFORE INSERT ON messages FOR EACH ROW"
        " WHEN (NEW.seq = 4 AND NEW.role = 'human') EXECUTE FUNCTION spoil()"
    )

    status, said = command()

    assert status == 1
    assert said[-1].startswith(verdict), said
    assert any(why in line for line in said), said


def test_a_file_of_something_else_is_refused(command, tmp_path):
    file = tmp_path / "other.json"
    file.write_text('{"a": {"lines": []}}', encoding="utf-8")

    status, said = command(str(file))

    assert status == 2
    assert "conversation 'a' has neither messages nor speaker_a and speaker_b" in said[-1]


@pytest.mark.parametrize(
    ("damage", "difference"),
    [
        ([], {}),
        (["DELETE FROM messages WHERE seq = 5"], {"lost": 3}),
        (["DELETE FROM conversations"], {"lost": 59}),
        (["UPDATE messages SET content = content || ' ' WHERE seq = 2"], {"unequal": 3}),
        (["UPDATE messages SET body = replace(body, 'Ines', 'Eve') WHERE seq = 1"], {"unequal": 1}),
        (["UPDATE messages SET role = 'human' WHERE role = 'tool'"], {"unequal": 6}),
        (
            [
                "UPDATE messages SET seq = -seq WHERE seq IN (3, 4)",
                "UPDATE messages SET seq = 7 + seq WHERE seq < 0",
            ],
            {"disordered": 6},
        ),
        ([COPY.format(body="body")], {"duplicated": 3}),
        ([COPY.format(body='\'{{"c":"AIMessage"}}\'')], {"duplicated": 3}),
    ],
)
def test_the_proof_counts_each_difference(memory, told, sql, damage, difference):
    for statement in damage:
        sql(statement)

    found = replay_proof.verify(memory, told[0], "t")

    assert found == replay_proof.Found(told=59, **difference)
    assert found.perfect is (not damage)


def test_a_step_that_was_stored_but_not_acknowledged_is_stored_once(memory, told):
    talks, steps = told
    events: list[dict[str, Any]] = []

    replay_app.replay(memory, steps, "t", len(steps) - 1, events.append)

    assert replay_proof.verify(memory, talks, "t").perfect
    assert events[0]["wrong"] is None


def test_a_wrong_window_is_noticed(database_url, redis_url, settings, told, sql):
    walk = next(talk for talk in told[0] if talk.name == "walk")
    after = replay_formats.Step(walk, 0, len(walk.messages), [])
    cold = settings | {"key_prefix": settings["key_prefix"] + "cold:"}
    sql("ALTER TABLE messages DISABLE TRIGGER updated_by_hand")  # it would drop the window
    sql("UPDATE messages SET content = 'spoiled' WHERE seq = 17")

    with ConversationMemory.from_url(database_url, redis_url, **settings) as memory:
        warm = memory.history("walk", user_id=replay_app.owner("t", walk)).messages
        assert replay_app.misfit(memory, warm, after) is None
        assert "showed ['D3:2'" in replay_app.misfit(memory, warm[1:], after)
    with ConversationMemory.from_url(database_url, redis_url, **cold) as memory:
        spoiled = memory.history("walk", user_id=replay_app.owner("t", walk)).messages
        assert "before message 20" in replay_app.misfit(memory, spoiled, after)


def test_steps_hold_every_message_in_order_and_a_human_begins_each():
    talks = replay_formats.read_talks(SAMPLE)
    steps = replay_formats.steps_of(talks)

    for talk in talks:
        mine = [step for step in steps if step.talk is talk]
        assert [m for step in mine for m in step.messages] == talk.messages
        assert [step.before for step in mine] == [
            sum(len(s.messages) for s in mine[:n]) for n in range(len(mine))
        ]
        assert len({m.id for m in talk.messages}) == len(talk.messages)
    assert any(len(step.messages) > 6 for step in steps)  # a turn that is longer than the window


@pytest.mark.parametrize(
    ("kinds", "shown"),
    [
        ("shahahahah", 6 - 1),  # h a h a h
        ("hatata", 6),
        ("hahatatata", 8),
        ("sahaha", 6),
        ("aaaaaaaa", 6),
        ("hahh", 4),
        ("h" + "a" * 20, 12),  # longer than the hard limit
    ],
)
def test_the_expected_window_is_the_newest_whole_turns(kinds, shown):
    told = [KINDS[kind](at) for at, kind in enumerate(kinds)]

    assert replay_formats.newest_turns(told, 6, 12) == told[len(told) - shown :]
