"""The real protocol, one step at a time, in orders that hypothesis chooses."""

from __future__ import annotations

from model.machine import OWNER, play
from model.servers import RealServer
from model.stage import Order
from model.world import HARD, batch


def test_no_interleaving_breaks_the_promise(make_world):
    world = make_world()

    play(world, 120)

    print(f"{world.begun} examples, {world.steps} steps")
    assert world.steps > 1_000


def test_nor_on_a_redis_that_is_really_killed_and_forgets_the_end_of_its_file(make_world, tmp_path):
    with RealServer.running(tmp_path) as hot:
        play(make_world(hot), 10)


def test_a_server_that_was_a_replica_in_between_serves_nothing_of_before(make_world, tmp_path):
    with RealServer.running(tmp_path) as hot:
        world = make_world(hot)
        world.begin()
        process, uuid = world.processes[0], world.conversations[0]
        world.finish(world.write(process, OWNER, uuid, "append", batch(range(2), human=True)))
        world.finish(world.read(process, OWNER, uuid, 2))
        window, eras = process.keys.window(uuid), process.redis.trust.standing.eras
        assert hot.would_serve(window, OWNER, 2, HARD, eras)

        hot.eye.replicaof("127.0.0.1", "1")  # a fail-over and another one: the process has run through
        hot.eye.replicaof("NO", "ONE")

        assert hot.eye.exists(window)
        assert hot.would_serve(window, OWNER, 2, HARD, eras) is None


def test_what_a_second_attempt_makes_again_has_another_stamp(make_world):
    world = make_world()
    world.begin()
    maker, deleter, _ = world.processes
    uuid = world.conversations[0]
    write = world.write(maker, OWNER, uuid, "append", batch(range(2), human=True))
    while write.at != "append":
        world.step(write)
    world.step(write, Order.LOSE_ANSWER)  # it is there, and its maker is told that the connection broke
    world.finish(world.write(deleter, OWNER, uuid, "delete"))
    world.finish(write)

    first, gone, second = [moment.stamp for moment in world.ledgers[uuid].moments[1:]]
    assert gone == ""
    assert len({first, gone, second}) == 3
