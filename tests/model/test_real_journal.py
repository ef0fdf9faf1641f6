"""The real journals, one step at a time, in orders that chance chooses."""

from __future__ import annotations

import pytest

from model.journal_world import Chance, JournalWorld
from model.ledger import PromiseBroken
from model.machine import TIMES
from torture.journal_traps import NOT_SHOWN, TOLD_LATER

TROUBLES = {
    "races": (),
    "bad connections": ("lose", "hold", "crash", "evict"),
    "lives": ("hold", "die", "wait"),
    "partitions": ("cut", "mend", "wait", "hold"),
    "away": ("away", "mend", "arrive", "away"),
    "losses": ("flush", "die", "hold", "evict"),
    "twice": ("twice", "arrive", "hold"),
}
WRITES = ("clear", "pop", "delete")
EXAMPLES, MANY = 2, 100


@pytest.mark.parametrize("topic", TROUBLES)
def test_no_order_breaks_what_journals_promise(make_world, topic):
    world = make_world(kind=JournalWorld, compare=False)
    for seed in range(EXAMPLES * TIMES):
        try:
            Chance(world, seed, TROUBLES[topic], WRITES).play()
        except PromiseBroken as broken:
            told = chr(10).join(world.story)
            pytest.fail(f"{topic}, {seed}: {broken}{chr(10)}{told}{chr(10)}{world.books}")
    print(f"{world.steps} steps")


def play_many(world):
    for seed in range(MANY):
        Chance(world, seed, (), ("clear",)).play()


@pytest.mark.parametrize("changes", [NOT_SHOWN, TOLD_LATER], ids=["not shown", "told later"])
def test_a_journal_that_is_broken_is_noticed(make_world, changes):
    def alter(name: str, text: str) -> str:
        for old, new in changes.get(name, ()):
            assert old in text
            text = text.replace(old, new)
        return text

    world = make_world(kind=JournalWorld, compare=False, alter=alter)

    with pytest.raises(PromiseBroken):
        play_many(world)
