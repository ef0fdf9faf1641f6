"""What Redis holds for a conversation, and what its scripts make of it, on paper.

The model explores these functions; hot.py holds the real scripts against them. A stamp says what a window shows, and
an era under which registration of its cache it was filled; both, and holders, are any values that can be compared.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple


class Window(NamedTuple):
    """The newest messages, as they stood at a stamp. ``shows`` and ``run`` are the model's own: what that is, and the
    name of the server that filled it, at which only mutants look. ``life``: of the conversation, which a clear begins anew;
    ``waits``: the journal beside it is not empty, so that a window whose journal was lost is none.
    """

    era: Hashable
    stamp: Hashable
    shows: tuple[int, ...] = ()
    run: Hashable = None
    life: Hashable = None
    waits: bool = False


class Lease(NamedTuple):
    """Leave for one reader to fill; ``late`` when somebody else may take it over."""

    holder: Hashable
    late: bool = False


Key = Window | Lease | None
Entry = tuple[Hashable, Hashable]
"""What waits in a journal: the row that it will be, and the life it was said in."""
Entries = tuple[Entry, ...]


def look(key: Key, era: Hashable, holder: Hashable) -> tuple[str, Key]:
    """Serve the window, or take the lease if nobody holds it: ``hit``, ``lease`` or ``miss``."""
    if isinstance(key, Window) and key.era == era:
        return "hit", key
    if isinstance(key, Lease) and not key.late:
        return "miss", key
    return "lease", Lease(holder)


def publish(key: Key, era: Hashable, stamp: Hashable, before: Hashable) -> tuple[str, Key]:
    """Tell the window of an append: ``extended``, ``kept``, ``dropped`` or ``absent``; ``before`` is false where nothing is."""
    if before and isinstance(key, Window) and (key.era, key.stamp) == (era, before):
        return "extended", key._replace(stamp=stamp)
    return tell(key, stamp)


def tell(key: Key, stamp: Hashable) -> tuple[str, Key]:
    """Leave word of a stamp: a window of just this one is ``kept``; anything else, and a lease, is ``dropped``."""
    if key is None:
        return "absent", None
    return ("kept", key) if isinstance(key, Window) and key.stamp == stamp else ("dropped", None)


def fill(key: Key, holder: Hashable, era: Hashable, stamp: Hashable) -> tuple[str, Key]:
    """Put the window if the lease is still mine, else ``tell``."""
    if isinstance(key, Lease) and key.holder == holder:
        return "filled", Window(era, stamp)
    return tell(key, stamp)


def shown(key: Key) -> str:
    """A key in a few words."""
    if isinstance(key, Window):
        return f"{key.shows} of era {key.era}"
    return "nothing" if key is None else f"r{key.holder}'s lease"
