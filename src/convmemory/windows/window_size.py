"""How much of a conversation a history shows: so many messages, turns, tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from langchain_core.messages import BaseMessage

from convmemory.encoding.codec import unpack
from convmemory.windows.collection import uncollected
from convmemory.windows.cutting import newest_turns, recent, within_tokens
from convmemory.windows.snapshots import Snapshot
from convmemory.windows.tool_pairing import for_prompt

TokenCounter = Callable[[list[BaseMessage]], int]


@dataclass(frozen=True, slots=True)
class WindowSize:
    """The newest ``messages`` (``None``: all), of them the newest ``turns``, of those what ``counter`` puts at ``tokens``.

    Whole turns always; the newest is shown up to ``hard`` messages, however long it is.
    """

    messages: int | None
    hard: int
    turns: int | None = None
    tokens: int | None = None
    counter: TokenCounter | None = None

    def cut(self, snapshot: Snapshot) -> list[BaseMessage]:
        """The messages of a snapshot that are shown."""
        with uncollected(len(snapshot.entries)):
            found = [unpack(entry) for entry in snapshot.entries]
        window = recent(found, self.messages, hard_max=self.hard, whole=snapshot.whole)
        if self.turns is not None:
            window = newest_turns(window, self.turns)
        if self.tokens is not None and self.counter is not None:
            window = within_tokens(window, self.tokens, self.counter)
        return window


def prompt_within(
    messages: list[BaseMessage], max_tokens: int | None, counter: TokenCounter | None
) -> list[BaseMessage]:
    """Messages as a prompt may hold them: the newest whole turns of them that fit, where there is a budget."""
    window = for_prompt(messages)
    if max_tokens is None or counter is None:
        return window
    return for_prompt(within_tokens(window, max_tokens, counter))
