"""Messages that storage gets wrong; every one of them must come back equal in every type and order."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

TOOL_CALL = {"name": "f", "args": {"a": 1, "b": [1, {"c": None}]}, "id": "t1"}
USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}


def with_value(value: Any) -> HumanMessage:
    return HumanMessage("x", additional_kwargs={"v": value})


def with_stored(value: str) -> str:
    """The body of ``with_value`` of something whose encoding is ``value``."""
    return f'{{"c":"HumanMessage","d":{{"additional_kwargs":{{"v":{value}}}}}}}'


def changed(message: Any, **fields: Any) -> Any:
    """A message changed after it was built, which LangChain does not check."""
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def nested(depth: int, value: Any = 1) -> Any:
    for _ in range(depth):
        value = [value]
    return value


ORDINARY: dict[str, BaseMessage] = {
    "human": HumanMessage("hi", id="1", name="bob"),
    "human without id": HumanMessage("hi"),
    "human empty": HumanMessage(""),
    "human no blocks": HumanMessage([]),
    "ai full": AIMessage(
        "hi",
        id="r1",
        name="bot",
        additional_kwargs={"k": 1},
        response_metadata={"model_name": "m", "logprobs": None},
        tool_calls=[TOOL_CALL],
        invalid_tool_calls=[{"name": "g", "args": "{bad", "id": "t2", "error": "e"}],
        usage_metadata={
            **USAGE,
            "input_token_details": {"cache_read": 1},
            "output_token_details": {"reasoning": 1},
        },
    ),
    "ai empty": AIMessage(""),
    "ai raw tool calls": AIMessage(
        "",
        additional_kwargs={
            "tool_calls": [
                {"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
            ]
        },
    ),
    "ai reasoning blocks": AIMessage(
        [
            {"type": "reasoning", "reasoning": "r", "extras": {"signature": "s"}},
            {"type": "text", "text": "t", "annotations": []},
        ]
    ),
    "ai v1 blocks": AIMessage(
        content_blocks=[{"type": "text", "text": "t"}], response_metadata={"output_version": "v1"}
    ),
    "ai v1 tool call block": AIMessage(
        content_blocks=[{"type": "tool_call", "name": "f", "args": {"a": 1}, "id": "c1"}],
        response_metadata={"output_version": "v1"},
    ),
    "ai usage details": AIMessage(
        "x",
        usage_metadata={
            **USAGE,
            "input_token_details": {"audio": 0, "cache_creation": 2, "cache_read": 0, "ephemeral_5m": 1},
            "output_token_details": {"audio": 0, "reasoning": 7},
        },
    ),
    "ai invalid call without anything": AIMessage(
        "x", invalid_tool_calls=[{"name": None, "args": None, "id": None, "error": None}]
    ),
    "ai call without id": AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": None}]),
    "ai citations": AIMessage(
        [{"type": "text", "text": "t", "annotations": [{"type": "citation", "url": "u", "start_index": 0}]}]
    ),
    "human image": HumanMessage(
        [{"type": "text", "text": "see"}, {"type": "image", "base64": "aGk=", "mime_type": "image/png"}]
    ),
    "human audio": HumanMessage([{"type": "audio", "base64": "UklGRg==", "mime_type": "audio/wav"}]),
    "human file": HumanMessage([{"type": "file", "file_id": "f1", "extras": {"filename": "a b.pdf"}}]),
    "human image bytes": HumanMessage([{"type": "image", "data": b"\x89PNG\x00"}]),
    "human list of text": HumanMessage(["a", "b"]),
    "system": SystemMessage("s"),
    "system of OpenAI": SystemMessage("s", additional_kwargs={"__openai_role__": "developer"}),
    "tool": ToolMessage("r", tool_call_id="t1", status="error", name="f"),
    "tool blocks": ToolMessage(
        [{"type": "text", "text": "r"}, {"type": "json", "json": {"a": 1}}], tool_call_id="t"
    ),
    "tool artifact json": ToolMessage("r", tool_call_id="t1", artifact={"rows": [1, 2]}),
    "tool artifact documents": ToolMessage(
        "r", tool_call_id="t1", artifact=[Document("d", metadata={"s": 1})]
    ),
    "tool artifact bytes": ToolMessage("r", tool_call_id="t1", artifact=b"\xff\x00"),
    "tool artifact False": ToolMessage("r", tool_call_id="t1", artifact=False),
    "tool artifact 0": ToolMessage("r", tool_call_id="t1", artifact=0),
    "tool artifact empty": ToolMessage("r", tool_call_id="t1", artifact=()),
    "tool artifact rows": ToolMessage(
        "r",
        tool_call_id="t1",
        artifact=[(1, Decimal("9.90"), datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Paris")))],
    ),
    "function": FunctionMessage("r", name="f"),
    "chat": ChatMessage("c", role="critic"),
    "remove": RemoveMessage(id="1"),
    "ai chunk": AIMessageChunk("c", tool_call_chunks=[{"name": "f", "args": '{"a":', "id": "t", "index": 0}]),
    "ai last chunk": AIMessageChunk("c", tool_calls=[TOOL_CALL], chunk_position="last", usage_metadata=USAGE),
    "human chunk": HumanMessageChunk("c"),
    "tool chunk": ToolMessageChunk("c", tool_call_id="t"),
    "system chunk": SystemMessageChunk("c"),
    "chat chunk": ChatMessageChunk("c", role="r"),
    "function chunk": FunctionMessageChunk("c", name="f"),
    "extra field": HumanMessage("hi", my_extra=5),
    "extras with awkward names": HumanMessage(
        "hi",
        **{
            "_fields_set": 1,
            "cls": 2,
            "my key": 3,
            "text": 4,
            "$cm": 5,
            "role": 6,
            "tool_calls": 7,
            "c": 8,
            "v": 9,
        },
    ),
    "very long name": HumanMessage("x", name="n" * 100_000),
    "a megabyte": HumanMessage("x" * 1_000_000),
    "newlines": HumanMessage("a\nb\r\n\n", additional_kwargs={"k\n": "v\n"}),
    "looks like a body": HumanMessage('{"c":"AIMessage","t":"x"}'),
    "looks like a body with a newline": HumanMessage('{"c":"AIMessage"}\n{"c":"AIMessage"}'),
}

TEXTS: dict[str, BaseMessage] = {
    "NUL in content": HumanMessage("a\0b"),
    "NUL in a block": HumanMessage([{"type": "text", "text": "a\0b"}]),
    "NUL in a key": with_value({"k\0": 1}),
    "NUL in the id": HumanMessage("x", id="i\0d"),
    "NUL in an extra's name": HumanMessage("x", **{"e\0": 1}),
    "lone surrogate": HumanMessage("a\ud800b"),
    "lone surrogate in a key": with_value({"\udfff": "\ud800"}),
    "surrogate pair in two": HumanMessage("\ud83d\ude00"),
    "emoji": HumanMessage("\U0001f600 é e\u0301"),
    "line separator and noncharacters": HumanMessage("\u2028\uffff\ufffe"),
    "control characters": with_value("".join(map(chr, range(1, 32))) + "\x7f\x85"),
    "byte order mark": HumanMessage("\ufeffx", name="\ufeff"),
}

VALUES: dict[str, Any] = {
    "NaN": math.nan,
    "infinity": math.inf,
    "-infinity": -math.inf,
    "-0.0": -0.0,
    "0.1+0.2": 0.1 + 0.2,
    "1.0": 1.0,
    "1e22": 1e22,
    "1.7976931348623157e308": 1.7976931348623157e308,
    "5e-324": 5e-324,
    "10**400": 10**400,
    "10**5000": 10**5000,
    "-10**5000": -(10**5000),
    "2**63": 2**63,
    "2**64": 2**64,
    "2**53": 2**53,
    "2**53+1": 2**53 + 1,
    "-2**53": -(2**53),
    "bytes": b"abc",
    "bytes not UTF-8": b"\xff\xfe",
    "no bytes": b"",
    "bytearray": bytearray(b"a\0"),
    "datetime UTC": datetime(2026, 1, 1, tzinfo=UTC),
    "datetime naive": datetime(2026, 1, 1, 1, 2, 3, 456789),  # noqa: DTZ001
    "datetime naive fold": datetime(2026, 10, 25, 2, 30, fold=1),  # noqa: DTZ001
    "datetime +05:30": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    "datetime odd offset": datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=3601, microseconds=7))),
    "datetime in a zone": datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("America/New_York")),
    "datetime in a zone's fold": datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Paris"), fold=1),
    "datetime.min": datetime.min,  # noqa: DTZ901
    "datetime.max": datetime.max,  # noqa: DTZ901
    "date": date(2026, 1, 1),
    "time": time(1, 2, 3, 4),
    "time UTC": time(1, 2, tzinfo=UTC),
    "time in a zone": time(1, 2, tzinfo=ZoneInfo("Europe/Paris"), fold=1),
    "timedelta": timedelta(days=-1, seconds=5, microseconds=7),
    "timedelta.max": timedelta.max,
    "Decimal": Decimal("0.10"),
    "Decimal -0E+3": Decimal("-0E+3"),
    "Decimal NaN": Decimal("NaN"),
    "Decimal huge": Decimal("1E+9999"),
    "UUID": uuid.UUID(int=1),
    "tuple": (1, 2),
    "tuple of one": (1,),
    "no tuple": (),
    "set": {1, 2},
    "no set": set(),
    "frozenset": frozenset({(1, "a"), b"b"}),
    "set of mixed": {1, "1", 2.5, None, (1,)},
    "int keys": {1: "a"},
    "keys alike as text": {1: "a", "1": "b"},
    "mixed keys": {None: 0, True: 1, 2.5: 2, (1, 2): 3, b"b": 4, frozenset({5}): 5},
    "NaN key": {math.nan: 1},
    "None and booleans": [None, True, False, 0, 1, ""],
    "booleans are not numbers": {"a": True, "b": 1, "c": 1.0, "d": False, "e": 0, "f": 0.0},
    "key order": {"z": 1, "a": 2, "m": 3},
    "lc constructor": {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", "AIMessage"],
        "kwargs": {"content": "pwn"},
    },
    "lc secret": {"lc": 1, "type": "secret", "id": ["PROBE_SECRET"]},
    "lc escaped": {"__lc_escaped__": {"a": 1}},
    "our tag": {"$cm": "bytes", "v": "AAAA"},
    "our tag alone": {"$cm": None},
    "our tag in our tag": {"$cm": {"$cm": "map", "v": [["a", {"$cm": 1}]]}},
    "our tag as a value": ["$cm", {"a": "$cm"}],
    "our tag escaped": '{"$cm":"bytes","v":"AAAA"}',
    "document": Document("d", id="1", metadata={"when": date(2026, 1, 1), "t": (1, {2})}),
    "documents in a tuple in a dict": {"found": (Document("a"), [Document("b", metadata={1: b"x"})])},
    "everything nested": {"a": [(1, {"b": {2: [b"c", {3}, Decimal(4)]}}), frozenset({(None, 1.0)})]},
    "huge dict": {f"key {number}": {"n": number, "t": (number,)} for number in range(5_000)},
    "nested 90": nested(90),
    "shared, not circular": [[1]] * 3,
    "empty containers": [[], {}, (), set(), frozenset(), "", b"", bytearray()],
}

CHANGED: dict[str, BaseMessage] = {
    "tool calls taken out": changed(
        AIMessage(
            "", additional_kwargs={"tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "{}"}}]}
        ),
        tool_calls=[],
    ),
    "tool call with extras": changed(AIMessage(""), tool_calls=[{**TOOL_CALL, "extras": {"k": 1}}]),
    "tool call without a type": changed(AIMessage(""), tool_calls=[dict(TOOL_CALL)]),
    "chunk whose calls were changed": changed(
        AIMessageChunk("", tool_call_chunks=[{"name": "f", "args": "{}", "id": "t", "index": 0}]),
        tool_calls=[],
    ),
    "usage with more keys": changed(AIMessage(""), usage_metadata={**USAGE, "cost": 0.5, "cached": True}),
    "tool content of numbers": changed(ToolMessage("", tool_call_id="t"), content=["1", {"a": 1}]),
    "unchecked": HumanMessage.model_construct(content="x"),
}

EXACT: dict[str, BaseMessage] = {
    **ORDINARY,
    **TEXTS,
    **{f"value {name}": with_value(value) for name, value in VALUES.items()},
    **CHANGED,
}
