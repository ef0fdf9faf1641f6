"""Messages in, rows out, and rows that somebody else wrote: `python fuzz_codec.py HARNESS [libFuzzer options]`."""

from __future__ import annotations

import json

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from convmemory.encoding.codec import decode, encode, pack, unpack
from convmemory.encoding.message_classes import CLASSES
from convmemory.storage.titles import title_from
from security.fuzz_tools import Bytes, Harness, assert_harmless, main


def stored_text(data: bytes) -> None:
    """Whatever a row or a window holds, a harmless message comes back."""
    body, _, content = data.decode("utf-8", "replace").partition("\n")
    for back in (decode(body, content), unpack(data)):
        assert_harmless(back)
        again = encode(back)
        assert_harmless(decode(again.body, again.content))


def stored_fields(data: bytes) -> None:
    """The same for a body that is JSON and names a class: with fields and values nobody gave that class."""
    said = Bytes(data)
    kind = [*CLASSES, "BaseMessage", "os.system"][said.number(len(CLASSES) + 2)]
    fields = {(said.text() or FIELDS[said.number(len(FIELDS))]): said.json() for _ in range(said.number(5))}
    stored: dict[str, object] = {"c": kind, "d": fields}
    if said.number(2):
        stored["t"] = said.json()
    if said.number(4) == 3:
        stored |= {"v": said.json(), "l": said.json()}
    assert_harmless(decode(json.dumps(stored), said.text().encode("utf-8", "replace").decode()))


def round_trip(data: bytes) -> None:
    """Whatever a message holds, it comes back, the same from either tier, and is text PostgreSQL can store."""
    message = _message(Bytes(data))
    stored = encode(message)
    from_row, from_window = decode(stored.body, stored.content), unpack(pack(stored))
    assert type(from_row) is type(from_window) is type(message)
    assert repr(from_row) == repr(from_window)
    assert_harmless(from_row)
    lossy = "lossy" in (stored.facts or {})
    assert lossy or repr(from_row) == repr(message)
    for text in (stored.body, stored.content, stored.role, json.dumps(stored.facts, allow_nan=False)):
        assert "\0" not in text
        text.encode()
    title_from(message)


def _message(said: Bytes) -> BaseMessage:
    extra = {"additional_kwargs": {said.text() or "k": said.value()}, "id": said.text() or None}
    content = said.text()
    kind = said.number(3)
    if kind == 0:
        return HumanMessage(content, **extra)
    if kind == 1:
        return AIMessage(content, response_metadata={"v": said.value()}, **extra)
    return ToolMessage(content, tool_call_id=said.text(), artifact=said.value(), **extra)


FIELDS = (
    "content", "type", "id", "name", "additional_kwargs", "response_metadata", "tool_calls", "invalid_tool_calls",
    "usage_metadata", "tool_call_id", "artifact", "status", "role", "tool_call_chunks", "chunk_position", "example",
)  # fmt: skip
HARNESSES: dict[str, Harness] = {
    "stored_text": stored_text,
    "stored_fields": stored_fields,
    "round_trip": round_trip,
}

if __name__ == "__main__":
    main(HARNESSES)
