"""Whether what Redis holds of windows may be believed now, and in whose name."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

from convmemory.ids import FIRST

LOOK_EVERY: Final = 0.5
"""Seconds after which a process that serves windows looks again for marks others left."""
OLDEST_LOOK: Final = 1.0
"""Seconds a look vouches for, counted from where it began: while one caller looks, others are served until then."""
_ABANDONED: Final = 5.0
"""Seconds after which another caller looks as well: the event loop of the one who does may stand still."""
_PATIENCE: Final = 30.0
"""Seconds between two attempts to register, at most."""
NAMELESS: Final = (
    "no windows are cached: this Redis does not say who it is (master_replid in INFO replication); "
    "allow INFO to its user, or use a server that has one"
)
READ_JOURNAL: Final = "journal"
"""Among the names of caches that a statement is told: their journal was read."""


class Cache(NamedTuple):
    """A Redis server as a place of windows: what it calls itself, and what PostgreSQL knows it by."""

    server: str
    name: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What one call goes by to its end: the caches it means, and the era each of them is in.

    Taken once, when the call begins: a call that is under way while its process looks must not put into a new era
    what it learnt in an old one. ``eras`` is what the scripts are told: server, era, server, era ...; an era is
    ``""`` while it is not known, and nothing is served or extended then.
    """

    names: tuple[str, ...] = ()
    eras: tuple[str, ...] = ()
    known: bool = False
    journal: bool = False
    """Whether writes may wait in journals beside these windows."""

    @property
    def own(self) -> tuple[str, ...]:
        """What a statement is told: the caches that its caller tells, and that their journal was read."""
        return (*self.names, READ_JOURNAL) if self.journal and self.names else self.names


class Ticket(NamedTuple):
    """Leave for one caller to look: for which caches, and from where marks are still to be drained."""

    losses: int
    caches: tuple[Cache, ...] | None
    began: float
    after: UUID = FIRST


NOWHERE: Final = Standing()


@dataclass(slots=True)
class Trust:
    """Whether the windows in Redis may be served: only under a known era, and after marks are drained.

    A failure makes every window doubtful; ``begin`` lets one caller look, and ``looked`` restores the trust unless
    something failed meanwhile. While trusted, a look is due once per ``LOOK_EVERY`` seconds, counted from where the
    last one began: what was marked after that, it may have missed.
    """

    trusted: bool = False
    standing: Standing = NOWHERE
    former: tuple[Cache, ...] = ()
    """Whom this process meant before another server answered."""
    caches: tuple[Cache, ...] | None = None
    """The servers, by their own account; ``None``: they must be asked. Empty: they do not say, and nothing is cached."""
    journals: bool = False
    """Whether writes may wait in journals, by what was looked at last."""
    _began: float = float("-inf")
    _not_before: float = float("-inf")
    _renamed: float = float("-inf")
    _refused: int = 0
    _nameless: bool = False
    _losses: int = 0
    _busy: bool = False
    _since: float = float("-inf")
    _left_off: Ticket | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def off(self) -> bool:
        """Whether nothing can be cached, because the servers do not say who they are."""
        return self.caches == ()

    def serves(self, now: float) -> bool:
        """Whether windows may be served to one who does not look: another caller's look may take long, or come late."""
        return self.trusted and now - self._began < OLDEST_LOOK

    def fresh(self, now: float) -> Standing | None:
        """What a read goes by while no look is due: nearly every read, so it asks for no lock."""
        standing = self.standing  # read once: another thread may lose it meanwhile
        return standing if self.trusted and standing.known and now - self._began < LOOK_EVERY else None

    @property
    def known(self) -> Standing | None:
        """What a read goes by that has looked, or could not."""
        standing = self.standing
        return standing if self.trusted and standing.known else None

    def older(self, now: float, seconds: float) -> bool:
        """Whether nothing is trusted, or the last look began so long ago."""
        return not self.trusted or now - self._began >= seconds

    def named(self, caches: Sequence[Cache]) -> bool:
        """Note what the servers call themselves; whether it is the first time that they do not say."""
        with self._lock:
            self.caches, self.former = tuple(caches), ()
            self.standing = self._standing_in({})
            first, self._nameless = not (caches or self._nameless), not caches
            return first

    def lost(self) -> None:
        """Note that Redis could not be told: what it holds may be older than what was acknowledged."""
        with self._lock:
            self._lose()

    def renamed(self, now: float) -> None:
        """Note that another server answered than was meant: who it is must be asked, at most once a second."""
        with self._lock:
            self._lose()
            self.former = self.caches or self.former
            self.caches, self.standing = None, NOWHERE
            self._not_before, self._renamed = self._renamed + OLDEST_LOOK, now

    def begin(self, now: float, *, beside: bool = False) -> Ticket | None:
        """A ticket to look now, or ``None`` when no look is due or another caller is at it, unless ``beside`` that one."""
        if self.trusted and now - self._began < LOOK_EVERY:
            return None
        with self._lock:
            due = not self.trusted or now - self._began >= LOOK_EVERY
            busy = self._busy and not beside and now - self._since < _ABANDONED
            if busy or not due or now < self._not_before or self.off:
                return None
            self._busy, self._since = True, now
            left_off, self._left_off = self._left_off, None
            if left_off is not None and left_off[:2] == (self._losses, self.caches):
                return left_off
            return Ticket(self._losses, self.caches, now)

    def looked(self, ticket: Ticket, eras: Mapping[str, str], *, journals: bool = False) -> None:
        """Every mark there was when the look began is drained: trust, unless Redis was lost since."""
        with self._lock:
            self._busy, self._refused = False, 0
            if self.trusted and ticket.began < self._began:  # another caller has looked since
                return
            self.journals = journals
            if ticket.losses == self._losses and self.caches:
                self.standing = self._standing_in(eras)
                self.trusted, self._began = True, ticket.began

    def paused(self, ticket: Ticket, after: UUID) -> None:
        """There are more marks than one caller should wait for: the next one goes on from here."""
        with self._lock:
            self._busy = False
            self.trusted = False
            self._left_off = ticket._replace(after=after)

    def gave_up(self, now: float) -> None:
        """The look found no PostgreSQL; a process that lost nothing goes on serving, and looks again in a while."""
        with self._lock:
            self._busy = False
            if self.trusted:
                self._began = now

    def refused(self, now: float) -> None:
        """The caches could not be registered, or nothing be looked at: try again, less and less often."""
        with self._lock:
            self._busy = False
            self._lose()
            self._refused += 1
            self._not_before = now + min(_PATIENCE, LOOK_EVERY * 2**self._refused / 2)

    def left(self) -> None:
        """The look was cancelled, which says nothing about the marks: somebody else looks at once."""
        with self._lock:
            self._busy = False

    def _lose(self) -> None:
        self.trusted = False
        self._losses += 1
        if not self.caches:
            self.caches = None  # what comes back may say who it is
        else:
            self.standing = self._standing_in({})

    def _standing_in(self, eras: Mapping[str, str]) -> Standing:
        caches = self.caches or ()
        said = tuple(word for cache in caches for word in (cache.server, eras.get(cache.name, "")))
        return Standing(tuple(cache.name for cache in caches), said, bool(eras), self.journals)
