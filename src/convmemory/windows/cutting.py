"""Which of a conversation's messages a model sees: whole turns.

A turn is what a person says and everything up to the next time: a human message that only carries the results of
tools, as Anthropic has them, is part of a turn. These functions are pure: they take messages
in order, oldest first, and return the same objects in a new list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langchain_core.messages import BaseMessage

from convmemory.encoding.tool_blocks import begins_turn, result_ids


def recent(
    messages: Sequence[BaseMessage], max_messages: int | None, *, hard_max: int, whole: bool = True
) -> list[BaseMessage]:
    """Cut the window of at most ``max_messages`` that ends with the newest message.

    What fits is returned as it is, if ``whole`` says that these are all the messages there are. Otherwise
    the window starts at the earliest turn that fits; if the newest turn alone is longer, it is that
    turn, bounded by its newest ``hard_max`` messages; with no human message at all, the newest
    ``max_messages``. ``None`` means everything. A tail that starts where ``span`` says gives the same window
    as the whole conversation: pass ``whole=False`` for it, unless it starts at the first message.
    """
    if max_messages is None:
        return list(messages)
    limit = min(max_messages, hard_max)
    if whole and len(messages) <= limit:
        return list(messages)
    tail = max(0, len(messages) - limit)
    fitting = next((at for at in range(tail, len(messages)) if begins_turn(messages[at])), None)
    if fitting is not None:  # nearly always, and at the first look
        return list(messages[fitting:])
    humans = [at for at in range(tail) if begins_turn(messages[at])]
    if whole and not humans:
        return list(messages[tail:])
    turn = humans[-1] if humans else 0  # a tail without one: its turn began before it
    return list(messages[max(turn, len(messages) - hard_max) :])


def span(last_seq: int, newest_human_seq: int, max_messages: int, hard_max: int, gaps: int = 0) -> int:
    """The first place that must be on hand to answer ``recent``, never below that of the oldest message there is.

    Places count from 1, or ``gaps`` more, to ``last_seq``; ``newest_human_seq``, where the newest turn begins, is 0 where no person has spoken. A cached tail
    that starts at the result, or before it, needs no other read.
    """
    start = last_seq - max_messages + 1
    return max(gaps + 1, last_seq - hard_max + 1, min(start, newest_human_seq or start))


def newest_turns(messages: Sequence[BaseMessage], max_turns: int) -> list[BaseMessage]:
    """Keep the newest ``max_turns`` turns; what comes before the first turn is none."""
    starts = [at for at, message in enumerate(messages) if begins_turn(message)]
    return list(messages[starts[-max_turns] :] if len(starts) > max_turns else messages)


def within_tokens(
    messages: Sequence[BaseMessage], max_tokens: int, count: Callable[[list[BaseMessage]], int]
) -> list[BaseMessage]:
    """Keep the newest whole turns that ``count`` puts at ``max_tokens`` or fewer.

    The newest turn is always kept, even where it is larger. A conversation without human messages is cut
    between its blocks instead (an AI message and its tool results). ``count`` is called once when everything
    fits, else once per halving of the number of turns; more messages must never count as fewer tokens.
    """
    if not messages or count(list(messages)) <= max_tokens:
        return list(messages)
    starts = [at for at, message in enumerate(messages) if begins_turn(message)]
    starts = starts or [at for at, message in enumerate(messages) if not result_ids(message)] or [0]
    low, high = 0, len(starts) - 1
    while low < high:
        middle = (low + high) // 2
        if count(list(messages[starts[middle] :])) <= max_tokens:
            high = middle
        else:
            low = middle + 1
    return list(messages[starts[low] :])
