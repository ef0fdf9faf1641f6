"""How a tier is doing: its circuit breaker, and whether what a cache holds may be trusted."""

from __future__ import annotations

import logging
import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from convmemory.tiers.otel import watch

logger = logging.getLogger("convmemory.tiers.breaker")

FAILURES_TO_OPEN: Final = 3
"""Failures in a row after which a tier is left alone."""
COOLDOWN: Final = 0.25
"""Seconds between two questions to a tier that is left alone."""
LOOK_EVERY: Final = 1.0
"""Seconds within which a process that serves windows looks for marks others left."""


@dataclass(slots=True)
class Counters:
    """What happened so far in this process."""

    hits: int = 0
    misses: int = 0
    failures: int = 0
    failed_writes: int = 0
    dirty_marks: int = 0
    drained: int = 0


@dataclass(slots=True, eq=False, weakref_slot=True)
class TierHealth:
    """The state of one tier as one process sees it; every method is safe from any thread.

    The breaker opens after ``FAILURES_TO_OPEN`` failures in a row. While it is open no call tries the tier;
    somebody in the background does, every ``COOLDOWN`` seconds, and its success closes the breaker.
    """

    tier: str
    counters: Counters = field(default_factory=Counters)
    last_failure: datetime | None = None
    open: bool = False
    _in_a_row: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        watch(self)

    @property
    def breaker(self) -> str:
        """``"closed"`` (calls go through) or ``"open"`` (the tier is left alone)."""
        return "open" if self.open else "closed"

    def figures(self) -> dict[str, Any]:
        """The counters by name."""
        return asdict(self.counters)

    def succeeded(self) -> None:
        """Note that a call came back."""
        if not self._in_a_row:
            return
        with self._lock:
            self._in_a_row = 0
            was_open, self.open = self.open, False
        if was_open:
            logger.warning("%s is back", self.tier)

    def failed(self, error: BaseException) -> bool:
        """Note that the tier could not be reached; whether that opened the breaker (said in one log line)."""
        with self._lock:
            self.counters.failures += 1
            self.last_failure = datetime.now(UTC)
            self._in_a_row += 1
            opens = self._in_a_row >= FAILURES_TO_OPEN and not self.open
            self.open = self.open or opens
        if opens:
            logger.warning(
                "%s is out of reach (%s); it is left alone and asked again", self.tier, type(error).__name__
            )
        return opens


@dataclass(slots=True)
class Trust:
    """Whether the windows in Redis may be served: only after the marks of an outage are drained.

    A failure makes every window doubtful; ``begin`` lets one caller drain, and ``drained`` restores the
    trust unless something failed meanwhile. While trusted, a look is due once per ``LOOK_EVERY`` seconds, counted
    from where the last one began: what was marked after that, it may have missed.
    """

    trusted: bool = False
    _began: float = float("-inf")
    _losses: int = 0
    _busy: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serves(self, now: float) -> bool:
        """Whether windows may be served to one who does not look: another caller's look may take long, or come late."""
        return self.trusted and now - self._began < 2 * LOOK_EVERY

    def lost(self) -> None:
        """Note that Redis could not be reached: what it holds may be older than what was acknowledged."""
        with self._lock:
            self.trusted = False
            self._losses += 1

    def begin(self, now: float) -> int | None:
        """A ticket to look for marks now, or ``None`` when no look is due or another caller is at it."""
        if self.trusted and now - self._began < LOOK_EVERY:
            return None
        with self._lock:
            if self._busy or (self.trusted and now - self._began < LOOK_EVERY):
                return None
            self._busy = True
            return self._losses

    def drained(self, ticket: int, began: float) -> None:
        """Every mark there was at ``began`` is drained: trust, unless Redis was lost since the ticket was drawn."""
        with self._lock:
            self._busy = False
            if ticket == self._losses:
                self.trusted = True
                self._began = began

    def gave_up(self, now: float) -> None:
        """The look failed; a process that lost nothing goes on serving, and tries again in ``LOOK_EVERY`` seconds."""
        with self._lock:
            self._busy = False
            if self.trusted:
                self._began = now

    def left(self) -> None:
        """The look was cancelled, which says nothing about the marks: somebody else looks at once."""
        with self._lock:
            self._busy = False
