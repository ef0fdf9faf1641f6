"""JSON for values JSON has no word for: ``{"$cm": "bytes", "v": "AAE="}`` and its kin, exact both ways.

Reading looks tags up in one fixed table. No class path is stored and nothing is imported by name, so a row
that somebody else wrote can name nothing but the types listed here.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

from langchain_core.documents import Document
from langchain_core.messages.base import TextAccessor

from convmemory.encoding.datetimes import read_clock, write_clock
from convmemory.encoding.storable_text import outline, storable

Path: TypeAlias = tuple[Any, Any] | None
"""Where a value stands: (the path of its container, its key), so that a walk makes text only for losses."""

PLAIN_TEXTS = (str, TextAccessor)
"""Types that are nothing but text: what ``message.text`` gives is a ``str`` that can also be called."""

TAG = "$cm"
_MARK = f'"{TAG}"'
_DEEPEST = 100  # open containers; at worst three times that in JSON, well inside every parser's stack
_PLAIN_INT = 2**53  # wider integers are hex: no JSON tool rounds them, and no digit limit applies
_SHOWN_KEYS = 12  # keys of a path
_SHOWN_CHARS = 64  # characters of a key

dumps = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


class Tagger:
    """One walk over a message's values; what it could not keep exactly is listed in ``losses``.

    What ``value`` returns, ``dumps`` writes as one line of storable text. A subclass of a known type (an
    enum, a ``defaultdict``) is kept as its plain base, anything unknown as a bounded ``repr``: both are
    losses. Raises only what walking the caller's containers raises, ``RecursionError`` included.
    """

    __slots__ = ("_open", "losses")

    def __init__(self) -> None:
        self.losses: list[Path] = []
        self._open: set[int] = set()

    def value(self, value: Any, path: Path) -> Any:
        """Encode one value of any type."""
        kind = type(value)
        if value is None or kind is bool or (kind is str and storable(value)):
            return value
        if kind is int and -_PLAIN_INT < value < _PLAIN_INT:
            return value
        write = _WRITERS.get(kind)
        return self._nearest(value, path) if write is None else write(self, value, path)

    def mapping(self, value: dict[Any, Any], path: Path) -> Any:
        """Encode a dict: a JSON object where its keys allow it, else a tagged list of pairs."""
        if self._closed_to(value):
            return self._shut(value, path)
        self._open.add(id(value))
        plain: dict[Any, Any] = {}
        odd = TAG in value
        for key, item in value.items():
            odd = odd or type(key) is not str or not storable(key)
            kind = type(item)
            if kind is str:
                simple = item.isascii() and "\0" not in item
            else:
                simple = item is None or kind is bool or (kind is int and -_PLAIN_INT < item < _PLAIN_INT)
            plain[key] = item if simple else self.value(item, (path, key))  # the common case needs no call
        self._open.discard(id(value))
        if not odd:
            return plain
        return {TAG: "map", "v": [[self.hashable(key, (path, key)), item] for key, item in plain.items()]}

    def items(self, value: list[Any] | tuple[Any, ...], path: Path) -> Any:
        """Encode the members of a list or tuple as a JSON list."""
        if self._closed_to(value):
            return self._shut(value, path)
        self._open.add(id(value))
        plain: list[Any] = []
        for index, item in enumerate(value):  # a comprehension would double the stack this takes
            plain.append(self.value(item, (path, index)))
        self._open.discard(id(value))
        return plain

    def hashable(self, value: Any, path: Path) -> Any:
        """Encode a key or a member of a set: as text where its plain base would not be hashable."""
        encoded = self.value(value, path)
        return encoded if _is_hashable(encoded) else self.lost(value, path)

    def lost(self, value: object, path: Path) -> str:
        """Keep a description of what cannot be encoded, and note where it stood."""
        self.losses.append(path)
        return outline(value)

    def _closed_to(self, container: object) -> bool:
        return id(container) in self._open or len(self._open) >= _DEEPEST

    def _shut(self, container: object, path: Path) -> str:
        if id(container) not in self._open:
            return self.lost(container, path)
        self.losses.append(path)
        return f"<{type(container).__name__} inside itself>"

    def _nearest(self, value: Any, path: Path) -> Any:
        if self._closed_to(value):
            return self._shut(value, path)
        plain = _as_plain_base(value)
        if plain is None:
            return self.lost(value, path)
        self.losses.append(path)
        self._open.add(id(value))  # its plain copy is another object: a circle would not be noticed there
        encoded = self.value(plain, path)
        self._open.discard(id(value))
        return encoded


def parse(body: str) -> Any:
    """Read what ``dumps`` wrote; raises for text that is not JSON and for tags that make no sense."""
    return (_tagged if _MARK in body else _untagged).decode(body)


def dotted(path: Path) -> str:
    """Write a path as ``additional_kwargs.rows.0``, bounded and printable, fit for a log line."""
    keys: list[str] = []
    while path is not None:
        path, key = path
        text = str.__str__(key) if isinstance(key, str) else outline(key)
        keys.append("".join(c if c.isprintable() else "?" for c in text[:_SHOWN_CHARS]))
    keys.reverse()
    return ".".join(keys[:_SHOWN_KEYS] + ["..."] * (len(keys) > _SHOWN_KEYS))


def _as_plain_base(value: Any) -> Any:
    for base in type(value).__mro__[1:]:
        convert = _TO_PLAIN.get(base)
        if convert is not None:
            try:
                plain = convert(value)
            except Exception:  # noqa: BLE001 - a subclass is the caller's code and may raise anything
                return None
            return plain if type(plain) is base else None
    return None


def _plain_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    try:
        return dict(value)
    except Exception:  # noqa: BLE001 - as in _as_plain_base; a field that must be a dict has to stay one
        return dict(dict.items(value))


def _plain_list(value: list[Any]) -> list[Any]:
    try:
        return list(value)
    except Exception:  # noqa: BLE001 - as in _plain_dict
        return list(list.__iter__(value))


_Writer: TypeAlias = Callable[[Tagger, Any, Path], Any]


def _leaf(name: str, write: Callable[[Any], Any]) -> _Writer:
    return lambda _tagger, value, _path: {TAG: name, "v": write(value)}


def _write_tuple(tagger: Tagger, value: tuple[Any, ...], path: Path) -> Any:
    members = tagger.items(value, path)
    return {TAG: "tuple", "v": members} if type(members) is list else members


def _write_set(tagger: Tagger, value: Any, path: Path) -> Any:
    members = [tagger.hashable(member, (path, index)) for index, member in enumerate(_in_order(value))]
    return {TAG: type(value).__name__, "v": members}


def _clock(name: str) -> _Writer:
    def write(tagger: Tagger, value: Any, path: Path) -> Any:
        stored, exact = write_clock(value)
        if not exact:
            tagger.losses.append(path)
        return {TAG: name, "v": stored}

    return write


def _is_hashable(encoded: Any) -> bool:
    if type(encoded) is list:
        return False
    if type(encoded) is not dict:
        return True
    tag = encoded.get(TAG)
    if tag in {"tuple", "frozenset"}:
        return all(map(_is_hashable, encoded["v"]))
    return tag not in {None, "map", "set", "bytearray", "document"}


def _in_order(members: Any) -> list[Any]:
    try:
        return sorted(members, key=repr)  # the same set makes the same bytes in every process
    except Exception:  # noqa: BLE001 - a repr is the caller's code and may raise anything
        return list(members)


def _write_float(_tagger: Tagger, value: float, _path: Path) -> Any:
    if math.isfinite(value) and not value.is_integer():
        return value
    return {TAG: "float", "v": value.hex()}


def _write_document(tagger: Tagger, value: Document, path: Path) -> Any:
    fields = {name: vars(value).get(name) for name in Document.model_fields if name != "type"}
    text, metadata, name = fields["page_content"], fields["metadata"], fields["id"]
    if not (isinstance(text, str) and isinstance(metadata, dict) and isinstance(name, str | None)):
        return tagger.lost(value, path)
    members = tagger.mapping(fields, path)
    kept = type(members) is dict and type(members["metadata"]) is dict  # not too deep, and not a circle
    return {TAG: "document", "v": members} if kept else outline(value)


def _write_plain(tagger: Tagger, value: str, path: Path) -> Any:
    return tagger.value(str.__str__(value), path)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _from_base64(stored: str) -> bytes:
    return base64.b64decode(stored, validate=True)


def _untag(found: dict[str, Any]) -> Any:
    return _READERS[found[TAG]](found["v"]) if TAG in found else found


_untagged = json.JSONDecoder()
_tagged = json.JSONDecoder(object_hook=_untag)

_WRITERS: dict[type, _Writer] = {
    dict: Tagger.mapping,
    list: Tagger.items,
    tuple: _write_tuple,
    set: _write_set,
    frozenset: _write_set,
    str: _leaf("str", lambda value: _base64(value.encode("utf-8", "surrogatepass"))),
    TextAccessor: _write_plain,
    int: _leaf("int", hex),
    float: _write_float,
    bytes: _leaf("bytes", _base64),
    bytearray: _leaf("bytearray", _base64),
    datetime: _clock("datetime"),
    date: _leaf("date", date.isoformat),
    time: _clock("time"),
    timedelta: _leaf("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: _leaf("decimal", str),
    UUID: _leaf("uuid", str),
    Document: _write_document,
}

_READERS: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "map": lambda stored: {key: item for key, item in stored},  # noqa: C416 - pairs, or it is an error
    "str": lambda stored: _from_base64(stored).decode("utf-8", "surrogatepass"),
    "int": lambda stored: int(stored, 16),
    "float": float.fromhex,
    "bytes": _from_base64,
    "bytearray": lambda stored: bytearray(_from_base64(stored)),
    "datetime": lambda stored: read_clock(datetime, stored),
    "date": date.fromisoformat,
    "time": lambda stored: read_clock(time, stored),
    "timedelta": lambda stored: timedelta(stored[0], stored[1], stored[2]),
    "decimal": Decimal,
    "uuid": UUID,
    "document": lambda stored: Document(**stored),
}

_TO_PLAIN: dict[type, Callable[[Any], Any]] = {
    **{kind: kind for kind in (tuple, set, frozenset, bytes, bytearray, Decimal)},
    dict: _plain_dict,
    list: _plain_list,
    str: str.__str__,
    int: int.__index__,
    float: float.__float__,
    datetime: lambda value: datetime.combine(datetime.date(value), datetime.timetz(value)),
    date: lambda value: date(value.year, value.month, value.day),
    time: lambda value: time.fromisoformat(time.isoformat(value)),
    timedelta: lambda value: timedelta(value.days, value.seconds, value.microseconds),
    UUID: lambda value: UUID(int=value.int),
    Document: lambda value: Document(value.page_content, id=value.id, metadata=value.metadata),
}
