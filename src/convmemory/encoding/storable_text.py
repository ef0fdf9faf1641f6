"""What a PostgreSQL ``text`` or ``jsonb`` column can hold, made of what people hand in."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

OUTLINE_CHARS = 10_000
_DEEPEST = 32  # levels of nesting a metadata column keeps as structure
_WIDEST_INT = 1_000  # bits; jsonb holds more, but Python refuses to print integers past 4,300 digits

_shorten = reprlib.Repr()
_shorten.maxlevel = 3
_shorten.maxlist = _shorten.maxdict = _shorten.maxtuple = _shorten.maxset = _shorten.maxfrozenset = 10
_shorten.maxstring = _shorten.maxother = _shorten.maxlong = 500


def storable(text: str) -> bool:
    """Whether PostgreSQL holds ``text`` as it is: no NUL, no half of a surrogate pair."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def clean_text(value: str) -> str:
    """Make ``value`` fit a ``text`` column, and leave it alone where it fits already.

    NUL characters are dropped, the two halves of a split surrogate pair are joined, and a half that
    stands alone becomes U+FFFD. The result is always a plain ``str``.
    """
    if storable(value):
        return str.__str__(value)
    return value.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean_json(value: Any) -> Any:
    """Make ``value`` fit a ``jsonb`` column: a derived copy, meant for queries.

    NaN and infinities become text, NUL is stripped, tuples and sets become lists, dates ISO text, keys text.
    Unknown objects, cycles and what lies deeper than 32 levels become a bounded ``repr``. Never raises.
    """
    return _clean(value, ())


def outline(value: object) -> str:
    """Describe any object in at most 10,000 storable characters; ``<module.Class>`` where ``repr`` fails."""
    try:
        bounded = isinstance(value, (dict, list, tuple, set, frozenset, str, int))
        return clean_text((_shorten.repr(value) if bounded else repr(value))[:OUTLINE_CHARS])
    except Exception:  # noqa: BLE001 - a repr is the caller's code and may raise anything
        return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _clean(value: Any, above: tuple[int, ...]) -> Any:
    try:
        return _clean_known(value, above)
    except Exception:  # noqa: BLE001 - subclasses and time zones are the caller's code and may raise anything
        return outline(value)


def _clean_known(value: Any, above: tuple[int, ...]) -> Any:
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return _clean_container(value, above)
    if isinstance(value, str):
        return clean_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return _clean_number(value)
    return _clean_object(value)


def _clean_container(value: Any, above: tuple[int, ...]) -> Any:
    if len(above) >= _DEEPEST or id(value) in above:
        return outline(value)
    here = (*above, id(value))
    if isinstance(value, Mapping):
        return {_clean_key(key): _clean(item, here) for key, item in value.items()}
    return [_clean(item, here) for item in value]


def _clean_key(key: object) -> str:
    return clean_text(key) if isinstance(key, str) else str(_clean(key, ()))


def _clean_number(value: float) -> float | str:
    if isinstance(value, int):
        return int.__index__(value) if value.bit_length() <= _WIDEST_INT else hex(value)
    return float.__float__(value) if math.isfinite(value) else repr(float.__float__(value))


def _clean_object(value: object) -> str:
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    return outline(value)
