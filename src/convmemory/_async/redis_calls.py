"""Calls to Redis: so many at a time, and what each of them tells of the server."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Final

from convmemory._async.homes import AsyncHomes
from convmemory._async.redis_connections import AsyncRedisHome
from convmemory.errors import StorageUnavailable, in_words
from convmemory.tiers.breaker import TierHealth
from convmemory.tiers.driver_errors import REDIS, busy, describe, refused, translated, wrong_type
from convmemory.tiers.socket_checks import Deserted
from convmemory.tiers.turns import AsyncTurns, Busy
from convmemory.tiers.waiting import aheeded
from convmemory.windows.trust import Trust

logger = logging.getLogger("convmemory.redis")

PAUSE: Final = 30.0
"""Seconds that windows are left alone after the server refused what they need."""
_WINDOWS: Final = frozenset({"window_read", "window_fill", "window_publish", "drop"})
FULL: Final = "all connections were busy all the time (redis_pool_max)"


class AsyncRedisCalls:
    """The calls of one store: a turn for each, an open breaker honoured, and what came of it told to whom it concerns.

    A server that does not answer is an outage. One that is busy with us is none, and one that answers and refuses a
    command is none either: that is said once a command, kept for ``check()``, and where windows need the command they
    are left alone for a while.
    """

    def __init__(self, health: TierHealth, trust: Trust, homes: AsyncHomes[AsyncRedisHome]) -> None:
        self._homes = homes
        self._health = health
        self._trust = trust
        self._paused = float("-inf")
        self._said: set[tuple[str, str]] = set()
        self.refusals: dict[str, str] = {}
        """What the server refused when it was last asked, by operation."""

    def to(self, operation: str, *, anyway: bool = False) -> AsyncRedisCall:
        """A call, to be made inside ``async with``; refused while the breaker is open, but for who asks ``anyway``.

        Raises:
            StorageUnavailable: Nobody answers in time, or all connections are busy.
        """
        return AsyncRedisCall(self, operation, anyway=anyway)

    @property
    def windows_off(self) -> bool:
        """Whether windows are left alone, because the server refused what they need."""
        return bool(self.refusals) and time.monotonic() < self._paused

    def look(self, operation: str) -> None:
        """Refuse a call while the breaker is open."""
        if self._health.open and self._homes.here().prober.refuses():
            raise StorageUnavailable(
                REDIS, operation, "it did not answer a moment ago and is left alone until it does"
            )

    async def begin(self) -> AsyncTurns:
        """Wait for a turn; where it is to be given back."""
        turns = self._homes.here().turns
        await turns.begin()
        return turns

    def heard(self, operation: str, error: BaseException | None) -> None:
        """Note how a call went."""
        if error is None:
            self._health.succeeded()
            self.refusals.pop(operation, "")
        elif refused(error):
            self._health.succeeded()  # it answers
            self._refused(operation, error)
        elif not wrong_type(error):  # else one key is not ours; the server is there
            self._trust.lost()  # after a failure no window is trusted until the marks are drained
            if not busy(error) and self._health.failed(error):
                self._homes.here().prober.start(at_once=isinstance(error, Deserted))

    def _refused(self, operation: str, error: BaseException) -> None:
        self._health.counters.failures += 1
        why = describe(error)
        if (operation, why) not in self._said:
            self._said.add((operation, why))
            what = "windows are left alone" if operation in _WINDOWS else "sessions need it"
            logger.warning("Redis refuses to %s, and %s: %s", in_words(operation), what, why)
        self.refusals[operation] = why
        if operation in _WINDOWS:
            self._paused = time.monotonic() + PAUSE


class AsyncRedisCall:
    """One call; see ``AsyncRedisCalls.to``."""

    __slots__ = ("_anyway", "_calls", "_heeded", "_operation", "_told", "_turns")

    def __init__(self, calls: AsyncRedisCalls, operation: str, *, anyway: bool) -> None:
        self._calls = calls
        self._operation = operation
        self._anyway = anyway
        self._told = translated(REDIS, operation, heard=self._heard)
        self._heeded = aheeded()

    async def __aenter__(self) -> None:
        if not self._anyway:
            self._calls.look(self._operation)
        self._heeded.__enter__()
        try:
            self._turns = await self._calls.begin()
        except Busy as busy:
            self._calls.heard(self._operation, busy)
            raise StorageUnavailable(REDIS, self._operation, str(busy)) from None
        try:
            if not self._anyway:
                self._calls.look(self._operation)  # it may have opened while this one waited
        except StorageUnavailable:
            self._turns.end()
            raise
        self._told.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turns.end()
        self._told.__exit__(kind, error, trace)
        self._heeded.__exit__(kind, error, trace)

    def _heard(self, error: BaseException | None) -> None:
        self._calls.heard(self._operation, error)
