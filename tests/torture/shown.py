"""What a window may show together with the journal beside it: no state that PostgreSQL had, but everything that is owed."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from convmemory.windows.trust import OLDEST_LOOK
from torture.records import OK, Read, Write
from torture.truth import Timeline
from torture.verdict import Judgement


class Shown:
    """What one conversation's reads may show while writes wait in journals."""

    def __init__(self, timeline: Timeline, writes: Sequence[Write]) -> None:
        self._timeline = timeline
        self._writes = {token: write for write in writes for token in write.tokens}

    def wrong(
        self, read: Read, owed: Sequence[tuple[int, Write]], judgement: Judgement
    ) -> tuple[str, str] | None:
        """Which promise a read breaks that shows no state there was, and how; ``owed``: acknowledged writes, by their state."""
        saw = read.saw
        if len(set(saw)) < len(saw):
            return "doubled", "a message twice"
        stored = self._timeline.stored
        for token in saw:
            write = self._writes.get(token)
            gone = write and (judgement.lost_with_writer(write) or self.may_be_gone(write, judgement))
            if token not in stored and not gone:
                return "phantom", f"{token} was never committed"
        places = {token: stored[token][-1] for token in saw if token in stored}
        wiped = max((at for at, write in owed if write.do != "append"), default=0)
        back = [token for token, at in places.items() if at < wiped]
        if back:
            return "leaked", f"{back[:3]} had been taken away"
        return self._short(read, owed, places) or self._disordered(read, judgement)

    def may_be_gone(self, write: Write, judgement: Judgement) -> bool:
        """Whether a clear or a delete was committed after this write began, or a look before."""
        since = write.begin - OLDEST_LOOK
        since -= judgement.during("postgres", since, write.begin)
        return any(self._timeline.states[at].at >= since for at in self._timeline.wipes)

    def _short(
        self, read: Read, owed: Sequence[tuple[int, Write]], places: dict[str, int]
    ) -> tuple[str, str] | None:
        """A window shows the newest: what is owed is there, or older than all that is; so is all of it where only what waited is shown."""
        # what a journal took though PostgreSQL had it already is shown once more, at the end
        waited = all(self._writes[token].pending for token in places)
        oldest = inf if waited else next(iter(places.values()))
        last_wipe = max((at for at in self._timeline.wipes), default=0)
        cut = bool(read.saw) and (len(read.saw) >= (read.want or 0) or read.saw[0].endswith("h"))
        full = read.want is None or not cut
        for at, write in owed:
            if (
                write.do != "append"
                or any(token in read.saw for token in write.tokens[-1:])
                or at < last_wipe
            ):
                continue
            if full or at > oldest:
                return "stale", f"{' '.join(write.tokens)} is not there"
        return None

    def _disordered(self, read: Read, judgement: Judgement) -> tuple[str, str] | None:
        """Of two writes through one cache that did not overlap, the earlier one stands first."""
        begun = [(token, self._writes[token]) for token in read.saw]
        for place, (token, write) in enumerate(begun):
            for later, other in begun[place + 1 :]:
                if other.how != OK or other.end >= write.begin or other.cache != write.cache:
                    continue
                apart = other.marked or write.marked or other.far or write.far
                if not apart and not judgement.may_have_lost(other.begin, read.end):
                    return "disorder", f"{token} before {later}, which was acknowledged before it began"
        return None
