"""Who takes part in the coherence protocol, and all that each of them holds.

One conversation, whose content is the tuple of the commits that show. A *server* is a Redis with the name it makes for
itself, new after every restart and on a promoted copy; it holds one key. A *process* has connections that lead to one
server, and can be led to another unawares (fail-over, DNS, split brain). Writers and readers are calls in a process; a
writer without one has no cache, and so has a person at psql.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from model.window_model import Key

T = TypeVar("T")
Log = tuple[int, ...]


class Server(NamedTuple):
    """``old``: what a restart with loss, or a copy that lags, still has. ``told``: commits that its readers are owed."""

    name: int  # 0: not there yet
    key: Key
    old: Key
    told: int
    token: int = 0


class Row(NamedTuple):
    """A cache as PostgreSQL knows it: under which of its pasts it was registered, and the era it is in."""

    cache: int
    past: int
    era: int


class Pg(NamedTuple):
    """Commits, a delete negative; registered caches; marks as (cache, stamp), one for a cache."""

    log: Log = ()
    rows: tuple[Row, ...] = ()
    marks: tuple[tuple[int, int], ...] = ()


class Proc(NamedTuple):
    """``cache``: what it takes its server's name to be. ``era`` 0: it must look before it serves.

    ``knew`` and ``past``: the commits, and PostgreSQL's past, when its last finished look began; ``mine``: what it
    acknowledged itself; ``look``: (step, era, knew, past, cache, stamp of the mark) of the one under way.
    """

    server: int
    cache: int
    era: int
    knew: int
    past: int
    mine: int = 0
    look: tuple[int, ...] = ()


class Writer(NamedTuple):
    """``saw``: caches that were registered when its statement read them. ``before``: the stamp it may extend, -1 for none.

    ``stamp`` -2: a mutant that tells nothing; ``seen``: what shows after it, at which only mutants look.
    """

    step: str
    left: int
    cache: int = 0
    era: int = 0
    saw: tuple[int, ...] = ()
    change: int = 0
    stamp: int = 0
    before: int = -1
    seen: Log = ()


class Reader(NamedTuple):
    """``owes``: what it must show. ``bound``: its process had looked since PostgreSQL went back. ``log``: what it read."""

    step: str
    left: int
    cache: int = 0
    era: int = 0
    owes: int = 0
    bound: bool = False
    log: Log = ()


class State(NamedTuple):
    """The world between two steps. ``before``: PostgreSQL without its last commit; ``lost``: its log before it went back."""

    pg: Pg
    before: Pg | None
    past: int
    lost: Log
    servers: tuple[Server, ...]
    procs: tuple[Proc, ...]
    writers: tuple[Writer, ...]
    readers: tuple[Reader, ...]
    acked: int
    returned: int
    ids: int
    faults: int


Step = tuple[str, State]


class Broken(Exception):
    """The promise is broken."""


@dataclass(frozen=True)
class Scope:
    """How many of everybody and of everything, and where.

    ``writers``: (process, or -1 for none, and what each does in turn: a append, d delete, D delete by hand);
    ``readers``: (process, w window or f full read). ``procs``: the server of each process. ``kinds`` of faults: back,
    forget, restart, evict, copy, move, cut (a writer ends between any two steps, its statement may still commit), again
    (PostgreSQL's reply is lost, the statement is sent again), deaf (Redis does not answer a publish), late (leases are
    taken over). ``fresh``: no cache is registered at first; ``empty``: there is no conversation. ``across``: what was
    read through one cache is owed by the others.
    """

    writers: tuple[tuple[int, str], ...]
    readers: tuple[tuple[int, str], ...]
    procs: tuple[int, ...] = (0,)
    kinds: str = ""
    faults: int = 1
    across: bool = False
    fresh: bool = False
    empty: bool = False


def bits(log: Log) -> int:
    """A set of commits as a number."""
    return sum(1 << abs(commit) for commit in log)


def shows(log: Log) -> Log:
    """What is seen after these commits: those since the last delete."""
    for at in range(len(log), 0, -1):
        if log[at - 1] < 0:
            return log[at:]
    return log


def stamp_of(log: Log) -> int:
    """The stamp of the last change; 0 where there is no conversation."""
    return log[-1] if log and log[-1] > 0 else 0


def put(things: tuple[T, ...], at: int, thing: T) -> tuple[T, ...]:
    """The same tuple with another thing in one place."""
    return (*things[:at], thing, *things[at + 1 :])
