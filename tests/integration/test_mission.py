"""The mission in its own words: its configuration block and its three scenarios, in both colours."""

from __future__ import annotations

import os

import pytest
from psycopg.conninfo import conninfo_to_dict

from convmemory import Settings

CONFIGURATION = """\
# PostgreSQL
POSTGRES_HOST=localhost
POSTGRES_PORT=5432
POSTGRES_DB=app
POSTGRES_USER=app
POSTGRES_PASSWORD=secret

# Redis
REDIS_HOST=localhost
REDIS_PORT=6379
REDIS_PASSWORD=secret
REDIS_DB=0

# Memory
SESSION_TTL_MINUTES=30
MAX_HISTORY_MESSAGES=6
"""


def test_the_configuration_block_is_read_as_it_stands(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("POSTGRES_", "REDIS_", "DATABASE_URL", "CONVMEMORY_", "SESSION_", "MAX_HISTORY")):
            monkeypatch.delenv(name)
    for line in CONFIGURATION.splitlines():
        if "=" in line:
            monkeypatch.setenv(*line.split("=", 1))
    found = Settings.from_env()
    durable = conninfo_to_dict(found.postgres_conninfo())

    assert (durable["host"], durable["port"], durable["dbname"]) == ("localhost", "5432", "app")
    assert (durable["user"], durable["password"]) == ("app", "secret")
    assert found.redis_conninfo() == "redis://:secret@localhost:6379/0"
    assert (found.session_ttl, found.max_history_messages) == (1_800, 6)


@pytest.fixture
def mine(memory):
    return memory.for_user("user123")


async def test_a_session_is_created_read_extended_and_ends(mine, memory):
    session = await memory.create_session("user123", "hr")
    found = await mine.get_session(session)

    assert (found.user_id, found.dept_id) == ("user123", "hr")
    assert session.last_active < found.last_active < (await mine.extend_session(session)).last_active
    assert await mine.end_session(session)
    assert await mine.get_session(session) is None


async def test_messages_are_saved_in_order_and_the_last_six_are_the_history(mine):
    conv = await mine.create_conversation(dept_id="hr")
    saved = await mine.save_message(conv.id, "user", "Hello")
    await mine.save_message(conv.id, "assistant", "Hi there!", {"model": "scripted"})
    history = await mine.get_history(conv.id, limit=6)

    assert [(m.type, m.content) for m in history] == [("human", "Hello"), ("ai", "Hi there!")]
    assert (saved.role, saved.openai_role, saved.seq, saved.conversation_id) == ("human", "user", 1, conv.id)
    for n in range(1, 6):
        await mine.save_message(conv.id, "user", f"question {n}")
        await mine.save_message(conv.id, "assistant", f"answer {n}")
    assert [m.content for m in await mine.get_history(conv.id)] == [
        f"{what} {n}" for n in (3, 4, 5) for what in ("question", "answer")
    ]
    whole = await mine.get_conversation(conv.id, messages=True)
    assert (whole.id, len(whole.messages), whole.title) == (conv.id, 12, "Hello")
    assert whole.messages[1].metadata == {"model": "scripted"}
    assert [c.id for c in await mine.list_user_conversations(limit=20)] == [conv.id]


async def test_a_follow_up_is_understood_also_after_the_session_has_ended(mine):
    conv = await mine.create_conversation()
    session = await mine.create_session(conversation_id=conv)
    await mine.save_message(conv.id, "user", "What is the vacation policy?")
    await mine.save_message(
        conv.id,
        "assistant",
        "You have 20 days of paid vacation a year.",
        tokens_used=57,
        latency_ms=840,
        contexts=[],
    )
    await mine.end_session(session)

    again = await mine.create_session(conversation_id=conv.id)
    prompt = [*await mine.get_history(again.conversation_id), ("user", "How do I request it?")]
    assert "vacation" in str(prompt[0].content)
    answer = (await mine.get_messages(conv.id))[-1]
    assert (answer.tokens_used, answer.latency_ms) == (57, 840)
    await mine.delete_conversation(conv.id)
    assert list(await mine.list_user_conversations()) == []
