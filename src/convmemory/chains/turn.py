"""One turn of a chain, and the runs it is made of."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any, Final, Protocol
from uuid import UUID
from weakref import ref

from langchain_core.messages import BaseMessage

from convmemory.chains.answer_matching import Answer, Event
from convmemory.models import Draft

PARTIAL_KEY: Final = "partial"
"""In ``response_metadata`` of an answer that was broken off, whoever kept what came of it."""
MOST_EVENTS: Final = 1_000
"""What one run may hold of what was retrieved and answered in it; the oldest is let go of."""


class InputKeeper(Protocol):
    """Whoever stores what the user said in a turn that ended without being stored."""

    def keep_input(self, turn: Turn, inputs: Any) -> list[BaseMessage]:
        """Store it, blocking; what was stored."""

    async def akeep_input(self, turn: Turn, inputs: Any) -> list[BaseMessage]:
        """Store it, awaited; what was stored."""


class UnstoredTeller(Protocol):
    """Whoever says that a turn came to its end and was not stored."""

    def tell_unstored(self, refused: Exception | None) -> None:
        """Say so, with what refused its messages; ``None`` where LangChain found none."""


@dataclass(slots=True, eq=False)
class Partial:
    """What an agent's model said of an answer so far: the run that is saying it, its message's id, its pieces."""

    run_id: UUID | None = None
    message_id: str | None = None
    pieces: list[str] = field(default_factory=list)
    whole: bool = False
    "Whether the model came to its end; what happens then is another's doing."

    def hear(self, run_id: UUID, message_id: str | None, text: str) -> None:
        """Note a piece; another call of the model begins anew."""
        if run_id != self.run_id:
            self.run_id, self.message_id, self.pieces, self.whole = run_id, message_id, [], False
        self.pieces.append(text)


@dataclass(slots=True, eq=False, weakref_slot=True)
class Turn:
    """One pass through a chain or an agent: from the user's message until the answer is stored.

    ``pinned`` is the window that ``history`` showed it; ``stored`` says that its write was tried, and ``refused`` why it
    could not be; ``keeper`` is set where what the user said is to be stored even if the turn never is, and ``kept`` is
    what was.
    """

    history: UnstoredTeller | None = None
    conversation: object = None
    said: list[BaseMessage] = field(default_factory=list)
    "What a chain was given in it, as far as that can be told."
    progress: object = None
    "What an agent has stored in it, so that another try goes on from there."
    since: int | None = None
    "The conversation's last seq when the turn began."
    there: bool = False
    "Whether there was a conversation then, or the turn has made one since: if it is deleted, no write brings it back."
    pinned: list[BaseMessage] | None = None
    stored: bool = False
    refused: Exception | None = None
    keeper: InputKeeper | None = None
    kept: list[BaseMessage] = field(default_factory=list)
    partial: Partial | None = None
    "Where half an answer is to be kept."
    leaving: bool = False
    "Whether its chain is done and its write is to follow, which no cancellation ends."
    left: bool = False
    "Whether it ended because its reader went away or it was cancelled, and by no error."
    handed_over: bool = False
    "Whether its agent ended by handing over to another one."

    def keep_with(self, keeper: InputKeeper | None) -> None:
        """Have what the user said in it stored by ``keeper``, if it is not stored itself."""
        self.keeper = keeper
        if keeper is not None:
            KEPT_TURNS.add(self)

    def break_off(self, error: BaseException) -> None:
        """Note how it ended before its end: LangGraph has errors for what is none."""
        self.left = not isinstance(error, Exception)
        kinds = {kind.__name__ for kind in type(error).__mro__}  # a chain need not have LangGraph
        if "GraphInterrupt" in kinds:  # it goes on when a person has answered
            self.keeper = self.progress = None
        elif self.leaving and isinstance(error, asyncio.CancelledError):  # it is about to be stored
            self.keeper = None
        self.handed_over = "ParentCommand" in kinds

    def repeats(self, other: Turn, *, likely: bool) -> bool:
        """Whether the same was said in the same conversation in another turn; where nobody knows what, whether that is ``likely``."""
        if self.conversation != other.conversation or not (self.said and other.said):
            return likely and self.conversation == other.conversation
        said, before = ([(one.type, one.content) for one in turn.said] for turn in (self, other))
        return said == before


class KeptTurns(dict[int, "ref[Turn]"]):
    """Turns by their identity, until they are over or nobody knows of them any more.

    A dict, because each run of a process asks whether there are any: that of a ``WeakSet`` is a call.
    """

    def add(self, turn: Turn) -> None:
        """Note a turn, without holding it."""
        place = id(turn)
        self[place] = ref(turn, lambda _: self.pop(place, None))

    def discard(self, turn: Turn) -> None:
        """Forget a turn, if it is noted."""
        self.pop(id(turn), None)


_DEFERRING: Final = threading.Lock()
"""Held while what waits in a run changes: turns fail side by side in threads."""


KEPT_TURNS: Final = KeptTurns()
"""The turns that somebody keeps what was said in."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Run:
    """A run that is going on, and what happened in it so far."""

    number: int
    "That of its id: a UUID is slow to look up by."
    kind: str
    name: str | None
    parent: Run | None
    order: int
    inputs: Any = None
    first_inputs: Any = None
    "What the first run inside it was given: the state of a graph as it begins."
    model: str | None = None
    began: float = field(default_factory=time.perf_counter)
    first_token: float | None = None
    events: list[Event] = field(default_factory=list)
    children: dict[int, Run] = field(default_factory=dict)
    "Those still open."
    ended: bool = False
    turn: Turn | None = None
    tags: Sequence[str] | None = None
    deferred: tuple[Run, ...] = ()
    "Turns in here that failed, of which another try may still be stored."
    told: int = -1
    "Up to where what happened was told to the messages of this turn that are stored already."
    held: object = None
    "Looks at who holds its id."
    settled: list[int] = field(default_factory=list)
    "What was retrieved here before this was a turn's in here, and is not the next one's elsewhere."

    def above(self) -> Iterator[Run]:
        """The run this one is part of, and so on up to the root."""
        run = self.parent
        while run is not None:
            yield run
            run = run.parent

    def below(self) -> Iterator[Run]:
        """The runs in here that are open."""
        for child in list(self.children.values()):
            yield child
            yield from child.below()

    @property
    def is_lost(self) -> bool:
        """Whether this was a turn that nobody stored, and what was said in it is to be kept."""
        return self.turn is not None and self.turn.keeper is not None and not self.turn.stored

    @property
    def is_node(self) -> bool:
        """Whether this is a step of a graph, which may have a policy to run it again."""
        return any(tag.startswith("graph:step:") for tag in self.tags or ())

    def put_off(self, failed: Sequence[Run], *, cancelled: bool) -> bool:
        """Have turns that failed with this run wait for what becomes of them, if somebody above may run it anew.

        Where it was cancelled that is at most who called it. Of the tries of one turn the last counts.
        """
        over, above = self.parent, pairwise((self, *self.above()))
        if over is None or over.ended or over.kind != "chain":  # nobody waits for the end of a tool
            return False
        if not any(upper.may_try_again(one) for one, upper in (islice(above, 1) if cancelled else above)):
            return False
        with _DEFERRING:
            for one in failed:
                over.let_go(one)
            over.deferred += tuple(failed)
        return True

    def may_try_again(self, one: Run) -> bool:
        """Whether a run inside was one try of this one: a step of a graph, or one that was given the same.

        A batch of fall-backs says ``{"input": ...}``; and one that tells a fall-back what failed gives it more than the first.
        """
        if self.ended or one.inputs is None:
            return False
        given = self.inputs
        named = isinstance(given, dict) and given.keys() == {"input"} and given["input"] is one.inputs
        return one.is_node or given is one.inputs or named or bool(self.deferred)

    def inherit(self, one: Run) -> None:
        """Wait in its place for what waited in a run inside that nobody will end."""
        if one.deferred:
            with _DEFERRING:
                self.deferred += one.deferred

    def end_tries(self) -> None:
        """This turn is stored: no other try of it is waited for."""
        for above in self.above():
            if above.deferred:
                with _DEFERRING:
                    above.let_go(self)

    def let_go(self, one: Run) -> None:
        """Wait no longer for other tries of a turn; with the lock held."""
        self.deferred = tuple(other for other in self.deferred if not self._is_a_try(other, one))

    def _is_a_try(self, one: Run, other: Run) -> bool:
        beside = one.parent is other.parent is self
        return bool(one.turn and other.turn and one.turn.repeats(other.turn, likely=beside))

    def turn_before(self) -> Turn | None:
        """An agent's turn in this conversation that broke off, and that this may be another try of or what it handed over to; once."""
        for above in self.above():
            for one in above.deferred:
                turn = one.turn
                if turn and turn.progress and self.turn and turn.conversation == self.turn.conversation:
                    with _DEFERRING:
                        above.deferred = tuple(other for other in above.deferred if other is not one)
                    return turn
        return None

    def left(self) -> list[Event]:
        """What happened in here that is not a turn's already."""
        last = self.settled[-1] if self.settled else -1
        return [one for one in self.events if isinstance(one, Answer) or one.order > last]

    def retrieved_for(self, turn: Run) -> list[Event]:
        """What was retrieved here for a turn inside: but for what another one had that was over before it began."""
        over = max((order for order in self.settled if order < turn.order), default=-1)
        return [one for one in self.events if not isinstance(one, Answer) and one.order > over]

    def settle(self, order: int) -> None:
        """A turn inside is over: what was retrieved before is not the next one's."""
        self.settled.append(order)
        del self.settled[:-MOST_EVENTS]

    def add(self, events: Sequence[Event]) -> None:
        """Note what happened, and let go of the oldest where it becomes too much."""
        self.events.extend(events)
        del self.events[:-MOST_EVENTS]


@dataclass(slots=True)
class Told:
    """Messages about to be stored, with what was told to them of ``run``: all that happened in it ``upto`` there."""

    drafts: list[Draft]
    run: Run | None = None
    upto: int = -1

    def settle(self) -> None:
        """They are stored: what they were told is not told again."""
        if self.run is not None:
            self.run.told = max(self.run.told, self.upto)


def each_once(deferred: Sequence[Run], *ended: Run | None) -> list[Run]:
    """The turns that are over with a run: those that waited in it, and what ended now."""
    return list({id(one): one for one in (*deferred, *ended) if one is not None}.values())


class Reported:
    """Around a write that is told of where it fails; no generator, whose making every append would feel."""

    __slots__ = ("_report",)

    def __init__(self, report: Callable[[Exception], None]) -> None:
        self._report = report

    def __enter__(self) -> None:
        """Begin to write."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Report what it failed with, which is raised all the same."""
        if isinstance(error, Exception):
            self._report(error)
