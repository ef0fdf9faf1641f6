"""What the fuzzing programs are made of: values drawn from bytes, what makes a message harmless, and a way to run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage

from convmemory.encoding.codec import encode
from convmemory.encoding.message_classes import CLASSES

Harness = Callable[[bytes], None]
BARE = (type(None), bool, int, float, str, bytes, bytearray, Decimal, UUID, date, datetime, time, timedelta)
HOLDING = (list, tuple, set, frozenset, dict)
ZONES = (timezone, ZoneInfo, type(None))


class Bytes:
    """Values drawn from bytes, the same for the same bytes; nothing but zeros at their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, below: int) -> int:
        return (self.take(1) or b"\0")[0] % below

    def take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def text(self) -> str:
        """Any text; what is not UTF-8 becomes lone surrogates."""
        return self.take(self.number(40)).decode("utf-8", "surrogateescape")

    def value(self, depth: int = 0) -> object:
        """Anything a message can hold."""
        kind = self.number(12 if depth < 4 else 7)
        if kind < 7:
            return (
                None,
                True,
                self.number(256) - 128,
                self.number(256) / 7,
                float("nan"),
                self.text(),
                10**40,
            )[kind]
        if kind == 7:
            return self.take(self.number(16))
        items = [self.value(depth + 1) for _ in range(self.number(4))]
        made: tuple[object, ...] = (
            items,
            tuple(items),
            {self.text(): item for item in items},
            {self.number(9): item for item in items},
        )
        return made[kind - 8]

    def json(self, depth: int = 0) -> object:
        """Anything JSON can say, our own tags among it."""
        kind = self.number(9 if depth < 4 else 6)
        if kind < 6:
            return (None, False, self.number(256), self.number(256) / 7, self.text(), "9" * self.number(99))[
                kind
            ]
        items = [self.json(depth + 1) for _ in range(self.number(4))]
        if kind == 6:
            return items
        if kind == 7:
            return {self.text(): item for item in items}
        tags = (
            "map",
            "set",
            "tuple",
            "datetime",
            "document",
            "str",
            "int",
            "float",
            "bytes",
            "time",
            "decimal",
            "uuid",
        )
        return {"$cm": tags[self.number(len(tags))], "v": self.json(depth + 1)}


def assert_harmless(message: BaseMessage) -> None:
    """It is a message of the table, made of plain values alone, and can be shown and stored again."""
    assert type(message) in CLASSES.values()
    for value in _values(vars(message)):
        assert type(value) in {*BARE, *HOLDING, Document}, type(value)
        assert type(getattr(value, "tzinfo", None)) in ZONES
    repr(message)
    encode(message)


def _values(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, Document):
        value = vars(value)
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _values(key)
            yield from _values(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _values(item)


def main(harnesses: dict[str, Harness]) -> None:
    """Run one harness under atheris: the first argument is its name, the rest is libFuzzer's."""
    import atheris  # no wheels for every platform

    name = sys.argv.pop(1)
    atheris.instrument_all()
    atheris.Setup(sys.argv, harnesses[name])
    atheris.Fuzz()
