"""What a run amounts to: what was done, which promises were broken, and what was excused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import inf

from torture.faults import LOSES
from torture.records import Fault, Write

LINGER = 2.0
"""Seconds that a fault is felt after its end: a breaker has to notice, a pool to connect anew."""


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


@dataclass
class Judgement:
    """A verdict in the making, by somebody who knows when which tier was at fault."""

    faults: Sequence[Fault]
    began: float
    verdict: Verdict = field(default_factory=Verdict)
    ended: Collection[str] = ()

    def accuse(self, kind: str, at: float, text: str) -> None:
        """Note a broken promise that showed at a moment."""
        self.verdict.violations.append(Violation(kind, at - self.began, text))

    def excuse(self, kind: str) -> None:
        """Note what the documentation excepts from the promise."""
        self.verdict.excused[kind] += 1

    def may_have_lost(self, begin: float, end: float) -> bool:
        """Whether Redis may have lost something in this span that it had acknowledged."""
        return any(
            fault.kind in LOSES and fault.begin <= end and begin <= fault.end + LINGER
            for fault in self.faults
        )

    def lost_with_writer(self, write: Write) -> bool:
        """Whether the process that wrote this was killed, and Redis may have lost it."""
        return write.worker not in self.ended and self.may_have_lost(write.begin, inf)

    def during(self, tier: str, begin: float, end: float) -> float:
        """For how many seconds a fault of the tier was felt in this span; more than 0 if at all."""
        return sum(
            min(end, fault.end + LINGER) - max(begin, fault.begin) + 1e-6
            for fault in self.faults
            if tier in fault.tiers and fault.begin <= end and begin <= fault.end + LINGER
        )
