import sys, time
from hypothesis import Phase
from model.test_real_protocol import play
import pytest
from model.conftest import *
def test_x(make_world):
    world = make_world(compare=False)
    t=time.time()
    try:
        play(world, max_examples=500, stateful_step_count=12, derandomize=True, phases=[Phase.generate])
    finally:
        print(world.steps, "steps", time.time()-t)
