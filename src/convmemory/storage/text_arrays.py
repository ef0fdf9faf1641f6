"""Texts on their way to PostgreSQL as an array, in binary where the driver may: the server need not look at each character then."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg.adapt import Dumper
from psycopg.postgres import types
from psycopg.pq import Format

_HEAD: Final = struct.Struct("!iiIii")
"""Dimensions, whether there are NULLs, the type of the elements, how many, and the number of the first."""
_TEXT: Final = types["text"].oid
_TEXTS: Final = types["text"].array_oid
_EMPTY: Final = struct.pack("!iiI", 0, 0, _TEXT)
_WRITTEN_OUT: Final = frozenset({"tokens", "latencies", "metadata", "facts"})
_LENGTH: Final = struct.Struct("!i")


class TextArray:
    """Texts to be sent as an array, none of them ``None``."""

    __slots__ = ("texts",)

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts


def array(texts: Sequence[str]) -> str:
    """A PostgreSQL array literal of texts: a tenth of what the driver takes for a list of a few."""
    return "{" + ",".join([_quoted(text) for text in texts]) + "}"


def sparse_array(values: Sequence[str | int | None]) -> str:
    """An array literal of texts or whole numbers, some of which are ``None``."""
    return "{" + ",".join([_element(value) for value in values]) + "}"


def as_arrays(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a batch with their texts and numbers written out: the driver would look at each of them to find its type."""
    return {
        name: sparse_array(values) if values is not None and name in _WRITTEN_OUT else values
        for name, values in columns.items()
    }


def _element(value: str | int | None) -> str:
    if value is None:
        return "NULL"
    return _quoted(value) if isinstance(value, str) else str(int(value))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def plain_array(words: Sequence[str]) -> str:
    """The same of ids and names of ours, which need no quotes."""
    return "{" + ",".join(words) + "}"


class AsLiteral(Dumper):
    """For statements whose parameters are written into them, as behind a pooler."""

    oid = _TEXTS

    def dump(self, obj: Any) -> bytes:
        """The literal."""
        return array(obj.texts).encode()


class AsBinary(Dumper):
    """What ``array_recv`` reads: each text with its length."""

    format = Format.BINARY
    oid = _TEXTS

    def dump(self, obj: Any) -> bytes:
        """The bytes."""
        texts = obj.texts
        parts = [_HEAD.pack(1, 0, _TEXT, len(texts), 1) if texts else _EMPTY]
        for text in texts:
            written = text.encode()
            parts += (_LENGTH.pack(len(written)), written)
        return b"".join(parts)
