"""Dates with times as JSON: ISO text, and beside it the fold and the zone that ISO text cannot say."""

from __future__ import annotations

import re
from datetime import datetime, time, timezone, tzinfo
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

Clock = TypeVar("Clock", datetime, time)

_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,3}")


def write_clock(value: Clock) -> tuple[Any, bool]:
    """Return the JSON for a clock reading and whether it is exact.

    ``timezone`` offsets and ``ZoneInfo`` zones are; of any other ``tzinfo`` only the offset in force is
    kept, and of one that raises, nothing. ISO text alone where that is enough, else ``[text, fold, zone]``.
    """
    try:
        zone = value.tzinfo
        if type(zone) is ZoneInfo and zone.key and ZoneInfo(zone.key) is zone:
            return [value.isoformat(), value.fold, zone.key], True
        exact = _is_offset(zone)
        shown = value if exact else _at_offset(value)
        return ([shown.isoformat(), shown.fold, None] if shown.fold else shown.isoformat()), exact
    except Exception:  # noqa: BLE001 - a tzinfo is the caller's code and may raise anything
        return value.replace(tzinfo=None).isoformat(), False


def read_clock(kind: type[Clock], stored: Any) -> Clock:
    """Read what ``write_clock`` wrote; raises ``ValueError`` or ``TypeError`` for anything else.

    A zone that this host does not know is read as the fixed offset it had, which is the same instant.
    """
    if type(stored) is str:
        return kind.fromisoformat(stored)
    text, fold, key = stored
    clock = kind.fromisoformat(text).replace(fold=fold)
    return clock if key is None else clock.replace(tzinfo=_zone(key) or clock.tzinfo)


def _is_offset(zone: tzinfo | None) -> bool:
    if zone is None:
        return True
    if type(zone) is not timezone:
        return False
    return zone.tzname(None) == timezone(zone.utcoffset(None)).tzname(None)  # no name of its own


def _at_offset(value: Clock) -> Clock:
    offset = value.utcoffset()
    return value.replace(tzinfo=None if offset is None else timezone(offset))


def _zone(key: str) -> ZoneInfo | None:
    if not _ZONE_KEY.fullmatch(key):
        raise ValueError("not the name of a time zone")
    try:
        return ZoneInfo(key)
    except (LookupError, OSError, ValueError):
        return None
