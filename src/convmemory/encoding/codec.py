"""How a LangChain message becomes a row and comes back equal: the one place that knows its fields.

A stored message is two texts. ``body`` is one line of JSON, ``{"c": class, "t": content, "d": fields, "u": usage, "l":
losses}``, in which everything at its default is left out: an ordinary message costs about 20 bytes.
``content`` is the plain text; ``t`` is in the body only where that text is not the exact content; ``u`` has the three
figures of a usage that has no more, which nearly every answer brings. ``v`` is the format's version, 1 where absent. Never ``dumpd``/``load``: reading can build the classes of
``convmemory.encoding.message_classes`` and nothing else, and runs no validator that a later version might make stricter.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage, ChatMessage

from convmemory.encoding.field_rules import fits, mend
from convmemory.encoding.message_classes import (
    CLASSES,
    REQUIRED,
    Layout,
    bare_bodies,
    layout_of,
    nearest_kind,
)
from convmemory.encoding.python_values import PLAIN_TEXTS, TAG, Path, Tagger, dotted, dumps, parse
from convmemory.encoding.searchable import LOSSY_KEY, facts_of, text_of
from convmemory.encoding.storable_text import clean_text, outline, storable
from convmemory.encoding.token_counts import brief_usage, total_of, usage_of
from convmemory.encoding.tool_blocks import only_results

UNREADABLE_KEY = "convmemory_unreadable"
"""In ``response_metadata`` of the placeholder for a row that cannot be read: the reason."""

_VERSION = 1
_SHOWN_LOSSES = 20
_OWN_CONTENT = re.compile(r'\{"c":"\w+","t":')
_set = object.__setattr__  # a model's own refuses what is no field
_log = logging.getLogger(__name__)


@dataclass(slots=True)  # not frozen, though nothing changes it: that would cost each message a microsecond
class Encoded:
    """A message as it is stored.

    ``role`` is LangChain's type, the same for a chunk and the whole message, and ``tool`` for a human message that only
    carries the results of tools: windows and titles begin where a person speaks. ``body`` and ``content`` hold
    only what a PostgreSQL text column can. ``facts`` is a derived copy for queries (``name``, ``model``,
    ``tool_calls`` by name, ``tool_call_id``, ``status`` when it is an error, ``lossy`` paths) or ``None``.
    ``tokens`` is the total the model reported.
    """

    role: str
    content: str
    body: str
    facts: dict[str, Any] | None
    tokens: int | None

    @property
    def lossy(self) -> bool:
        """Whether some part of the message is kept as text instead of what it was."""
        return self.facts is not None and "lossy" in self.facts


def encode(message: BaseMessage) -> Encoded:
    """Encode any message; never raises.

    What has no exact encoding is kept as text: its dotted path goes to ``facts["lossy"]``, and one
    warning names the class and the paths, never the content.
    """
    try:
        return _encode(message)
    except Exception:  # noqa: BLE001 - a message holds the caller's objects, and they must not cost the turn
        return _encode_in_pieces(message)


def decode(body: str, content: str) -> BaseMessage:
    """Decode what ``encode`` made; never raises.

    A row that cannot be read becomes a ``ChatMessage`` with the role ``"unreadable"`` and the stored text;
    ``response_metadata["convmemory_unreadable"]`` says why.
    """
    try:
        return _decode(body, content)
    except Exception as error:  # noqa: BLE001 - a damaged row must not make its conversation unreadable
        return _placeholder(content, error)


def is_placeholder(message: BaseMessage) -> bool:
    """Whether a message stands in for a row that could not be read."""
    return isinstance(message, ChatMessage) and UNREADABLE_KEY in message.response_metadata


def pack(encoded: Encoded) -> bytes:
    """Make the one Redis value of a message: the body, a newline, and the content unless the body has it."""
    return pack_row(encoded.body, encoded.content)


def pack_row(body: str, content: str) -> bytes:
    """As ``pack``, from the two columns of a stored row."""
    return body.encode() if _OWN_CONTENT.match(body) else f"{body}\n{content}".encode()


def unpack(entry: bytes) -> BaseMessage:
    """Read what ``pack`` made; like ``decode`` it never raises."""
    try:
        body, newline, content = entry.decode().partition("\n")
        return _decode(body, content if newline else None)
    except Exception as error:  # noqa: BLE001 - as in decode
        return _placeholder(entry.partition(b"\n")[2].decode(errors="replace"), error)


def _encode(message: BaseMessage) -> Encoded:
    layout = layout_of(nearest_kind(message))
    state = vars(message)
    if type(message) is layout.kind and layout.is_bare(state) and not message.model_extra:
        text = state["content"]
        if storable(text):  # most of what people say, and every append pays for it
            return Encoded(layout.role, text, layout.opening + "}", None, None)
    tagger = Tagger()
    losses = tagger.losses
    content = _content(message, losses)
    fields = _fields(message, layout, losses)
    extras = _extras(message, layout, losses)
    exact = isinstance(content, str) and storable(content)
    if exact and not (fields or extras or losses):
        return Encoded(layout.role, content, layout.opening + "}", None, None)
    text = content if exact else clean_text(text_of(content))
    plain_content = None if exact else tagger.value(content, (None, "content"))
    plain = tagger.mapping(fields | extras, None)
    return _encoded(message, layout, text, fields, (plain_content, plain, losses))


def _encoded(
    message: BaseMessage,
    layout: Layout,
    text: str,
    fields: dict[str, Any],
    plain: tuple[Any, Any, list[Path]],
) -> Encoded:
    content, stored, losses = plain
    body = layout.opening
    if content is not None:
        body += ',"t":' + dumps(content)
    usage = brief_usage(stored.get("usage_metadata"))
    if usage is not None:
        body += f',"u":[{usage}]'
        del stored["usage_metadata"]
    if stored:
        body += ',"d":' + dumps(stored)
    paths = _paths(losses)
    if paths:
        body += ',"l":' + dumps(paths)
    role = "tool" if layout.role == "human" and only_results(vars(message).get("content")) else layout.role
    encoded = Encoded(role, text, body + "}", facts_of(fields, paths), total_of(fields.get("usage_metadata")))
    if paths:
        with suppress(RecursionError):  # handlers let it through; the metadata tells of the loss all the same
            _log.warning("%s: kept as text: %s", type(message).__qualname__, ", ".join(paths))
    return encoded


def _encode_in_pieces(message: BaseMessage) -> Encoded:
    """The second try, for a stack that is nearly full or an object that fights back: each part by itself."""
    layout = layout_of(nearest_kind(message))
    losses: list[Path] = []
    content = _content(message, losses)
    fields = _fields(message, layout, losses)
    try:
        parts = fields | _extras(message, layout, losses)
    except Exception:  # noqa: BLE001 - as in encode
        losses.append((None, "extras"))
        parts = fields
    losses.extend((None, name) for name in parts if not _is_plain(name))
    stored = {name: _piece(name, value, losses) for name, value in parts.items() if _is_plain(name)}
    text = clean_text(text_of(content))
    plain_content = None if text == content else _piece("content", content, losses)
    return _encoded(message, layout, text, fields, (plain_content, stored, losses))


def _piece(name: str, value: Any, losses: list[Path]) -> Any:
    tagger = Tagger()
    try:
        plain = tagger.value(value, (None, name))
        dumps(plain)
    except Exception:  # noqa: BLE001 - as in encode
        losses.append((None, name))
        return mend(name, outline(value))
    losses.extend(tagger.losses)
    return plain


def _is_plain(name: object) -> bool:
    return type(name) is str and storable(name) and name != TAG


def _content(message: BaseMessage, losses: list[Path]) -> Any:
    content = vars(message).get("content")
    if type(content) in PLAIN_TEXTS:
        return str.__str__(content)
    if isinstance(content, str):
        losses.append((None, "content"))
        return str.__str__(content)
    return content if fits("content", content) else _mended("content", content, losses)


def _fields(message: BaseMessage, layout: Layout, losses: list[Path]) -> dict[str, Any]:
    """The fields that are not at their default, except ``content`` and the constant ``type``."""
    state = vars(message)
    fields: dict[str, Any] = {}
    for name, default in layout.defaults.items():
        value = state.get(name, default)
        if value is REQUIRED:  # only where a validator was gone round; a speaker's role is then its type
            fields[name] = _mended(name, state.get("type") if name == "role" else None, losses)
        elif value is not default and not (type(value) is type(default) and value == default):
            fields[name] = value if fits(name, value) else _mended(name, value, losses)
    return fields


def _extras(message: BaseMessage, layout: Layout, losses: list[Path]) -> dict[str, Any]:
    """Extra fields, and those of a class of the caller's own, which come back as extras."""
    state = vars(message)
    own = type(message) is layout.kind
    if not own:
        losses.append((None, "class"))
    elif state.get("type") != layout.type_name:
        losses.append((None, "type"))
    extras = message.model_extra or {}
    if own and not extras:
        return {}
    losses.extend((None, name) for name in extras if name in layout)  # hidden behind the field of that name
    named = () if own else (name for name in type(message).model_fields if name in state)
    found = extras | {name: state[name] for name in named}
    return {name: value for name, value in found.items() if name not in layout}


def _mended(name: str, value: Any, losses: list[Path]) -> Any:
    losses.append((None, name))
    return mend(name, value)


def _paths(losses: list[Path]) -> list[str]:
    if not losses:
        return []
    shown = list(dict.fromkeys(dotted(path) for path in losses[:_SHOWN_LOSSES]))
    more = len(losses) - _SHOWN_LOSSES
    return [*shown, f"... and {more} more"] if more > 0 else shown


def _decode(body: str, content: str | None) -> BaseMessage:
    bare = bare_bodies().get(body)
    if bare is not None and type(content) is str:
        fields = bare.fresh()
        fields["content"] = content
        return _build(bare.kind, fields, {}, {"content"})
    stored = parse(body)
    if type(stored) is not dict:
        raise ValueError("not a stored message")
    if stored.get("v", _VERSION) != _VERSION:
        raise ValueError(f"format version {outline(stored['v'])[:20]}; this library reads {_VERSION}")
    kind = CLASSES.get(stored.get("c", ""))
    if kind is None:
        raise ValueError(f"unknown message class {outline(stored.get('c'))[:60]}")
    layout = layout_of(kind)
    fields = layout.fresh()
    fields["content"] = stored.get("t", content)
    given = stored.get("d", {})
    if "u" in stored:
        given = {**given, "usage_metadata": usage_of(stored["u"])}
    extra = _fill(fields, given, layout)
    _check(fields, layout)
    if "l" in stored:
        _mark_lossy(fields["response_metadata"], stored["l"])
    return _build(kind, fields, extra, {"content", *given})


def _fill(fields: dict[str, Any], given: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """Put stored values over the defaults and return the rest: extras, and fields this version lacks."""
    extra: dict[str, Any] = {}
    for name, value in given.items():
        if name not in layout:
            extra[name] = value
        elif name in layout.defaults and fits(name, value):
            fields[name] = value
        else:
            raise ValueError(f"the field {name} has a value of the wrong kind")
    return extra


def _check(fields: dict[str, Any], layout: Layout) -> None:
    if type(fields["content"]) is not str and not fits("content", fields["content"]):
        raise ValueError("the content is missing or of the wrong kind")
    for name in layout.required:
        if fields[name] is REQUIRED:
            raise ValueError(f"the field {name} is missing")


def _mark_lossy(response: dict[str, Any], paths: Any) -> None:
    earlier = response.get(LOSSY_KEY)
    response[LOSSY_KEY] = [*(earlier if isinstance(earlier, list) else ()), *map(str, paths)]


def _build(
    kind: type[BaseMessage], fields: dict[str, Any], extra: dict[str, Any], given: set[str]
) -> BaseMessage:
    message = kind.__new__(kind)  # as pickle and copy do: nothing is validated, so nothing is changed
    _set(message, "__dict__", fields)
    _set(message, "__pydantic_fields_set__", given)
    _set(message, "__pydantic_extra__", extra)
    _set(message, "__pydantic_private__", None)
    return message


def _placeholder(content: Any, error: Exception) -> BaseMessage:
    reason = clean_text(f"{type(error).__name__}: {error}"[:200])
    text = content if isinstance(content, str) and content else "[unreadable message]"
    return ChatMessage(role="unreadable", content=text, response_metadata={UNREADABLE_KEY: reason})
