"""Where a store's connections live: in one process and one event loop, and nowhere else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from convmemory.tiers.forks import keep_for_good, moving, told_of_forks
from convmemory.tiers.waiting import agone, aguard, ahere, alives, arelease, atell

ROOM: Final = 16
"""Event loops that do not run now, and may again, whose connections are kept for them."""


class AsyncHome(Protocol):
    """The connections of one place. Making one connects to nothing."""

    async def leave(self) -> None:
        """Close everything, from within the place."""

    def drop(self) -> None:
        """Close everything without waiting; nobody in the place will miss it."""

    def disown(self) -> None:
        """Give up what belongs to another process, without touching the wire."""


H = TypeVar("H", bound=AsyncHome)


class AsyncHomes(Generic[H]):
    """The homes of a store, one a place, each made when the store is first called from there.

    Args:
        make: Makes a home.
        forked: Called in another process than the one before, to forget what was true there.

    When an event loop ends, its home is closed with it; what a process inherited by a fork stays the other's.
    """

    def __init__(self, make: Callable[[], H], forked: Callable[[], None]) -> None:
        self._make = make
        self._forked = forked
        self._pid = os.getpid()
        self._homes: dict[Any, H] = {}
        self._guards: dict[Any, Any] = {}
        self._openers: set[Any] = set()
        self._lock = threading.Lock()
        told_of_forks(self)

    @property
    def opened(self) -> bool:
        """Whether the store was opened, anywhere, and not closed there."""
        return bool(self._openers)

    @property
    def opened_here(self) -> bool:
        """Whether the store was opened in this very place."""
        self.look()
        return ahere() in self._openers

    def open_here(self) -> None:
        """Note that the store is open, until ``close`` or the end of this place."""
        self._openers.add(ahere())

    def here(self) -> H:
        """The home in this process and event loop."""
        place = ahere()
        if self._pid != os.getpid():
            self.look()
        return self._homes.get(place) or self._settle(place)

    def look(self) -> None:
        """Leave everything to the process it belongs to, if that is another."""
        if self._pid == os.getpid():
            return
        with moving():
            if self._pid == os.getpid():  # another thread was faster
                return
            strangers = (self._homes, self._guards, self._openers)
            self._homes, self._guards = {}, {}
            self._openers = {None} if self._openers else set()
            self._lock = threading.Lock()
            for home in strangers[0].values():
                home.disown()
            keep_for_good(strangers)
            self._forked()
            self._pid = os.getpid()

    def _settle(self, place: Any) -> H:
        with self._lock:
            for other in self._deserted(place):
                arelease(self._guards.pop(other, None))
                self._homes.pop(other).drop()
            home = self._homes.get(place)
            if home is None:
                home = self._homes[place] = self._make()
                self._guards[place] = aguard(partial(self._leave, place, home))
            return home

    def _deserted(self, place: Any) -> list[Any]:
        """Places nobody comes back to, and of those that are only quiet the oldest, where there are many."""
        others = [other for other in self._homes if other is not place]
        quiet = [other for other in others if not agone(other) and not alives(other)]
        return [other for other in others if agone(other)] + quiet[: max(0, len(quiet) - ROOM)]

    async def close(self) -> None:
        """Close what lives here, and everywhere else unless another running event loop opened the store for itself."""
        self.look()
        place = ahere()
        with self._lock:
            self._openers = {other for other in self._openers if other is not place and alives(other)}
            leaving = [other for other in self._homes if other is not place]
            if self._openers:
                leaving = [other for other in leaving if not alives(other)]
            for other in leaving:
                guard = self._guards.pop(other, None)
                if guard is not None and alives(other):
                    atell(other, guard.aclose)
                else:
                    arelease(guard)
                    self._homes.pop(other).drop()
            guard = self._guards.pop(place, None)
        if guard is not None:
            await guard.aclose()

    async def _leave(self, place: Any, home: H) -> None:
        """Close a home, unless that was done: a loop that runs again tells of its former one while it has another."""
        with self._lock:
            if self._homes.get(place) is not home:
                return
            del self._homes[place]
            self._guards.pop(place, None)
        await home.leave()
