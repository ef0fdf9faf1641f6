"""The coherence protocol as a model that is small enough to be explored whole: every order of every step.

    PYTHONPATH=tests python -m model [--wide] [RULE ...]

prints which scopes hold, and for every rule of the protocol the shortest way in which leaving it out breaks the
promise.

A read returns a state that PostgreSQL has had, with every commit that it owes:

1. *own*: every write acknowledged before it began whose writer told the server that it reads from, everything that a
   read which told that server had returned before, and everything that its own process acknowledged;
2. *others*: every other acknowledged write, as soon as a look of its process is over that began after the commit or,
   if its writer was cut off from its cache, after the mark ("a look at most a second ago" makes this a second);
3. *back*: when PostgreSQL went back, the commits that it lost are owed no more, all others are, those acknowledged
   after it among them; and a process that has looked since shows nothing that was lost.

A statement and a look are split where it matters, a script of Redis is one step. Not here: outages that everybody
sees, deadlines of leases (under ``late`` one can be taken over at any moment), two databases, the nodes of a cluster.
``test_real_protocol.py`` holds the real scripts, statements and code against the same promise.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from model.looks import Protocol
from model.parties import Broken, Scope, State


@dataclass(frozen=True)
class Found:
    """How many states there are, and the shortest way to break the promise; ``None`` where it holds."""

    states: int
    trace: list[str] | None
    finished: bool = True

    def __str__(self) -> str:
        said = "holds" if self.finished else "NOT FINISHED"
        return f"{self.states:9,} states: " + (said if self.trace is None else " > ".join(self.trace))


def explore(scope: Scope, without: str = "", limit: int = 10**9) -> Found:
    """Walk through every state, breadth first, up to a limit."""
    protocol = Protocol(scope, without)
    came: dict[State, tuple[State, str] | None] = {protocol.start(cold=cold): None for cold in (False, True)}
    queue = deque(came)
    while queue:
        s = queue.popleft()
        try:
            for what, n in protocol.steps(s):
                if n not in came:
                    came[n] = (s, what)
                    queue.append(n)
        except Broken as broken:
            return Found(len(came), [*_way(came, s), str(broken)])
        if len(came) > limit:
            return Found(len(came), None, finished=False)
    return Found(len(came), None)


def _way(came: dict[State, tuple[State, str] | None], s: State) -> list[str]:
    steps = []
    while (link := came[s]) is not None:
        s, what = link
        steps.append(what)
    return steps[::-1]


def attack(rule: str) -> tuple[str, Found]:
    """The first of the attacks that shows what comes of leaving out a rule."""
    found = Found(0, None)
    for title, scope in ATTACKS.items():
        found = explore(scope, rule, 300_000)
        if found.trace is not None:
            return title, found
    return "", found


HOLDS = {
    "one cache": Scope(((0, "a"), (0, "a")), ((0, "w"), (0, "w")), (0,), "cut"),
    "one cache, Redis loses": Scope(((0, "a"), (0, "a")), ((0, "ww"),), (0,), "restart evict"),
    "and loses twice": Scope(((0, "a"),), ((0, "ww"),), (0,), "restart evict", 2),
    "and is forgotten": Scope(((0, "a"),), ((0, "ww"),), (0,), "restart forget", 2),
    "one cache, full reads": Scope(((0, "a"),), ((0, "ww"), (0, "f")), (0,), "cut evict late deaf", 2),
    "a writer without cache": Scope(((-1, "a"), (0, "a")), ((0, "w"), (1, "w")), (0, 0), "late"),
    "and a cache forgotten": Scope(((-1, "a"), (0, "a")), ((0, "w"),), (0, 0), "cut forget"),
    "deletes, one by hand": Scope(((0, "da"), (-1, "D")), ((0, "ww"),), (0,), "cut again deaf", 2),
    "deletes without a cache": Scope(((-1, "DaD"),), ((0, "ww"),), (0,), "forget"),
    "makes and deletes": Scope(((0, "aa"), (0, "d")), ((0, "ww"),), (0,), "cut", 1, empty=True),
    "two caches": Scope(((0, "a"), (1, "a")), ((0, "w"), (1, "w")), (0, 1)),
    "two caches, cut off": Scope(((0, "a"), (1, "a")), ((0, "w"),), (0, 1), "cut deaf", 2),
    "two caches, forgotten": Scope(((0, "a"), (1, "a")), ((0, "w"),), (0, 1), "forget deaf"),
    "two caches, led astray": Scope(((0, "a"), (1, "a")), ((0, "w"),), (0, 1), "move restart"),
    "a copy": Scope(((0, "a"),), ((0, "w"), (1, "w")), (0, 0), "copy move deaf", 2),
    "a copy, and a bare writer": Scope(((-1, "a"), (0, "a")), ((1, "ww"),), (0, 0), "copy move"),
    "registering": Scope(((0, "a"), (-1, "a")), ((0, "w"), (1, "w")), (0, 0), "", 0, fresh=True),
    "and again": Scope(((0, "a"), (-1, "a")), ((0, "ww"),), (0,), "cut forget", 1, fresh=True),
    "PostgreSQL back": Scope(((0, "aa"), (0, "a")), ((0, "w"), (0, "w")), (0,), "back"),
    "back, sent again": Scope(((0, "a"), (0, "a")), ((0, "wfw"),), (0,), "back again cut", 3),
    "back, forgotten, deaf": Scope(((0, "a"), (-1, "a")), ((0, "w"),), (0,), "back forget deaf", 3),
    "back, two caches": Scope(((0, "a"), (1, "a")), ((1, "w"),), (0, 1), "back deaf", 2),
    "back, a copy": Scope(((0, "a"),), ((0, "w"), (1, "w")), (0, 0), "back copy", 2),
    "back, deleted": Scope(((0, "ad"), (0, "a")), ((0, "ww"),), (0,), "back cut", 2),
    "across two caches": Scope(((0, "a"),), ((0, "w"), (1, "wf")), (0, 1), "cut", 1, across=True),
}
"""Writers and readers by process, where each process's connections lead, and which faults: minutes together."""

MORE = {
    "one cache, wide": Scope(((0, "aa"), (0, "a")), ((0, "w"), (0, "w")), (0,), "cut evict", 2),
    "two caches and a bare writer": Scope(((0, "a"), (1, "a"), (-1, "a")), ((0, "w"),), (0, 1), "cut", 1),
    "two caches, wide": Scope(((0, "a"), (1, "a")), ((0, "w"), (1, "w")), (0, 1), "cut deaf"),
    "two caches, forgotten twice": Scope(((0, "a"), (1, "a")), ((0, "w"),), (0, 1), "forget deaf", 2),
    "a copy, wide": Scope(((0, "a"), (1, "a")), ((0, "w"), (1, "w")), (0, 0), "copy move deaf", 2),
    "back, wide": Scope(((0, "aa"), (-1, "a")), ((0, "ww"), (1, "w")), (0, 0), "back forget", 2),
}
"""Larger ones: long, and some gigabytes."""

ATTACKS = {
    "one": Scope(((0, "a"),), ((0, "w"), (0, "w")), (0,), "cut"),
    "full": Scope(((0, "a"),), ((0, "w"), (0, "f")), (0,), "cut"),
    "miss": Scope(((0, "a"),), ((0, "w"), (0, "ww")), (0,)),
    "bare": Scope(((-1, "a"), (0, "a")), ((0, "w"),), (0,)),
    "bare, two": Scope(((-1, "a"), (-1, "a")), ((0, "ww"),), (0,)),
    "bare, slow": Scope(((-1, "a"),), ((0, "w"), (0, "w")), (0,)),
    "hand": Scope(((0, "a"), (-1, "D")), ((0, "ww"),), (0,)),
    "hands": Scope(((-1, "DaD"),), ((0, "ww"),), (0,)),
    "deleted": Scope(((0, "a"), (0, "d")), ((0, "ww"),), (0,), empty=True),
    "again": Scope(((0, "a"),), ((0, "w"),), (0,), "again"),
    "deaf": Scope(((0, "a"),), ((0, "w"),), (0,), "deaf"),
    "deaf, bare": Scope(((0, "a"), (-1, "a")), ((0, "w"),), (0,), "deaf"),
    "two": Scope(((0, "a"),), ((1, "w"),), (0, 1)),
    "fresh": Scope(((-1, "a"),), ((0, "ww"),), (0,), "", fresh=True),
    "forget": Scope(((-1, "a"),), ((0, "w"), (0, "w")), (0,), "forget"),
    "two processes": Scope(((-1, "a"),), ((0, "w"), (1, "w")), (0, 0)),
    "copy, bare": Scope(((-1, "a"),), ((1, "w"),), (0, 0), "copy"),
    "copy": Scope(((0, "a"),), ((1, "w"),), (0, 0), "copy move", 2),
    "back, deaf": Scope(((0, "a"),), ((0, "w"),), (0,), "back deaf", 2),
    "back, again": Scope(((0, "a"), (0, "a")), ((0, "wfw"),), (0,), "back again", 2),
    "back": Scope(((0, "a"), (0, "a")), ((0, "w"), (0, "w")), (0,), "back"),
    "back, forget": Scope(((0, "a"),), ((0, "w"), (0, "w")), (0,), "back forget", 2),
    "across": Scope(((0, "a"),), ((0, "w"), (1, "f")), (0, 1), "cut", 1, across=True),
}
"""Small ones, each to show what comes of leaving out some rule."""
