"""Walking all of a user's conversations: each once and none missed, while they are spoken in."""

from __future__ import annotations

import pytest

from convmemory import ConversationMemory, InvalidArgument
from fix_memory import every


async def made(memory, *names):
    for name in names:
        await memory.save_message(name, "user", "hi", user_id="ana")


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
async def test_each_is_told_once_in_the_order_in_which_they_fell_silent(memory, batch):
    await made(memory, "a", "b", "c", "d", "e", "b")
    await memory.save_message("x", "user", "hers", user_id="eve")

    found = [c.id for c in await every(memory.iter_conversations("ana", batch=batch))]
    assert found == ["a", "c", "d", "e", "b"]
    assert await every(memory.iter_conversations("bob", batch=batch)) == []
    assert [c.id for c in await every(memory.for_user("ana").iter_conversations(batch=batch))] == found


@pytest.mark.parametrize("spoken", ["c0", "c2", "c5", "new"])
def test_none_is_missed_that_is_spoken_in_meanwhile(blocking_memory: ConversationMemory, spoken):
    names = [f"c{n}" for n in range(6)]
    for name in names:
        blocking_memory.save_message(name, "user", "hi", user_id="ana")
    seen = []
    for n, found in enumerate(blocking_memory.iter_conversations("ana", batch=2)):
        seen.append(found.id)
        if n in {1, 3}:
            blocking_memory.save_message(spoken, "user", "still talking", user_id="ana")

    assert sorted(seen) == sorted({*names, spoken})


async def test_it_is_checked_when_it_is_asked_for(memory):
    for wrong in (0, 1_001, None):
        with pytest.raises(InvalidArgument, match=r"^batch: "):
            memory.iter_conversations("ana", batch=wrong)
    with pytest.raises(InvalidArgument, match=r"^user_id: "):
        memory.iter_conversations("")
