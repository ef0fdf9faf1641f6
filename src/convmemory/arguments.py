"""What callers pass in, checked at the door: each error names the argument and says what would be right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import EllipsisType
from typing import Any, Final, SupportsFloat

from langchain_core.messages import BaseMessage

from convmemory.dialects.message_likes import is_one
from convmemory.encoding.codec import as_messages, clean_text
from convmemory.encoding.message_classes import CLASSES
from convmemory.errors import InvalidArgument
from convmemory.ids import checked_id
from convmemory.models import Draft, RetrievedContext

MOST: Final = 10_000
TITLE_LENGTH: Final = 500


Size = int | EllipsisType | None
"""A number of messages, ``None`` for all of them, ``...`` for the default."""


def checked_limit(argument: str, value: object, most: int = MOST) -> int:
    """A number of items to return.

    Raises:
        InvalidArgument: Not a whole number from 1 to ``most``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidArgument(argument, f"must be a whole number from 1 to {most:,}, not {value!r:.40}")
    return value


def window_size(argument: str, value: Size, default: int | None) -> int | None:
    """A ``Size`` as a number, or ``None`` for all."""
    if value is ...:
        return default
    return None if value is None else checked_limit(argument, value)


def wants_openai(value: object) -> bool:
    """Whether messages are asked for as OpenAI's dicts."""
    if value not in ("langchain", "openai"):
        raise InvalidArgument("format", f"must be 'langchain' or 'openai', not {value!r:.40}")
    return value == "openai"


def optional_id(argument: str, value: object) -> str | None:
    """An id that may be left out."""
    return None if value is None else checked_id(argument, value)


def checked_title(value: object) -> str:
    """A title: 1 to 500 characters, white space folded, without what PostgreSQL cannot store."""
    if not isinstance(value, str):
        raise InvalidArgument("title", f"must be a string, not {type(value).__name__}")
    title = " ".join(clean_text(value).split())
    if not 1 <= len(title) <= TITLE_LENGTH:
        raise InvalidArgument("title", f"must have 1 to {TITLE_LENGTH} characters, has {len(title)}")
    return title


def checked_seq(argument: str, value: object) -> int | None:
    """A position in a conversation, or ``None``."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**62:
        raise InvalidArgument(argument, "must be the seq of a message, or None")
    return value


def drafts_of(messages: Any) -> list[Draft]:
    """Messages in any form LangChain takes, or drafts, as drafts.

    Raises:
        InvalidArgument: Something among them is no message.
    """
    if type(messages) is list and all(type(message) in _KINDS for message in messages):
        return [Draft(message) for message in messages]  # the usual case, and every append pays for it
    if isinstance(messages, Draft):
        return [_checked(messages)]
    if not (is_one(messages) or isinstance(messages, tuple)) and isinstance(messages, Iterable):
        items = list(messages)
        if any(isinstance(item, Draft) for item in items):
            return [draft for item in items for draft in drafts_of(item)]
        messages = items
    return [Draft(message) for message in as_messages(messages)]


def _checked(draft: Draft) -> Draft:
    if not isinstance(draft.message, BaseMessage):
        raise InvalidArgument("message", f"a Draft holds a BaseMessage, not {type(draft.message).__name__}")
    _check_count("tokens_used", draft.tokens_used)
    _check_count("latency_ms", draft.latency_ms)
    if not isinstance(draft.metadata, Mapping | None):
        raise InvalidArgument("metadata", f"must be a mapping, not {type(draft.metadata).__name__}")
    if draft.created_at is not None and getattr(draft.created_at, "tzinfo", None) is None:
        raise InvalidArgument("created_at", "must be a datetime with a time zone")
    for context in draft.contexts:
        _check_context(context)
    return draft


def _check_count(argument: str, value: object) -> None:
    if value is not None and not (isinstance(value, int) and 0 <= value < 2**31):
        raise InvalidArgument(argument, f"must be a whole number from 0 to {2**31 - 1:,}, not {value!r:.40}")


def _check_context(context: object) -> None:
    if not isinstance(context, RetrievedContext):
        raise InvalidArgument("contexts", f"must be RetrievedContext values, not {type(context).__name__}")
    for name, kind, wanted in _CONTEXT:
        if not isinstance(getattr(context, name), kind):
            raise InvalidArgument("contexts", f"{name} must be {wanted}")


_KINDS: Final = frozenset(CLASSES.values())

_CONTEXT: Final[tuple[tuple[str, Any, str], ...]] = (
    ("content", str, "a string"),
    ("doc_id", str | None, "a string or None"),
    ("score", SupportsFloat | None, "a number or None"),
    ("metadata", Mapping, "a mapping"),
)
