"""The state machine: hypothesis chooses who takes the next step, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from model.stage import Actor, Order
from model.world import FAR, KEPT, Process, World, batch

T = TypeVar("T")
OWNER, STRANGER = "ana", "eve"
MOST_CALLS, MOST_TROUBLE = 4, 4
"""On their way at once; and in one example."""
STEPS = [FAR, FAR, FAR, 1, 1, 2, 2, 3, 4]
WRITES = [
    ["append"],
    ["append", "delete"],
    ["append", "append", "clear"],
    ["append", "repeat"],
    ["append", "append", "delete", "clear", "pop", "repeat"],
]
APART = ["cut", "cut", "mend", "wait"]
TROUBLES: list[list[str]] = [
    [],
    ["restart"],
    ["evict", "wait"],
    APART,
    [*APART, "crash", "hold"],
    ["crash", "lose", "hold", "die"],
    ["restart", "evict", "crash", "lose", "hold", "die", *APART],
]


class Interleavings(RuleBasedStateMachine):
    """Calls of the real library, step by step in any order, and whatever may befall them.

    An example draws first what it is about (which writes, which troubles), or it would be about nothing.
    """

    world: ClassVar[World]

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
            "die": lambda: self.world.die(self._pick("who", self.world.processes)),
            "evict": lambda: self.world.evict(self._pick("what", self.world.conversations[: self.conversations])),
            "restart": self.restart,
            "cut": self.cut,
            "mend": self.mend,
            "wait": lambda: self.world.wait(self._pick("seconds", [1.25, 4.5])),
        }

    def _pick(self, what: str, choices: Sequence[T]) -> T:
        return self.data.draw(st.sampled_from(choices), label=what)

    @initialize(
        data=st.data(),
        writes=st.sampled_from(WRITES),
        troubles=st.sampled_from(TROUBLES),
        users=st.sampled_from([[OWNER]] * 4 + [[OWNER, OWNER, OWNER, STRANGER]]),
        conversations=st.sampled_from([1, 1, 1, 2]),
        there=st.booleans(),
        cached=st.booleans(),
        trusting=st.booleans(),
    )
    def start(
        self,
        data: st.DataObject,
        writes: list[str],
        troubles: list[str],
        users: list[str],
        conversations: int,
        there: bool,
        cached: bool,
        trusting: bool,
    ) -> None:
        """What may happen, and whether there is a conversation, in Redis too, and processes that trust what is there."""
        self.data = data
        self.writes, self.troubles, self.users, self.conversations = writes, troubles, users, conversations
        first, *_ = self.world.processes
        uuid, other = self.world.conversations
        if there:
            self.world.finish(self._append(first, OWNER, 0, 2, human=True))
        for process in self.world.processes if trusting else ():
            self.world.finish(self.world.read(process, OWNER, other, 2))
        if cached:
            self.world.finish(self.world.read(first, OWNER, uuid, 2))

    @rule(data=st.data())
    def next(self, data: st.DataObject) -> None:
        """Somebody takes a step, begins a call, or gets into trouble."""
        self.data = data
        choices = ["go on"] * 3 if self.world.stage.waiting() else []
        if len(self.world.stage.waiting()) < MOST_CALLS:
            choices += ["write", "write", "read", "read"]
        if self.trouble < MOST_TROUBLE:
            choices += [what for what in self.troubles if self._possible(what)]
        chosen = self._pick("next", choices)
        self.trouble += chosen in self.troubles
        self.actions[chosen]()

    def _possible(self, trouble: str) -> bool:
        if trouble in {"crash", "hold", "lose"}:
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
        process, what = self._pick("who", self.world.processes), self._pick("what", self.writes)
        user, number = self._pick("user", self.users), self._pick("which", range(self.conversations))
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
        process, want = self._pick("who", self.world.processes), self._pick("want", [2, 2, KEPT, None])
        user, number = self._pick("user", self.users), self._pick("which", range(self.conversations))
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
        for process in self._pick("who", [*([process] for process in self.world.processes), self.world.processes]):
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
        """In the end all is well again: calls come to their end, and every process reads what it is owed."""
        if self.world.failed:
            return
        self.mend()
        for actor in self.world.stage.waiting():
            self.world.finish(actor)
        self.world.wait(4.5)
        for process in self.world.processes:
            for uuid in self.world.conversations[: self.conversations]:
                self.world.finish(self.world.read(process, OWNER, uuid, 2))
        self.world.look_ahead()
