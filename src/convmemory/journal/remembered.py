"""What a process has accepted and PostgreSQL has not confirmed to it: what Redis loses meanwhile, it sends again."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from convmemory.ids import ConversationKey
from convmemory.journal.entries import Entry

MOST_BYTES: Final = 64_000_000
"""Of all that is remembered: a process that has more accepts nothing."""
_LIVES: Final = 10_000
"""Conversations whose life is known."""
SWEEP_EVERY: Final = 30.0
"""Seconds between two sweeps for journals whose writer is gone."""


class Remembered:
    """One process's own entries, by conversation and in order, and the lives in which it would write more.

    Every method is safe from any thread. A forked process begins with nothing: what its parent accepted, that sends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.mine: dict[UUID, tuple[ConversationKey, dict[str, Entry]]] = {}
        """To look whether there is anything at all; what there is ``of`` tells."""
        self._where: dict[UUID, tuple[str, ...]] = {}
        self._lives: OrderedDict[UUID, str] = OrderedDict()
        self._swept = float("-inf")
        self.bytes = 0
        self.declined: Counter[str] = Counter()
        """Appends that were not accepted, by reason."""

    def __bool__(self) -> bool:
        """Whether there is anything that PostgreSQL has not confirmed."""
        return bool(self.mine)

    @property
    def full(self) -> bool:
        """Whether this process remembers as much as it should."""
        return self.bytes >= MOST_BYTES

    def add(self, key: ConversationKey, entry: Entry, where: tuple[str, ...] | None = None) -> None:
        """Remember an entry that was accepted, in which caches."""
        with self._lock:
            if where is not None:
                self._where.setdefault(key.uuid, where)
            self.mine.setdefault(key.uuid, (key, {}))[1][entry.id] = entry
            self.bytes += len(entry.text)

    def of(self, conversation: UUID) -> list[Entry]:
        """The entries of a conversation, in order."""
        if not self.mine:
            return []
        with self._lock:
            return list(self.mine.get(conversation, (None, {}))[1].values())

    def apart(self, conversation: UUID, where: tuple[str, ...]) -> bool:
        """Whether something of a conversation was accepted elsewhere, so that no window here has it beside it."""
        return self._where.get(conversation, where) != where

    def conversations(self) -> list[ConversationKey]:
        """The conversations there are entries of."""
        with self._lock:
            return [key for key, _ in self.mine.values()]

    def postpone(self, conversation: UUID) -> None:
        """Name a conversation behind all others: somebody holds it."""
        with self._lock:
            if (mine := self.mine.pop(conversation, None)) is not None:
                self.mine[conversation] = mine

    def forget(self, conversation: UUID, ids: Iterable[str]) -> None:
        """Forget entries that PostgreSQL has confirmed, or that went with a delete."""
        with self._lock:
            _, mine = self.mine.get(conversation, (None, {}))
            for id_ in ids:
                if (entry := mine.pop(id_, None)) is not None:
                    self.bytes -= len(entry.text)
            if not mine:
                self.mine.pop(conversation, None)
                self._where.pop(conversation, None)

    def life(self, conversation: UUID) -> str:
        """The life of a conversation as it was read last; ``""`` where it was not."""
        return self._lives.get(conversation, "")

    def learn(self, conversation: UUID, life: str) -> None:
        """Note the life of a conversation; ``""``: it is not known any more."""
        if self._lives.get(conversation, "") == life:
            return
        with self._lock:
            self._lives.pop(conversation, None)
            if life:
                self._lives[conversation] = life
            if len(self._lives) > _LIVES:
                self._lives.popitem(last=False)

    def sweep_is_due(self, now: float, *, take: bool = True) -> bool:
        """Whether it is time to look for journals whose writer is gone; who takes it is to look, and no other is told."""
        with self._lock:
            due = now - self._swept >= SWEEP_EVERY
            self._swept = now if due and take else self._swept
            return due

    def figures(self) -> Mapping[str, Any]:
        """How many entries wait for a confirmation, their bytes, the age of the oldest in seconds, and what was not accepted."""
        with self._lock:
            entries: Collection[Entry] = [one for _, mine in self.mine.values() for one in mine.values()]
            oldest = min((one.accepted for one in entries), default=None)
            age = 0.0 if oldest is None else max(0.0, time.time() - oldest)
            return {
                "entries": len(entries),
                "bytes": self.bytes,
                "oldest_seconds": round(age, 3),
                "declined": dict(self.declined),
            }
