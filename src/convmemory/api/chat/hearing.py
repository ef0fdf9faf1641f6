"""LangChain's messages, whole or in pieces, as events: what a stream is told by, and what is stored when it is read again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage

from convmemory.api.chat.events import (
    Answered,
    CallBegan,
    Called,
    CallGrew,
    Event,
    MessageBegan,
    PartBegan,
    PartEnded,
    PartGrew,
)
from convmemory.encoding.searchable import text_of
from convmemory.encoding.storable_text import clean_json, clean_text
from convmemory.encoding.text_blocks import Kind, text_and_reasoning

_NOT_JSON = "the arguments are not JSON"


@dataclass(slots=True)
class _Call:
    """A call in the making: its name on the wire, its tool, what came of its arguments."""

    raw: str | None = None
    wire: str = ""
    tool: str = ""
    arguments: list[str] = field(default_factory=list)

    @property
    def begun(self) -> bool:
        return bool(self.wire)


class Hearing:
    """What one turn's messages tell, in order; one object for each turn.

    A call's id is told once: one that is used again has another on the wire. ``suffix`` is behind each, for front ends in
    which turns share their ids. A result without its call is not told: no front end has a place for it. What JSON or UTF-8 has
    no words for (NaN, half a character, a thousand levels) is told as it is searched for, so that one word breaks off no answer.
    """

    def __init__(self, suffix: str = "") -> None:
        self._suffix = suffix
        self._name: str | None = None
        self._spoken = False
        self._parts = count(1)
        self._part: tuple[str, Kind] | None = None
        self._growing: dict[Any, _Call] = {}
        self._waiting: dict[str, str] = {}
        self._used: set[str] = set()
        self._results = False

    def hear(self, message: BaseMessage) -> Iterator[Event]:
        """The events of a message, or of another piece of it."""
        if isinstance(message, ToolMessage):
            yield from self._answered(message)
        elif isinstance(message, AIMessageChunk):
            yield from self._began(message)
            yield from self._said(message)
            for piece in message.tool_call_chunks:
                yield from self._grew(piece)
            if getattr(message, "chunk_position", None) == "last":
                yield from self.done()
        elif isinstance(message, AIMessage):
            yield from self._whole(message)

    def done(self) -> Iterator[Event]:
        """What was open is whole now."""
        yield from self._close()
        growing, self._growing = self._growing, {}
        for call in growing.values():
            if not call.begun:
                continue
            text = "".join(call.arguments)
            try:
                arguments = clean_json(json.loads(text or "{}"))
            except (ValueError, RecursionError):
                yield Called(call.wire, call.tool, text, told=True, why_not=_NOT_JSON)
            else:
                yield Called(call.wire, call.tool, arguments, told=bool(text))

    def _whole(self, message: AIMessage) -> Iterator[Event]:
        yield from self._began(message, whole=True)
        yield from self._said(message)
        yield from self._close()
        for called in message.tool_calls:
            call = self._call(called.get("id"), called["name"])
            yield CallBegan(call.wire, call.tool)
            yield Called(call.wire, call.tool, clean_json(called["args"]))
        for broken in message.invalid_tool_calls:
            call = self._call(broken.get("id"), broken.get("name") or "tool")
            yield CallBegan(call.wire, call.tool)
            yield Called(call.wire, call.tool, clean_text(broken.get("args") or ""), why_not=_NOT_JSON)

    def _began(self, message: AIMessage, *, whole: bool = False) -> Iterator[Event]:
        if self._spoken and not whole and not self._results and message.id in {self._name, None}:
            return
        yield from self.done()
        yield MessageBegan(message.id, after_results=self._results)
        self._name, self._spoken, self._results = message.id, True, False

    def _said(self, message: AIMessage) -> Iterator[Event]:
        for kind, text in text_and_reasoning(message):
            if text:
                yield from self._open(kind)
                assert self._part is not None  # noqa: S101 - for the type checker
                yield PartGrew(*self._part, clean_text(text))

    def _open(self, kind: Kind) -> Iterator[Event]:
        if self._part is not None and self._part[1] == kind:
            return
        yield from self._close()
        self._part = f"{kind}-{next(self._parts)}", kind
        yield PartBegan(*self._part)

    def _close(self) -> Iterator[Event]:
        if self._part is not None:
            yield PartEnded(*self._part)
            self._part = None

    def _grew(self, piece: Mapping[str, Any]) -> Iterator[Event]:
        at = piece.get("index")
        call = self._growing.setdefault(piece.get("id") if at is None else at, _Call())
        call.raw = call.raw or piece.get("id")
        call.tool = call.tool or piece.get("name") or ""
        text = clean_text(piece.get("args") or "")
        if not call.begun and call.tool:
            yield from self._close()
            named = self._call(call.raw, call.tool)
            call.wire = named.wire
            yield CallBegan(call.wire, call.tool)
            text = "".join([*call.arguments, text])
            call.arguments = []
        if text:
            call.arguments.append(text)
            if call.begun:
                yield CallGrew(call.wire, text)

    def _call(self, raw: str | None, tool: str) -> _Call:
        base = raw or f"call-{len(self._used) + 1}"
        wire = f"{base}{self._suffix}"
        for again in count(2):
            if wire not in self._used:
                break
            wire = f"{base}~{again}{self._suffix}"
        self._used.add(wire)
        self._waiting[base] = wire
        return _Call(raw, wire, tool)

    def _answered(self, message: ToolMessage) -> Iterator[Event]:
        yield from self.done()
        wire = self._waiting.pop(message.tool_call_id, None)
        if wire is not None:
            self._results = True
            failed = message.status == "error"
            content = clean_text(text_of(message.content))
            yield Answered(wire, message.name or "", content, failed, message.id)
