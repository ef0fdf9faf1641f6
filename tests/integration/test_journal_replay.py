"""Whole conversations, told in turns while PostgreSQL is away for a third of them: every message once, in order, equal.

Of conversations in the shape of LoCoMo's, ``{id: {session_N: [{speaker, text}]}}``, name the file: CONVMEMORY_TEST_CONVERSATIONS.
"""

import json
import os
import re
from itertools import zip_longest
from pathlib import Path

from langchain_core.messages import AIMessage, HumanMessage

from fix_memory import every, until

FILE = os.environ.get("CONVMEMORY_TEST_CONVERSATIONS")
SESSION = re.compile(r"session_(\d+)")
OUTAGE = {"journal": "outage", "journal_ack": "memory", "pool_timeout": 0.5}


def conversations():
    """Who says what, conversation by conversation: those of the file, or made-up ones."""
    if not FILE:
        return {f"c{n}": [f"{n}, turn {at}: {'ä' * at}" for at in range(24 + n)] for n in range(3)}
    found = {}
    for name, told in json.loads(Path(FILE).read_text()).items():
        sessions = sorted((int(of[1]), key) for key in told if (of := SESSION.fullmatch(key)))
        found[name] = [f"{one['speaker']}: {one['text']}" for _, key in sessions for one in told[key]]
    return found


def message(at, text):
    return HumanMessage(text) if at % 2 == 0 else AIMessage(text)


async def test_every_message_is_there_once_and_in_order_though_postgresql_was_away_for_a_third(
    schema, make_memory, postgres_proxy, database
):
    memory = await make_memory(postgres_proxy.url, **OUTAGE)
    told = conversations()
    rounds = list(
        zip_longest(*([(name, at, text) for at, text in enumerate(of)] for name, of in told.items()))
    )
    shown = {name: [] for name in told}
    pending = 0
    for number, turns in enumerate(rounds):
        if number == len(rounds) // 3:
            postgres_proxy.mode = "refuse"
            postgres_proxy.reset_all()
        if number == 2 * len(rounds) // 3:
            postgres_proxy.mode = "pass"
            await until(lambda: not memory.postgres.health.open)
        for name, at, text in filter(None, turns):
            said = await memory.save_messages(name, [message(at, text)], user_id="ana")
            pending += said.messages[0].pending
            shown[name].append(message(at, text))
            window = await memory.get_history(name, user_id="ana", limit=4)
            assert window == shown[name][-len(window) :]
            assert len(window) >= min(3, len(shown[name]))

    assert pending >= sum(map(len, told.values())) // 3 - 2 * len(told)
    await until(lambda: not memory.redis.remembered)
    for name, texts in told.items():
        stored = await every(memory.iter_messages(name, user_id="ana"))
        assert [m.content for m in stored] == texts
        assert [m.seq for m in stored] == list(range(1, len(texts) + 1))
        assert not any(m.pending for m in stored)
    assert database.execute("SELECT count(*) FROM messages").fetchone() == (sum(map(len, told.values())),)
