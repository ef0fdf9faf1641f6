"""What the torture run writes down: operations of the workers, faults, and what PostgreSQL's triggers saw.

Times are seconds of CLOCK_MONOTONIC, which all processes of a machine share. A worker notes the beginning of a
write before it calls the library, and each operation when it is over, one JSON line each, so that a worker that is
killed leaves a beginning without an end: an outcome nobody knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any

OK = "ok"
UNKNOWN = "unknown"
MISSING = "missing"


@dataclass(slots=True)
class Write:
    """An append, a clear or a delete; ``tokens`` name the messages of an append. Repeats of a batch are one write."""

    do: str
    conv: str
    tokens: tuple[str, ...]
    begin: float
    end: float = inf
    how: str = UNKNOWN
    marked: bool = False  # Redis could not be told, so the write was marked instead
    cache: str = ""  # whom the writer tells; every other cache has a mark left for it
    far: bool = False  # the writer reaches Redis through a proxy, which may lead elsewhere
    pending: bool = False  # acknowledged by Redis, and stored in a moment
    journals: bool = False  # its writer may have had Redis take it, whatever it was told
    worker: str = ""


@dataclass(slots=True)
class Read:
    """A read and what it saw; ``want`` is ``None`` for all messages. ``dark``: the reader could not reach Redis."""

    conv: str
    reader: str
    want: int | None
    begin: float
    end: float
    saw: tuple[str, ...]
    dark: bool = False
    hit: bool = False
    cache: str = ""
    far: bool = False


@dataclass(slots=True)
class Trespass:
    """A read on behalf of somebody who does not own the conversation, and how many messages it got."""

    conv: str
    begin: float
    end: float
    saw: int


@dataclass(slots=True)
class Attempt:
    """When an operation ran, of which process, and whether it came to something: what availability is told by."""

    worker: str
    writes: bool
    begin: float
    end: float
    how: str
    redis: bool = False  # it trusted Redis, and Redis answered


@dataclass(slots=True)
class Fault:
    """What was done to a tier (or a worker), from when until it was whole again."""

    kind: str
    begin: float
    end: float
    tiers: frozenset[str] = frozenset()
    victim: str = ""  # the worker that stood still meanwhile


@dataclass(slots=True)
class Event:
    """A row of the audit: ``what`` is i (message stored), d (removed), n, u, x (conversation made, changed, deleted).

    And b, where PostgreSQL went back at that moment: of the conversation's transactions so far the first ``seq`` are left.
    """

    transaction: int
    conversation: str
    what: str
    seq: int
    text: str
    at: float = 0.0  # when it was written, which is before it was committed


@dataclass(slots=True)
class History:
    """Everything one run left behind."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    trespasses: list[Trespass] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    surprises: list[tuple[float, str]] = field(default_factory=list)
    farewells: list[dict[str, int]] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    """Workers that came to their end, and were not killed."""


def collect(lines: Iterable[str]) -> History:
    """Put the lines of all workers together."""
    history, begun = History(), {}
    batches: dict[tuple[str, ...], Write] = {}
    for line in lines:
        if not line.endswith("\n"):
            continue  # a worker killed in the middle of its last line
        note = json.loads(line)
        _TAKE[note["k"]](history, begun, batches, note)
    return history


def _begin(
    history: History, begun: dict[str, Write], batches: dict[tuple[str, ...], Write], note: dict[str, Any]
) -> None:
    tokens = tuple(note["tokens"])
    write = batches.get(tokens) if tokens else None
    if write is None:
        write = Write(note["do"], note["conv"], tokens, note["at"])
        history.writes.append(write)
        if tokens:
            batches[tokens] = write
    write.begin = min(write.begin, note["at"])
    write.journals = write.journals or note.get("journals", False)
    begun[note["op"]] = write


def _end(
    history: History, begun: dict[str, Write], _batches: dict[tuple[str, ...], Write], note: dict[str, Any]
) -> None:
    write = begun[note["op"]]
    if note["how"] == OK and note["at"] < write.end:
        write.end, write.how, write.marked = note["at"], OK, note["marked"]
        write.cache, write.far = note.get("cache", ""), note.get("far", False)
        if note.get("pending"):
            write.pending, write.worker = True, note["op"].partition(".")[0]
    elif note["how"] == MISSING and write.how == UNKNOWN:
        write.how = MISSING
    worker = note["op"].partition(".")[0]
    history.attempts.append(Attempt(worker, True, note["from"], note["at"], note["how"]))


def _read(history: History, _begun: Any, _batches: Any, note: dict[str, Any]) -> None:
    worker = note["by"].partition(".")[0]
    attempt = Attempt(worker, False, note["from"], note["at"], note["how"], note["well"])
    history.attempts.append(attempt)
    if note["how"] == OK:
        spans = note["from"], note["at"]
        saw = tuple(note["saw"])
        history.reads.append(
            Read(
                note["conv"],
                note["by"],
                note["want"],
                *spans,
                saw,
                note["dark"],
                note["hit"],
                note.get("cache", ""),
                note.get("far", False),
            )
        )


def _trespass(history: History, _begun: Any, _batches: Any, note: dict[str, Any]) -> None:
    history.trespasses.append(Trespass(note["conv"], note["from"], note["at"], note["saw"]))


def _surprise(history: History, _begun: Any, _batches: Any, note: dict[str, Any]) -> None:
    history.surprises.append((note["at"], note["what"]))


def _farewell(history: History, _begun: Any, _batches: Any, note: dict[str, Any]) -> None:
    history.farewells.append(note["counters"])
    history.ended.add(note.get("by", ""))


_TAKE = {
    "begin": _begin,
    "end": _end,
    "read": _read,
    "trespass": _trespass,
    "surprise": _surprise,
    "bye": _farewell,
}
