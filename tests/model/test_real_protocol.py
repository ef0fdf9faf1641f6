"""The real protocol, one step at a time, in orders that hypothesis chooses."""

from __future__ import annotations

from model.machine import play
from model.servers import RealServer


def test_no_interleaving_breaks_the_promise(make_world):
    world = make_world()

    play(world, 120)

    print(f"{world.begun} examples, {world.steps} steps")
    assert world.steps > 1_000


def test_nor_on_a_redis_that_is_really_killed_and_forgets_the_end_of_its_file(make_world, tmp_path):
    with RealServer.running(tmp_path) as hot:
        play(make_world(hot), 10)
