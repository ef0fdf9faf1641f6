"""Who takes part in the coherence protocol, and all that each of them holds.

One conversation, whose content is what its commits left. A *server* is a Redis with the name it makes for itself, new
after every restart and on a promoted copy; it holds one window or lease, and one journal. A *process* has connections
that lead to one server, and can be led to another unawares (fail-over, DNS, split brain). Writers, readers and drainers
are calls in a process; a writer without one has no cache, and so has a person at psql.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from model.window_model import Entries, Key

T = TypeVar("T")
Log = tuple[int, ...]
POP = 40
"""What is added to the id of a row to say that it was popped; no scope has so many ids."""


class Server(NamedTuple):
    """``old``: what a restart with loss, or a copy that lags, still has. ``told``: what its readers are owed."""

    name: int  # 0: not there yet
    key: Key
    old: tuple[Key, Entries]
    told: int
    token: int = 0
    journal: Entries = ()


class Row(NamedTuple):
    """A cache as PostgreSQL knows it: under which of its pasts it was registered, and the era it is in.

    ``journal``: whether it allows journals, at which only a mutant looks.
    """

    cache: int
    past: int
    era: int
    journal: bool = False


class Pg(NamedTuple):
    """The conversation, the registered caches, and marks as (cache, stamp), one for a cache.

    ``log``: rows as they were stored, a delete or a clear negative, a pop as ``POP`` and the row; ``stamp`` and ``life``
    0: there is no conversation. ``journal``: whether journals are allowed.
    """

    log: Log = ()
    stamp: int = 0
    life: int = 0
    rows: tuple[Row, ...] = ()
    marks: tuple[tuple[int, int], ...] = ()
    journal: bool = False


class Proc(NamedTuple):
    """``cache``: what it takes its server's name to be. ``era`` 0: it must look before it serves.

    ``knew`` and ``past``: the commits, and PostgreSQL's past, when its last finished look began; ``mine``: what it
    acknowledged itself; ``look``: (step, era, knew, past, cache, stamp of the mark) of the one under way. ``allowed``:
    it knows that journals are; ``kept``: what it appended, on the server ``kept_at``, and PostgreSQL has not answered for.
    """

    server: int
    cache: int
    era: int
    knew: int
    past: int
    mine: int = 0
    look: tuple[int, ...] = ()
    allowed: bool = False
    kept: Entries = ()
    kept_at: int = 0


class Told(NamedTuple):
    """What a statement answered, and what Redis is then told of it.

    ``stamp`` -2: a mutant that tells nothing; ``before``: the stamp that may be extended, -1 for none; ``new``: rows
    that it stored; ``seen``: what shows after it; ``ended``: the life that it ended; ``ents``: what it took from the journal;
    ``event``: the commit that its call is about.
    """

    stamp: int = 0
    before: int = -1
    new: Log = ()
    seen: Log = ()
    life: int = 0
    ended: int = 0
    ents: Entries = ()
    event: int = 0


class Writer(NamedTuple):
    """``saw``: caches that were registered when its statement read them; ``alone``: Redis is out of its reach.

    ``row``: of its message; ``life``: that it means. ``prior``: what was acknowledged, and has to stand before it;
    ``acked``: what a delete may take for good.
    """

    step: str
    left: int
    cache: int = 0
    era: int = 0
    saw: tuple[int, ...] = ()
    row: int = 0
    change: int = 0
    told: Told = Told()
    ents: Entries = ()
    life: int = 0
    alone: bool = False
    prior: int = 0
    acked: int = 0


class Reader(NamedTuple):
    """``owes``: what it must show. ``bound``: its process had looked since PostgreSQL went back. ``log``: what it read."""

    step: str
    left: int
    cache: int = 0
    era: int = 0
    owes: int = 0
    bound: bool = False
    log: Log = ()
    ents: Entries = ()
    told: Told = Told()
    dark: bool = False


class Drainer(NamedTuple):
    """Somebody who stores what the journal holds; ``cache`` and ``era`` as its process had them when it began."""

    step: str = "idle"
    cache: int = 0
    era: int = 0
    ents: Entries = ()
    told: Told = Told()


class Late(NamedTuple):
    """An append without an answer that may still arrive at a server."""

    at: int
    name: int
    era: int
    row: int
    life: int


class Orphan(NamedTuple):
    """A statement without an answer that may still be carried out, after its write was acknowledged otherwise."""

    row: int
    life: int
    ents: Entries
    cache: int


class Past(NamedTuple):
    """What only the promise looks at, of writes through a journal.

    ``gone``: what went with a delete, or with a life that PostgreSQL lost; ``lost``: what Redis lost before it was stored;
    ``dead``: what a process acknowledged that has ended. ``order``: (row, what had to stand before it); ``taken``: (a
    delete or pop, what it took for good); ``late``: what arrived after its writer had stored it otherwise.
    """

    gone: int = 0
    lost: int = 0
    dead: int = 0
    order: tuple[tuple[int, int], ...] = ()
    taken: tuple[tuple[int, int], ...] = ()
    late: int = 0


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
    drainers: tuple[Drainer, ...] = ()
    flying: tuple[Late, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    seen: Past = Past()


Step = tuple[str, State]


class Broken(Exception):
    """The promise is broken."""


@dataclass(frozen=True)
class Scope:
    """How many of everybody and of everything, and where.

    ``writers``: (process, or -1 for none, and what each does in turn: a append, d delete, D delete by hand, x clear, p pop,
    j append to the journal, b append, and to the journal where PostgreSQL gives no answer);
    ``readers``: (process, w window or f full read). ``procs``: the server of each process. ``kinds`` of faults: back,
    forget, restart, evict, copy, move, cut (a writer ends between any two steps, its statement may still commit), again
    (PostgreSQL's reply is lost, the statement is sent again), deaf (Redis does not answer a publish), late (leases are
    taken over), crash (a process ends), mute (Redis does not answer an append or the question for the journal, or not
    yet), away (PostgreSQL gives no answer to b), slow (an append takes its time), flush (a journal goes, with or without
    the window). ``fresh``: no cache is registered at first; ``empty``: there is no conversation. ``across``: what was
    read through one cache is owed by the others. ``journal``: journals are allowed (``half``: of which only who writes them
    knows), or (``late``) will be; ``drain``: the processes that drain.
    """

    writers: tuple[tuple[int, str], ...]
    readers: tuple[tuple[int, str], ...]
    procs: tuple[int, ...] = (0,)
    kinds: str = ""
    faults: int = 1
    across: bool = False
    fresh: bool = False
    empty: bool = False
    journal: str = ""
    drain: tuple[int, ...] = ()

    def writes_journals(self, p: int) -> bool:
        """Whether somebody in a process appends to journals, so that it has them allowed."""
        return any(q == p and set(what) & set("jb") for q, what in self.writers)


def bits(log: Iterable[int]) -> int:
    """A set of commits as a number."""
    found = 0
    for commit in log:
        found |= 1 << abs(commit)
    return found


def rows_of(entries: Entries) -> int:
    """The rows of these entries, as a number."""
    return bits(row for row, _ in entries)


def shows(log: Log) -> Log:
    """What is seen after these commits: those since the last delete, less what was popped."""
    for at in range(len(log), 0, -1):
        if log[at - 1] < 0:
            log = log[at:]
            break
    if log and max(log) > POP:
        there: list[int] = []
        for commit in log:
            if commit > POP:
                there.remove(commit - POP)
            else:
                there.append(commit)
        return tuple(there)
    return log


def put(things: tuple[T, ...], at: int, thing: T) -> tuple[T, ...]:
    """The same tuple with another thing in one place."""
    return (*things[:at], thing, *things[at + 1 :])
