"""The real journals, one step at a time, in orders that chance chooses; the same ones every time, unless more are asked for."""

from __future__ import annotations

import pytest

from model.journal_world import Chance, JournalWorld
from model.ledger import PromiseBroken
from model.machine import TIMES

TROUBLES = {
    "races": (),
    "bad connections": ("lose", "hold", "crash", "evict"),
    "lives": ("hold", "die", "wait"),
    "partitions": ("cut", "mend", "wait", "hold"),
    "away": ("away", "mend", "arrive", "away"),
    "losses": ("flush", "die", "hold", "evict"),
    "twice": ("twice", "arrive", "hold"),
}
EXAMPLES = 4


@pytest.mark.parametrize("topic", TROUBLES)
def test_no_order_breaks_what_journals_promise(make_world, topic):
    world = make_world(kind=JournalWorld, compare=False)
    for seed in range(EXAMPLES * TIMES):
        try:
            Chance(world, seed, TROUBLES[topic], ("clear", "pop", "delete")).play()
        except PromiseBroken as broken:
            told = chr(10).join(world.story)
            pytest.fail(f"{topic}, {seed}: {broken}{chr(10)}{told}")
    print(f"{world.steps} steps")
