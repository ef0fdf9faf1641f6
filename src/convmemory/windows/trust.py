"""Whether what Redis holds of windows may be believed now."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final

LOOK_EVERY: Final = 1.0
"""Seconds within which a process that serves windows looks for marks others left."""


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
