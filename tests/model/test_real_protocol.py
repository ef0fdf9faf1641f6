"""The real protocol, one step at a time, in orders that hypothesis chooses."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from model.machine import Interleavings
from model.world import World


def play(world: World, **how: object) -> None:
    """Run the state machine over a world."""
    machine = type("Interleavings", (Interleavings,), {"world": world})
    run_state_machine_as_test(
        machine,
        settings=settings(
            **{"deadline": None, "suppress_health_check": list(HealthCheck), "database": None} | how
        ),
    )


def test_no_interleaving_breaks_the_promise(make_world):
    world = make_world()
    play(world, max_examples=100, stateful_step_count=40, derandomize=True)
    print(world.steps, "steps")
