"""The exact dict a message was made of, kept with it where the message alone does not say everything.

Other APIs have shapes of their own, and what was read from one must come back to it unchanged. A dict that the
message gives again by itself costs nothing; any other lies in the message's ``additional_kwargs``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

M = TypeVar("M", bound=BaseMessage)

UNREADABLE: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What reading a value of the wrong shape raises; ``ValueError`` includes what json and pydantic raise."""


def keep(message: M, key: str, given: Mapping[str, Any], written: list[dict[str, Any]]) -> M:
    """Keep ``given`` under ``key``, unless ``written``, which is what the message gives, is the same."""
    if written != [given]:
        message.additional_kwargs[key] = dict(given)
    return message


def original(
    message: BaseMessage, key: str, read: Callable[[Mapping[str, Any]], BaseMessage]
) -> dict[str, Any] | None:
    """The dict kept under ``key``, as long as it says what the message says.

    Where a copy of the message was changed on its way (shortened, redacted), the dict must not bring the old
    text back: ``None``, as for a message that was made of none.
    """
    kept = message.additional_kwargs.get(key)
    if not isinstance(kept, dict):
        return None
    try:
        return kept if _said(read(kept)) == _said(message) else None
    except UNREADABLE:
        return None


def _said(message: BaseMessage) -> tuple[object, ...]:
    calls = (message.tool_calls, message.invalid_tool_calls) if isinstance(message, AIMessage) else ()
    answered = message.tool_call_id if isinstance(message, ToolMessage) else None
    return message.type, message.name, message.content, calls, answered
