"""Ids: what may be one, which row a conversation id means, and new ones."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import time
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid5

from convmemory.errors import InvalidArgument, NotOpen

ID_LENGTH: Final = 255
_VARIANT: Final = dict(zip("0123456789abcdef", 4 * "89ab", strict=True))
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{24})")
_NAMED: Final = 20
"""Hexadecimal digits of a name's row that follow from the name: enough that no two names meet."""

FIRST: Final = UUID(int=0)
"""No row's id is before this one: where a walk over all of them begins."""

_HANDLE: Final = re.compile(r"handle-[A-Za-z0-9_-]{43}")


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


@dataclass(slots=True)
class ConversationKey:
    """Which conversation, and on whose behalf: what every statement and every cached window is asked with.

    Which row a name means only the installation can tell: the first migration draws the namespace of all names.
    ``settle`` is told it by whoever is about to ask a store. Nobody else can compute the row of another
    user's name; and who learnt it all the same cannot take it first, because such a row is made under its name alone.
    """

    known: UUID | None
    user_id: str
    external_id: str | None = None
    named_only: bool = field(default=False, repr=False, compare=False)
    """Whether this is the row of somebody's name, given as a UUID: it is there under its name, or it is not there."""
    _namespace: str | None = field(default=None, repr=False, compare=False)

    @property
    def uuid(self) -> UUID:
        """The row's own key.

        Raises:
            NotOpen: It follows from a name, and no open store was asked with this key yet.
        """
        if self.known is None:
            raise NotOpen("which row a conversation's name means is known once the memory is open")
        return self.known

    @property
    def name(self) -> str:
        """The conversation as its caller names it."""
        return self.external_id or str(self.known)

    def settle(self, namespace: str) -> None:
        """Have the row of a name be the one that this installation has for it; a row that was given stays as it is."""
        if self._namespace == namespace:
            return
        self._namespace = namespace
        if self.external_id is not None:
            self.known = row_of_name(namespace, self.user_id, self.external_id)
        else:
            self.named_only = is_row_of_a_name(namespace, self.uuid)


def row_of_name(namespace: str, user_id: str, name: str) -> UUID:
    """The row that a user's name for a conversation means: a UUIDv8, which its installation knows for one of its own."""
    scoped = f"{namespace}/{len(user_id)}:{user_id}{name}"
    return _told_apart(namespace, hashlib.sha256(scoped.encode()).hexdigest()[:_NAMED])


def is_row_of_a_name(namespace: str, row: UUID) -> bool:
    """Whether it is the row of some user's name; of other UUIDv8 one in a million millions is taken for one."""
    digits = row.hex
    return digits[12] == "8" and row == _told_apart(namespace, digits[:12] + digits[13:16] + digits[17:22])


def _told_apart(namespace: str, digits: str) -> UUID:
    """A UUIDv8 of 20 digits and of 10 more, which follow from those and the namespace."""
    known_by = hashlib.sha256(f"{namespace}/{digits}".encode()).hexdigest()[: 30 - _NAMED]
    return UUID(f"{digits[:12]}8{digits[12:15]}8{digits[15:]}{known_by}")


def conversation_key(conversation_id: object, user_id: object) -> ConversationKey:
    """The conversation an id means to a user.

    A UUID (object or text, with its dashes or without) is the row's own key. Any other string is scoped to its owner, so
    that two users' ``"session-1"`` are two conversations; it is kept as ``external_id``.

    Raises:
        InvalidArgument: One of the two is empty, too long, or no string that PostgreSQL can store.
    """
    user = checked_id("user_id", user_id)
    if isinstance(conversation_id, UUID):
        return ConversationKey(conversation_id, user)
    name = checked_id("conversation_id", conversation_id)
    return ConversationKey(UUID(name), user) if _UUID.fullmatch(name) else ConversationKey(None, user, name)


def message_key(conversation: UUID, message_id: str) -> UUID:
    """The row id of a message that brings a LangChain id: the same for every attempt to store it."""
    return _beside(conversation, uuid5(conversation, message_id.encode("utf-8", "surrogatepass").hex()))


def other_row_id(row_id: str, since: int | None, role: str, content: str, body: str) -> str:
    """The row id of a message whose own is another's: from its words, as ``append_v1`` in PostgreSQL makes it."""
    told = [str(UUID(hex=row_id)), *([] if since is None else [str(since)]), role, content, body]
    return row_id[:12] + hashlib.sha256("/".join(told).encode()).hexdigest()[:20]


def session_handle(session_id: str) -> str:
    """What a session is stored and listed under: enough to end it, and of no use to act as it; a handle's is itself."""
    if _HANDLE.fullmatch(session_id):
        return session_id
    digest = hashlib.sha256(session_id.encode()).digest()
    return f"handle-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def repeat_key(conversation: UUID, idempotency_key: str, place: int) -> UUID:
    """The row id of a message without one in a batch that may be sent again: the same for every attempt with that key.

    No message's own id leads there, since a name made of one has hexadecimal digits only.
    """
    name = idempotency_key.encode("utf-8", "surrogatepass").hex()
    return _beside(conversation, uuid5(conversation, f"key:{place}:{name}"))


def _beside(conversation: UUID, made: UUID) -> UUID:
    """A row id that follows from something, where it belongs in the index of ids: in front of all new ones, by conversation.

    So new ids, which grow with time, go to the end of the index and fill its pages, and a conversation's others lie together.
    """
    return UUID(bytes=b"\0\0" + conversation.bytes[-4:] + made.bytes[6:])


def new_uuid() -> UUID:
    """A new UUIDv7."""
    return UUID(hex=new_row_id())


def new_row_id() -> str:
    """A UUIDv7 as 32 hexadecimal digits: 48 bits of Unix milliseconds, then random bits (RFC 9562, section 5.7)."""
    random = os.urandom(10).hex()
    milliseconds = time.time_ns() // 1_000_000 & (1 << 48) - 1
    return f"{milliseconds:012x}7{random[1:4]}{_VARIANT[random[4]]}{random[5:]}"
