"""What operators are told of journals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for PostgreSQL of one conversation: how many entries and bytes, and when the oldest was accepted."""

    conversation: UUID
    user_id: str
    entries: int
    bytes: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that PostgreSQL refused for what is in it: of how many messages, when, and what it said."""

    conversation: UUID
    entry: str
    user_id: str
    messages: int
    refused_at: datetime
    cause: str
