"""How a tier is doing: its counters and its circuit breaker."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from convmemory.tiers.otel import watch
from convmemory.tiers.redis_states import in_short

logger = logging.getLogger("convmemory.tiers.breaker")

FAILURES_TO_OPEN: Final = 3
"""Failures in a row after which a tier is left alone."""
COOLDOWN: Final = 0.25
"""Seconds between two questions to a tier that is left alone."""


@dataclass(slots=True)
class Counters:
    """What happened so far in this process."""

    hits: int = 0
    misses: int = 0
    failures: int = 0
    failed_writes: int = 0
    dirty_marks: int = 0
    drained: int = 0
    accepted: int = 0
    stored: int = 0
    refused: int = 0


@dataclass(slots=True, eq=False, weakref_slot=True)
class TierHealth:
    """The state of one tier as one process sees it; every method is safe from any thread.

    The breaker opens after ``FAILURES_TO_OPEN`` failures in a row. While it is open no call tries the tier;
    somebody in the background does, every ``COOLDOWN`` seconds, and its success closes the breaker. So does opening
    the store again.
    """

    tier: str
    counters: Counters = field(default_factory=Counters)
    last_failure: datetime | None = None
    open: bool = False
    _in_a_row: int = 0
    _heard: float = 0.0
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

    def begin_anew(self) -> None:
        """Forget what was: the tier was opened, or whoever held the lock lives in another process."""
        self._lock = threading.Lock()
        self._in_a_row = 0
        self.open = False

    def begin_at_nothing(self) -> None:
        """This is another process than the one that counted."""
        self.begin_anew()
        self.counters, self.last_failure = Counters(), None

    def overdue(self, seconds: float) -> bool:
        """Whether nobody has heard of the tier for so long; said to one caller, who is to ask now."""
        with self._lock:
            now = time.monotonic()
            heard = self._heard or now
            overdue = now - heard >= seconds
            self._heard = now if overdue else heard
            return overdue

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
            self._heard = time.monotonic()
            opens = self._in_a_row >= FAILURES_TO_OPEN and not self.open
            self.open = self.open or opens
        if opens:
            logger.warning(
                "%s is out of reach (%s); it is left alone and asked again", self.tier, in_short(error)
            )
        return opens
