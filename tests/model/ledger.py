"""What PostgreSQL held at every moment, who was told what, and whether an answer keeps the promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from convmemory.windows.cutting import span
from convmemory.windows.snapshots import Snapshot

FOREIGN = "somebody else's"


class PromiseBroken(AssertionError):
    """A read was answered with less than was promised, or with something that never was."""


class Moment(NamedTuple):
    """The conversation between two commits; ``owner`` is ``None`` while it is not there."""

    owner: str | None = None
    stamp: str = ""
    last: int = 0
    human: int = 0
    entries: tuple[bytes, ...] = ()
    gaps: int = 0

    def shown_to(self, user: str, want: int | None, hard: int) -> Snapshot | str:
        """What a read of this moment answers."""
        if self.owner is None:
            return Snapshot()
        if self.owner != user:
            return FOREIGN
        oldest = self.gaps + 1
        first = oldest if want is None else span(self.last, self.human, want, hard, self.gaps)
        return Snapshot(self.stamp, self.last, self.human, self.entries[first - oldest :], self.gaps)


class Ack(NamedTuple):
    """An acknowledged write: the moment it made, when, and which cache was told; the others had a mark left for them."""

    moment: int
    at: float
    told: str = ""


@dataclass
class Ledger:
    """One conversation's moments, and what its readers are owed."""

    moments: list[Moment] = field(default_factory=lambda: [Moment()])
    acks: list[Ack] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    """By cache: the moment it was told of by a read."""

    @property
    def now(self) -> int:
        return len(self.moments) - 1

    def commit(self, moment: Moment) -> bool:
        """Note how the conversation stands after a statement; whether that changed it."""
        if moment == self.moments[-1]:
            return False
        self.moments.append(moment)
        return True

    def acknowledged(self, ack: Ack) -> None:
        self.acks.append(ack)

    def owed(self, marked_before: float, cache: str) -> int:
        """The moment no read through a cache may fall behind: the newest one that it was told of.

        Writes that were only marked for it count if they were acknowledged before the time given.
        """
        acked = (ack.moment for ack in self.acks if ack.told == cache or ack.at < marked_before)
        return max(self.seen.get(cache, 0), *acked, 0)

    def check(
        self, answer: Snapshot | str, user: str, want: int | None, hard: int, owed: int, who: str
    ) -> int:
        """The earliest moment, not before ``owed``, that this answer shows.

        Raises:
            PromiseBroken: It shows an earlier one, or none at all.
        """
        views = [_plain(moment.shown_to(user, want, hard)) for moment in self.moments]
        given = _plain(answer)
        found = next((at for at in range(owed, len(views)) if views[at] == given), None)
        if found is None:
            shows = [at for at, view in enumerate(views) if view == given]
            what = f"moment {shows[-1]}" if shows else f"what never was, {answer}"
            raise PromiseBroken(f"{who} is answered with {what} and was owed moment {owed}: {self._story()}")
        return found

    def _story(self) -> str:
        return " > ".join(
            f"{at}: stamp {m.stamp[:4]} of {len(m.entries)}" if m.owner else f"{at}: gone"
            for at, m in enumerate(self.moments)
        )


def _plain(answer: Snapshot | str) -> tuple[str, int, int, tuple[bytes, ...], int] | str:
    if isinstance(answer, str):
        return answer
    entries: Sequence[bytes] = answer.entries
    return answer.stamp, answer.last_seq, answer.human_seq, tuple(entries), answer.gaps
