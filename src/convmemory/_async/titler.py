"""Titles by a caller's model or function, once a conversation's first turn is stored: beside the requests that speak in it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

from langchain_core.messages import BaseMessage

from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory.errors import ConvMemoryError, InvalidArgument
from convmemory.ids import ConversationKey
from convmemory.storage.titles import Titles, is_model, made_title, title_request
from convmemory.tiers.asking import asaid
from convmemory.tiers.waiting import aapart, agone, ahere, aover, aworks
from convmemory.windows.tool_pairing import for_prompt

logger = logging.getLogger("convmemory.titles")

LONGEST: Final = 60.0
"""Seconds within which a title is made, or none is."""
AT_ONCE: Final = 4
HANGING: Final = 2 * AT_ONCE
"""How many are asked for while none of them comes, for which nobody waits any more."""
WAITING: Final = 1_000
"""Conversations that may wait for a title; what comes when there are more keeps the one it has."""
_KNOWN: Final = 10_000
_FOR: Final = 60.0
"""Of how many conversations, and for how many seconds, it is known that they want no title any more."""
_TRIES: Final = 5
_AT_THE_END: Final = 5.0
"""Seconds for which a memory that is closed waits for titles."""


class AsyncTitler:
    """Makes titles of first turns, a few at once, and gives them to conversations that nobody has named.

    Whatever goes wrong costs the title and nothing else: the automatic one stays.
    """

    def __init__(self, postgres: AsyncPostgresStore, titles: Titles) -> None:
        if not is_model(titles) and not callable(titles):
            raise InvalidArgument(
                "titles",
                f"must be a model or a function of a list of messages, not of type {type(titles).__name__}",
            )
        self._postgres = postgres
        self._titles: Any = titles
        self._waiting: OrderedDict[UUID, ConversationKey] = OrderedDict()
        self._settled: OrderedDict[UUID, float] = OrderedDict()
        self._changes = 0
        self._works: dict[object, tuple[Any, Any]] = {}
        self._lock = threading.Lock()
        self._asking: list[threading.Thread] = []
        self._process = os.getpid()

    def answered(self, key: ConversationKey) -> None:
        """Somebody was answered in a conversation: see to its title, if this was its first turn."""
        known = self._settled.get(key.uuid)
        if known is not None and time.monotonic() - known < _FOR:
            return
        if self._process != os.getpid():  # who was at it, and may have held the lock, is in another process
            self._process, self._lock = os.getpid(), threading.Lock()
            self._works.clear()
            self._waiting.clear()
            self._asking.clear()
        with self._lock:
            if len(self._waiting) >= WAITING:
                return
            self._waiting[key.uuid] = key
            for name, (where, work) in [*self._works.items()]:
                if agone(where) or not aworks(work):  # it did not come to its end
                    del self._works[name]
            if len(self._works) < AT_ONCE:
                name = object()
                self._works[name] = ahere(), aapart(partial(self._make_all, name))

    def changed(self, key: ConversationKey) -> None:
        """Something that a title may have been made of was changed or deleted."""
        self._changes += 1
        self._settled.pop(key.uuid, None)

    async def close(self) -> None:
        """Wait a little for titles that are being made."""
        place = ahere()
        if self._process == os.getpid():
            await aover([work for where, work in [*self._works.values()] if where == place], _AT_THE_END)

    async def _make_all(self, name: object) -> None:
        while (key := self._next(name)) is not None:
            try:
                await self._make(key)
            except ConvMemoryError as error:  # PostgreSQL is away, or the memory was closed
                logger.warning("a title was not stored: %s", error)

    def _next(self, name: object) -> ConversationKey | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popitem(last=False)[1]
            self._works.pop(name, None)
            return None

    async def _make(self, key: ConversationKey) -> None:
        shown: list[BaseMessage] = []
        title: str | None = None
        seen = self._changes
        for _ in range(_TRIES):
            turn = await self._postgres.first_turn(key)
            if turn is None:
                self._settle(key, seen)
                return
            if not _is_answered(turn.messages):
                return
            if turn.messages != shown:
                shown = turn.messages
                title = await self._made(shown)
            given, source = title, "model"
            if given is None:  # the automatic one stays, or is made where it went with what it was made of
                given, source = turn.automatic(), "auto"
            if given is None or await self._postgres.entitle(key, given, source, turn):
                self._settle(key, seen)
                return

    async def _made(self, turn: Sequence[BaseMessage]) -> str | None:
        self._asking = [thread for thread in self._asking if thread.is_alive()]
        if len(self._asking) >= HANGING:
            logger.warning("a title was not made: %d asked for before did not come", len(self._asking))
            return None
        given = for_prompt(list(turn))
        titles = self._titles
        try:
            if is_model(titles):
                ask: Callable[[], Any] = partial(titles.ainvoke, title_request(given))
            else:
                ask = partial(titles, given)
            return made_title(await asaid(ask, LONGEST, self._asking.append))
        except Exception as error:  # noqa: BLE001 - whatever a caller's code raises, the conversation has a title
            logger.warning("a title was not made: %s", type(error).__name__)
            return None

    def _settle(self, key: ConversationKey, seen: int) -> None:
        if seen != self._changes:  # perhaps of this very conversation, which then has a first turn again
            return
        self._settled[key.uuid] = time.monotonic()
        self._settled.move_to_end(key.uuid)
        while len(self._settled) > _KNOWN:
            self._settled.popitem(last=False)


def _is_answered(turn: Sequence[BaseMessage]) -> bool:
    return bool(turn) and turn[-1].type == "ai" and not getattr(turn[-1], "tool_calls", None)
