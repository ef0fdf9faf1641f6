"""What Redis holds for a conversation, and what its scripts make of it, on paper.

The model explores these four functions; hot.py holds the real scripts against them. A life and a version say what a
window shows; lives, runs and holders are any values that can be compared.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple


class Window(NamedTuple):
    """The newest messages, as they stood at a version of one life, filled under one run of Redis."""

    life: Hashable
    version: int
    run: Hashable


class Lease(NamedTuple):
    """Leave for one reader to fill; ``late`` when somebody else may take it over."""

    holder: Hashable
    run: Hashable
    late: bool = False


Key = Window | Lease | None


def look(key: Key, run: Hashable, holder: Hashable, without: str = "") -> tuple[str, Key]:
    """Serve the window, or take the lease if nobody holds it: ``hit``, ``lease`` or ``miss``."""
    if isinstance(key, Window) and (key.run == run or without == "no run check"):
        return "hit", key
    if isinstance(key, Lease) and not key.late:
        return "miss", key
    return "lease", Lease(holder, run)


def publish(key: Key, run: Hashable, life: Hashable, version: int, without: str = "") -> tuple[str, Key]:
    """Tell the window of an append: ``extended``, ``kept``, ``dropped`` or ``absent``."""
    if isinstance(key, Lease) and without == "publish keeps the lease":
        return "kept", key
    if not isinstance(key, Window):
        return ("absent" if key is None else "dropped"), None
    made_now = without == "creation extends no conversation" and key.version == 0 and version == 1
    same = key.life == life or made_now or without == "incarnation ignored"
    if same and (key.version == version - 1 or without == "publish without version check"):
        under = run if without == "publish vouches for the run" else key.run
        return "extended", Window(life, version, under)
    return ("kept", key) if same and key.version >= version else ("dropped", None)


def tell(key: Key, life: Hashable, version: int, without: str = "") -> tuple[str, Key]:
    """Leave word of a version: ``told`` (an older window and any lease are gone) or ``absent``."""
    if key is None:
        return "absent", None
    same = isinstance(key, Window) and (key.life == life or without == "incarnation ignored")
    return "told", key if isinstance(key, Window) and same and key.version >= version else None


def fill(
    key: Key, run: Hashable, holder: Hashable, life: Hashable, version: int, without: str = ""
) -> tuple[str, Key]:
    """Put the window if the lease is still mine, else ``tell``."""
    mine = isinstance(key, Lease) and (key.holder == holder or without == "any lease fills")
    now = isinstance(key, Lease) and (key.run == run or without == "lease without run")
    if (mine and now) or without == "fill without lease":
        return "filled", Window(life, version, run)
    return tell(key, life, version, without)


def shown(key: Key) -> str:
    if isinstance(key, Window):
        return f"life {key.life} version {key.version}" if key.life else "no conversation"
    return "nothing" if key is None else f"r{key.holder}'s lease"
