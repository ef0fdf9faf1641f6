"""Taking turns, in both colours: so many at a time for each key, the others wait in the order they came."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Hashable


class Busy(Exception):
    """Nobody made room in time. It is no sign that a server is away."""


class AsyncTurns:
    """At most ``most`` tasks of one key at a time; who has waited ``seconds`` for a turn is told ``why`` not.

    A turn that somebody waits for is handed on, so that nobody is passed over. Each event loop has turns of its own.
    """

    def __init__(self, most: int, seconds: float, why: str) -> None:
        self._most = most
        self._seconds = seconds
        self._why = why
        self._taken: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    async def begin(self, key: Hashable = None) -> None:
        """Take a turn, or wait for one; ``Busy`` when none came."""
        taken = self._taken.get(key, 0)
        if taken < self._most and key not in self._waiting:
            self._taken[key] = taken + 1
        else:
            await self._wait(key, asyncio.get_running_loop().create_future())

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
    """The same for threads. Each process has turns of its own."""

    def __init__(self, most: int, seconds: float, why: str) -> None:
        self._most = most
        self._seconds = seconds
        self._why = why
        self._lock = threading.Lock()
        self._taken: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[threading.Event]] = {}

    def begin(self, key: Hashable = None) -> None:
        """Take a turn, or wait for one; ``Busy`` when none came."""
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
        with self._lock:
            if queue := self._waiting.get(key):
                queue.popleft().set()
                if not queue:
                    del self._waiting[key]
                return
            left = self._taken.pop(key, 1) - 1
            if left:
                self._taken[key] = left
