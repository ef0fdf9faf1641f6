"""When which fault happens: rounds of every kind in random order, one after the other on each lane."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torture.records import Fault
from torture.scene import Kind, Scene

GAPS = {
    "server": (2.0, 2.1),
    "light": (0.2, 1.0),
    "worker": (0.3, 1.2),
    "sentinel": (1.4, 1.6),
    "succession": (2.0, 2.4),
}
"""Seconds between two faults of a lane; what a server's fault did should be over before the next one."""


@dataclass
class Schedule:
    """Plays faults to a scene until ``over`` is set; ``faults`` is what was played, ``failures`` what went wrong.

    ``pace`` below 1 shortens the gaps between them.
    """

    kinds: Sequence[Kind]
    scene: Scene
    pace: float = 1.0
    faults: list[Fault] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def play(self, seconds: float) -> None:
        """Play for so long, and let what has begun come to its end."""
        lanes = sorted({kind.lane for kind in self.kinds})
        threads = [threading.Thread(target=self._lane, args=(lane,), name=lane) for lane in lanes]
        for thread in threads:
            thread.start()
        self.over.wait(seconds)
        self.over.set()
        for thread in threads:
            thread.join()

    def _lane(self, lane: str) -> None:
        chance = random.Random(f"{self.scene.chance.random()} {lane}")
        scene = replace(self.scene, chance=chance)
        mine = [kind for kind in self.kinds if kind.lane == lane]
        while True:
            for kind in chance.sample(mine, len(mine)):
                if self.over.wait(self.pace * chance.uniform(*GAPS[lane])):
                    return
                self._inject(kind, scene)

    def _inject(self, kind: Kind, scene: Scene) -> None:
        begin = time.perf_counter()
        fault = Fault(kind.name, begin, float("inf"), kind.tiers)
        try:
            fault.victim = kind.act(scene) or ""
        except Exception:
            self.failures.append(f"{kind.name}: {traceback.format_exc(limit=3)}")
            self.over.set()
        fault.end = time.perf_counter()
        self.faults.append(fault)
        if kind.after is not None:
            kind.after(scene)
