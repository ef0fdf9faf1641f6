"""Taking turns, in both colours: so many at a time for each key, the others wait in the order they came."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Hashable
from typing import Any


class Busy(Exception):
    """Nobody made room in time. It is no sign that a server is away."""


class AsyncTurns:
    """At most ``most`` tasks of one key at a time; who has waited ``seconds`` for a turn is told ``why`` not.

    A turn that somebody waits for is handed on, so that nobody is passed over. Turns belong to an event loop: those
    of a loop that is over are nobody's.
    """

    def __init__(self, most: int, seconds: float, why: str) -> None:
        self._most = most
        self._seconds = seconds
        self._why = why
        self._loop: Any = None
        self._taken: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    async def begin(self, key: Hashable = None) -> None:
        """Take a turn, or wait for one; ``Busy`` when none came."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._taken, self._waiting = loop, {}, {}
        taken = self._taken.get(key, 0)
        if taken < self._most and key not in self._waiting:
            self._taken[key] = taken + 1
        else:
            await self._wait(key, loop.create_future())

    async def _wait(self, key: Hashable, place: asyncio.Future[None]) -> None:
        self._waiting.setdefault(key, deque()).append(place)
        try:
            async with asyncio.timeout(self._seconds):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.end(key)  # it came as the wait ended
            else:
                place.cancel()
                self._sweep(key)
            if isinstance(error, TimeoutError):
                raise Busy(self._why) from None
            raise

    def end(self, key: Hashable = None) -> None:
        """Give a turn back, or hand it to who waits longest."""
        if asyncio.get_running_loop() is not self._loop:
            return
        self._sweep(key)
        if key in self._waiting:
            self._waiting[key].popleft().set_result(None)
            self._sweep(key)
            return
        left = self._taken.pop(key, 1) - 1
        if left:
            self._taken[key] = left

    def _sweep(self, key: Hashable) -> None:
        """Forget those at the head who wait no longer, and a queue nobody stands in."""
        queue = self._waiting.get(key)
        while queue and queue[0].done():
            queue.popleft()
        if queue is not None and not queue:
            del self._waiting[key]


class Turns:
    """The same for threads. Turns belong to a process: those that a fork copied are nobody's."""

    def __init__(self, most: int, seconds: float, why: str) -> None:
        self._most = most
        self._seconds = seconds
        self._why = why
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._taken: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[threading.Event]] = {}

    def begin(self, key: Hashable = None) -> None:
        """Take a turn, or wait for one; ``Busy`` when none came."""
        if os.getpid() != self._process:
            self._forget()
        with self._lock:
            taken = self._taken.get(key, 0)
            if taken < self._most and key not in self._waiting:
                self._taken[key] = taken + 1
                return
            place = threading.Event()
            self._waiting.setdefault(key, deque()).append(place)
        try:
            came = place.wait(self._seconds)
        except BaseException:
            self._leave(key, place)
            raise
        if not came:
            self._leave(key, place)
            raise Busy(self._why)

    def _leave(self, key: Hashable, place: threading.Event) -> None:
        """Wait no longer; a turn that came as the wait ended is handed on."""
        with self._lock:
            queue = self._waiting.get(key, deque())
            if place in queue:
                queue.remove(place)
                if not queue:
                    del self._waiting[key]
                return
        self.end(key)

    def end(self, key: Hashable = None) -> None:
        """Give a turn back, or hand it to who waits longest."""
        if os.getpid() != self._process:
            return
        with self._lock:
            if queue := self._waiting.get(key):
                queue.popleft().set()
                if not queue:
                    del self._waiting[key]
                return
            left = self._taken.pop(key, 1) - 1
            if left:
                self._taken[key] = left
