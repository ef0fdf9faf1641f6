"""Calls to Redis: so many at a time, and what each of them tells of the server."""

from __future__ import annotations

import logging
import time
from math import inf
from types import TracebackType
from typing import Final, NoReturn

from redis.exceptions import TimeoutError as TooLate

from convmemory._async.homes import AsyncHomes
from convmemory._async.redis_connections import AsyncRedisHome
from convmemory.errors import StorageUnavailable, in_words
from convmemory.tiers.breaker import TierHealth
from convmemory.tiers.driver_errors import (
    REDIS,
    busy,
    describe,
    read_only,
    refused,
    translated,
    wrong_type,
)
from convmemory.tiers.redis_states import state
from convmemory.tiers.socket_checks import Deserted
from convmemory.tiers.turns import Busy
from convmemory.tiers.waiting import aheeded
from convmemory.windows.trust import Trust

logger = logging.getLogger("convmemory.redis")

PAUSE: Final = 30.0
"""Seconds that windows are left alone after the server refused what they need."""
_SILENCE: Final = 60.0
"""Seconds between two lines in the log of a Redis that is full."""
_WINDOWS: Final = frozenset(
    {
        "window_read",
        "window_fill",
        "window_publish",
        "window_drop",
        "journal_read",
        "journal_fill",
        "journal_settle",
    }
)
_NEED: Final = {"journal": "writes that wait need it", "run": "answers that are on their way need it"}
"""Of other operations, by the first word of their name."""
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
        self._paused = self._silent_until = float("-inf")
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

    @property
    def open(self) -> bool:
        """Whether the breaker is open."""
        return self._health.open

    def here(self) -> AsyncRedisHome:
        """The connections of this process and event loop."""
        return self._homes.here()

    def refuse(self, operation: str) -> NoReturn:
        """Say that the server is left alone."""
        raise StorageUnavailable(
            REDIS, operation, "it did not answer a moment ago and is left alone until it does"
        )

    def heard(self, operation: str, error: BaseException | None) -> None:
        """Note how a call went."""
        if error is None:
            self._health.succeeded()
            if self.refusals:
                self.refusals.pop(operation, "")
        elif refused(error):
            self._health.succeeded()  # it answers
            self._refused(operation, error)
        elif not wrong_type(error):  # else one key is not ours; the server is there
            self._trust.lost()  # after a failure no window is trusted until the marks are drained
            if not busy(error) and self._health.failed(error):
                self._homes.here().prober.start(at_once=isinstance(error, Deserted))
            if state(error) == "OOM":
                self._full(operation, error)

    def _full(self, operation: str, error: BaseException) -> None:
        """Say it now and then: a full Redis goes on reading, so that no breaker opens and nothing else is said."""
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + _SILENCE
            logger.warning("Redis cannot %s: %s", in_words(operation), describe(error))

    def _refused(self, operation: str, error: BaseException) -> None:
        self._health.counters.failures += 1
        why = describe(error)
        if (operation, why) not in self._said:
            self._said.add((operation, why))
            what = _NEED.get(operation.partition("_")[0], "sessions need it")
            what = "windows are left alone" if operation in _WINDOWS else what
            logger.warning("Redis refuses to %s, and %s: %s", in_words(operation), what, why)
        self.refusals[operation] = why
        if operation in _WINDOWS:
            self._paused = time.monotonic() + PAUSE


class AsyncRedisCall:
    """One call; see ``AsyncRedisCalls.to``."""

    __slots__ = ("_anyway", "_began", "_calls", "_heeded", "_home", "_operation")

    def __init__(self, calls: AsyncRedisCalls, operation: str, *, anyway: bool) -> None:
        self._calls = calls
        self._operation = operation
        self._anyway = anyway
        self._heeded = aheeded()

    async def __aenter__(self) -> AsyncRedisHome:
        calls, home = self._calls, self._calls.here()
        closed = not (self._anyway or calls.open)
        if not (closed or self._anyway) and home.prober.refuses():
            calls.refuse(self._operation)
        self._heeded.__enter__()
        self._home = home
        try:
            await home.turns.begin()
        except Busy as busy:
            calls.heard(self._operation, busy)
            raise StorageUnavailable(REDIS, self._operation, str(busy)) from None
        if closed and calls.open:  # it opened while this one waited
            home.turns.end()
            calls.refuse(self._operation)
        self._began = time.monotonic()
        return home

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._home.turns.end()
        if error is None:  # nearly always
            self._calls.heard(self._operation, None)
        else:
            await self._doubt(error)
            translated(REDIS, self._operation, heard=self._heard).failed(error, self._began)
        self._heeded.__exit__(kind, error, trace)

    async def _doubt(self, error: BaseException) -> None:
        """Use no idle connection that may be like this one: forgotten by a firewall, or to a server that is no primary any more."""
        if isinstance(error, TooLate):
            await self._home.clients.doubt(self._began)
        elif read_only(error):
            await self._home.clients.doubt(inf)

    def _heard(self, error: BaseException | None) -> None:
        self._calls.heard(self._operation, error)
