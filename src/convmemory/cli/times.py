"""How the commands show a time, and read one."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel
from typer import BadParameter

_AGE: Final = re.compile(r"(\d{1,6})([hdw])")
_HOURS: Final = {"h": 1, "d": 24, "w": 168}


def moment(time: datetime) -> str:
    """A time to the second, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def in_utc(value: BaseModel, *times: str, without: set[str]) -> dict[str, Any]:
    """The fields of a value as JSON has them, with the times among them in UTC, whatever zone the driver was in."""
    said: dict[str, Any] = json.loads(value.model_dump_json(exclude=without))
    return said | {name: getattr(value, name).astimezone(UTC).isoformat() for name in times}


def ago(option: str, age: str) -> datetime:
    """The time that an age (``90d``, ``12w``, ``36h``) or a date means.

    Raises:
        BadParameter: It is neither.
    """
    found = _AGE.fullmatch(age.strip().lower())
    try:
        if found:
            return datetime.now(UTC) - timedelta(hours=int(found[1]) * _HOURS[found[2]])
        date = datetime.fromisoformat(age)
    except (OverflowError, ValueError):
        raise BadParameter(
            f"{option}: must be an age like 90d, 12w or 36h, or a date like 2025-01-31"
        ) from None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
