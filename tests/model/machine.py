"""The state machine: hypothesis chooses who takes the next step, and what goes wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, TypeVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from model.processes import BARE, Process
from model.stage import Actor, Order
from model.world import FAR, HERE, KEPT, World, batch

T = TypeVar("T")
OWNER, STRANGER = "ana", "eve"
STARTS = ("there", "cached", "trusting", "apart", "begun", "meanwhile")
TIMES = int(os.environ.get("CONVMEMORY_TEST_MODEL_TIMES", "1"))
"""So many times the examples of a default run, and then others every time."""
LONG_AGO = 4.5
"""Seconds after which everybody is owed what was marked; two of them end a lease."""
MOST_CALLS, MOST_TROUBLE = 4, 4
"""On their way at once; and in one example."""
STEPS = [FAR, FAR, FAR, 1, 2, 3]
"""Most calls meet nobody; the others stop after their first steps, until they are told to go on."""


class Topic(NamedTuple):
    """What an example is about: it would be about nothing if everything could happen in each of them.

    ``apart``: what becomes of the first process before it begins: ``cut`` off from Redis, and perhaps so long ago
    that it has ``marked`` a write which everybody is owed. ``begun``: a call of the last process that is on its way
    already, where it stands, and perhaps what it asked is on its way twice. ``meanwhile``: what another process did since.
    ``places``: where each process keeps its windows; those of one place share a cache.
    """

    writes: tuple[str, ...] = ("append",)
    troubles: tuple[str, ...] = ()
    there: tuple[bool, ...] = (True, False)
    cached: tuple[bool, ...] = (True, False)
    trusting: tuple[bool, ...] = (True, True, False)
    apart: tuple[str, ...] = ("",)
    begun: tuple[tuple[str, ...] | None, ...] = (None,)
    meanwhile: tuple[str, ...] = ("",)
    processes: int = 3
    places: tuple[str, ...] = HERE
    users: tuple[str, ...] = (OWNER,)
    conversations: int = 1


APART = ("cut", "cut", "mend", "wait")
ELSEWHERE = ("", "elsewhere ", "")
"""The second process keeps its windows in another cache."""
WITHOUT = (BARE, "", "")
"""The first process has no Redis."""
EVERY = ("forget", "hand", "restart", "evict", "crash", "lose", "hold", "twice", "arrive", "die", *APART)
TOPICS = {
    "races": Topic(),
    "lives": Topic(("append", "delete")),
    "clears": Topic(("append", "append", "clear", "pop")),
    "repeats": Topic(("append", "repeat"), ("lose", "hold")),
    "restarts": Topic(troubles=("restart",)),
    "forgetting": Topic(("append", "delete"), ("evict", "wait")),
    "partitions": Topic(troubles=APART),
    "partitions and crashes": Topic(("append", "delete"), (*APART, "crash", "hold")),
    "bad connections": Topic(troubles=("crash", "lose", "hold", "die", "wait")),
    "commands that come twice": Topic(("append", "append", "delete"), ("twice", "twice", "arrive")),
    "strangers": Topic(("append", "delete"), ("evict",), users=(OWNER, OWNER, STRANGER)),
    "two caches": Topic(("append", "delete"), ("wait", "evict"), places=ELSEWHERE),
    "two caches, one cut off": Topic(troubles=APART, places=ELSEWHERE),
    "a writer without a cache": Topic(("append", "delete"), ("wait", "lose"), places=WITHOUT),
    "forgotten": Topic(("append", "delete"), ("forget", "wait", "restart"), places=WITHOUT),
    "deleted by hand": Topic(("append", "append", "clear"), ("hand", "hand", "wait")),
    "everything elsewhere": Topic(("append", "append", "delete", "repeat"), EVERY, places=ELSEWHERE),
    "everything": Topic(("append", "append", "delete", "clear", "pop", "repeat"), EVERY, conversations=2),
}


class Interleavings(RuleBasedStateMachine):
    """Calls of the real library, step by step in any order, and whatever may befall them.

    What hypothesis draws are few decisions: who begins what, how far it goes before it stops, who goes on.
    """

    world: ClassVar[World]
    topics: ClassVar[Sequence[Topic]] = tuple(TOPICS.values())

    def __init__(self) -> None:
        super().__init__()
        self.world.begin()
        self.said = self.trouble = 0
        self.actions: dict[str, Callable[[], None]] = {
            "write": lambda: self._go(self.write()),
            "read": lambda: self._go(self.read()),
            "go on": lambda: self._go(self._pick("who", self.world.stage.waiting())),
            "crash": lambda: self.world.crash(self._pick("who", self.world.stage.waiting())),
            "hold": lambda: self._stumble([Order.HOLD]),
            "lose": lambda: self._stumble([Order.LOSE_ANSWER, Order.LOSE_REQUEST]),
            "twice": lambda: self._stumble([Order.TWICE]),
            "arrive": self.world.arrive,
            "die": lambda: self.world.die(self._pick("who", self.processes)),
            "evict": lambda: self.world.evict(
                self._pick("what", self.world.conversations[: self.topic.conversations])
            ),
            "restart": self.restart,
            "forget": self.world.forget,
            "hand": lambda: self.world.by_hand(
                self._pick("what", self.world.conversations[: self.topic.conversations])
            ),
            "cut": self.cut,
            "mend": self.mend,
            "wait": lambda: self.world.wait(self._pick("seconds", [1.25, LONG_AGO])),
        }

    def _pick(self, what: str, choices: Sequence[T]) -> T:
        return self.data.draw(st.sampled_from(choices), label=what)

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """What it is about; whether there is a conversation, in Redis too, and processes that trust what is there."""
        self.data = data
        self.topic = self._pick("topic", self.topics)
        self.world.settle(self.topic.places)
        there, cached, trusting, apart, begun, meanwhile = (
            self._pick(name, getattr(self.topic, name)) for name in STARTS
        )
        first, *_ = self.world.processes
        if there:
            self.world.finish(self._append(first, OWNER, 0, 2, human=True))
        for process in self.world.processes if trusting else ():
            process.looked()
        if cached:
            self.world.finish(self.world.read(first, OWNER, self.world.conversations[0], 2))
        if apart:
            first.cut = True
        if apart == "marked":
            self.world.finish(self._append(first, OWNER, 0, 1, human=False))
            self.world.wait(LONG_AGO)
        if begun:
            self._set_out(*begun)
        if meanwhile == "append":
            self.world.finish(self._append(first, OWNER, 0, 1, human=False))
        if meanwhile == "commit":
            self.world.step(self._append(first, OWNER, 0, 1, human=False))
        if meanwhile == "read":
            self.world.finish(self.world.read(self.processes[1], OWNER, self.world.conversations[0], 2))

    def _set_out(self, what: str, until: str, twice: str = "") -> None:
        """Have a call of the last process go as far as a gate, or as far as the answer it gives."""
        last = self.processes[-1]
        if what == "append":
            actor = self._append(last, OWNER, 0, 1, human=False)
        else:
            actor = self.world.read(last, OWNER, self.world.conversations[0], 2)
        while actor.at != until:
            assert not actor.over, f"it never came to {until}"
            held = Order.HOLD if until == f"the answer of {actor.at}" else Order.GO
            self.world.step(actor, Order.TWICE if actor.at == twice else held)

    @property
    def processes(self) -> Sequence[Process]:
        """Those that take part."""
        return self.world.processes[: self.topic.processes]

    @rule(data=st.data())
    def next(self, data: st.DataObject) -> None:
        """Somebody takes a step, begins a call, or gets into trouble."""
        self.data = data
        waiting = self.world.stage.waiting()
        choices = ["go on"] * 2 if waiting else []
        if len(waiting) < MOST_CALLS:
            choices += ["read"] * 3 + ["write"] * (3 if self.topic.writes else 0)
        trouble = [what for what in self.topic.troubles if self._possible(what)]
        choices += ["trouble"] * 2 if trouble and self.trouble < MOST_TROUBLE else []
        chosen = self._pick("next", choices)
        if chosen == "trouble":
            self.trouble += 1
            chosen = self._pick("trouble", trouble)
        self.actions[chosen]()

    def _possible(self, trouble: str) -> bool:
        if trouble == "arrive":
            return bool(self.world.delayed)
        if trouble in {"crash", "hold", "lose", "twice"}:
            return bool(self.world.stage.waiting())
        return trouble != "mend" or any(process.cut for process in self.world.processes)

    # Calls

    def _go(self, actor: Actor) -> None:
        """Take a few steps and stop, or go to the end: most calls meet nobody."""
        for _ in range(self._pick("steps", STEPS)):
            if not actor.over:
                self.world.step(actor)

    def write(self) -> Actor:
        """Somebody begins to change a conversation."""
        process, what = self._pick("who", self.processes), self._pick("what", self.topic.writes)
        user, number = (
            self._pick("user", self.topic.users),
            self._pick("which", range(self.topic.conversations)),
        )
        uuid = self.world.conversations[number]
        if what == "append" or (what == "repeat" and uuid not in self.world.batches):
            size, human = self._pick("size", [1, 2]), self._pick("human", [True, False])
            return self._append(process, user, number, size, human=human)
        if what == "repeat":
            return self.world.write(process, user, uuid, "append", self.world.batches[uuid])
        return self.world.write(process, user, uuid, what)

    def _append(self, process: Process, user: str, number: int, size: int, *, human: bool) -> Actor:
        uuid = self.world.conversations[number]
        self.world.batches[uuid] = drafts = batch(range(self.said, self.said + size), human=human)
        self.said += size
        return self.world.write(process, user, uuid, "append", drafts)

    def read(self) -> Actor:
        """Somebody begins to read the window, or everything."""
        process, want = self._pick("who", self.processes), self._pick("want", [2, 2, KEPT, None])
        user, number = (
            self._pick("user", self.topic.users),
            self._pick("which", range(self.topic.conversations)),
        )
        return self.world.read(process, user, self.world.conversations[number], want)

    # Trouble

    def _stumble(self, orders: Sequence[Order]) -> None:
        actor = self._pick("who", self.world.stage.waiting())
        self.world.step(actor, self._pick("how", orders))

    def restart(self) -> None:
        """Redis comes back as another process, perhaps without the newest changes."""
        self.world.hot.restart(self._pick("lost", range(min(3, len(self.world.hot.past)) + 1)))

    def cut(self) -> None:
        """A process, or everybody, is cut off from Redis, its data kept."""
        for process in self._pick("who", [*([process] for process in self.processes), self.processes]):
            process.cut = True

    def mend(self) -> None:
        """Everybody reaches Redis again."""
        for process in self.world.processes:
            process.cut = False

    # What must be so

    @invariant()
    def nobody_would_be_served_less(self) -> None:
        """Looking ahead finds a broken promise before anybody happens to read."""
        self.world.look_ahead()

    def teardown(self) -> None:
        """In the end all is well again: calls come to their end, and reads are given what they are owed."""
        if self.world.failed:
            return
        self.mend()
        for actor in self.world.stage.waiting():
            self.world.finish(actor)
            self.world.look_ahead()
        self.world.wait(LONG_AGO)
        for uuid, process in zip(
            self.world.conversations[: self.topic.conversations], self.world.processes, strict=False
        ):
            self.world.finish(self.world.read(process, OWNER, uuid, 2))
            self.world.look_ahead()


def play(
    world: World,
    examples: int,
    topics: Sequence[Topic] = tuple(TOPICS.values()),
    *,
    steps: int = 40,
    shrink: bool = True,
) -> None:
    """Run the state machine over a world; an example that breaks the promise is made as short as possible, if asked."""
    machine = type("Interleavings", (Interleavings,), {"world": world, "topics": topics})
    how = settings(
        max_examples=examples * TIMES,
        stateful_step_count=steps,
        derandomize=TIMES == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        report_multiple_bugs=False,
        print_blob=False,
    )
    run_state_machine_as_test(machine, settings=how)
