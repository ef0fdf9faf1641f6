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

With journals a write may be acknowledged when Redis has it (``j``), and PostgreSQL stores it later. Then also:

4. *once*: no read, nor PostgreSQL when all is drained, has a message twice; or what a delete, a clear or a pop took away
   after it was acknowledged; or a write before one that was acknowledged before it began;
5. *loss*: what Redis lost before it was stored is owed to no read until its writer has sent it again and told of it, and
   to nobody if that process ended too. What is appended after a delete is stored and before it is told goes with it, and
   so does what was said in a life that PostgreSQL lost. Whoever is cut off from Redis, or led to another one, keeps its
   own order only.

A statement and a look are split where it matters, a script of Redis is one step. Not here: outages that everybody
sees, deadlines of leases (under ``late`` one can be taken over at any moment), two databases, the nodes of a cluster; of
the journal its bounds, several messages an entry, and for how long the ids of removed rows are kept.
``test_real_protocol.py`` holds the real scripts, statements and code against the same promise.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from model.looks import Protocol
from model.parties import Broken, Scope, State
from model.rules import RULES


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
    for title, scope in (ATTACKS if rule in RULES else JOURNAL_ATTACKS).items():
        found = explore(scope, rule, 300_000)
        if found.trace is not None:
            return title, found
    return "", found


def _on(
    writers: tuple[tuple[int, str], ...],
    readers: tuple[tuple[int, str], ...],
    kinds: str = "",
    faults: int = 1,
    *,
    procs: tuple[int, ...] = (0, 0),
    drain: tuple[int, ...] = (0,),
    journal: str = "on",
) -> Scope:
    """A scope in which journals are allowed, in two processes of one cache."""
    return Scope(writers, readers, procs, kinds, faults, journal=journal, drain=drain)


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

JOURNALS = {
    "journal, two readers": _on(((0, "j"), (1, "j")), ((0, "w"), (1, "w")), drain=(0, 1)),
    "journal, in order": _on(((0, "jj"), (1, "j")), ((1, "w"),), drain=(0, 1)),
    "journal and commit": _on(((0, "j"), (1, "aj")), ((1, "ww"),), drain=(0, 1)),
    "journal, full reads": _on(((0, "j"), (1, "j")), ((0, "f"), (1, "w")), drain=(0, 1)),
    "journal, evicted": _on(((0, "jj"), (1, "a")), ((1, "w"),), "evict", 2),
    "journal, processes end": _on(((0, "jj"), (1, "j")), ((1, "w"),), "crash", drain=(0, 1)),
    "journal, Redis restarts": _on(((0, "jj"), (1, "j")), ((1, "w"),), "restart"),
    "journal, restarts, ends": _on(((0, "j"), (1, "j")), ((1, "w"),), "restart crash", 2),
    "journal, no answer": _on(((0, "ja"),), ((0, "ww"),), "mute evict", 2, procs=(0,)),
    "journal, no answer, two": _on(((0, "j"), (1, "a")), ((1, "w"),), "mute"),
    "journal, no answers": _on(((0, "j"), (1, "a")), ((1, "w"),), "deaf mute", 2),
    "journal, alone": _on(((0, "ja"), (1, "j")), ((1, "w"),), "mute", drain=()),
    "journal, PostgreSQL away": _on(((0, "bb"), (1, "j")), ((1, "w"),), "away"),
    "journal, away, deleted": _on(((0, "b"), (1, "d")), ((1, "ww"),), "away"),
    "journal, deleted": _on(((0, "jj"), (1, "x")), ((1, "w"),), drain=(0, 1)),
    "journal, deleted, restarts": _on(((0, "j"), (1, "x")), ((1, "ww"),), "restart", drain=(0, 1)),
    "journal, deleted, no answer": _on(((0, "j"), (1, "x")), ((1, "ww"),), "mute deaf", drain=(1,)),
    "journal, made anew": _on(((0, "ja"), (1, "d")), ((1, "ww"),), "slow"),
    "journal, popped": _on(((0, "j"), (1, "p")), ((1, "w"),), "evict restart", drain=(0, 1)),
    "journal, popped, quietly": _on(((0, "j"), (1, "p")), ((1, "w"),), "", 0),
}
"""The journal in one cache."""

MERGED = {
    "journal, forgotten": _on(((0, "j"), (1, "a")), ((1, "w"),), "forget", 1),
    "journal, forgotten, slow": _on(((0, "j"),), ((1, "ww"),), "forget slow", 2),
    "journal, PostgreSQL back": _on(((0, "j"), (1, "a")), ((1, "w"),), "back"),
    "journal, back, cleared": _on(((0, "j"), (1, "x")), ((1, "w"),), "back"),
    "journal, back, slow": _on(((0, "jj"),), ((0, "w"),), "back slow", 2, procs=(0,)),
    "journal, a copy": _on(((0, "j"), (1, "j")), ((1, "w"),), "copy"),
    "journal, a copy, cleared": _on(((0, "j"), (1, "x")), ((1, "w"),), "copy"),
    "journal, a copy and back": _on(((0, "j"),), ((1, "w"),), "copy move back", 2),
    "journal, two caches": _on(((0, "j"), (1, "j")), ((0, "w"),), "", 0, procs=(0, 1), drain=(0, 1)),
    "journal, two caches, cleared": _on(((0, "j"), (1, "x")), ((0, "w"),), "", 0, procs=(0, 1)),
    "journal, two caches, led astray": _on(((0, "j"), (1, "a")), ((0, "w"),), "move", procs=(0, 1)),
    "journal, a bare writer": _on(((0, "j"), (-1, "a")), ((0, "ww"),), "", 0, procs=(0,)),
    "journal, by hand": _on(((0, "j"), (-1, "D")), ((0, "ww"),), "", 0, procs=(0,)),
    "journal, deaf": _on(((0, "j"),), ((0, "w"), (1, "w")), "deaf evict", 2),
    "journal, allowed late": _on(((0, "j"), (1, "aa")), ((1, "w"),), "", 0, journal="late"),
    "journal, allowed, restarts": _on(((0, "j"), (1, "a")), ((1, "w"),), "restart", 2, journal="half"),
    "journal, allowed, forgotten": _on(((0, "j"), (1, "a")), ((1, "w"),), "forget restart", 2),
}
"""The journal and everything else."""

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

JOURNAL_ATTACKS = {
    "j": _on(((0, "j"),), ((0, "w"),)),
    "jj": _on(((0, "jj"),), ((0, "w"),), "", 0, procs=(0,), drain=(0, 0)),
    "j, full": _on(((0, "j"),), ((1, "f"),), "", 0, drain=()),
    "j and a": _on(((0, "j"), (1, "a")), ((1, "w"),), "", 0, drain=()),
    "j and pop": _on(((0, "j"), (1, "p")), ((1, "w"),), "", 0),
    "j and clear": _on(((0, "j"), (1, "x")), ((1, "ww"),), "", 0),
    "j and clear, mute": _on(((0, "j"), (1, "x")), ((1, "ww"),), "mute", drain=()),
    "j and a, mute": _on(((0, "ja"),), ((0, "w"),), "mute", procs=(0,), drain=()),
    "j, restart": _on(((0, "j"),), ((0, "w"),), "restart", procs=(0,), drain=()),
    "j, hand": _on(((0, "j"), (-1, "D")), ((0, "ww"),), "", 0, procs=(0,), drain=()),
    "j, evict": _on(((0, "j"),), ((0, "ww"),), "evict", procs=(0,), drain=()),
    "j, two caches": _on(((0, "j"),), ((1, "w"),), "", 0, procs=(0, 1)),
    "j, led astray": _on(((0, "j"), (1, "a")), ((0, "w"),), "move", procs=(0, 1), drain=()),
    "j and a, led astray": _on(((1, "j"), (0, "a")), ((1, "w"),), "move", procs=(0, 1), drain=()),
    "j, copy": _on(((0, "j"),), ((1, "w"),), "copy"),
    "j, flush": _on(((0, "j"),), ((0, "w"), (1, "w")), "flush"),
    "j, flush, move": _on(((0, "j"),), ((1, "ww"),), "flush move", 2, procs=(0, 0, 1)),
    "j, flush, move, full": _on(
        ((0, "j"),), ((0, "f"), (1, "ww")), "flush move", 2, procs=(0, 0, 1), drain=()
    ),
    "b, clear": _on(((0, "b"), (0, "x")), ((0, "ww"),), "away", procs=(0,)),
    "b, delete": _on(((0, "b"), (1, "d")), ((1, "ww"),), "away"),
    "allowed late": _on(((0, "j"), (1, "a")), ((1, "w"),), "", 0, journal="late", drain=()),
    "allowed, restart": _on(((0, "j"), (1, "a")), ((1, "w"),), "restart", journal="half", drain=()),
    "j, back, clear": _on(((0, "j"), (1, "x")), ((1, "w"),), "back", drain=()),
    "j, slow, forget": _on(((0, "j"),), ((1, "w"),), "slow forget", 2),
    "j, slow, copy": _on(((0, "j"),), ((0, "w"), (1, "w")), "slow copy", 2, drain=()),
}
"""The same, with journals."""
