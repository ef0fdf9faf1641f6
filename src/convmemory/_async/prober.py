"""Looking after a tier that is left alone, so that no caller has to pay for finding out that it is back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from convmemory.errors import ConvMemoryError
from convmemory.tiers.breaker import COOLDOWN, TierHealth
from convmemory.tiers.waiting import asleep, aspawn, aworks

UNASKED: Final = 1.0
"""Seconds without an answer after which a caller asks, where no prober lived to do so."""


class AsyncProber:
    """Asks a tier for a sign of life every ``COOLDOWN`` seconds from when its breaker opens until it closes.

    Args:
        health: The tier's.
        ping: Asks for the sign of life.
        longest: Seconds within which ``ping`` is answered, or fails.

    It lives in one place, and does not outlive it: an event loop that ends, or only stands still, takes it along.
    """

    def __init__(self, health: TierHealth, ping: Callable[[], Any], longest: float) -> None:
        self._health = health
        self._ping = ping
        self._longest = longest
        self._work: Any = None
        self._stopped = False

    def start(self, *, at_once: bool = False) -> None:
        """Begin to ask, unless somebody is at it here; ``at_once`` where the tier may well be there."""
        self._stopped = False
        if not aworks(self._work):
            self._work = aspawn(partial(self._ask, 0 if at_once else COOLDOWN))

    def stop(self) -> None:
        """Ask no more; the store is being closed."""
        self._stopped = True

    def refuses(self) -> bool:
        """Whether a call must leave the tier alone: unless nobody has heard of it for longer than asking takes."""
        if aworks(self._work):
            return not self._health.overdue(self._longest + COOLDOWN)
        self.start(at_once=True)
        return not self._health.overdue(UNASKED)

    async def _ask(self, pause: float) -> None:
        while self._health.open and not self._stopped:
            await asleep(pause)
            pause = COOLDOWN
            try:
                await self._ping()
            except ConvMemoryError:
                continue
            self._health.succeeded()
