"""The judge: what a recorded run must never show, decided from the record and the audit alone.

lost      an acknowledged message is not stored, a ``seq`` is skipped, or a read misses the middle of what it shows;
doubled   a message is stored or shown twice;
disorder  of two writes, one acknowledged before the other began, the later one stands first;
stale     a read returned less than a write acknowledged before it began, or than a read finished before it began;
leaked    a read showed what was deleted before it began, another conversation, or another user's;
phantom   a read showed a message that was never committed;
surprise  a call ended in an error that no caller is told to expect.

Outcomes nobody knows (no answer, or ``StorageUnavailable``) count as either. Two things are not held against the
library, because its documentation says so; they are counted as *excused*:

unseen    a write committed and not yet acknowledged was seen by a read that could not reach Redis, and not by a later
          one: only where every read that saw it failed to tell the window;
hidden    a write acknowledged by a writer who could not reach Redis, and therefore marked, was not seen by a reader
          who could: only within ``LOOK`` seconds, in which every process looks for marks.

Both need the word of the process concerned that Redis had just failed it. Where no fault of Redis was played at that
time (a busy machine exceeds a deadline), they are counted apart, as *unplanned*.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torture.records import OK, Event, Fault, History, Read, Write
from torture.truth import Timeline, timelines

LOOK = 1.5
"""Seconds between two looks at ``dirty_windows``, with the time a look takes."""
LINGER = 2.0
"""Seconds that a fault is felt after its end: a breaker asks again every half second, a pool reconnects."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise: its kind, when it showed, and enough to find it again."""

    kind: str
    at: float
    text: str

    def __str__(self) -> str:
        return f"{self.at:9.3f} s  {self.kind:8}  {self.text}"


@dataclass
class Verdict:
    """What a run amounts to; ``violations`` is empty when every promise was kept."""

    operations: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    excused: Counter[str] = field(default_factory=Counter)

    def count(self, kind: str) -> int:
        """How many violations of one kind there are."""
        return sum(violation.kind == kind for violation in self.violations)


@dataclass(slots=True)
class Floor:
    """What a read must at least show: the newest state acknowledged, and the newest one shown, before it began."""

    acknowledged: int = 0
    shown: int = 0


def judge(
    history: History, events: Sequence[Event], faults: Sequence[Fault] = (), began: float = 0.0
) -> Verdict:
    """Decide over one run that began at ``began`` and is over: nobody writes any more."""
    truth, leaks = timelines(events)
    judgement = _Judgement(faults, began)
    for conv, timeline in truth.items():
        for kind, text in timeline.problems:
            judgement.accuse(kind, began, f"{conv}: {text}")
    for kind, text in leaks:
        judgement.accuse(kind, began, text)
    for conv, (writes, reads) in _by_conversation(history).items():
        _Conversation(conv, truth.get(conv) or Timeline(), judgement).follow(writes, reads)
    for trespass in history.trespasses:
        if trespass.saw:
            judgement.accuse("leaked", trespass.end, f"{trespass.conv}: {trespass.saw} messages to a stranger")
    for at, what in history.surprises:
        judgement.accuse("surprise", at, what)
    verdict = judgement.verdict
    verdict.violations.sort(key=lambda violation: violation.at)
    verdict.operations = _operations(history)
    return verdict


def _operations(history: History) -> Counter[str]:
    found = Counter(write.do if write.how == OK else f"{write.do}, {write.how}" for write in history.writes)
    found["read"] = len(history.reads)
    found["read from Redis"] = sum(read.hit for read in history.reads)
    found["read by a stranger"] = len(history.trespasses)
    return found


def _by_conversation(history: History) -> dict[str, tuple[list[Write], list[Read]]]:
    found: dict[str, tuple[list[Write], list[Read]]] = defaultdict(lambda: ([], []))
    for write in history.writes:
        found[write.conv][0].append(write)
    for read in history.reads:
        found[read.conv][1].append(read)
    return found


class _Judgement:
    """Collects accusations, and knows when which tier was at fault."""

    def __init__(self, faults: Sequence[Fault], began: float) -> None:
        self.verdict = Verdict()
        self._faults = faults
        self._began = began

    def accuse(self, kind: str, at: float, text: str) -> None:
        self.verdict.violations.append(Violation(kind, at - self._began, text))

    def excuse(self, kind: str) -> None:
        self.verdict.excused[kind] += 1

    def during(self, tier: str, begin: float, end: float) -> float:
        """For how many seconds a fault of the tier was felt in this span; more than 0 if at all."""
        spans = [
            min(end, f.end + LINGER) - max(begin, f.begin) + 1e-6
            for f in self._faults
            if tier in f.tiers and f.begin <= end and begin <= f.end + LINGER
        ]
        return sum(spans)


class _Conversation:
    """Follows one conversation through time."""

    def __init__(self, conv: str, timeline: Timeline, judgement: _Judgement) -> None:
        self._conv = conv
        self._timeline = timeline
        self._judgement = judgement
        self._floors: dict[int, Floor] = {}
        self._floor = Floor()
        self._acknowledged: list[tuple[int, Write]] = []
        self._shown: list[tuple[int, Read]] = []

    def follow(self, writes: Sequence[Write], reads: Sequence[Read]) -> None:
        """Go through beginnings and ends in order of time."""
        for begins, operation in _moments(writes, reads):
            if begins:
                self._floors[id(operation)] = Floor(self._floor.acknowledged, self._floor.shown)
            elif isinstance(operation, Read):
                self._read(operation)
            elif operation.how == OK:
                self._written(operation)

    def _written(self, write: Write) -> None:
        floor = self._floors[id(write)]
        if write.do == "append":
            self._appended(write, floor)
            return
        # which of the wipes it was is not known: at least the first one after what was acknowledged before it
        wipes = self._timeline.wipes
        at = bisect_left(wipes, floor.acknowledged + 1)
        if at < len(wipes):
            self._acknowledge(wipes[at], write)
        else:
            self._accuse("lost", write.end, f"an acknowledged {write.do} was never committed")

    def _appended(self, write: Write, floor: Floor) -> None:
        stored = self._timeline.stored
        missing = [token for token in write.tokens if token not in stored]
        if missing:
            self._accuse("lost", write.end, f"acknowledged and not stored: {', '.join(missing)}")
            return
        at = stored[write.tokens[0]]
        state = self._timeline.states[at]
        if tuple(state.life[state.length - len(write.tokens) : state.length]) != write.tokens:
            self._accuse("disorder", write.end, f"a batch is torn or out of order: {write.tokens}")
        if at <= floor.acknowledged:
            self._accuse("disorder", write.end, f"{write.tokens[0]} stands before what preceded it")
        self._acknowledge(at, write)

    def _acknowledge(self, state: int, write: Write) -> None:
        self._acknowledged.append((state, write))
        self._floor.acknowledged = max(self._floor.acknowledged, state)

    def _read(self, read: Read) -> None:
        floor = self._floors[id(read)]
        needed = max(floor.acknowledged, floor.shown)
        states = self._timeline.matching(read.want, read.saw)
        if not states:
            self._senseless(read)
            return
        at = bisect_left(states, needed)
        state = states[at] if at < len(states) else states[-1]
        self._shown.append((state, read))
        self._floor.shown = max(self._floor.shown, state)
        if state < needed:
            self._short(read, state, floor)

    def _senseless(self, read: Read) -> None:
        """The read shows no state there ever was: say in which way."""
        saw = read.saw
        foreign = [token for token in saw if "|" in token]
        unknown = [token for token in saw if token not in self._timeline.stored]
        if foreign:
            self._accuse("leaked", read.end, f"{read.reader} was shown {foreign[:3]}")
        elif len(set(saw)) < len(saw):
            self._accuse("doubled", read.end, f"{read.reader} was shown {_brief(saw)}")
        elif unknown:
            self._accuse("phantom", read.end, f"{read.reader} was shown {unknown[:3]}, never committed")
        else:
            self._accuse("lost", read.end, f"{read.reader} wanted {read.want} and was shown {_brief(saw)}")

    def _short(self, read: Read, state: int, floor: Floor) -> None:
        """The read shows a state older than it must: an exception the documentation makes, or a violation."""
        missed = [w for at, w in self._acknowledged if at > state and w.end < read.begin]
        if missed and not all(self._hidden(write, read) for write in missed):
            wiped = any(w.do != "append" for w in missed) and read.saw
            last = next(w for w in missed if not self._hidden(w, read))
            self._accuse(
                "leaked" if wiped else "stale",
                read.end,
                f"{read.reader} was shown state {state} of {floor.acknowledged} {_brief(read.saw)} "
                f"{read.begin - last.end:.3f} s after {last.do} {' '.join(last.tokens)}"
                f"{' (hit)' if read.hit else ''}{' (marked)' if last.marked else ''}",
            )
            return
        before = [r for at, r in self._shown if at > state and r.end < read.begin]
        seen = [r for r in before if not r.dark]
        if seen and not missed:
            self._accuse(
                "stale",
                read.end,
                f"{read.reader} was shown state {state} of {floor.shown} {_brief(read.saw)} "
                f"{read.begin - seen[0].end:.3f} s after {seen[0].reader} had seen more"
                f"{' (hit)' if read.hit else ''}",
            )
            return
        failed = [(w.begin, w.end) for w in missed] or [(r.begin, r.end) for r in before]
        planned = all(self._judgement.during("redis", *span) > 0 for span in failed)
        self._judgement.excuse(("hidden" if missed else "unseen") + ("" if planned else ", unplanned"))

    def _hidden(self, write: Write, read: Read) -> bool:
        """Whether the write was marked so shortly before that a look may not have come across it yet."""
        age = read.begin - write.end
        return write.marked and age <= LOOK + self._judgement.during("postgres", write.end, read.begin)

    def _accuse(self, kind: str, at: float, text: str) -> None:
        self._judgement.accuse(kind, at, f"{self._conv}: {text}")


def _moments(writes: Sequence[Write], reads: Sequence[Read]) -> Iterator[tuple[bool, Write | Read]]:
    """Yield the beginning and the end of every operation in order of time, beginnings first."""
    moments = [
        (at, not begins, number, operation)
        for number, operation in enumerate((*writes, *reads))
        for at, begins in ((operation.begin, True), (operation.end, False))
    ]
    for _, ends, _, operation in sorted(moments, key=lambda moment: moment[:3]):
        yield not ends, operation


def _brief(saw: Sequence[str]) -> str:
    shown = " ".join(saw[-4:])
    return f"[{'... ' if len(saw) > 4 else ''}{shown}]"
