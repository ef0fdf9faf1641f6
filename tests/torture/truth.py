"""What really happened to each conversation: its states in the order PostgreSQL committed them, from the audit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from typing import NamedTuple

from torture.records import Event

HARD_MAX = 200
"""The library's ``hard_max_messages``, which no worker changes."""


def window(messages: Sequence[str], want: int | None) -> tuple[str, ...]:
    """The window of a conversation as the documentation promises it; a token that ends in ``h`` is a human's."""
    if want is None or len(messages) <= min(want, HARD_MAX):
        return tuple(messages)
    limit = min(want, HARD_MAX)
    tail = len(messages) - limit
    humans = [at for at, token in enumerate(messages) if token.endswith("h")]
    if not humans:
        return tuple(messages[tail:])
    start = next((at for at in humans if at >= tail), humans[-1])
    return tuple(messages[max(start, len(messages) - HARD_MAX) :])


@dataclass(slots=True)
class State:
    """One committed state: the first ``length`` messages of a life, which a clear or a delete ends; not yet at ``at``.

    Nothing of it is left from ``lost`` on, when PostgreSQL went back to one before it.
    """

    life: list[str]
    length: int
    wiped: bool = False
    at: float = 0.0
    lost: float = inf


class _Place(NamedTuple):
    """Where a conversation is after a transaction: its state, the newest seq, that of the last message before this life."""

    state: int
    given: int
    before: int


@dataclass
class Timeline:
    """All committed states of a conversation, the empty one first, and what is wrong with them in themselves."""

    states: list[State] = field(default_factory=lambda: [State([], 0)])
    stored: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The states in which a token came to stand: more than one where what the one before held is gone."""
    given: int = 0  # the newest seq
    before: int = 0  # that of the last message before this life
    ends: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    empty: list[int] = field(default_factory=lambda: [0])
    wipes: list[int] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    batches: Collection[str] = ()
    """The last tokens of writes that a journal may have taken: one transaction stores several, one after the other."""
    _alive: set[str] = field(default_factory=set)  # the tokens of the life that goes on
    # each transaction that is not lost
    _after: list[_Place] = field(default_factory=lambda: [_Place(0, 0, 0)])

    def matching(self, want: int | None, saw: tuple[str, ...]) -> list[int]:
        """The states of which ``saw`` is the window."""
        if not saw:
            return self.empty
        return [at for at in self.ends.get(saw[-1], ()) if self._shows(at, want, saw)]

    def _shows(self, at: int, want: int | None, saw: tuple[str, ...]) -> bool:
        state = self.states[at]
        if want is None:
            return state.length == len(saw) and tuple(state.life[: state.length]) == saw
        reach = max(0, state.length - HARD_MAX - 1)
        return window(state.life[reach : state.length], want) == saw

    def go_on(self, events: Sequence[Event]) -> None:
        """Take one transaction in, or that PostgreSQL went back."""
        if events[0].what == "b":
            self._go_back(events[0].seq, events[0].at)
            return
        self._commit(events)
        self._after.append(_Place(len(self.states) - 1, self.given, self.before))

    def _go_back(self, kept: int, at: float) -> None:
        """Be again as after the first ``kept`` transactions."""
        del self._after[kept + 1 :]
        state, self.given, self.before = self._after[-1]
        for lost in self.states[state + 1 :]:
            lost.lost = min(lost.lost, at)
        left = self.states[state]
        life = left.life[: left.length]
        self._alive = set(life)
        self._add(State(life, len(life), at=at))
        self._after[-1] = _Place(len(self.states) - 1, self.given, self.before)

    def _commit(self, events: Sequence[Event]) -> None:
        last, at = self.states[-1], max(e.at for e in events)
        if any(e.what == "x" or (e.what == "u" and e.seq == 0) for e in events):
            self._alive.clear()
            self.given *= all(e.what != "x" for e in events)  # one that is made anew counts anew
            self.before = self.given
            self._add(State([], 0, wiped=True, at=at))
            return
        stored = [e for e in events if e.what == "i"]
        removed = {e.seq for e in events if e.what == "d"}
        life = last.life
        if removed:
            self.problems.append(("lost", f"{len(removed)} messages removed by what is no clear"))
            life = [
                token
                for seq, token in enumerate(last.life[: last.length], self.before + 1)
                if seq not in removed
            ]
            self._alive = set(life)
        for event in stored:
            self._store(life, event)
            if event is not stored[-1] and life[-1] in self.batches:
                self._add(State(life, len(life), at=at))
        if stored or removed:
            self._add(State(life, len(life), at=at))

    def _store(self, life: list[str], event: Event) -> None:
        token = event.text.partition("|")[2]
        if event.seq != self.given + 1:
            self.problems.append(("lost", f"{token} has seq {event.seq} after {self.given}"))
        self.given = event.seq
        if token in self._alive:
            self.problems.append(("doubled", f"{token} is stored twice"))
        life.append(token)
        self._alive.add(token)
        self.stored[token].append(len(self.states))

    def _add(self, state: State) -> None:
        at = len(self.states)
        self.states.append(state)
        if state.wiped:
            self.wipes.append(at)
        if state.length:
            self.ends[state.life[-1]].append(at)
        else:
            self.empty.append(at)


def timelines(
    events: Iterable[Event], batches: Collection[str] = ()
) -> tuple[dict[str, Timeline], list[tuple[str, str]]]:
    """The timeline of every conversation by its label, and messages that stand in somebody else's."""
    rows: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        rows[event.conversation].append(event)
    found: dict[str, Timeline] = {}
    leaks: list[tuple[str, str]] = []
    for mine in rows.values():
        labels = {event.text.partition("|")[0] for event in mine if event.what == "i"}
        leaks += [("leaked", f"one conversation stores the messages of {sorted(labels)}")] * (len(labels) > 1)
        if labels:
            found[min(labels)] = _timeline(mine, batches)
    return found, leaks


def _timeline(events: Iterable[Event], batches: Collection[str]) -> Timeline:
    timeline = Timeline(batches=batches)
    for transaction in _transactions(events):
        timeline.go_on(transaction)
    return timeline


def _transactions(events: Iterable[Event]) -> Iterator[list[Event]]:
    for _, group in groupby(events, key=lambda event: event.transaction):
        yield list(group)
