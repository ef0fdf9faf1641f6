"""The table of a run: what was done, what was survived, and what it cost."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torture.checker import Verdict
from torture.records import OK, Attempt, Fault

KINDS = ("lost", "doubled", "disorder", "stale", "leaked", "phantom", "surprise")


@dataclass(frozen=True)
class Impact:
    """What the faults of one kind did: seconds without any success at all, and until everybody was well again."""

    kind: str
    hits: int
    longest: float
    unread: float
    unwritten: float
    recovery: float


class Availability:
    """When operations succeeded, for all workers and for each."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._reads = sorted(a.end for a in attempts if a.how == OK and not a.writes)
        self._writes = sorted(a.end for a in attempts if a.how == OK and a.writes)
        self._hits: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._commits: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._tries: dict[str, list[float]] = defaultdict(list)
        for attempt in sorted(attempts, key=lambda a: a.begin):
            self._tries[attempt.worker].append(attempt.begin)
            if attempt.hit:
                self._hits[attempt.worker].append((attempt.begin, attempt.end))
            if attempt.how == OK and attempt.writes:
                self._commits[attempt.worker].append((attempt.begin, attempt.end))

    def gap(self, fault: Fault, *, writes: bool) -> float:
        """The longest time in which nobody's reads (or writes) succeeded, around a fault."""
        times = self._writes if writes else self._reads
        first = max(0, bisect_left(times, fault.begin) - 1)
        last = bisect_right(times, fault.end)
        around = times[first : last + 1]
        return max((b - a for a, b in zip(around, around[1:], strict=False)), default=0.0)

    def recovery(self, fault: Fault, standing: Sequence[Fault]) -> float:
        """Seconds from the tier's return until the last worker had succeeded with it again.

        A worker that itself stood still in that time is not waited for.
        """
        found = 0.0
        for tier, successes in (("redis", self._hits), ("postgres", self._commits)):
            if tier in fault.tiers:
                found = max([found, *self._delays(fault, successes, standing)])
        return found

    def _delays(
        self, fault: Fault, successes: dict[str, list[tuple[float, float]]], standing: Sequence[Fault]
    ) -> Iterator[float]:
        for worker, tries in self._tries.items():
            if tries[0] > fault.begin or tries[-1] <= fault.end:
                continue  # it was not there yet, or not any more
            spans = successes[worker]
            after = bisect_left(spans, (fault.end, 0.0))
            well = spans[after][1] if after < len(spans) else tries[-1]
            if not any(s.victim == worker and s.begin < well and fault.begin < s.end for s in standing):
                yield well - fault.end


def impacts(faults: Sequence[Fault], attempts: Sequence[Attempt]) -> list[Impact]:
    """One row a kind of fault."""
    by_kind: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        by_kind[fault.kind].append(fault)
    times, standing = Availability(attempts), [f for f in faults if f.victim]
    return [
        Impact(
            kind,
            len(mine),
            max(f.end - f.begin for f in mine),
            max(times.gap(f, writes=False) for f in mine),
            max(times.gap(f, writes=True) for f in mine),
            max(times.recovery(f, standing) for f in mine),
        )
        for kind, mine in sorted(by_kind.items())
    ]


def table(verdict: Verdict, rows: Sequence[Impact]) -> str:
    """What is printed at the end of a run."""
    lines = ["operations"]
    lines += [f"  {name:24}{count:9,}" for name, count in sorted(verdict.operations.items())]
    lines += [
        "",
        f"{'fault':16}{'survived':>9}{'lasted':>9}{'no read':>9}{'no write':>9}{'all well':>9}   (seconds, longest)",
    ]
    lines += [
        f"{r.kind:16}{r.hits:9}{r.longest:9.2f}{r.unread:9.2f}{r.unwritten:9.2f}{r.recovery:9.2f}" for r in rows
    ]
    lines += ["", "  ".join(f"{kind} {verdict.count(kind)}" for kind in KINDS)]
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
