"""Awaited turns that are cancelled at any moment with ``save_on_error="input"``: what was said is stored once, whatever happened.

A smoke of it is in the suite; ``CONVMEMORY_TEST_CANCELLED=2000`` is the bar, some minutes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
from collections import Counter
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage

from convmemory import AsyncConversationMemory, TieredChatMessageHistory
from convmemory.chains.recorder import RECORDER
from fix_memory import texts
from scripted import AWAITED, SHAPES, Echo, reply_to, session

COUNT = int(os.environ.get("CONVMEMORY_TEST_CANCELLED", "200"))
AT_ONCE = 10
SLOW = 0.3
MINE = {"user_id": "ana"}


async def turn(memory: AsyncConversationMemory, n: int, chance: random.Random) -> str | None:
    """One turn of any shape and way to run, cancelled at some moment; what was said in it, if it had begun by then."""
    build, given = SHAPES[chance.choice(list(SHAPES))]
    drive = chance.choice(list(AWAITED))
    begun = Begun()
    chain = build(
        Echo(pause=0.01 * chance.random(), pace=0.002 * chance.random()),
        lambda name: begun.watched(memory.history(name, save_on_error="input", **MINE)),
    )
    said = f"one two {n}"
    config = {**session(f"s{n}"), "callbacks": [begun]}
    going = asyncio.create_task(AWAITED[drive](chain, given(said), config))
    await asyncio.sleep(SLOW * chance.random())
    going.cancel()
    await asyncio.wait([going])
    return said if begun.asked or (begun.runs and drive != "abatch") else None


class Begun(BaseCallbackHandler):
    """Hears that a turn has begun: with its first step, or in a batch, where no step tells whose it is, as it asks its history."""

    run_inline = True

    def __init__(self) -> None:
        self.runs = 0
        self.asked = False

    def on_chain_start(self, *_: Any, parent_run_id: UUID | None = None, **__: Any) -> None:
        self.runs += parent_run_id is not None

    def watched(self, history: TieredChatMessageHistory) -> TieredChatMessageHistory:
        """The history, which notes that it is asked."""

        async def asked() -> list[BaseMessage]:
            self.asked = True
            return await TieredChatMessageHistory.aget_messages(history)

        history.aget_messages = asked  # type: ignore[method-assign]
        return history


async def verdict(memory: AsyncConversationMemory, n: int, said: str | None) -> str:
    """What became of a turn: stored whole, its question alone, nothing, or something twice."""
    found = texts(await memory.get_messages(f"s{n}", **MINE))
    if found.count(str(said)) > 1 or len(found) > 2:
        return "doubled"
    if said is None:
        return "not begun"
    if said not in found:
        return "lost"
    return "whole" if found == [said, reply_to(said)] else "question"


async def background() -> None:
    """Wait for what goes on behind a turn that was cancelled: LangChain shields what it tells of its end."""
    ours = {asyncio.current_task()}
    shielded = {task for task in asyncio.all_tasks() - ours if "langchain_core" in repr(task)}
    await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0.1)), *shielded], timeout=10)


async def test_what_was_said_in_a_cancelled_turn_is_stored_once(schema, database_url, redis_url, key_prefix):
    chance = random.Random(7)  # noqa: S311 - the same turns every time
    made = AsyncConversationMemory.from_url(
        database_url, redis_url, db_schema=schema, key_prefix=key_prefix, pool_max=8
    )
    async with made as memory:
        found: Counter[str] = Counter()
        for start in range(0, COUNT, AT_ONCE):
            names = range(start, min(start + AT_ONCE, COUNT))
            for n in names:
                await memory.create_conversation("ana", conversation_id=f"s{n}")
            said = await asyncio.gather(*(turn(memory, n, chance) for n in names))
            await background()
            found.update([await verdict(memory, n, one) for n, one in zip(names, said, strict=True)])
    gc.collect()
    assert (found["lost"], found["doubled"], RECORDER.open_runs) == (0, 0, 0)
    assert (
        found["question"] > COUNT / 20 < found["whole"]
    )  # a full machine is slow to let a turn come to its end
