"""Looking after a tier that is left alone, so that no caller has to pay for finding out that it is back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convmemory.errors import ConvMemoryError
from convmemory.tiers.breaker import COOLDOWN, TierHealth
from convmemory.tiers.waiting import asleep, aspawn


class AsyncProber:
    """Asks a tier for a sign of life every ``COOLDOWN`` seconds from when its breaker opens until it closes."""

    def __init__(self, health: TierHealth, ping: Callable[[], Any]) -> None:
        self._health = health
        self._ping = ping
        self._work: Any = None
        self._stopped = False

    def start(self) -> None:
        """Begin to ask; the breaker opened."""
        self._stopped = False
        self._work = aspawn(self._ask)

    def stop(self) -> None:
        """Ask no more; the store is being closed."""
        self._stopped = True

    async def _ask(self) -> None:
        while self._health.open and not self._stopped:
            await asleep(COOLDOWN)
            try:
                await self._ping()
            except ConvMemoryError:
                continue
            self._health.succeeded()
