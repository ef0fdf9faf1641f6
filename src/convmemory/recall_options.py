"""What is asked of a recall besides its question: hooks of the caller's, and how much is to come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from convmemory.arguments import (
    checked_limit,
    checked_roles,
    checked_share,
    optional_flag,
    optional_id,
    optional_moment,
    optional_span,
)
from convmemory.errors import InvalidArgument
from convmemory.models import Message
from convmemory.search_results import Recalled, Recollection
from convmemory.windows.window_size import TokenCounter

Rewrite: TypeAlias = Callable[[str], str | Awaitable[str]]
"""Says a question in other words; an awaited memory's may be awaited."""
Rerank: TypeAlias = Callable[
    [str, Sequence[Recollection]], Iterable[Recollection] | Awaitable[Iterable[Recollection]]
]
"""Puts what was found for a question into another order, or leaves some of it out; an awaited memory's may be awaited."""
OPTIONS: Final = (
    *("roles", "dept_id", "archived", "since", "until", "conversation_id", "apart_from", "neighbours"),
    *("max_tokens", "token_counter", "floor", "half_life", "rewrite", "rerank"),
)
"""What ``recall`` takes besides the question, its user and ``k``."""


_CHECKS: Final[dict[str, Callable[[str, Any], object]]] = {
    "dept_id": optional_id,
    "archived": optional_flag,
    "since": optional_moment,
    "until": optional_moment,
    "neighbours": lambda name, value: value == 0 or checked_limit(name, value, 20),
    "max_tokens": lambda name, value: checked_limit(name, value, 2**31),
    "floor": checked_share,
    "half_life": optional_span,
}


def checked_hooks(**hooks: object) -> None:
    """See that functions are given where functions are wanted.

    Raises:
        InvalidArgument: One of them is none.
    """
    for name, hook in hooks.items():
        if hook is not None and not callable(hook):
            raise InvalidArgument(name, f"must be a function, not of type {type(hook).__name__}")


def checked_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of ``recall`` that are given before it is called: what is wrong with them is told at once.

    Raises:
        InvalidArgument: One of them is none of its options, or none that it may be.
    """
    options = dict(given)
    for name in options:
        if name not in OPTIONS:
            raise InvalidArgument(name, f"no such option of recall; there are {', '.join(OPTIONS)}")
    for name, checked in _CHECKS.items():
        if options.get(name) is not None:
            checked(name, options[name])
    if "roles" in options:
        options["roles"] = checked_roles("roles", options["roles"])
    checked_hooks(**{name: options.get(name) for name in ("token_counter", "rewrite", "rerank")})
    return options


def counts(counter: TokenCounter | None) -> Callable[[Message], int]:
    """How many tokens a message has; without a counter one is four characters."""
    if counter is None:
        return lambda message: len(message.content) // 4 + 1
    return lambda message: counter([message.message])


def within(found: Recalled, max_tokens: int | None, count: Callable[[Message], int]) -> Recalled:
    """What of it has no more tokens than that: the first that does not fit ends it, and neighbours come where room is left."""
    if max_tokens is None:
        return found
    left = max_tokens
    kept: list[Recollection] = []
    for one in found:
        left -= (cost := count(one.message))
        if left < 0:
            left += cost
            break
        kept.append(one)
    for n, one in enumerate(kept):
        beside: list[Message] = []
        for message in one.beside:
            if (cost := count(message)) <= left:
                left -= cost
                beside.append(message)
        kept[n] = one.model_copy(update={"beside": tuple(beside)})
    return found.model_copy(update={"items": tuple(kept)})
