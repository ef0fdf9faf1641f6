"""The coherence protocol as a model that is small enough to be explored whole: every order of every step.

    PYTHONPATH=tests python -m model [--wide]

prints which scopes hold, and for every rule of the protocol the shortest way in which leaving it out breaks the
promise. Half a minute; ``--wide`` has more of everybody and takes ten.

The promise: a read returns the conversation as it stood no earlier than (a) the newest write acknowledged and (b) the
newest read finished before it began. What counts is said precisely, so that it also holds while Redis is away:

- a write that could only be *marked* counts at once for a process that missed something, and for the others from
  their next look at the marks on ("a second passes");
- a read counts if it could tell Redis what it saw, or was served by it.

The model: conversations do not touch one another, so there is one. Its content is (life, version), which a log of
appends, clears and deletes determines: moment n is the state after n commits. A statement of PostgreSQL and a script
of Redis are one step each, and a step that only its own actor can see is part of the one before it. ``look``,
``publish``, ``fill``, ``tell`` say what the scripts do to the conversation's key; tests/model/test_real_protocol.py
holds the real ones against them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from model.protocol import Broken, Protocol, Scope, State
from model.window_model import shown


@dataclass(frozen=True)
class Found:
    """How many states there are, and the shortest way to break the promise; ``None`` where it holds."""

    states: int
    trace: list[str] | None

    def __str__(self) -> str:
        return f"{self.states:8} states: " + ("holds" if self.trace is None else " > ".join(self.trace))


def explore(scope: Scope, without: str = "") -> Found:
    """Walk through every state, breadth first."""
    protocol = Protocol(scope, without)
    came: dict[State, tuple[State, str] | None] = dict.fromkeys(scope.starts())
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
    return Found(len(came), None)


def _way(came: dict[State, tuple[State, str] | None], s: State) -> list[str]:
    steps = []
    while (link := came[s]) is not None:
        s, what = link
        steps.append(what)
    start = f"{shown(s.key)} cached after {len(s.log)} appends"
    return [start, *reversed(steps)]


HOLDS = {
    "writers race": Scope(writers=2, what="acd", writes=1, kinds="late"),
    "one writer, again and again": Scope(what="acd", writes=3, kinds="late"),
    "full histories": Scope(writers=2, full=1, what="ad"),
    "crash": Scope(writers=2, what="ad", kinds="crash"),
    "evict": Scope(writers=2, what="ad", kinds="evict late"),
    "restart": Scope(writers=2, kinds="restart late"),
    "questions on their way twice": Scope(writers=2, kinds="twice late"),
    "outage": Scope(writes=2, kinds="outage"),
    "partition": Scope(writers=2, kinds="partition"),
    "one process": Scope(readers=2, shared=True, kinds="partition outage"),
}
"""Small scopes: a few seconds together."""

_ALL = "crash evict restart late outage partition twice"
MORE = {
    "writers race, any two faults": Scope(writers=2, faults=2, kinds=_ALL),
    "clear and delete, any fault": Scope(writers=2, what="acd", kinds=_ALL),
    "three readers, one of them full": Scope(readers=3, full=1, what="ad", kinds="crash evict restart"),
    "two reads each": Scope(reads=2, what="ad", kinds=_ALL),
    "two writes each": Scope(writers=2, writes=2, kinds="crash evict late"),
    "after an outage": Scope(reads=2, what="ad", kinds=_ALL, after=True),
    "one process, any two faults": Scope(reads=2, faults=2, kinds=_ALL, shared=True),
}

_OUT = "outage"
MUTANTS = {
    "fill without lease": Scope(),
    "publish keeps the lease": Scope(),
    "publish without version check": Scope(writers=2),
    "no run check": Scope(kinds="restart"),
    "lease without run": Scope(kinds="restart"),
    "silent miss": Scope(readers=3),
    "silent full read": Scope(full=1),
    "failed publish not marked": Scope(kinds=_OUT),
    "trust without draining": Scope(kinds=_OUT),
    "delete without publish": Scope(what="ad"),
    "incarnation ignored": Scope(writers=2, what="ad"),
    "clear keeps the window": Scope(what="ac"),
    "any lease fills": Scope(readers=3),
    "drain clears a newer mark": Scope(reads=2, faults=0, after=True),
    "mark after ack": Scope(kinds=_OUT),
    "creation extends no conversation": Scope(writers=2, what="ad"),
    "publish vouches for the run": Scope(writers=3, readers=1, kinds="restart"),
    "degraded write not marked": Scope(writes=2, kinds=_OUT),
    "mark cleared first": Scope(kinds=_OUT),
    "publish after ack": Scope(),
    "look under way counts": Scope(shared=True, kinds="partition"),
    "no look while trusted": Scope(kinds="partition"),
    "a lease is given twice": Scope(kinds="twice"),
    "look counts from its end": Scope(reads=2, faults=0, after=True),
}
"""Every rule of the protocol, left out, and a small scope that shows what comes of it."""
