"""The judge: what a recorded run must never show, decided from the record and the audit alone.

lost      an acknowledged message is not stored, a ``seq`` is skipped, or a read misses the middle of what it shows;
doubled   a message is stored or shown twice;
disorder  of two writes, one acknowledged before the other began, the later one stands first;
stale     a read returned less than a write acknowledged before it began, or than a read finished before it began;
leaked    a read showed what was deleted before it began, another conversation, or another user's;
phantom   a read showed a message that was never committed, or one that PostgreSQL had lost long before;
surprise  a call ended in an error that no caller is told to expect;
useless   Redis served almost nothing though nothing was done to it.

Outcomes nobody knows (no answer, or ``StorageUnavailable``) count as either. Some things are not held against the
library, because its documentation says so; they are counted as *excused*:

unseen    a write committed and not yet acknowledged was seen by a read that could not reach Redis, and not by a later
          one: only where every read that saw it failed to tell the window;
hidden    a write acknowledged by a writer who could not reach Redis, and therefore marked, was not seen by a reader
          who could: only within ``LOOK`` seconds, in which every process looks for marks;
lost with its writer
          an append that a journal had acknowledged is not stored, because Redis lost it and the process that wrote it was killed;
gone with a delete
          so is one that waited when its conversation was cleared or deleted, or was appended before that was told;
waiting   a write that waits in a journal was not seen through another cache, without Redis, or after Redis had lost it;
apart     the same where writer and reader have different caches, or the writer has none: what one of them is told, the
          other finds marked. Nor does what was shown through one cache bind the other. Who reaches Redis through a name
          that led to a copy of it for a while had two;
gone      an acknowledged write was lost with a primary whose replica did not have it yet.

The first two need the word of the process concerned that Redis had just failed it. Where no fault of Redis was played at that
time (a busy machine exceeds a deadline), they are counted apart, as *unplanned*.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf

from convmemory.windows.trust import OLDEST_LOOK
from torture.records import OK, Event, Fault, History, Read, Write
from torture.shown import Shown
from torture.truth import Timeline, timelines
from torture.verdict import Judgement, Verdict

LOOK = OLDEST_LOOK
"""Seconds after which every process has looked at ``marks`` or serves no window; longer while PostgreSQL is at fault."""
MANY, SERVED = 100, 0.25
"""Of so many windows read in peace at least this share comes from Redis."""


def judge(
    history: History, events: Sequence[Event], faults: Sequence[Fault] = (), began: float = 0.0
) -> Verdict:
    """Decide over one run that began at ``began`` and is over: nobody writes any more."""
    batches = {write.tokens[-1] for write in history.writes if write.journals and write.tokens}
    truth, leaks = timelines(events, batches)
    judgement = Judgement(faults, began, ended=history.ended)
    over = max((attempt.end for attempt in history.attempts), default=began)
    for kind, text in [
        *leaks,
        *((kind, f"{conv}: {text}") for conv, line in truth.items() for kind, text in line.problems),
    ]:
        judgement.accuse(kind, over, text)
    for conv, (writes, reads) in _by_conversation(history).items():
        _Conversation(conv, truth.get(conv) or Timeline(), judgement).follow(writes, reads)
    for trespass in history.trespasses:
        if trespass.saw:
            judgement.accuse(
                "leaked", trespass.end, f"{trespass.conv}: {trespass.saw} messages to a stranger"
            )
    for at, what in history.surprises:
        judgement.accuse("surprise", at, what)
    if not faults:
        _expect_hits(judgement, history.reads)
    judgement.verdict.violations.sort(key=lambda violation: violation.at)
    judgement.verdict.operations = _operations(history)
    return judgement.verdict


def _operations(history: History) -> Counter[str]:
    found = Counter(write.do if write.how == OK else f"{write.do}, {write.how}" for write in history.writes)
    found["read"] = len(history.reads)
    found["read from Redis"] = sum(read.hit for read in history.reads)
    found["read by a stranger"] = len(history.trespasses)
    return found


def _expect_hits(judgement: Judgement, reads: Sequence[Read]) -> None:
    """Accuse a cache that does not cache."""
    windows = [read for read in reads if read.want is not None]
    hits = sum(read.hit for read in windows)
    if len(windows) >= MANY and hits < len(windows) * SERVED:
        text = f"Redis served {hits} of {len(windows)} windows though nothing was done to it"
        judgement.accuse("useless", windows[-1].end, text)


def _by_conversation(history: History) -> dict[str, tuple[list[Write], list[Read]]]:
    found: dict[str, tuple[list[Write], list[Read]]] = defaultdict(lambda: ([], []))
    for write in history.writes:
        found[write.conv][0].append(write)
    for read in history.reads:
        found[read.conv][1].append(read)
    return found


@dataclass(slots=True)
class Floor:
    """What a read must at least show: the newest state acknowledged, and the newest one its cache showed, before it began."""

    acknowledged: int = 0
    shown: Mapping[str, int] = field(default_factory=dict)

    def needed(self, cache: str) -> int:
        return max(self.acknowledged, self.shown.get(cache, 0))


class _Conversation:
    """Follows one conversation through time."""

    def __init__(self, conv: str, timeline: Timeline, judgement: Judgement) -> None:
        self._conv = conv
        self._timeline = timeline
        self._judgement = judgement
        self._floors: dict[int, Floor] = {}
        self._floor = Floor()
        self._acknowledged: list[tuple[int, Write]] = []
        self._shown: list[tuple[int, Read]] = []
        self._earliest: list[float] = []
        self._journals = False
        self._shown_at: dict[str, int] = {}

    def follow(self, writes: Sequence[Write], reads: Sequence[Read]) -> None:
        """Go through beginnings and ends in order of time."""
        self._earliest = _earliest(self._timeline, writes)
        self._journals = any(write.journals for write in writes)
        self._shows = Shown(self._timeline, writes)
        for begins, operation in _moments(writes, reads):
            if begins:
                self._floors[id(operation)] = Floor(self._floor.acknowledged, dict(self._shown_at))
            elif isinstance(operation, Read):
                self._read(operation)
            elif operation.how == OK:
                self._written(operation)

    def _written(self, write: Write) -> None:
        floor = self._floors[id(write)]
        if write.do == "append":
            self._appended(write, floor)
            return
        if self._journals:
            self._must_stay_away(write)
        # which of the wipes it was is not known: at least the first one after what was acknowledged before it
        wipes = self._timeline.wipes
        at = bisect_left(wipes, floor.acknowledged + 1)
        if at < len(wipes):
            self._acknowledge(wipes[at], write)
        else:
            self._accuse("lost", write.end, f"an acknowledged {write.do} was never committed")

    def _must_stay_away(self, wipe: Write) -> None:
        """What was acknowledged before a clear or a delete began is not stored again after it."""
        states = self._timeline.states
        wipes = (at for at in self._timeline.wipes if wipe.begin <= states[at].at <= wipe.end)
        last = max((at for at in wipes if states[at].lost == inf), default=len(states))
        for _, write in self._acknowledged:
            for token in write.tokens if write.end < wipe.begin else ():
                if self._timeline.stored[token][-1] > last:
                    self._accuse("leaked", wipe.end, f"{token} was stored again after a {wipe.do}")

    def _appended(self, write: Write, floor: Floor) -> None:
        stored = self._timeline.stored
        missing = [token for token in write.tokens if token not in stored]
        if missing and self._went_with_a_delete(write):
            self._judgement.excuse("gone with a delete")
            return
        if missing and write.pending and self._judgement.lost_with_writer(write):
            self._judgement.excuse("lost with its writer")
            return
        if missing:
            self._accuse("lost", write.end, f"acknowledged and not stored: {', '.join(missing)}")
            return
        # a write that was sent again after PostgreSQL lost it is acknowledged where it stands now
        at = max(
            (at for at in stored[write.tokens[0]] if self._earliest[at] <= write.end),
            default=stored[write.tokens[0]][0],
        )
        state = self._timeline.states[at]
        if tuple(state.life[state.length - len(write.tokens) : state.length]) != write.tokens:
            self._accuse("disorder", write.end, f"a batch is torn or out of order: {write.tokens}")
        if at <= floor.acknowledged and not (self._journals and self._may_stand_before(write, at)):
            self._accuse("disorder", write.end, f"{write.tokens[0]} stands before what preceded it")
        self._acknowledge(at, write)

    def _went_with_a_delete(self, write: Write) -> bool:
        """Whether the conversation was cleared or deleted before what waited was stored, or a look before it was appended."""
        return write.pending and self._shows.may_be_gone(write, self._judgement)

    def _may_stand_before(self, write: Write, at: int) -> bool:
        """Whether all that it stands before waited in a journal, and either was elsewhere, or Redis lost it meanwhile."""
        before = [(n, w) for n, w in self._acknowledged if n >= at and w.end < write.begin]
        return all(
            w.pending
            and (
                w.cache != write.cache
                or w.marked
                or write.marked
                or self._led_elsewhere(w, write)
                or self._judgement.may_have_lost(w.begin, self._stored_at(n))
            )
            for n, w in before
        )

    def _stored_at(self, state: int) -> float:
        return self._timeline.states[state].at

    def _acknowledge(self, state: int, write: Write) -> None:
        self._acknowledged.append((state, write))
        self._floor.acknowledged = max(self._floor.acknowledged, state)
        if self._timeline.states[state].lost < inf:
            self._judgement.excuse("gone")

    def _read(self, read: Read) -> None:
        floor = self._floors[id(read)]
        matching = self._timeline.matching(read.want, read.saw)
        states = [state for state in matching if self._earliest[state] <= read.end]
        if not states and self._journals and not any("|" in token for token in read.saw):
            wrong = self._joined(read)
            if wrong:
                self._accuse(wrong[0], read.end, f"{read.reader} was shown {_brief(read.saw)}: {wrong[1]}")
            return
        if not states:
            self._senseless(read)
            return
        left = [state for state in states if not self._long_lost(state, read)]
        if not left:
            gone = self._timeline.states[states[-1]].lost
            text = f"{read.reader} was shown {_brief(read.saw)} {read.begin - gone:.3f} s after it was lost"
            self._accuse("phantom", read.end, text)
            return
        states = left
        needed = floor.needed(read.cache)
        at = bisect_left(states, needed)
        state = states[at] if at < len(states) else states[-1]
        shown = state
        if 0 < at < len(states) and not self._unexcused(read, states[at - 1])[1]:
            shown = states[at - 1]  # it may as well have been this one, and then binds nobody to the later
        self._shown.append((shown, read))
        self._shown_at[read.cache] = max(self._shown_at.get(read.cache, 0), shown)
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
        missed, against = self._unexcused(read, state)
        if against:
            wiped = read.saw and any(w.do != "append" for w in missed)
            since = against[0]
            self._accuse(
                "leaked" if wiped else "stale",
                read.end,
                f"{read.reader} was shown state {state} of {floor.needed(read.cache)} {_brief(read.saw)}"
                f"{' by Redis' if read.hit else ''} {read.begin - since.end:.3f} s after {_named(since)}",
            )
            return
        before = self._before(read, state)
        elsewhere = not any(w.marked for w in missed) if missed else not any(r.dark for r in before)
        if elsewhere:
            self._judgement.excuse("apart")
            return
        failed = [(w.begin, w.end) for w in missed] or [(r.begin, r.end) for r in before]
        planned = all(self._judgement.during("redis", *span) > 0 for span in failed)
        self._judgement.excuse(("hidden" if missed else "unseen") + ("" if planned else ", unplanned"))

    def _unexcused(self, read: Read, state: int) -> tuple[list[Write], Sequence[Write | Read]]:
        """The acknowledged writes that a read of this state misses, and what nothing excuses it from knowing."""
        missed = [(at, w) for at, w in self._acknowledged if at > state and w.end < read.begin]
        if missed:
            return [w for _, w in missed], [w for at, w in missed if not self._hidden(w, read, at)]
        before = self._before(read, state)
        return [], [
            r for r in before if not (r.dark or self._led_elsewhere(r, read) or self._waited(r, read))
        ]

    def _before(self, read: Read, state: int) -> list[Read]:
        """The reads that were shown more, and were over when this one began."""
        return [r for at, r in self._shown if at > state and r.end < read.begin and r.cache == read.cache]

    def _hidden(self, write: Write, read: Read, state: int) -> bool:
        """Whether the write was marked so shortly before that a look may not have come across it yet.

        What waits in a journal is owed to the others once it is stored, and to nobody while Redis has lost it.
        """
        elsewhere = write.marked or write.cache != read.cache or self._led_elsewhere(write, read)
        since = write.end
        if write.pending:
            since = max(since, self._stored_at(state))
            elsewhere = elsewhere or read.dark or self._judgement.may_have_lost(write.begin, since)
        return elsewhere and read.begin - since <= LOOK + self._judgement.during(
            "postgres", since, read.begin
        )

    def _waited(self, before: Read, read: Read) -> bool:
        """Whether what the one was shown may have waited in a journal that Redis lost, or that the other could not reach."""
        return self._journals and (read.dark or self._judgement.may_have_lost(before.begin, read.end))

    def _joined(self, read: Read) -> tuple[str, str] | None:
        """What is wrong with a read that shows no state that was, as a window with what waits beside it may."""
        owed = [
            (at, w) for at, w in self._acknowledged if w.end < read.begin and not self._hidden(w, read, at)
        ]
        return self._shows.wrong(read, owed, self._judgement)

    def _led_elsewhere(self, before: Write | Read, read: Write | Read) -> bool:
        """Whether one of the two may have been led to a copy of the Redis of the other."""
        far = before.far or read.far
        return far and self._judgement.during("copy", before.begin, read.end) > 0

    def _long_lost(self, state: int, read: Read) -> bool:
        """Whether PostgreSQL has lost the state so long ago that every process has looked since."""
        lost = self._timeline.states[state].lost
        return read.begin - lost > LOOK + self._judgement.during("postgres", lost, read.begin)

    def _accuse(self, kind: str, at: float, text: str) -> None:
        self._judgement.accuse(kind, at, f"{self._conv}: {text}")


def _earliest(timeline: Timeline, writes: Sequence[Write]) -> list[float]:
    """When each state can have come to be at the earliest.

    Not before it was written, nor before its write began, nor before the state before it. An empty read that is too
    old would else be taken for one of a wipe to come, and every read after it for too old. Which call made which wipe
    nobody knows: one whose connection broke may have made two.
    """
    begun = [state.at for state in timeline.states]
    for write in writes:
        for token in write.tokens if write.journals else ():  # it may have been shown before it was stored
            for state in timeline.stored.get(token, ()):
                begun[state] = 0.0
    for write in writes:
        for token in write.tokens:
            for state in timeline.stored.get(token, ()):
                begun[state] = max(begun[state], write.begin)
    return list(accumulate(begun, max))


def _moments(writes: Sequence[Write], reads: Sequence[Read]) -> Iterator[tuple[bool, Write | Read]]:
    """Yield the beginning and the end of every operation in order of time, beginnings first."""
    moments = [
        (at, not begins, number, operation)
        for number, operation in enumerate((*writes, *reads))
        for at, begins in ((operation.begin, True), (operation.end, False))
    ]
    for _, ends, _, operation in sorted(moments, key=lambda moment: moment[:3]):
        yield not ends, operation


def _named(operation: Write | Read) -> str:
    if isinstance(operation, Read):
        return f"{operation.reader} had been shown more"
    return f"{operation.do} {' '.join(operation.tokens)}{' (marked)' if operation.marked else ''}"


def _brief(saw: Sequence[str]) -> str:
    shown = " ".join(saw[-4:])
    return f"[{'... ' if len(saw) > 4 else ''}{shown}]"
