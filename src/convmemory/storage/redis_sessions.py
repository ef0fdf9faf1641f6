"""How a session lies in Redis: a hash of text fields, read back into a value."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from convmemory.encoding.storable_text import clean_json
from convmemory.ids import checked_id
from convmemory.models import Session
from convmemory.value_fields import checked_metadata


def new_session_id() -> str:
    """43 characters of 32 random bytes: whoever knows it holds the session."""
    return secrets.token_urlsafe(32)


def fields_of(session: Session) -> tuple[str, ...]:
    """A session as the fields and values of its hash; what is not set is not there."""
    return (
        "user_id", session.user_id,
        *(("dept_id", session.dept_id) if session.dept_id is not None else ()),
        "created_at", session.created_at.isoformat(),
        "last_active", session.last_active.isoformat(),
        *changes(session.conversation_id, session.metadata or None),
    )  # fmt: skip


def changes(conversation_id: str | None, metadata: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The fields that a live session may be given anew.

    Raises:
        InvalidArgument: The conversation id or the metadata cannot be stored.
    """
    said: tuple[str, ...] = ()
    if conversation_id is not None:
        said += ("conversation_id", checked_id("conversation_id", str(conversation_id)))
    if metadata is not None:
        said += ("metadata", json.dumps(clean_json(checked_metadata(metadata))))
    return said


def index_is_due(raw: Mapping[bytes, bytes], ttl: float) -> bool:
    """Whether the user's list of sessions, which lives two TTLs (seconds), should be prolonged by this use."""
    listed, active = raw.get(b"listed"), datetime.fromisoformat(raw[b"last_active"].decode())
    return listed is None or (active - datetime.fromisoformat(listed.decode())).total_seconds() > ttl / 2


def session_of(session_id: str, raw: Mapping[bytes, bytes]) -> Session:
    """Read a session's hash."""
    said = {name.decode(): value.decode() for name, value in raw.items()}
    return Session.built(
        id=session_id,
        user_id=said["user_id"],
        dept_id=said.get("dept_id"),
        created_at=datetime.fromisoformat(said["created_at"]),
        last_active=datetime.fromisoformat(said["last_active"]),
        conversation_id=said.get("conversation_id"),
        metadata=json.loads(said.get("metadata", "{}")),
    )


def newest_first(handles: Sequence[str], found: Sequence[Mapping[bytes, bytes]]) -> list[Session]:
    """The sessions of a list that are alive, by when they began; their ids are handles."""
    alive = [session_of(handle, raw) for handle, raw in zip(handles, found, strict=True) if raw]
    return sorted(alive, key=attrgetter("created_at"), reverse=True)
