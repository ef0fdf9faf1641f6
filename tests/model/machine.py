"""The state machine: hypothesis chooses who takes the next step, and what goes wrong."""

from __future__ import annotations

from typing import ClassVar

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from model.stage import Actor, Order
from model.world import KEPT, Process, World, batch

OWNER, STRANGER = "ana", "eve"
WHO = st.integers(0, 2)
WHICH = st.integers(0, 7)
MOST = 5
"""Calls on their way at once."""


class Interleavings(RuleBasedStateMachine):
    """Calls of the real library, step by step in any order, and whatever may befall them."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.said = 0
        self.world.begin()

    # How it starts

    @initialize(there=st.booleans(), cached=st.booleans(), trusting=st.booleans())
    def start(self, there: bool, cached: bool, trusting: bool) -> None:
        """A conversation that is there or not, in Redis or not, and processes that have drained the marks or not."""
        first, *_ = self.world.processes
        if there:
            self._finish(self._append(first, OWNER, 0, 2, human=True))
        for process in self.world.processes if trusting else ():
            self._finish(self.world.read(process, OWNER, self.world.conversations[1], 2))
        if cached:
            self._finish(self.world.read(first, OWNER, self.world.conversations[0], 2))

    # Calls

    @precondition(lambda self: self._room)
    @rule(who=WHO, what=st.sampled_from("aaaacdr"), conversation=WHICH, size=st.integers(1, 3), odd=WHICH, go=WHICH)
    def write(self, who: int, what: str, conversation: int, size: int, odd: int, go: int) -> None:
        """Somebody begins to append, to clear, to delete, or to repeat an append."""
        process, user = self.world.processes[who], STRANGER if odd == 7 else OWNER
        uuid = self.world.conversations[conversation == 7]
        if what == "a" or (what == "r" and uuid not in self.world.batches):
            actor = self._append(process, user, conversation == 7, size, human=bool(odd % 2))
        elif what == "r":
            actor = self.world.write(process, user, uuid, "append", self.world.batches[uuid])
        else:
            actor = self.world.write(process, user, uuid, "clear" if what == "c" else "delete")
        self._go(actor, go)

    @precondition(lambda self: self._room)
    @rule(who=WHO, want=st.sampled_from([2, 2, KEPT, None]), conversation=WHICH, odd=WHICH, go=WHICH)
    def read(self, who: int, want: int | None, conversation: int, odd: int, go: int) -> None:
        """Somebody begins to read the window, or everything."""
        user = STRANGER if odd == 7 else OWNER
        uuid = self.world.conversations[conversation == 7]
        self._go(self.world.read(self.world.processes[who], user, uuid, want), go)

    def _append(self, process: Process, user: str, conversation: bool | int, size: int, human: bool) -> Actor:
        numbers = range(self.said, self.said + size)
        self.said += size
        uuid = self.world.conversations[int(conversation)]
        self.world.batches[uuid] = drafts = batch(numbers, human)
        return self.world.write(process, user, uuid, "append", drafts)

    # Steps

    @precondition(lambda self: self.world.stage.waiting())
    @rule(which=WHICH)
    def step(self, which: int) -> None:
        """One of them takes its next step."""
        self.world.step(self._one(which))

    @precondition(lambda self: self.world.stage.waiting())
    @rule(which=WHICH)
    def step_on(self, which: int) -> None:
        """The same, again: steps are what there is most of."""
        self.world.step(self._one(which))

    @precondition(lambda self: self.world.stage.waiting())
    @rule(which=WHICH)
    def finish(self, which: int) -> None:
        """One of them takes all the steps it has left."""
        self._finish(self._one(which))

    @precondition(lambda self: self.world.stage.waiting())
    @rule(which=WHICH, how=st.sampled_from([Order.HOLD, Order.LOSE_ANSWER, Order.LOSE_REQUEST]))
    def stumble(self, which: int, how: Order) -> None:
        """One of them takes its next step on a bad connection."""
        self.world.step(self._one(which), how)

    # Faults

    @precondition(lambda self: self.world.stage.waiting())
    @rule(which=WHICH)
    def crash(self, which: int) -> None:
        """One of them is cancelled."""
        self.world.crash(self._one(which))

    @rule(who=WHO)
    def die(self, who: int) -> None:
        """A process is killed and starts again."""
        self.world.die(self.world.processes[who])

    @rule(conversation=WHICH)
    def evict(self, conversation: int) -> None:
        """A key goes."""
        self.world.evict(self.world.conversations[conversation == 7])

    @rule(lost=st.integers(0, 3))
    def restart(self, lost: int) -> None:
        """Redis comes back as another process, perhaps without the newest changes."""
        self.world.hot.restart(min(lost, len(self.world.hot.past)))

    @rule(who=st.integers(0, 3))
    def cut(self, who: int) -> None:
        """A process, or everybody, is cut off from Redis, its data kept."""
        for process in self.world.processes if who == 3 else [self.world.processes[who]]:
            process.cut = True

    @precondition(lambda self: any(process.cut for process in self.world.processes))
    @rule()
    def mend(self) -> None:
        """Everybody reaches Redis again."""
        for process in self.world.processes:
            process.cut = False

    @rule(seconds=st.sampled_from([1.25, 4.5]))
    def wait(self, seconds: float) -> None:
        """Time passes: looks become due, leases run out."""
        self.world.wait(seconds)

    # What must be so

    @invariant()
    def nobody_would_be_served_less(self) -> None:
        self.world.look_ahead()

    def teardown(self) -> None:
        """In the end all is well again: calls come to their end, and every process reads what it is owed."""
        if self.world.failed:
            return
        self.mend()
        for actor in self.world.stage.waiting():
            self._finish(actor)
        self.world.wait(4.5)
        for process in self.world.processes:
            for uuid in self.world.conversations:
                self._finish(self.world.read(process, OWNER, uuid, 2))
                self.world.look_ahead()

    @property
    def _room(self) -> bool:
        return len(self.world.stage.waiting()) < MOST

    def _one(self, which: int) -> Actor:
        waiting = self.world.stage.waiting()
        return waiting[which % len(waiting)]

    def _go(self, actor: Actor, go: int) -> None:
        """Take some of its steps at once: most calls meet nobody."""
        if go >= 6:
            self._finish(actor)
        elif go >= 4 and not actor.over:
            self.world.step(actor)

    def _finish(self, actor: Actor) -> None:
        self.world.finish(actor)
