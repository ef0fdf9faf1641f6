import random, time, os
import pytest
from model.conftest import *
from model.machine import *
from collections import Counter
@pytest.mark.parametrize("topic", ["lives","partitions","partitions and crashes"])
def test_r(make_world, topic):
    world = make_world(compare=False)
    rng = random.Random(1)
    class M(Interleavings):
        def _pick(self, what, choices):
            return rng.choice(list(choices))
    M.world=world; M.topics=[TOPICS[topic]]
    found=Counter(); n=int(os.environ.get("N","300")); c=time.process_time(); t=time.time()
    for i in range(n):
        m=M()
        try:
            m.start(None)
            for _ in range(8): 
                m.next(None); m.nobody_would_be_served_less()
            m.teardown()
        except AssertionError as e:
            found[str(e)[:40]]+=1
    print(topic, found, world.steps, time.process_time()-c, time.time()-t)
