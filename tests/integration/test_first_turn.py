"""The first turn of a process: its history is made when it has begun, and it is a turn like any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])}
PROGRAM = """
import asyncio, json, sys
from convmemory import AsyncConversationMemory, ConversationMemory
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from scripted import Echo, Shelf, keyed, session

postgres, schema, colour, situation = sys.argv[1:]
kind = AsyncConversationMemory if colour == "awaited" else ConversationMemory
memory = kind.from_url(postgres, db_schema=schema)

def history(session_id):
    return memory.history(session_id, user_id="ana", save_on_error="input")

tries = []

def flaky(said):
    tries.append(said)
    if len(tries) < {"retry": 3, "fails": 9, "fallback": 2}.get(situation, 0):
        raise ConnectionError("busy")
    return said

chain = keyed(RunnableLambda(flaky) | Echo(), history)
if situation in ("retry", "fails"):
    chain = chain.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
elif situation == "fallback":
    chain = chain.with_fallbacks([keyed(Echo(), history)])
else:
    chain = RunnablePassthrough.assign(context=RunnableLambda(lambda given: given["question"]) | Shelf()) | chain

async def awaited():
    async with memory:
        try:
            await chain.ainvoke({"question": "one"}, session("s"))
        except ConnectionError:
            pass
        return await memory.get_messages("s", user_id="ana")

def blocking():
    with memory:
        try:
            chain.invoke({"question": "one"}, session("s"))
        except ConnectionError:
            pass
        return memory.get_messages("s", user_id="ana")

stored = asyncio.run(awaited()) if colour == "awaited" else blocking()
print(json.dumps([[m.content, [found.doc_id for found in m.contexts]] for m in stored]))
"""


@pytest.mark.parametrize(
    ("situation", "stored"),
    [
        ("retry", [["one", []], ["you said one", []]]),
        ("fallback", [["one", []], ["you said one", []]]),
        ("fails", [["one", []]]),
        ("retrieved before", [["one", []], ["you said one", ["one-1", "one-2"]]]),
    ],
)
@pytest.mark.parametrize("colour", ["blocking", "awaited"])
def test_what_went_before_the_first_history_is_part_of_the_turn(
    database_url, schema, colour, situation, stored
):
    told = [sys.executable, "-W", "ignore", "-c", PROGRAM, database_url, schema, colour, situation]
    outcome = subprocess.run(told, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert outcome.stdout.strip() == json.dumps(stored), outcome.stderr
