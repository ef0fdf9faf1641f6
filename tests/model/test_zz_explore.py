import sys, time
from hypothesis import Phase
from model.test_real_protocol import play
from model.machine import TOPICS, Interleavings
import pytest, os
from model.conftest import *
@pytest.mark.parametrize("seed", range(int(os.environ.get("SEEDS","1"))))
@pytest.mark.parametrize("topic", TOPICS)
def test_x(make_world, topic, seed):
    world = make_world(compare=bool(os.environ.get("COMPARE")))
    Interleavings.topics=[TOPICS[topic]]
    Interleavings._hypothesis_internal_use_seed=seed
    t=time.time(); c=time.process_time()
    try:
        play(world, max_examples=int(os.environ.get("N","60")), stateful_step_count=8, phases=[Phase.generate])
    finally:
        print(topic, seed, world.begun, "examples", world.steps, "steps", time.time()-t, "cpu", time.process_time()-c)
