"""What people pass where messages are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from langchain_core.messages import BaseMessage, RemoveMessage, convert_to_messages

from convmemory.dialects.anthropic import is_reply, read_reply
from convmemory.dialects.openai_chat import read_chat
from convmemory.dialects.original_dicts import UNREADABLE
from convmemory.errors import InvalidArgument

ROLES: Final = frozenset(
    {"human", "user", "ai", "assistant", "system", "developer", "tool", "function"},
)
_ALL_ROLES: Final = "human or user, ai or assistant, system or developer, tool, and function"
_ANSWERS: Final = {"tool": "tool_call_id", "function": "name"}
"""Roles of answers, and what says which call they answer."""
_MODELS: Final = frozenset({"agent", "bot", "chatbot", "gpt", "llm", "model"})
"""What the model is called elsewhere."""


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


def unknown_role(role: str) -> str | None:
    """What to tell of a role that is none, or ``None``. Only what is surely meant as one is quoted: it may be a text."""
    name = role.lower()
    if name in ROLES:
        return None
    shown, hint = (
        (f" {role!r}", "; for what a model said it is ai or assistant") if name in _MODELS else ("", "")
    )
    return f"unknown role{shown}: there are {_ALL_ROLES}{hint}"


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
        if _is_sdk_object(item):
            item = item.model_dump(exclude_none=True)
        message = _read(item)
    except UNREADABLE as error:
        again = _in_lower_case(item)
        if again is not None:
            return _as_message(again, at)
        where = f"item {at} ({type(item).__name__})"
        raise InvalidArgument("messages", f"{where} {_complaint(item)}") from error
    if isinstance(message, RemoveMessage):
        why = "is a RemoveMessage, an order to an agent's state and nothing that was said"
        raise InvalidArgument(
            "messages", f"item {at} {why}: leave it out, or empty the conversation with clear()"
        )
    return message


def _read(item: Any) -> BaseMessage:
    if not isinstance(item, dict):
        return convert_to_messages([item])[0]
    return read_reply(item) if is_reply(item) else read_chat(item)


def _in_lower_case(item: Any) -> Any:
    """The same message where only its role is in capitals, ``("Human", "hi")``; else ``None``."""
    role = _role_of(item)
    if not isinstance(role, str) or role in ROLES or role.lower() not in ROLES:
        return None
    return {**item, "role": role.lower()} if isinstance(item, dict) else (role.lower(), *item[1:])


def _role_of(item: Any) -> Any:
    if isinstance(item, dict):
        return item.get("role")
    return item[0] if isinstance(item, (tuple, list)) and len(item) == 2 else None  # noqa: PLR2004 - a pair


def _complaint(item: Any) -> str:
    """What is wrong with what is no message."""
    role = _role_of(item)
    if isinstance(role, str):
        if unknown := unknown_role(role):
            return f"has an {unknown}"
        content = item.get("content") if isinstance(item, dict) else item[1]
        if not isinstance(content, str | list):
            given = "no content" if content is None else f"a content of type {type(content).__name__}"
            return f"has {given}: it must be a text or a list of blocks"
        wanted = _ANSWERS.get(role)
        if wanted and not (isinstance(item, dict) and item.get(wanted)):
            return f"has the role {role} and no {wanted}: pass a dict with role, content and {wanted}"
    if isinstance(item, dict) and "data" in item and "type" in item:
        return "is what messages_to_dict wrote: read it with langchain_core.messages.messages_from_dict"
    return "is no message: pass a BaseMessage, a text, a (role, text) pair or a dict with role and content"
