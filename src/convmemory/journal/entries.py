"""What waits in a journal: an entry a write, as JSON that PostgreSQL's ``store_v1`` reads as it is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from convmemory.encoding.codec import pack_row, unpack
from convmemory.encoding.same_words import says_the_same
from convmemory.ids import ConversationKey, new_row_id, other_row_id
from convmemory.storage.postgres_rows import NOTHING_KNOWN, SAME_CALL, Batch, StoredBatch
from convmemory.windows.snapshots import Reply, Snapshot, Written, parse_reply

FORMAT: Final = 1
"""Of an entry. A release reads its own and the one before, and leaves others to whoever wrote them."""
_ROW: Final = 33
"""Bytes behind a packed message in a window beside which a journal lies: NUL, which no packed message has, and its row id."""
_MICROSECOND: Final = 1_000_000
_COLUMNS: Final = {"n": "tokens", "y": "latencies", "w": "created", "m": "metadata", "f": "facts"}
_as_json: Final = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Row:
    """A message that waits: its row id, the ``other`` one where that may be another message's, and how it is packed."""

    id: str
    other: str
    human: bool
    packed: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """What one write brought: ``text`` is all of it, as it lies in the journal and goes to PostgreSQL.

    ``life`` is the conversation's in which it was accepted, and the version its window was filled at, ``""`` for what a caller writes at this moment. ``since`` is
    the newest place that was given when what it says began, where that is known: what is older is none of it.
    """

    id: str
    life: str
    user_id: str
    text: str
    rows: tuple[Row, ...]
    accepted: float = 0.0
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """A batch on its way in, whichever way that will be: its row ids are the same on each."""

    key: ConversationKey
    batch: Batch
    since: int | None
    dept_id: str | None
    make: bool

    def entry(self, life: str = "", *, sent: str | None = None, within: str = "") -> Entry:
        """The batch as an entry that is accepted now in a life.

        Without one as the caller's own: ``sent`` before in a life, or ``None``; and stored ``within`` one, if that is named, or not at all.
        """
        now, id_, batch = datetime.now(UTC), new_row_id(), self.batch
        moment, columns, known = now.isoformat(), batch.columns(), set(batch.known)
        rows, found = [], []
        for row_id, encoded in zip(batch.ids, batch.encoded, strict=True):
            row = {"i": row_id, "r": encoded.role, "c": encoded.content, "b": encoded.body}
            other = ""
            if row_id in known:
                other = other_row_id(row_id, self.since, encoded.role, encoded.content, encoded.body)
                row["o"] = other
            if life:
                row["w"] = moment
            rows.append(row)
            found.append(Row(row_id, other, encoded.role == "human", pack_row(encoded.body, encoded.content)))
        if columns is not NOTHING_KNOWN:
            _add(rows, columns)
        said = {"v": FORMAT, "e": id_, "u": self.key.user_id, "a": moment, "rows": rows}
        title, named = batch.title(), (("s", self.since), ("d", self.dept_id), ("x", self.key.external_id))
        said |= {name: value for name, value in (("t", title), *named) if value is not None}
        if life:
            said["l"] = life
        else:
            said |= {"make": self.make, "sent": sent is not None}
            if sent:
                said["seen"] = int(sent.partition(":")[2])
            if within:
                said["in"] = life_of(within)
        return Entry(id_, life, self.key.user_id, _as_json(said), tuple(found), now.timestamp(), self.since)

    def rows(self) -> list[str]:
        """The ids of all rows that its messages may have, those included that PostgreSQL makes where one is another message's."""
        batch, known = self.batch, set(self.batch.known)
        pairs = zip(batch.ids, batch.encoded, strict=True)
        return batch.ids + [
            other_row_id(row, self.since, one.role, one.content, one.body)
            for row, one in pairs
            if row in known
        ]

    def pending(self, accepted: float) -> StoredBatch:
        """What the caller of an accepted write is told: no places yet."""
        moment = round(accepted * _MICROSECOND)
        return StoredBatch(self.key.name, None, len(self.batch.ids), 0, (), moment, self.batch)


def life_of(known: str) -> str:
    """The life alone of what is known of one: behind it is the version of its conversation."""
    return known.partition(":")[0]


def _add(rows: Sequence[dict[str, Any]], columns: Mapping[str, Any]) -> None:
    """Add what is known of messages beside what they say."""
    contexts: dict[int, list[Any]] = {}
    for context in json.loads(columns["contexts"] or "[]"):
        contexts.setdefault(context.pop("n"), []).append(context)
    for n, row in enumerate(rows):
        for name, column in _COLUMNS.items():
            value = (columns[column] or ())[n : n + 1]
            if value and value[0] is not None:
                row[name] = value[0].isoformat() if name == "w" else value[0]
        if n + 1 in contexts:
            row["x"] = contexts[n + 1]


def entries_in(waiting: Sequence[bytes], known: Iterable[Entry] = ()) -> list[Entry]:
    """The entries among the fields and values of a journal, in their order; those of another format are left where they are.

    Those that are ``known`` need not be read.
    """
    mine = {entry.id: entry for entry in known}
    found = []
    for field, value in zip(waiting[::2], waiting[1::2], strict=True):
        if len(field) > 1:
            number, _, text = value.partition(b" ")
            entry = mine.get(field.decode()) or _entry(text.decode())
            if entry is not None:
                found.append((int(number), entry))
    return [entry for _, entry in sorted(found, key=lambda one: one[0])]


def _entry(text: str) -> Entry | None:
    said = json.loads(text)
    if said["v"] != FORMAT:
        return None
    rows = tuple(
        Row(r["i"], r.get("o", ""), r["r"] == "human", pack_row(r["b"], r["c"])) for r in said["rows"]
    )
    moment = datetime.fromisoformat(said["a"]).timestamp()
    return Entry(said["e"], said["l"], said["u"], text, rows, moment, said.get("s"))


def in_order(waiting: Sequence[Entry], mine: Sequence[Entry]) -> list[Entry]:
    """What waits, and what this process accepted and the journal has lost: before its next own entry that is still there."""
    result = list(waiting)
    at = len(result)
    for entry in reversed(mine):
        place = next((n for n, other in enumerate(result) if other.id == entry.id), None)
        if place is None:
            result.insert(at, entry)
        else:
            at = place
    return result


def with_row(packed: bytes, row_id: str) -> bytes:
    """A packed message as it lies in a window beside which a journal lies."""
    return b"%b\0%b" % (packed, row_id.encode())


def _apart(entry: bytes) -> tuple[bytes, str]:
    if entry[-_ROW : 1 - _ROW] == b"\0":
        return entry[:-_ROW], entry[1 - _ROW :].decode()
    return entry, ""


def without_rows(snapshot: Snapshot) -> Snapshot:
    """A window as it is served, where nothing waits beside it."""
    entries = [one[:-_ROW] if one[-_ROW : 1 - _ROW] == b"\0" else one for one in snapshot.entries]
    return Snapshot(snapshot.stamp, snapshot.last_seq, snapshot.human_seq, entries, snapshot.gaps)


def joined(window: Snapshot, waiting: Sequence[Entry]) -> Snapshot:
    """A window, and behind it what waits in its journal, without what the window shows.

    An append without an answer may arrive after its writer has stored it otherwise, and a message of a LangChain id may be
    given twice: each is shown once. Where PostgreSQL may have it further back than this window reaches it is shown, and the
    snapshot ``doubtful``.
    """
    entries: list[bytes] = []
    shown: dict[str, tuple[bytes, int]] = {}
    for place, entry in enumerate(window.entries, window.first_seq):
        packed, row_id = _apart(entry)
        entries.append(packed)
        shown[row_id] = packed, place
    before, human, doubtful = len(entries), window.human_seq, False
    for one in waiting:
        for row in one.rows:
            is_shown = _is_shown(row, one.since, window, shown)
            if is_shown:
                continue
            doubtful = doubtful or is_shown is None
            entries.append(row.packed)
            place = window.last_seq + len(entries) - before
            shown[row.other if row.id in shown else row.id] = row.packed, place + window.gaps
            if row.human:
                human = place
    pending = len(entries) - before
    return Snapshot(
        window.stamp, window.last_seq + pending, human, entries, window.gaps, pending, doubtful=doubtful
    )


def parse_reply_beside(raw: Sequence[Any], known: Iterable[Entry] = ()) -> Reply:
    """Read the answer of ``journal_read.lua``: the window that was hit, and what waits behind it in the same life."""
    said, *more = raw
    if not more:
        return parse_reply(said)
    life, waiting = more[0].decode(), more[1]
    if said[0] != b"hit":
        reply = parse_reply(said)
        return Reply(reply.verdict, None, reply.token, reply.era, life, waiting)
    window = Snapshot(said[1].decode(), int(said[2]), int(said[3]), said[5:], int(said[4]))
    now = life_of(life)
    behind = [one for one in entries_in(waiting, known) if life_of(one.life) == now] if waiting else None
    return Reply("hit", joined(window, behind) if behind else without_rows(window), "", "", life, waiting)


def _is_shown(
    row: Row, since: int | None, window: Snapshot, shown: Mapping[str, tuple[bytes, int]]
) -> bool | None:
    """Whether a message that waits is there already, as ``append_v1`` will decide it; ``None`` where this window does not tell.

    A place is at least the seq of its message, and greater by no more than the gaps.
    """
    if row.other and row.other in shown:
        return True
    began = max(since or 0, 0)
    if (there := shown.get(row.id)) is not None:
        packed, place = there
        if not row.other or since == SAME_CALL:
            return True
        if place > began and (packed == row.packed or says_the_same(unpack(packed), unpack(row.packed))):
            return True if place - window.gaps > began else None
    hidden = 0 if window.whole else window.first_seq - 1
    return None if row.other and hidden > began else False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one ``store_entries`` did: what became of each entry by its id, what the window is told, and of the caller's own the numbers."""

    verdicts: Mapping[str, str]
    written: Written
    own: Sequence[Any] | None


def outcome(rows: Sequence[Sequence[Any]], entries: Sequence[Entry]) -> Outcome:
    """Read the rows of ``store_entries.sql``, which stored these entries."""
    said = {entry.id: entry for entry in entries}
    verdicts: dict[str, str] = {}
    packed: list[bytes] = []
    stamp, before, first_seq, human, own = "", "", 0, 0, None
    for id_, verdict, now, former, version, last_seq, last_human, stored, seqs, kept, moment in rows:
        verdicts[id_], stamp = verdict, now or ""
        entry = said[id_]
        if not entry.life and verdict == "stored":
            own = (kept, now, former, version, last_seq, last_human, stored, moment, *(seqs or ()))
        if not stored:
            continue
        first = last_seq - stored + 1
        if not packed:
            before, first_seq = former or "", first
        for row, seq in zip(
            (entry.rows[n - 1] for n in kept), seqs or range(first, last_seq + 1), strict=True
        ):
            if abs(seq) >= first:
                packed.append(with_row(row.packed, row.id if seq > 0 else row.other))
                human = abs(seq) if row.human else human
    return Outcome(verdicts, Written(stamp, before, first_seq, human, packed), own)


def told_with_rows(stored: StoredBatch, written: Written) -> Written:
    """What a window is told of an append beside which a journal lies: which rows its messages are."""
    entries = [with_row(*pair) for pair in zip(written.entries, stored.fresh, strict=True)]
    return Written(written.stamp, written.before, written.first_seq, written.human_seq, entries)


def window_of(rows: Sequence[Sequence[Any]]) -> tuple[bool, Snapshot, str]:
    """Read the rows of ``read_window_rows.sql``, oldest first: whether it is the user's, the window with its rows, and the life."""
    if not rows:
        return True, Snapshot(), ""
    mine, stamp, last, human, gaps, life = rows[0][:6]
    found = [row for row in rows if row[7] is not None]
    entries = [with_row(pack_row(body, content), UUID(row_id).hex) for *_, row_id, _, body, content in found]
    if gaps:  # as in snapshot_of
        after = next((n for n, row in enumerate(reversed(found)) if row[7] == human), last - human)
        human = last - after if human else 0
    return bool(mine), Snapshot(str(stamp), last, human, entries, gaps), life
