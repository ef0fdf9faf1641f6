"""How the commands show a time."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(time: datetime) -> str:
    """A time to the second, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
