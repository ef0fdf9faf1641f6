"""A comparison strict enough to notice what ``==`` would not.

``True`` and ``1``, ``0.0`` and ``-0.0``, the order of keys, a ``defaultdict`` and a ``dict``, a fold.
"""

from __future__ import annotations

from datetime import datetime, time
from decimal import Decimal
from typing import Any

from pydantic import BaseModel


def unlike(a: Any, b: Any, path: str = "") -> str | None:
    """Where two values differ in type, value or order; ``None`` where they do not."""
    if type(a) is not type(b):
        return f"{path}: {type(a).__name__} became {type(b).__name__}"
    if isinstance(a, BaseModel):
        return unlike(vars(a), vars(b), path) or unlike(
            a.model_extra or {}, b.model_extra or {}, f"{path} extra"
        )
    if isinstance(a, dict):
        return unlike(list(a), list(b), f"{path} keys") or _any_unlike(
            list(a.values()), list(b.values()), path
        )
    if isinstance(a, (list, tuple)):
        return _any_unlike(a, b, path)
    if isinstance(a, (set, frozenset)):
        return _any_unlike(sorted(a, key=repr), sorted(b, key=repr), path)
    return None if _leaf(a) == _leaf(b) else f"{path}: {str(a)[:40]!r} became {str(b)[:40]!r}"


def _any_unlike(a: Any, b: Any, path: str) -> str | None:
    if len(a) != len(b):
        return f"{path}: {len(a)} became {len(b)}"
    return next(
        filter(None, (unlike(x, y, f"{path}.{at}") for at, (x, y) in enumerate(zip(a, b, strict=True)))), None
    )


def _leaf(value: Any) -> Any:
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, Decimal):
        return value.as_tuple()
    if isinstance(value, (datetime, time)):
        return value.replace(tzinfo=None), value.fold, type(value.tzinfo), str(value.tzinfo)
    return value
