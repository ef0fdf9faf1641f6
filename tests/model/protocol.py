"""Who takes part in the coherence protocol, and every step that can come next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from model.window_model import Key, Lease, Window, fill, look, publish, shown, tell

NOBODY = (0, 0)
"""The life and the version of a conversation that is not there."""


NOBODYS = -1
"""Who holds a lease that nobody has heard of."""


class Broken(Exception):
    """The promise is broken."""


# What PostgreSQL holds


@cache
def state_at(log: str, moment: int) -> tuple[int, int]:
    """(life, version) after so many commits; a life is named by the commit that began it."""
    life, version = NOBODY
    for at, what in enumerate(log[:moment], 1):
        life, version = NOBODY if what == "d" else (life or at, version + 1)
    return life, version


@cache
def told_of(log: str, moment: int) -> tuple[int, int]:
    """What the write that made ``moment`` tells the window."""
    life, version = state_at(log, moment - 1)
    return (life, version + 1) if log[moment - 1] == "d" else state_at(log, moment)


# Everybody's state


class Writer(NamedTuple):
    """``idle``, ``committed``, ``failed`` (could not publish) or ``owes`` (mutants: acknowledged too early)."""

    step: str
    moment: int
    left: int
    marked: bool = False


class Reader(NamedTuple):
    """``idle``; ``drop clear`` (draining) and ``look``; ``bare leased`` (misses), with ``+`` once it has read.

    ``slow``: a second passed since it read the marks.
    """

    step: str
    left: int
    floor: int = 0
    value: int = 0
    slow: bool = False


class State(NamedTuple):
    """The world between two steps. ``away``: who cannot reach Redis; ``trust``: of each process, fresh, due or doubt."""

    log: str
    mark: int
    key: Key
    old: Key
    run: int
    away: str
    writers: tuple[Writer, ...]
    readers: tuple[Reader, ...]
    trust: tuple[str, ...]
    floor: int
    late: int
    faults: int


Step = tuple[str, State]


@dataclass(frozen=True)
class Scope:
    """How many of everybody and of everything; the first ``full`` readers read whole histories.

    ``kinds`` of faults: crash evict restart late outage partition twice. ``what`` is written: a(ppend) c(lear) d(elete).
    ``shared``: all readers are one process. ``after``: an outage, and a write that is marked; it is over for
    everybody but the first writer.
    """

    writers: int = 1
    readers: int = 2
    full: int = 0
    writes: int = 1
    reads: int = 1
    faults: int = 1
    kinds: str = ""
    what: str = "a"
    shared: bool = False
    after: bool = False

    def starts(self) -> Iterator[State]:
        """Before anything happens: with a warm window and a cold one, of a conversation that is there or not."""
        writers, readers = (
            (Writer("idle", 0, self.writes),) * self.writers,
            (Reader("idle", self.reads),) * self.readers,
        )
        processes = 1 if self.shared else self.readers
        if self.after:
            doubt, stale = ("doubt",) * processes, Window(1, 1, 0)
            yield State("aa", 2, stale, None, 0, "w0", writers, readers, doubt, 2, 0, self.faults)
            return
        trust = ("fresh",) * processes
        for log in ("a", ""):
            for key in (Window(*state_at(log, len(log)), 0), None):
                yield State(log, 0, key, None, 0, "", writers, readers, trust, len(log), 0, self.faults)


@dataclass(frozen=True)
class Protocol:
    """The steps that can come next; ``without`` names the rule that is left out."""

    scope: Scope
    without: str = ""

    def steps(self, s: State) -> Iterator[Step]:
        """Every step that can come next, with the state it leads to."""
        for i, writer in enumerate(s.writers):
            yield from self._writer(s, i, writer)
        for i, reader in enumerate(s.readers):
            yield from self._reader(s, i, reader)
        yield from self._events(s)
        if s.faults:
            for what, n in self._faults(s):
                yield what, n._replace(faults=s.faults - 1)

    # Writers

    def _writer(self, s: State, i: int, w: Writer) -> Iterator[Step]:
        if w.step == "idle" and w.left:
            yield from self._commits(s, i, w)
        elif w.step == "committed":
            yield from self._publishes(s, i, w)
        elif w.step == "failed":
            early = self.without == "mark after ack"
            marked = s if early or self.without == "failed publish not marked" else s._replace(mark=w.moment)
            yield (
                f"w{i} marks, acks",
                self._acked(marked, i, w, late=True, then="owes mark" if early else "idle"),
            )
        elif w.step == "owes mark":
            yield f"w{i} marks", _with_writer(s._replace(mark=w.moment), i, Writer("idle", 0, w.left))
        elif w.step == "owes publish":
            n = self._published(s, w.moment) if self._reaches(s, i) else s
            yield f"w{i} publishes", _with_writer(n, i, Writer("idle", 0, w.left))

    def _commits(self, s: State, i: int, w: Writer) -> Iterator[Step]:
        moment = len(s.log) + 1
        for what in self.scope.what:
            if what != "a" and state_at(s.log, len(s.log)) == NOBODY:
                continue
            n = s._replace(log=s.log + what)
            yield f"w{i} commits {what}{moment}", _with_writer(n, i, Writer("committed", moment, w.left))
            if not self._reaches(s, i):  # its breaker may have opened: then the mark is part of the statement
                mark = s.mark if self.without == "degraded write not marked" else moment
                marked = _with_writer(
                    n._replace(mark=mark), i, Writer("committed", moment, w.left, marked=True)
                )
                yield f"w{i} commits and marks {what}{moment}", marked

    def _publishes(self, s: State, i: int, w: Writer) -> Iterator[Step]:
        if self.without == "publish after ack":
            yield f"w{i} acks {w.moment}", self._acked(s, i, w, late=False, then="owes publish")
            return
        if self._reaches(s, i):
            n = self._published(s, w.moment)
            yield f"w{i} publishes {w.moment}: {shown(n.key)}, acks", self._acked(n, i, w, late=False)
            if s.faults and "outage" in self.scope.kinds:
                n = _with_writer(n._replace(faults=s.faults - 1), i, w._replace(step="failed"))
                yield f"w{i} publishes {w.moment}, the answer is lost", n
        if w.marked:
            yield f"w{i} leaves Redis alone, acks {w.moment}", self._acked(s, i, w, late=True)
        elif not self._reaches(s, i):
            yield f"w{i} cannot publish {w.moment}", _with_writer(s, i, w._replace(step="failed"))

    def _acked(self, s: State, i: int, w: Writer, *, late: bool, then: str = "idle") -> State:
        n = _with_writer(s, i, Writer(then, w.moment if then != "idle" else 0, w.left - 1))
        return n._replace(late=max(s.late, w.moment)) if late else n._replace(floor=max(s.floor, w.moment))

    def _published(self, s: State, moment: int) -> State:
        what, (life, version) = s.log[moment - 1], told_of(s.log, moment)
        if (what, self.without) in {("c", "clear keeps the window"), ("d", "delete without publish")}:
            return s
        if what == "a":
            return _put(s, publish(s.key, s.run, life, version, self.without)[1])
        return _put(s, tell(s.key, life, version, self.without)[1])

    def _reaches(self, s: State, i: int) -> bool:
        return not (s.away == "all" or (s.away == "w0" and i == 0))

    # Readers

    def _reader(self, s: State, i: int, r: Reader) -> Iterator[Step]:
        if r.step == "idle":
            if r.left:
                yield self._begins(s, i, r)
        elif r.step in {"drop", "clear"}:
            yield self._drains(s, i, r)
        elif r.step == "look":
            yield self._looks(s, i, r)
        elif r.step in {"bare", "leased"}:
            yield self._reads(s, i, r)
        else:
            yield self._finishes(s, i, r)

    def _begins(self, s: State, i: int, r: Reader) -> Step:
        trust = s.trust[self._process(i)]
        owed = s.floor if trust == "fresh" else max(s.floor, s.late)
        r = r._replace(floor=owed)
        busy = self.scope.shared and any(other.step in {"drop", "clear"} for other in s.readers)
        if i < self.scope.full:
            return self._reads(s, i, r._replace(step="bare"))
        if trust == "fresh" or self.without == "trust without draining":
            return self._looks(s, i, r)
        if not busy:
            return self._reads_marks(s, i, r)
        if trust == "due" and self.without == "look under way counts":
            return self._looks(s, i, r)
        return self._reads(s, i, r._replace(step="bare"))  # another reader of this process is at the marks

    def _reads_marks(self, s: State, i: int, r: Reader) -> Step:
        if not s.mark:
            n = self._trusting(s, i, "fresh")
            return f"r{i} finds no mark", _with_reader(n, i, r._replace(step="look"))
        first = "clear" if self.without == "mark cleared first" else "drop"
        return f"r{i} finds mark {s.mark}", _with_reader(s, i, r._replace(step=first, value=s.mark))

    def _drains(self, s: State, i: int, r: Reader) -> Step:
        reverse = self.without == "mark cleared first"
        if r.step == "drop" and s.away == "all":
            return f"r{i} cannot drop", _with_reader(
                self._trusting(s, i, "doubt"), i, r._replace(step="bare")
            )
        if r.step == "drop":
            what, n, then = f"r{i} drops", _put(s, None), "look" if reverse else "clear"
        else:
            gone = s.mark == r.value or self.without == "drain clears a newer mark"
            n = s._replace(mark=0) if gone else s
            what, then = f"r{i} clears mark {r.value}", "drop" if reverse else "look"
        if then == "look":
            slow = r.slow and self.without != "look counts from its end"
            n, r = self._trusting(n, i, "due" if slow else "fresh"), r._replace(slow=False)
        return what, _with_reader(n, i, r._replace(step=then))

    def _looks(self, s: State, i: int, r: Reader) -> Step:
        if s.away == "all":
            return f"r{i} cannot look", _with_reader(
                self._trusting(s, i, "doubt"), i, r._replace(step="bare")
            )
        answer, key = look(s.key, s.run, i, self.without)
        if answer != "hit":
            step = "leased" if answer == "lease" else "bare"
            return f"r{i} looks: {answer}", _with_reader(_put(s, key), i, r._replace(step=step))
        assert isinstance(key, Window)
        held = (m for m in range(r.floor, len(s.log) + 1) if state_at(s.log, m) == key[:2])
        moment = next(held, None)
        if moment is None:
            raise Broken(f"r{i} is served {shown(key)} after {r.floor}")
        return f"r{i} is served {shown(key)}", _with_reader(_seen(s, moment), i, Reader("idle", r.left - 1))

    def _reads(self, s: State, i: int, r: Reader) -> Step:
        n = _with_reader(s, i, r._replace(step=r.step + "+", value=len(s.log)))
        return f"r{i} reads {len(s.log)}", n

    def _finishes(self, s: State, i: int, r: Reader) -> Step:
        done, (life, version) = Reader("idle", r.left - 1), state_at(s.log, r.value)
        if s.away == "all":
            return f"r{i} cannot tell {r.value}", _with_reader(self._trusting(s, i, "doubt"), i, done)
        silent = "silent full read" if i < self.scope.full else "silent miss"
        n = _with_reader(_seen(s, r.value), i, done)
        if r.step == "leased+":
            said, key = fill(s.key, s.run, i, life, version, self.without)
        elif self.without == silent:
            said, key = "says nothing of", s.key
        else:
            said, key = tell(s.key, life, version, self.without)
        return f"r{i} {said} {r.value}", _put(n, key)

    def _process(self, i: int) -> int:
        return 0 if self.scope.shared else i

    def _trusting(self, s: State, i: int, how: str) -> State:
        at = self._process(i)
        return s._replace(trust=(*s.trust[:at], how, *s.trust[at + 1 :]))

    # What happens to them

    def _events(self, s: State) -> Iterator[Step]:
        if s.away:
            yield "Redis is back", s._replace(away="")
        if s.late > s.floor:
            due = s.trust
            if self.without != "no look while trusted":
                due = tuple("due" if trust == "fresh" else trust for trust in s.trust)
            looking = tuple(r._replace(slow=r.step in {"drop", "clear"}) for r in s.readers)
            yield "a second passes", s._replace(floor=s.late, trust=due, readers=looking)
        if isinstance(s.key, Lease) and not s.key.late and "late" in self.scope.kinds:
            yield "the lease's time is over", s._replace(key=s.key._replace(late=True))

    def _faults(self, s: State) -> Iterator[Step]:
        kinds = self.scope.kinds
        if "crash" in kinds:
            for i, w in enumerate(s.writers):
                if w.step != "idle":
                    yield f"w{i} CRASHES", _with_writer(s, i, Writer("idle", 0, 0))
            for i, r in enumerate(s.readers):
                if r.step != "idle":
                    yield f"r{i} CRASHES", _with_reader(s, i, Reader("idle", r.left - 1))
        if "twice" in kinds:
            yield from self._asked_again(s)
        if "evict" in kinds and s.key and not s.away:
            yield "EVICTED", _put(s, None)
        if "restart" in kinds:
            yield f"RESTART, back to {shown(s.old)}", s._replace(key=s.old, run=s.run + 1)
            yield "RESTART, all kept", s._replace(run=s.run + 1)
        if not s.away:
            yield from self._apart(s)

    def _apart(self, s: State) -> Iterator[Step]:
        if "outage" in self.scope.kinds:
            yield "OUTAGE", s._replace(away="all")
        if "partition" in self.scope.kinds:
            yield "PARTITION between w0 and Redis", s._replace(away="w0")

    def _asked_again(self, s: State) -> Iterator[Step]:
        """What a reader asked before it was given its lease was on its way twice, and arrives once more."""
        for i, r in enumerate(s.readers):
            if r.step.rstrip("+") == "leased":
                holder = i if self.without == "a lease is given twice" else NOBODYS
                answer, key = look(s.key, s.run, holder)
                yield f"r{i}'s question arrives again: {answer}", _put(s, key)


def _with_writer(s: State, i: int, w: Writer) -> State:
    return s._replace(writers=(*s.writers[:i], w, *s.writers[i + 1 :]))


def _with_reader(s: State, i: int, r: Reader) -> State:
    return s._replace(readers=(*s.readers[:i], r, *s.readers[i + 1 :]))


def _put(s: State, key: Key) -> State:
    return s if key == s.key else s._replace(key=key, old=s.key)


def _seen(s: State, moment: int) -> State:
    return s._replace(floor=max(s.floor, moment))
