"""What a cached window is worth: the pure decisions of the coherence protocol, none of which waits or reads a clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from convmemory.encoding.codec import pack_row
from convmemory.windows.collection import uncollected
from convmemory.windows.cutting import span

NO_CONVERSATION: Final = ""
"""The stamp of a conversation that is not there: an empty window of it can be cached as well."""
NOTHING_BEFORE: Final = ""
"""What no window can be extended from: a change that made the conversation, took something away, or stored nothing."""


@dataclass(slots=True)  # not frozen, though nothing changes one: that would cost each read a microsecond
class Snapshot:
    """The newest messages of a conversation as one statement saw them, with the stamp of its last change.

    ``entries`` are packed messages, oldest first. They are counted as if they stood side by side up to ``last_seq``, where the
    newest would have it: of the seqs up to there ``gaps`` belong to no message any more, and ``human_seq`` is counted
    like that as well. An append changes none of those places; what deletes drops the window.
    """

    stamp: str = NO_CONVERSATION
    last_seq: int = 0
    human_seq: int = 0
    entries: Sequence[bytes] = field(default=())
    gaps: int = 0
    pending: int = 0
    """How many of the newest wait for PostgreSQL: the places they have here, it may give to others."""
    doubtful: bool = False
    """Whether one of those may be stored already, further back than this window reaches."""

    @property
    def since(self) -> int:
        """The newest place that PostgreSQL has given."""
        return self.last_seq - self.pending

    @property
    def first_seq(self) -> int:
        """The place of the oldest message here."""
        return self.last_seq - len(self.entries) + 1

    @property
    def there(self) -> bool:
        """Whether there was such a conversation."""
        return self.stamp != NO_CONVERSATION

    @property
    def whole(self) -> bool:
        """Whether these are all the messages there are."""
        return self.last_seq - self.gaps <= len(self.entries)

    def newest(self, want: int, hard: int) -> Snapshot:
        """The part a window of ``want`` messages needs, its newest turn included up to ``hard`` messages."""
        spare = span(self.last_seq, self.human_seq, want, hard, self.gaps) - self.first_seq
        if spare <= 0:
            return self
        return Snapshot(
            self.stamp, self.last_seq, self.human_seq, self.entries[spare:], self.gaps, self.pending
        )


@dataclass(slots=True)
class Written:
    """What PostgreSQL said of a committed change: enough to tell the window of it.

    ``stamp`` is the conversation's now, and ``before`` what it was. ``entries`` are the newly stored messages in order,
    the first at ``first_seq``; a change that stored none (a repeat, a clear) has no entries and extends nothing.
    ``left_here``: messages of a large conversation, which nobody sees any more, have still to be taken away;
    ``left_anywhere``: of any conversation.
    """

    stamp: str
    before: str = NOTHING_BEFORE
    first_seq: int = 0
    human_seq: int = 0
    entries: Sequence[bytes] = ()
    left_here: bool = False
    left_anywhere: bool = False


@dataclass(slots=True)
class Reply:
    """What the window's read script answered: ``hit``, ``lease`` with its token and era, ``miss``, ``foreign``, ``elsewhere``.

    Where a journal lies beside it, ``life`` is that of a window which is served, and ``waiting`` the fields and values of the journal.
    """

    verdict: str
    snapshot: Snapshot | None = None
    token: str = ""
    era: str = ""
    life: str = ""
    waiting: Sequence[bytes] = ()


NOT_ASKED: Final = Reply("miss")
"""Redis may not be believed, or did not answer: whoever reads PostgreSQL instead still tells it what was read."""
DROPPED: Final = "dropped"
"""There was a window or a lease, and it is gone."""
ELSEWHERE: Final = "elsewhere"
"""The server that answered is none of those that were meant."""


def parse_reply(raw: Sequence[bytes]) -> Reply:
    """Read the answer of ``window_read.lua``."""
    verdict = raw[0].decode()
    if verdict == "lease":
        return Reply(verdict, token=raw[1].decode(), era=raw[2].decode())
    if verdict != "hit":
        return Reply(verdict)
    return Reply(verdict, Snapshot(raw[1].decode(), int(raw[2]), int(raw[3]), raw[5:], int(raw[4])))


def snapshot_of(rows: Sequence[tuple[object, ...]]) -> tuple[bool, Snapshot]:
    """Read the rows of ``read_window.sql``: whether the conversation is the user's or nobody's, and what it holds."""
    if not rows:
        return True, Snapshot()
    mine, stamp, *numbers = rows[0][:5]
    last, human, gaps = (int(str(number)) for number in numbers)
    with uncollected(len(rows)):
        entries = [pack_row(str(body), str(content)) for *_, seq, body, content in rows if seq is not None]
    if gaps:  # where the newest human message is not among these, it is no nearer than its seq says
        after = next((n for n, row in enumerate(reversed(rows)) if row[6] == human), last - human)
        human = last - after if human else 0
    return bool(mine), Snapshot(str(stamp), last, human, entries, gaps)
