"""The table of a run: what was done, what was survived, and what it cost."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from torture.checker import Verdict
from torture.records import OK, Attempt, Fault

KINDS = ("lost", "doubled", "disorder", "stale", "leaked", "phantom", "surprise", "useless")
COLUMNS = f"{'fault':16}{'survived':>9}{'lasted':>9}{'no read':>9}{'no write':>9}{'all well':>9}{'late':>6}"


@dataclass(frozen=True)
class Impact:
    """What the faults of one kind did, each figure the worst of its ``hits``.

    ``lasted``: the fault itself. ``unread``, ``unwritten``: seconds in which nobody's read or write succeeded.
    ``recovery``: seconds from the tier's return until every worker had used it again. ``late``: how often somebody
    had not before the next fault began, which ends the measurement.
    """

    kind: str
    hits: int
    lasted: float
    unread: float
    unwritten: float
    recovery: float
    late: int

    def __str__(self) -> str:
        figures = "".join(
            f"{seconds:9.2f}" for seconds in (self.lasted, self.unread, self.unwritten, self.recovery)
        )
        return f"{self.kind:16}{self.hits:9}{figures}{self.late:6}"


class Availability:
    """When operations succeeded, for all workers and for each, and when which fault kept them from it."""

    def __init__(self, attempts: Sequence[Attempt], faults: Sequence[Fault]) -> None:
        self._reads = sorted(a.end for a in attempts if a.how == OK and not a.writes)
        self._writes = sorted(a.end for a in attempts if a.how == OK and a.writes)
        self._used: dict[str, dict[str, list[float]]] = {
            "redis": defaultdict(list),
            "postgres": defaultdict(list),
        }
        self._tries: dict[str, list[float]] = defaultdict(list)
        for attempt in sorted(attempts, key=lambda a: a.end):
            self._tries[attempt.worker].append(attempt.end)
            if attempt.redis:
                self._used["redis"][attempt.worker].append(attempt.end)
            if attempt.how == OK and attempt.writes:
                self._used["postgres"][attempt.worker].append(attempt.end)
        self._begun = sorted(fault.begin for fault in faults if fault.tiers)
        self._standing = [fault for fault in faults if fault.victim]

    def gap(self, fault: Fault, *, writes: bool) -> float:
        """The longest time in which nobody's reads (or writes) succeeded, around a fault."""
        times = self._writes if writes else self._reads
        around = times[max(0, bisect_left(times, fault.begin) - 1) : bisect_right(times, fault.end) + 1]
        return max((after - before for before, after in pairwise(around)), default=0.0)

    def recovery(self, fault: Fault) -> tuple[float, bool]:
        """Seconds from the tier's return until the last worker had used it again, and whether some had not in time."""
        after = bisect_right(self._begun, fault.end)
        following = self._begun[after] if after < len(self._begun) else float("inf")
        delays = [
            delay
            for tier in fault.tiers & self._used.keys()
            for delay in self._delays(fault, tier, following)
        ]
        return max(delays, default=0.0), fault.end + max(delays, default=0.0) >= following

    def _delays(self, fault: Fault, tier: str, following: float) -> Iterator[float]:
        """One a worker that lived through the fault and was not itself made to stand still in that time."""
        for worker, tries in self._tries.items():
            if tries[0] > fault.begin or tries[-1] <= fault.end:
                continue
            used = self._used[tier][worker]
            after = bisect_right(used, fault.end)
            well = min(used[after] if after < len(used) else tries[-1], following)
            still = (s for s in self._standing if s.victim == worker)
            if not any(s.begin < well and fault.begin < s.end for s in still):
                yield well - fault.end


def impacts(faults: Sequence[Fault], attempts: Sequence[Attempt]) -> list[Impact]:
    """One row a kind of fault."""
    by_kind: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        by_kind[fault.kind].append(fault)
    times = Availability(attempts, faults)
    return [_impact(kind, mine, times) for kind, mine in sorted(by_kind.items())]


def _impact(kind: str, mine: Sequence[Fault], times: Availability) -> Impact:
    recoveries = [times.recovery(fault) for fault in mine]
    return Impact(
        kind=kind,
        hits=len(mine),
        lasted=max(fault.end - fault.begin for fault in mine),
        unread=max(times.gap(fault, writes=False) for fault in mine),
        unwritten=max(times.gap(fault, writes=True) for fault in mine),
        recovery=max(seconds for seconds, _ in recoveries),
        late=sum(late for _, late in recoveries),
    )


def table(verdict: Verdict, rows: Sequence[Impact]) -> str:
    """What is printed at the end of a run."""
    lines = ["operations"]
    lines += [f"  {name:24}{count:9,}" for name, count in sorted(verdict.operations.items())]
    lines += ["", f"{COLUMNS}   (seconds: the worst)", *map(str, rows), ""]
    lines += ["  ".join(f"{kind} {verdict.count(kind)}" for kind in KINDS)]
    excused = ", ".join(f"{kind} {count}" for kind, count in sorted(verdict.excused.items())) or "none"
    return "\n".join([*lines, f"excused, as documented: {excused}"])


def as_json(verdict: Verdict, rows: Sequence[Impact], **more: Any) -> dict[str, Any]:
    """The same for programs."""
    return {
        "operations": dict(verdict.operations),
        "violations": {kind: verdict.count(kind) for kind in KINDS},
        "excused": dict(verdict.excused),
        "faults": [asdict(row) for row in rows],
        "first": [str(violation) for violation in verdict.violations[:20]],
        **more,
    }
