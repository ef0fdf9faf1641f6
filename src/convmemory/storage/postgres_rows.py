"""Between values and PostgreSQL's rows: what a batch of messages is sent as, and what comes back is read into."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from secrets import randbits
from typing import Any, Final
from uuid import UUID

from convmemory.encoding.codec import Encoded, encode, pack
from convmemory.encoding.same_words import says_the_same
from convmemory.encoding.storable_text import clean_json
from convmemory.errors import InvalidArgument
from convmemory.ids import ConversationKey, message_key, new_row_id, other_row_id, repeat_key
from convmemory.models import Appended, Conversation, Draft, Message, is_bare
from convmemory.settings import Settings
from convmemory.storage.context_rows import context_of, contexts_text, plain_context
from convmemory.storage.text_arrays import TextArray, as_arrays, plain_array
from convmemory.storage.titles import title_from
from convmemory.value_fields import checked_metadata
from convmemory.windows.collection import uncollected
from convmemory.windows.snapshots import NOTHING_BEFORE, Written

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

SAME_CALL: Final = -1
"""In place of a seq: the caller says that what it sends again is the same, and its words are not compared."""


NOTHING_KNOWN: Final[dict[str, Any]] = dict.fromkeys(
    ("tokens", "latencies", "created", "metadata", "facts", "contexts")
)


@dataclass(slots=True)
class Batch:
    """Messages encoded and given their row ids once, so that every attempt to store them is the same.

    ``places`` maps each message given to its row: one that says again what another of its LangChain id says is one row with
    it. ``known`` are those of the row ids that follow from a LangChain id, and may be there already.
    """

    ids: list[str]
    known: list[str]
    encoded: list[Encoded]
    drafts: list[Draft]
    places: list[int]
    since: int | None = None

    def parameters(self) -> dict[str, Any]:
        """The parameters of ``append.sql`` that describe messages."""
        encoded = self.encoded
        return as_arrays(self.columns()) | {
            "ids": plain_array(self.ids),
            "roles": plain_array([e.role for e in encoded]),
            "contents": TextArray([e.content for e in encoded]),
            "bodies": TextArray([e.body for e in encoded]),
            "known": plain_array(self.known) if self.known else None,
            "human": max([n for n, e in enumerate(encoded, 1) if e.role == "human"], default=0),
            "title": self.title(),
        }

    def columns(self) -> dict[str, Any]:
        """What is known of the messages beside what they say: mostly nothing."""
        drafts = self.drafts
        for draft, encoded in self._pairs():
            if not is_bare(draft) or encoded.facts is not None or encoded.tokens is not None:
                break
        else:
            return NOTHING_KNOWN
        return {
            "tokens": _column([_either(d.tokens_used, e.tokens) for d, e in self._pairs()]),
            "latencies": _column([d.latency_ms for d in drafts]),
            "created": _column([d.created_at for d in drafts]),
            "metadata": _column([_metadata(d) for d in drafts]),
            "facts": _column([_facts(d, e) for d, e in self._pairs()]),
            "contexts": contexts_text(drafts),
        }

    def title(self) -> str | None:
        """An automatic title: from the first human message that has text."""
        for draft, encoded in self._pairs():
            if encoded.role == "human" and (title := title_from(draft.message)):
                return title
        return None

    def answers(self) -> bool:
        """Whether somebody is answered in it, and not only a tool called."""
        said = (draft.message for draft in self.drafts if draft.message.type == "ai")
        return any(not getattr(message, "tool_calls", None) for message in said)

    def outcome(self, key: ConversationKey, numbers: Sequence[Any]) -> tuple[StoredBatch, Written]:
        """Read the numbers of ``append.sql``: what became of the batch, and what the window is told."""
        stamp, before, version, last_seq, human_seq, stored, moment, *seqs = numbers
        first = last_seq - stored + 1
        by_row: Sequence[int] = range(first, last_seq + 1)
        fresh = self.encoded
        if seqs:
            by_row, fresh = seqs, [e for e, seq in zip(fresh, seqs, strict=True) if abs(seq) >= first]
        human = human_seq if human_seq >= first else 0
        batch = StoredBatch(key.name, version, stored, first, by_row, moment, self)
        told = NOTHING_BEFORE if before is None else str(before)
        return batch, Written(str(stamp), told, first, human, [pack(e) for e in fresh])

    def _pairs(self) -> zip[tuple[Draft, Encoded]]:
        return zip(self.drafts, self.encoded, strict=True)


def refuse_large(most: Settings, drafts: Sequence[Draft], encoded: Sequence[Encoded]) -> None:
    """See that no part of a message is larger than the settings allow.

    Raises:
        InvalidArgument: One is; nothing was stored.
    """
    for draft, one in zip(drafts, encoded, strict=True):
        if (limit := most.max_content_bytes) is not None:
            _refuse("content", [one.content, one.body], limit)
        if (limit := most.max_metadata_bytes) is not None:
            _refuse("metadata", [_metadata(draft) or ""], limit)
        if (limit := most.max_contexts_bytes) is not None:
            _refuse("contexts", [contexts_text([draft]) or ""], limit)


def _refuse(argument: str, texts: Sequence[str], limit: int) -> None:
    refuse_size(argument, sum(len(text.encode()) for text in texts), limit)


def refuse_size(argument: str, size: int, limit: int | None) -> None:
    """See that a part of a message has no more bytes than the settings allow; ``None``: any number of them."""
    if limit is not None and size > limit:
        raise InvalidArgument(
            argument, f"has {size:,} bytes as it is stored, and max_{argument}_bytes allows {limit:,}"
        )


@dataclass(slots=True)
class StoredBatch:
    """What became of a batch: ``seqs`` has the place of each row; those from ``first`` on were stored at ``moment``.

    ``moment`` is in microseconds since 1970. A seq with a minus sign is that of a row under an id which PostgreSQL made: its
    LangChain id was another message's already.
    """

    conversation_id: str
    version: int | None
    stored: int
    first: int
    seqs: Sequence[int]
    moment: int
    batch: Batch

    @property
    def pending(self) -> bool:
        """Whether it waits for PostgreSQL, and has no places yet."""
        return not self.seqs

    @property
    def fresh(self) -> list[str]:
        """The ids of the rows that were not there before."""
        return [self._row_id(n) for n, seq in enumerate(self.seqs) if abs(seq) >= self.first]

    @property
    def earlier(self) -> list[str]:
        """The ids of the rows that were there already, and hold what was stored then."""
        return [self._row_id(n) for n, seq in enumerate(self.seqs) if abs(seq) < self.first]

    def appended(self, earlier: Mapping[str, Message]) -> Appended:
        """What the caller is told; ``earlier`` has the messages of the row ids of that name.

        One of them that was deleted since is told as it was given: it was there when this was acknowledged.
        """
        with uncollected(len(self.batch.ids)):
            rows = self._messages(earlier)
        return Appended.built(
            conversation_id=self.conversation_id,
            version=self.version,
            stored=self.stored,
            messages=tuple(rows[place] for place in self.batch.places),
        )

    def _messages(self, earlier: Mapping[str, Message]) -> list[Message]:
        moment = _EPOCH + timedelta(microseconds=self.moment)
        if self.pending:
            return [self._message(n, None, row, moment) for n, row in enumerate(self.batch.ids)]
        ids = map(self._row_id, range(len(self.seqs)))
        return [
            earlier.get(row) or self._message(n, abs(seq), row, moment)
            for n, (row, seq) in enumerate(zip(ids, self.seqs, strict=True))
        ]

    def _row_id(self, n: int) -> str:
        row_id, encoded = self.batch.ids[n], self.batch.encoded[n]
        if self.pending or self.seqs[n] > 0:
            return row_id
        return other_row_id(row_id, self.batch.since, encoded.role, encoded.content, encoded.body)

    def _message(self, n: int, seq: int | None, row: str, moment: datetime) -> Message:
        draft, encoded = self.batch.drafts[n], self.batch.encoded[n]
        return Message.built(
            id=UUID(int=int(row, 16)),
            conversation_id=self.conversation_id,
            seq=seq,
            pending=seq is None,
            role=encoded.role,
            content=encoded.content,
            tokens_used=_either(draft.tokens_used, encoded.tokens),
            latency_ms=draft.latency_ms,
            created_at=draft.created_at or moment,
            metadata=_given_back(_metadata(draft)),
            facts=_given_back(_facts(draft, encoded)),
            contexts=tuple(context_of(plain_context(context)) for context in draft.contexts),
            body=encoded.body,
        )


def prepare(
    key: ConversationKey,
    drafts: Sequence[Draft],
    idempotency_key: str | None = None,
    since: int | None = None,
) -> Batch:
    """Encode a batch for one conversation; a LangChain id whose message says the same twice is stored once, the first time.

    With an ``idempotency_key`` messages without an id have row ids made of it and their place.
    """
    rows: dict[str, int] = {}
    known: list[str] = []
    places: list[int] = []
    kept: list[Draft] = []
    encoded: list[Encoded] = []
    for place, draft in enumerate(drafts):
        given: object = draft.message.id
        if given:
            row_id = message_key(key.uuid, str(given)).hex
        elif idempotency_key is not None:
            given, row_id = idempotency_key, repeat_key(key.uuid, idempotency_key, place).hex
        else:
            row_id = new_row_id()
        told = None
        if row_id in rows and not says_the_same(kept[rows[row_id]].message, draft.message):
            told = encode(draft.message)
            row_id = other_row_id(row_id, None, told.role, told.content, told.body)
        if row_id not in rows:
            rows[row_id] = len(kept)
            kept.append(draft)
            encoded.append(told or encode(draft.message))
            if given:
                known.append(row_id)
        places.append(rows[row_id])
    return Batch(list(rows), known, encoded, kept, places, since)


def replacement(most: Settings, draft: Draft) -> dict[str, Any]:
    """The parameters of ``replace_message.sql`` that describe the new message."""
    encoded = encode(draft.message)
    refuse_large(most, [draft], [encoded])
    return {
        "role": encoded.role,
        "content": encoded.content,
        "body": encoded.body,
        "tokens": _either(draft.tokens_used, encoded.tokens),
        "latency": draft.latency_ms,
        "created": draft.created_at,
        "metadata": _metadata(draft),
        "facts": _facts(draft, encoded),
        "contexts": contexts_text([draft]),
        "title": title_from(draft.message) if encoded.role == "human" else None,
    }


def new_stamp() -> int:
    """A stamp for a conversation that is made or changed, where the statement must be told again by it."""
    return randbits(63)


def again(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters of a second attempt: the first may have stored its messages.

    What it makes has a stamp of its own: PostgreSQL may have lost what the first one made, and somebody cached that.
    """
    if "ids" in parameters:
        return {**parameters, "known": parameters["ids"]}
    return {**parameters, "new_stamp": new_stamp()} if "new_stamp" in parameters else parameters


def conversation_of(row: Sequence[Any]) -> Conversation:
    """Read a conversation's row."""
    uuid, external_id, user_id, dept_id, title, source, archived, pinned, *figures, metadata = row
    messages, version, created, updated = figures
    return Conversation.built(
        id=external_id or str(uuid),
        uuid=uuid,
        user_id=user_id,
        dept_id=dept_id,
        title=title,
        title_source=source,
        archived=archived,
        pinned=pinned,
        message_count=messages,
        version=version,
        created_at=created,
        updated_at=updated,
        metadata=metadata,
        messages=None,
    )


def message_of(conversation_id: str, row: Sequence[Any]) -> Message:
    """Read a row of ``read_messages.sql``."""
    row_id, seq, role, content, body, tokens, latency, created, metadata, facts, contexts = row
    return Message.built(
        id=row_id,
        conversation_id=conversation_id,
        seq=seq,
        pending=False,
        role=role,
        content=content,
        tokens_used=tokens,
        latency_ms=latency,
        created_at=created,
        metadata=metadata or {},
        facts=facts or {},
        contexts=tuple(map(context_of, contexts or ())),
        body=body,
    )


def json_text(value: Mapping[str, Any] | None) -> str:
    """A caller's metadata as jsonb text, with what jsonb cannot hold replaced.

    Raises:
        InvalidArgument: It is not a mapping.
    """
    return json.dumps(clean_json({} if value is None else checked_metadata(value)), ensure_ascii=False)


def names_of_nothing(metadata: Mapping[str, Any]) -> list[str]:
    """The names with ``None``, as they are stored."""
    plain: dict[str, Any] = clean_json(dict(metadata))
    return [name for name, value in plain.items() if value is None]


def _column(values: list[Any]) -> list[Any] | None:
    """A column of the batch; ``None`` where no message has a value, which is the usual case."""
    return values if any(value is not None for value in values) else None


def _either(given: int | None, found: int | None) -> int | None:
    return found if given is None else given


def _metadata(draft: Draft) -> str | None:
    return None if draft.metadata is None else json_text(draft.metadata)


def _facts(draft: Draft, encoded: Encoded) -> str | None:
    """What the message tells of itself, and what its run tells, which knows better."""
    known = {**(encoded.facts or {}), **(draft.facts or {})}
    return json_text(known) if known else None


def _as_jsonb(number: str) -> int | float:
    """A number as jsonb gives it back: a large one without its exponent, which is then a whole one."""
    return int(Decimal(number)) if "e+" in number else float(number)


_JSONB: Final = json.JSONDecoder(parse_float=_as_jsonb)


def _given_back(stored: str | None) -> dict[str, Any]:
    """What a ``jsonb`` column that was sent this text gives back."""
    found: dict[str, Any] = {} if stored is None else _JSONB.decode(stored)
    return found
