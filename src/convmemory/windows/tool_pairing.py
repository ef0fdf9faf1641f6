"""Which tool calls are answered: no model is shown a call without its result, or a result without its call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, RemoveMessage, ToolMessage

from convmemory.encoding.codec import is_placeholder
from convmemory.encoding.tool_blocks import (
    call_ids,
    is_blank,
    only_results,
    result_ids,
    server_ids,
    trace,
)

_THOUGHTS: Final = (  # no set: a provider's type may be anything, a list too
    "reasoning",
    "redacted_thinking",
    "thinking",
)
_NOT_PLAIN: Final = (ChatMessage, RemoveMessage, ToolMessage)
_RAW_CALLS: Final = "tool_calls"
"""In ``additional_kwargs``: the calls once more, which an adapter sends where it finds no others."""


def for_prompt(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Make of messages what a provider accepts: each call answered, each result right behind its call.

    A result that came late moves up to its call. A call that was never answered goes, and so does a result whose call is
    not there; what else their messages say stays, as a copy. Calls that were stored one by one, as the Agents SDK does, are
    one message again. Orders to delete and rows that could not be read are left out. Everything else is the same object.
    """
    if all(map(_is_plain, messages)):
        return list(messages)
    return [message for step in _steps(messages) for message in (*_joined(step.callers), *step.results)]


def for_prompt_before(messages: Sequence[BaseMessage], given: Sequence[BaseMessage]) -> list[BaseMessage]:
    """As ``for_prompt``, where ``given`` is said next: the results in it may answer the last calls here."""
    if any(map(result_ids, given)):
        found = for_prompt([*messages, *given])
        at = max(len(found) - len(given), 0)
        if list(map(id, found[at:])) == list(map(id, given)):
            return found[:at]
    return for_prompt(messages)


def in_order(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """As ``for_prompt``, but with calls that were stored one by one left as they are: for dialects, which join them."""
    if all(map(_is_plain, messages)):
        return list(messages)
    return [message for step in _steps(messages) for message in (*step.callers, *step.results)]


@dataclass(slots=True)
class _Step:
    """A message, or messages that only go on calling; the results of what they call; what is not answered."""

    callers: list[BaseMessage]
    pending: set[str | None]
    results: list[BaseMessage] = field(default_factory=list)


def _steps(messages: Sequence[BaseMessage]) -> list[_Step]:
    steps: list[_Step] = []
    waiting: dict[str | None, _Step] = {}
    for message in _without_broken_server_calls(messages):
        if isinstance(message, RemoveMessage) or is_placeholder(message):
            continue
        answered = result_ids(message)
        rest = _file_results(message, answered, steps, waiting) if answered else message
        if rest is not None:
            _file(rest, steps, waiting)
    return [step for step in map(_settled, steps) if step.callers]


def _is_plain(message: BaseMessage) -> bool:
    """Whether a message is words alone: most are, and every read pays for this."""
    if type(message.content) is not str:
        return False
    if isinstance(message, AIMessage):
        return not (message.tool_calls or message.invalid_tool_calls)
    return not isinstance(message, _NOT_PLAIN)


def _file(message: BaseMessage, steps: list[_Step], waiting: dict[str | None, _Step]) -> None:
    """Begin a step with a message, or go on with the one before where it only calls more."""
    calls = set(call_ids(message))
    last = steps[-1] if steps else None
    if last and calls and _goes_on(last, message) and not calls & last.pending:
        last.callers.append(message)
        last.pending |= calls
    else:
        last = _Step([message], calls)
        steps.append(last)
    waiting.update(dict.fromkeys(calls - {None}, last))


def _goes_on(step: _Step, message: BaseMessage) -> bool:
    """Whether a message only adds to calls of which none is answered."""
    if not step.pending or step.results or not isinstance(message, AIMessage):
        return False
    if any(_has_fields(caller) != _has_fields(message) for caller in step.callers):
        return False  # as one message, calls that only a block tells of would be lost beside those in fields
    content = message.content
    said = [] if isinstance(content, str) else [b for b in content if trace(b) is None and not is_blank(b)]
    return not said and not (isinstance(content, str) and content)


def _has_fields(message: BaseMessage) -> bool:
    return isinstance(message, AIMessage) and bool(message.tool_calls or message.invalid_tool_calls)


def _file_results(
    message: BaseMessage,
    answered: Sequence[str | None],
    steps: list[_Step],
    waiting: dict[str | None, _Step],
) -> BaseMessage | None:
    """Put results behind their calls, and return what else the message says."""
    found = [waiting.pop(name, None) for name in answered]
    for name, step in zip(answered, found, strict=True):
        if step is not None:
            step.pending.discard(name)
    if _is_only_results(message, answered):
        if found[0] is not None and all(step is found[0] for step in found):
            found[0].results.append(message)
            return None
    elif all(step is not None and step is steps[-1] and not step.pending for step in found):
        steps[-1].results.append(message)  # results and words in one message, where a provider wants them
        return None
    return _parted(message, found)


def _parted(message: BaseMessage, found: Sequence[_Step | None]) -> BaseMessage | None:
    """Part the results of a message: each goes to its step, and what is left is returned, if anything is."""
    if isinstance(message, ToolMessage):
        return None  # nobody waits for it
    steps = iter(found)
    parts: dict[int, tuple[_Step, list[Any]]] = {}
    rest = []
    for block in message.content:
        one = trace(block)
        if one is None or one.kind != "result":
            rest.append(block)
        elif (step := next(steps)) is not None:
            parts.setdefault(id(step), (step, []))[1].append(block)
    for step, blocks in parts.values():
        step.results.append(message.model_copy(update={"content": blocks, "id": None}))
    return message.model_copy(update={"content": rest}) if not all(map(is_blank, rest)) else None


def _settled(step: _Step) -> _Step:
    """A step without the calls that nobody answered."""
    if not step.pending:
        return step
    callers = [_without_calls(caller, step.pending) for caller in step.callers]
    return _Step([caller for caller in callers if caller is not None], set(), step.results)


def _without_calls(message: BaseMessage, names: set[str | None]) -> BaseMessage | None:
    """A copy without some of its calls; ``None`` where nothing is left that a model could be shown."""
    ids = call_ids(message)
    if not names.intersection(ids):
        return message
    some_left = not names.issuperset(ids)
    content: Any = message.content
    if not isinstance(content, str):
        gone = names | {call["name"] for call in _calls(message) if call.get("id") in names}
        # thoughts lead up to a call: without it a provider refuses them
        content = [b for b in content if not _is_call(b, gone) and (some_left or not _is_thought(b))]
    if not some_left and all(map(is_blank, [content] if isinstance(content, str) else content)):
        return None
    return message.model_copy(update={"content": content, **_calls_left(message, names)})


def _calls(message: BaseMessage) -> list[Any]:
    return [*message.tool_calls, *message.invalid_tool_calls] if isinstance(message, AIMessage) else []


def _calls_left(message: BaseMessage, names: set[str | None]) -> dict[str, Any]:
    if not isinstance(message, AIMessage):
        return {}
    update: dict[str, Any] = {
        "tool_calls": [call for call in message.tool_calls if call.get("id") not in names],
        "invalid_tool_calls": [call for call in message.invalid_tool_calls if call.get("id") not in names],
    }
    if hasattr(message, "tool_call_chunks"):
        update["tool_call_chunks"] = [c for c in message.tool_call_chunks if c.get("id") not in names]
    if _RAW_CALLS in message.additional_kwargs:
        kept = {name: value for name, value in message.additional_kwargs.items() if name != _RAW_CALLS}
        update["additional_kwargs"] = kept
    return update


def _joined(callers: list[BaseMessage]) -> list[BaseMessage]:
    """Calls that were stored one by one as one message: their results must follow it."""
    if len(callers) == 1:
        return callers
    first = callers[0]
    replies = [caller for caller in callers if isinstance(caller, AIMessage)]
    content: Any = first.content
    if any(not isinstance(reply.content, str) for reply in replies):
        content = list(chain.from_iterable(_blocks(reply.content) for reply in replies))
    kept = {name: value for name, value in first.additional_kwargs.items() if name != _RAW_CALLS}
    update = {
        "content": content,
        "tool_calls": [call for reply in replies for call in reply.tool_calls],
        "invalid_tool_calls": [call for reply in replies for call in reply.invalid_tool_calls],
        "additional_kwargs": kept,
    }
    return [first.model_copy(update=update)]


def _blocks(content: str | list[Any]) -> list[Any]:
    if not isinstance(content, str):
        return content
    return [{"type": "text", "text": content}] if content else []


def _without_broken_server_calls(messages: Sequence[BaseMessage]) -> Iterable[BaseMessage]:
    """Leave out what a provider's own tools were asked and never answered, as a stream that broke off leaves behind."""
    asked = {name for message in messages for name in server_ids(message, "server_call")}
    answered = {name for message in messages for name in server_ids(message, "server_result")}
    if asked == answered:
        return messages
    return _whole(messages, asked ^ answered)


def _whole(messages: Sequence[BaseMessage], broken: set[str | None]) -> Iterator[BaseMessage]:
    for message in messages:
        if broken.isdisjoint((*server_ids(message, "server_call"), *server_ids(message, "server_result"))):
            yield message
            continue
        left = [block for block in message.content if not _is_server_call(block, broken)]
        if not all(is_blank(block) or _is_thought(block) for block in left):
            yield message.model_copy(update={"content": left})


def _is_only_results(message: BaseMessage, answered: Sequence[str | None]) -> bool:
    return bool(answered) and (isinstance(message, ToolMessage) or only_results(message.content))


def _is_call(block: object, names: set[str | None]) -> bool:
    found = trace(block)
    return found is not None and found.kind == "call" and found.id in names


def _is_server_call(block: object, names: set[str | None]) -> bool:
    found = trace(block)
    return found is not None and found.kind.startswith("server") and found.id in names


def _is_thought(block: object) -> bool:
    return isinstance(block, dict) and block.get("type") in _THOUGHTS
