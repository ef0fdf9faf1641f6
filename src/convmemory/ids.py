"""Ids: what may be one, which row a conversation id means, and new ones."""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

from convmemory.errors import InvalidArgument

ID_LENGTH: Final = 255
_NAMESPACE: Final = UUID("6d0c6f4e-3c5a-5a1e-9d0a-6c1f6d0b7a11")
_VARIANT: Final = dict(zip("0123456789abcdef", 4 * "89ab", strict=True))
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def checked_id(argument: str, value: object) -> str:
    """Return ``value`` as an id, or say what is wrong with it.

    Raises:
        InvalidArgument: Not a string of 1 to 255 characters, or holding NUL or half a surrogate pair,
            which PostgreSQL cannot store.
    """
    if not isinstance(value, str):
        raise InvalidArgument(
            argument, f"must be a string of 1 to {ID_LENGTH} characters, not {type(value).__name__}"
        )
    if not value or len(value) > ID_LENGTH:
        raise InvalidArgument(argument, f"must have 1 to {ID_LENGTH} characters, has {len(value)}")
    if "\0" in value or (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)):
        raise InvalidArgument(argument, "must not hold NUL characters or lone surrogates")
    return value


@dataclass(frozen=True, slots=True)
class ConversationKey:
    """Which conversation, and on whose behalf: what every statement and every cached window is asked with."""

    uuid: UUID
    user_id: str
    external_id: str | None = None

    @property
    def name(self) -> str:
        """The conversation as its caller names it."""
        return self.external_id or str(self.uuid)


def conversation_key(conversation_id: object, user_id: object) -> ConversationKey:
    """The conversation an id means to a user.

    A UUID (object or text) is the row's own key. Any other string is scoped to its owner, so that two
    users' ``"session-1"`` are two conversations; it is kept as ``external_id``.

    Raises:
        InvalidArgument: One of the two is empty, too long, or no string that PostgreSQL can store.
    """
    user = checked_id("user_id", user_id)
    if isinstance(conversation_id, UUID):
        return ConversationKey(conversation_id, user)
    name = checked_id("conversation_id", conversation_id)
    if _UUID.fullmatch(name):
        return ConversationKey(UUID(name), user)
    return ConversationKey(uuid5(_NAMESPACE, f"{len(user)}:{user}{name}"), user, name)


def message_key(conversation: UUID, message_id: str) -> UUID:
    """The row id of a message that brings a LangChain id: the same for every attempt to store it."""
    return uuid5(conversation, message_id.encode("utf-8", "surrogatepass").hex())


def other_row_id(row_id: str, role: str, content: str, body: str) -> str:
    """The row id of a message whose own is another's: from its words, as ``append_v1`` in PostgreSQL makes it."""
    words = "/".join((str(UUID(hex=row_id)), role, content, body))
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def new_uuid() -> UUID:
    """A new UUIDv7."""
    return UUID(hex=new_row_id())


def new_row_id() -> str:
    """A UUIDv7 as 32 hexadecimal digits: 48 bits of Unix milliseconds, then random bits (RFC 9562, section 5.7)."""
    random = os.urandom(10).hex()
    milliseconds = time.time_ns() // 1_000_000 & (1 << 48) - 1
    return f"{milliseconds:012x}7{random[1:4]}{_VARIANT[random[4]]}{random[5:]}"
