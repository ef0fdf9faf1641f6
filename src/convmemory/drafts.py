"""Messages on their way in: whatever callers pass, checked, as drafts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, SupportsFloat

from langchain_core.messages import BaseMessage

from convmemory.dialects.message_likes import as_messages, is_one
from convmemory.encoding.message_classes import CLASSES
from convmemory.errors import InvalidArgument
from convmemory.models import Draft, RetrievedContext


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
    if value is not None and (type(value) is bool or not (isinstance(value, int) and 0 <= value < 2**31)):
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
