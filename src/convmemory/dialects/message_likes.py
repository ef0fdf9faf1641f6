"""What people pass where messages are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_core.messages import BaseMessage, RemoveMessage, convert_to_messages

from convmemory.dialects.anthropic import is_reply, read_reply
from convmemory.dialects.openai_chat import read_chat
from convmemory.dialects.original_dicts import UNREADABLE
from convmemory.errors import InvalidArgument


def as_messages(value: Any) -> list[BaseMessage]:
    """Turn one message-like, or a sequence of them, into messages.

    A message-like is a ``BaseMessage`` (comes through as the same object), a text (a human's), a
    ``(role, text)`` tuple, a dict with ``role`` and ``content`` as OpenAI or Anthropic has them, or the message object
    of their SDKs. Raises ``InvalidArgument``, also for a ``RemoveMessage``, which is no message.
    """
    if is_one(value) or _is_pair(value):
        value = [value]
    elif hasattr(value, "to_messages"):
        value = value.to_messages()
    if not isinstance(value, Iterable) or isinstance(value, (bytes, bytearray)):
        raise InvalidArgument("messages", f"must be messages, not {type(value).__name__}")
    return [
        item
        if isinstance(item, BaseMessage) and not isinstance(item, RemoveMessage)
        else _as_message(item, at)
        for at, item in enumerate(value)
    ]


def is_one(value: object) -> bool:
    """Whether ``value`` is one message, though it may be iterable."""
    return isinstance(value, (BaseMessage, str, dict)) or _is_sdk_object(value)


def _is_pair(value: object) -> bool:
    if not isinstance(value, tuple) or len(value) != 2:  # noqa: PLR2004 - that is what a pair is
        return False
    return isinstance(value[0], str) and not isinstance(value[1], BaseMessage)


def _is_sdk_object(value: object) -> bool:
    return isinstance(getattr(value, "role", None), str) and callable(getattr(value, "model_dump", None))


def _as_message(item: Any, at: int) -> BaseMessage:
    try:
        message = _read(item)
    except UNREADABLE as error:
        why = "is no message: pass a BaseMessage, a text, a (role, text) pair or a dict with role and content"
        raise InvalidArgument("messages", f"item {at} ({type(item).__name__}) {why}") from error
    if isinstance(message, RemoveMessage):
        why = "is a RemoveMessage, an order to an agent's state and nothing that was said"
        raise InvalidArgument(
            "messages", f"item {at} {why}: leave it out, or empty the conversation with clear()"
        )
    return message


def _read(item: Any) -> BaseMessage:
    if _is_sdk_object(item):
        item = item.model_dump(exclude_none=True)
    if not isinstance(item, dict):
        return convert_to_messages([item])[0]
    return read_reply(item) if is_reply(item) else read_chat(item)
