"""The message classes this library stores, their fields, and what each field may hold.

The classes are a fixed table. Their fields and defaults are read from the installed ``langchain_core``, so
a field that a later version adds is stored as well, and an older version reads it back as an extra.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

_ROLES: dict[type[BaseMessage], str] = {
    HumanMessage: "human",
    HumanMessageChunk: "human",
    AIMessage: "ai",
    AIMessageChunk: "ai",
    SystemMessage: "system",
    SystemMessageChunk: "system",
    ToolMessage: "tool",
    ToolMessageChunk: "tool",
    FunctionMessage: "function",
    FunctionMessageChunk: "function",
    ChatMessage: "chat",
    ChatMessageChunk: "chat",
    RemoveMessage: "remove",
}
CLASSES: dict[str, type[BaseMessage]] = {kind.__name__: kind for kind in _ROLES}
_BY_TYPE: dict[Any, type[BaseMessage]] = {"human": HumanMessage, "ai": AIMessage, "system": SystemMessage}

REQUIRED = object()
"""The default of a field that has none: equal to nothing a message can hold."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A stored class: how its bodies open, its role, and its fields.

    ``defaults`` has every field but ``content`` and the constant ``type`` (``type_name``); ``required`` names those that
    have no default. ``name in layout`` tells a field from an extra. ``blank`` has every field in the class's
    own order, with the types in ``blank_types``; ``containers`` names those that no two messages may share.
    """

    kind: type[BaseMessage]
    opening: str
    role: str
    type_name: str
    defaults: dict[str, Any]
    required: tuple[str, ...]
    blank: dict[str, Any]
    blank_types: list[type]
    containers: tuple[str, ...]

    def __contains__(self, name: object) -> bool:
        return name in self.defaults or name in {"content", "type"}

    def is_bare(self, state: dict[str, Any]) -> bool:
        """Whether these are the fields of a message in which everything but the text is at its default."""
        return list(map(type, state.values())) == self.blank_types and state == self.blank | {
            "content": state.get("content")
        }

    def fresh(self) -> dict[str, Any]:
        """The fields of a message in which everything is at its default, with containers of its own."""
        fields = self.blank.copy()
        for name in self.containers:
            fields[name] = fields[name].copy()
        return fields


@cache
def layout_of(kind: type[BaseMessage]) -> Layout:
    """Read the layout of one of ``CLASSES``."""
    blank: dict[str, Any] = {
        name: REQUIRED if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in kind.model_fields.items()
    }
    defaults = {name: default for name, default in blank.items() if name not in {"content", "type"}}
    return Layout(
        kind=kind,
        opening=f'{{"c":"{kind.__name__}"',
        role=_ROLES[kind],
        type_name=blank["type"],
        defaults=defaults,
        required=tuple(name for name, default in defaults.items() if default is REQUIRED),
        blank=blank | {"content": ""},
        blank_types=[str if name == "content" else type(value) for name, value in blank.items()],
        containers=tuple(name for name, default in defaults.items() if isinstance(default, (dict, list))),
    )


@cache
def bare_bodies() -> dict[str, Layout]:
    """The bodies of messages in which everything but the content is at its default: most of what people say."""
    layouts = map(layout_of, CLASSES.values())
    return {layout.opening + "}": layout for layout in layouts if not layout.required}


def nearest_kind(message: BaseMessage) -> type[BaseMessage]:
    """The class of the table a message is stored as: its own, its nearest ancestor's, or by its ``type``."""
    for kind in type(message).__mro__:
        if kind in _ROLES:
            return kind
    return _BY_TYPE.get(vars(message).get("type"), ChatMessage)
