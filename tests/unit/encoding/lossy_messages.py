"""Messages that have no exact encoding, each with the paths that must be reported as lost."""

from __future__ import annotations

import uuid
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone, tzinfo
from enum import Enum, IntEnum
from typing import Any
from zoneinfo import ZoneInfo

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, Field

from .hard_messages import TOOL_CALL, changed, nested, with_value


class Ranked(HumanMessage):
    """A message class of an application's own."""

    priority: int = 0
    tags: list[str] = Field(default_factory=list)


class Note(BaseMessage):
    """One that descends from no stored class."""

    type: str = "note"


class Settings(BaseModel):
    a: int = 1


class Opaque:
    def __repr__(self):
        return "<an opaque thing>"


class Hostile:
    def __repr__(self):
        raise RuntimeError("no")


@dataclass
class Row:
    x: int = 1


class Colour(str, Enum):  # noqa: UP042 - the form most code has
    RED = "red"

    def __str__(self):
        return "not the value"


class Level(IntEnum):
    HIGH = 3


class Plain(Enum):
    A = 1


class Text(str):
    __slots__ = ()


class Real(float):
    pass


class Late(datetime):
    pass


class Itself(bytes):
    def __bytes__(self):
        return self


class Stubborn(bytes):
    def __bytes__(self):
        raise RuntimeError("no")


class Key(list):
    """A list that can be a key."""

    def __hash__(self):
        return 1


class Changing(dict):
    """As if another thread wrote to it: it cannot be walked."""

    def items(self):
        raise RuntimeError("dictionary changed size during iteration")

    get = keys = __iter__ = items


class Growing(list):
    def __iter__(self):
        raise RuntimeError("no")


class Page(Document):
    pass


class Zone(tzinfo):
    def utcoffset(self, _when):
        return timedelta(hours=2)

    def dst(self, _when):
        return None

    def tzname(self, _when):
        return "odd"


class BadZone(Zone):
    def utcoffset(self, _when):
        raise RuntimeError("no")


Point = namedtuple("Point", "x y")  # noqa: PYI024 - untyped as in the wild


def wide_circle() -> Any:
    """A circle with so many ways round that walking them all would never end."""
    value: Any = defaultdict(list)
    value.update({key: [value] * 20 for key in range(20)})
    return value


def circle() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


def document_inside_itself() -> Document:
    document = Document("d")
    document.metadata["self"] = document
    return document


WIDE_CIRCLE_PATHS = [
    "additional_kwargs.v.0",
    *(f"additional_kwargs.v.0.0.{at}" for at in range(19)),
    "... and 381 more",
]

LOSSY: dict[str, tuple[BaseMessage, list[str]]] = {
    "artifact opaque": (ToolMessage("r", tool_call_id="t", artifact=Opaque()), ["artifact"]),
    "artifact pydantic": (ToolMessage("r", tool_call_id="t", artifact=Settings()), ["artifact"]),
    "artifact dataclass": (ToolMessage("r", tool_call_id="t", artifact=[Row()]), ["artifact.0"]),
    "opaque": (with_value(Opaque()), ["additional_kwargs.v"]),
    "pydantic": (with_value(Settings()), ["additional_kwargs.v"]),
    "repr that raises": (with_value(Hostile()), ["additional_kwargs.v"]),
    "opaque key": (with_value({Plain.A: 1}), ["additional_kwargs.v.<Plain.A: 1>"]),
    "builtin": (with_value(len), ["additional_kwargs.v"]),
    "complex": (with_value(1j), ["additional_kwargs.v"]),
    "enum": (with_value(Plain.A), ["additional_kwargs.v"]),
    "str enum": (with_value(Colour.RED), ["additional_kwargs.v"]),
    "str enum as key": (with_value({Colour.RED: 1}), ["additional_kwargs.v.red"]),
    "int enum": (with_value(Level.HIGH), ["additional_kwargs.v"]),
    "text class": (with_value([Text("a")]), ["additional_kwargs.v.0"]),
    "text class with NUL": (with_value([Text("a\0")]), ["additional_kwargs.v.0"]),
    "float class": (with_value(Real(1.5)), ["additional_kwargs.v"]),
    "datetime class": (with_value(Late(2026, 1, 1)), ["additional_kwargs.v"]),
    "defaultdict": (with_value(defaultdict(list, a=[1])), ["additional_kwargs.v"]),
    "OrderedDict": (with_value(OrderedDict(a=1)), ["additional_kwargs.v"]),
    "bytes that stay what they are": (with_value(Itself(b"a")), ["additional_kwargs.v"]),
    "namedtuple": (with_value(Point(1, 2)), ["additional_kwargs.v"]),
    "document class": (with_value(Page("p", metadata={"a": 1})), ["additional_kwargs.v"]),
    "timezone with a name": (
        with_value(datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET"))),
        ["additional_kwargs.v"],
    ),
    "tzinfo class": (with_value(datetime(2026, 1, 1, tzinfo=Zone())), ["additional_kwargs.v"]),
    "tzinfo that raises": (with_value(datetime(2026, 1, 1, tzinfo=BadZone())), ["additional_kwargs.v"]),
    "time of a tzinfo class": (with_value(time(1, tzinfo=Zone())), ["additional_kwargs.v"]),
    "zone from elsewhere": (
        with_value(datetime(2026, 1, 1, tzinfo=ZoneInfo.no_cache("Europe/Paris"))),
        ["additional_kwargs.v"],
    ),
    "nested 500": (
        with_value(nested(500)),
        ["additional_kwargs.v" + ".0" * 10 + "...."],
    ),
    "circle": (with_value(circle()), ["additional_kwargs.v.1"]),
    "hostile in a set": (with_value({Hostile()}), ["additional_kwargs.v.0"]),
    "document changed": (
        with_value(changed(Document("d"), page_content=5)),
        ["additional_kwargs.v"],
    ),
    "bytes that will not be bytes": (with_value(Stubborn(b"a")), ["additional_kwargs.v"]),
    "hashable list as key": (with_value({Key([1]): 1}), ["additional_kwargs.v.[1]"]),
    "hashable list in a set": (with_value({Key([1])}), ["additional_kwargs.v.0"]),
    "hashable list in a tuple in a set": (
        with_value({(Key([1]),)}),
        ["additional_kwargs.v.0.0", "additional_kwargs.v.0"],
    ),
    "wide circle": (with_value([wide_circle()]), WIDE_CIRCLE_PATHS),
    "document inside itself": (
        with_value(document_inside_itself()),
        ["additional_kwargs.v.metadata.self.metadata"],
    ),
    "class of its own": (Ranked("hi", priority=7, tags=["a"]), ["class"]),
    "base message": (BaseMessage(content="hi", type="human"), ["class"]),
    "base message of another type": (BaseMessage(content="hi", type="narrator"), ["role", "class"]),
    "class beside the table": (Note(content="hi"), ["role", "class"]),
    "type changed": (HumanMessage.model_construct(content="x", type="other"), ["type"]),
    "content None": (changed(HumanMessage("x"), content=None), ["content"]),
    "content number": (changed(AIMessage("x"), content=5), ["content"]),
    "content text class": (changed(AIMessage("x"), content=Text("x")), ["content"]),
    "content list of numbers": (changed(AIMessage("x"), content=["a", 5]), ["content"]),
    "id number": (changed(HumanMessage("x"), id=5), ["id"]),
    "id UUID": (changed(HumanMessage("x"), id=uuid.UUID(int=7)), ["id"]),
    "name object": (changed(HumanMessage("x"), name=Opaque()), ["name"]),
    "kwargs of another class": (
        changed(HumanMessage("x"), additional_kwargs=OrderedDict()),
        ["additional_kwargs"],
    ),
    "kwargs list": (changed(HumanMessage("x"), additional_kwargs=[1]), ["additional_kwargs"]),
    "kwargs None": (changed(HumanMessage("x"), response_metadata=None), ["response_metadata"]),
    "tool calls None": (changed(AIMessage("x"), tool_calls=None), ["tool_calls"]),
    "tool calls text": (changed(AIMessage("x"), tool_calls="f()"), ["tool_calls"]),
    "tool calls of numbers": (changed(AIMessage("x"), tool_calls=[5, TOOL_CALL]), ["tool_calls"]),
    "tool call id list": (changed(AIMessage("x"), tool_calls=[{"name": "f", "id": []}]), ["tool_calls"]),
    "usage number": (changed(AIMessage("x"), usage_metadata=5), ["usage_metadata"]),
    "tool call id missing": (ToolMessage.model_construct(content="x"), ["tool_call_id"]),
    "content missing": (HumanMessage.model_construct(), ["content"]),
    "everything missing": (ChatMessage.model_construct(), ["content", "role"]),
}
