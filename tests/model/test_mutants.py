"""Each rule of the protocol, left out of the real scripts, statements or code, is noticed by the state machine.

By the promise alone: what the model says of the scripts is not looked at here.
"""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis.errors import FlakyStrategyDefinition

from model.ledger import PromiseBroken
from model.machine import play
from model.mutants import FINER, MUTANTS, OF_THE_MODEL, ON_PAPER
from model.rules import RULES

pytestmark = pytest.mark.no_cover  # what breaks the promise is not what is covered, and goes twice as fast

EXAMPLES, STEPS = 1_000, 12
ATTEMPTS = 3
"""A mutant may behave differently the second time, of which hypothesis complains before it is caught."""


def test_every_rule_of_the_model_is_left_out_of_the_real_code_or_its_world_is_not_here():
    assert OF_THE_MODEL.keys() | ON_PAPER.keys() == RULES.keys()
    assert not OF_THE_MODEL.keys() & (ON_PAPER.keys() | FINER.keys())


def attempts(world, topic) -> None:
    for _ in range(ATTEMPTS):
        with suppress(FlakyStrategyDefinition):
            play(world, EXAMPLES, [topic], steps=STEPS, shrink=False)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_rule_left_out_breaks_the_promise(make_world, monkeypatch, name):
    mutant = MUTANTS[name]
    for method, other in mutant.trust.items():
        monkeypatch.setattr(f"convmemory.windows.trust.Trust.{method}", other)
    monkeypatch.setattr("convmemory._async.tiered.AsyncLookout", mutant.lookout)
    world = make_world(alter=mutant.script, compare=False)
    world.tiered, world.statement = mutant.tiered, mutant.statement
    world.hand = mutant.hand or world.hand
    began = time.perf_counter()

    with pytest.raises(PromiseBroken) as broken:
        attempts(world, mutant.topic)

    seconds = time.perf_counter() - began
    print(f"{name}: {world.begun} examples, {world.steps} steps, {seconds:.1f} s: {broken.value}")
