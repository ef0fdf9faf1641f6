"""What the scripts on windows are told, in the order of their arguments."""

from __future__ import annotations

from typing import Any, Final

from convmemory.ids import ConversationKey
from convmemory.windows.snapshots import Reply, Snapshot, Written
from convmemory.windows.trust import Standing

LEASE: Final = 5_000
"""Milliseconds a reader may take between its lease and its fill; longer than any statement that succeeds needs."""


def asked(  # noqa: PLR0917 - in the order of window_read.lua
    key: ConversationKey, want: int, hard: int, ttl: int, token: str, standing: Standing
) -> tuple[Any, ...]:
    """What ``window_read.lua`` is told."""
    return (key.user_id, want, hard, ttl, token, LEASE, *standing.eras)


def written_to(  # noqa: PLR0917 - in the order of window_publish.lua
    key: ConversationKey, written: Written, ttl: int, hard: int, most: int, standing: Standing
) -> tuple[Any, ...]:
    """What ``window_publish.lua`` is told; a write of more than ``hard`` messages or ``most`` bytes extends nothing."""
    entries = written.entries
    if len(entries) > hard or sum(map(len, entries)) > most:
        entries = ()
    about = (key.user_id, written.stamp, written.before, ttl, hard, most)
    place = (written.first_seq, written.human_seq, len(standing.eras) // 2)
    return (*about, *place, *standing.eras, *entries)


def filled_with(  # noqa: PLR0917 - in the order of window_fill.lua
    key: ConversationKey, snapshot: Snapshot, ttl: int, lease: Reply, keep: int, most: int
) -> tuple[Any, ...] | None:
    """What ``window_fill.lua`` is told; ``None`` where a window would have more than ``most`` bytes."""
    size = sum(map(len, snapshot.entries))
    if size > most:
        return None
    about = (key.user_id, snapshot.stamp, ttl, lease.token, lease.era, keep, size)
    place = (snapshot.first_seq, snapshot.last_seq, snapshot.human_seq, snapshot.gaps)
    return (*about, *place, *snapshot.entries)
