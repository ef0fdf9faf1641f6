"""What a worker does: it reads and writes conversations through the public API and notes what it saw.

One awaited text serves both colours: over blocking objects nothing in it ever waits for a loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from convmemory import ConversationNotFound, StorageUnavailable
from convmemory.tiers.breaker import TierHealth
from fix_memory import add, read
from torture.records import MISSING, OK, UNKNOWN

HOT = 2.0
"""How much the first conversations are preferred."""
WANTS = (6, 6, 6, 6, 6, 2, 12, 30)
SHAPES = ("ha", "ha", "ha", "h", "a", "haa")
CUT = 0.04
"""How often an awaited call is given up after a few milliseconds, as by a client that hangs up."""
OVERLAP = 0.5
"""How often a batch whose messages have ids is sent once more together with the next one."""
PAUSE = 0.03
"""Seconds a lane rests after an error, as an application would that backs off."""
_NONE = TierHealth("no Redis")
now = time.perf_counter  # CLOCK_MONOTONIC, and beyond the reach of a clock that jumps


@dataclass(frozen=True)
class Job:
    """What a worker is to do; all of it can be pickled."""

    name: str
    seed: int
    mode: str
    run: str
    postgres: str
    redis: str
    log: str
    began: float
    slots: int = 32
    wiped: int = 6
    epoch: float = 10.0
    variant: str = "library"
    wiping: float = 0.02
    journals: bool = False
    cache: str = ""
    far: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


class Log:
    """Appends JSON lines to a file in one system call each, so that what was noted survives the process."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, kind: str, **values: Any) -> None:
        os.write(self._file, json.dumps({"k": kind, **values}).encode() + b"\n")


@dataclass(frozen=True)
class Conversation:
    """One conversation as the run names it and as the library does."""

    label: str
    id: str
    user: str
    wiped: bool


class Lane:
    """One thread or task: it reads, writes, clears and trespasses, one operation after the other."""

    def __init__(self, job: Job, number: int, memory: Any, log: Log) -> None:
        self._job = job
        self._name = f"{job.name}.{number}"
        self._memory = memory
        self._log = log
        self._random = random.Random(f"{job.seed} {self._name}")
        self._count = 0
        self._stored: dict[str, list[BaseMessage]] = {}  # to be sent once more, before what is new
        self._rest = asyncio.sleep if job.mode == "async" else blocking_sleep

    async def run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                await self._operate(self._conversation())
            except Exception as error:
                self._log.note("surprise", at=now(), what=f"{type(error).__name__}: {error}"[:500])
                await self._rest(PAUSE)

    def _conversation(self) -> Conversation:
        job, slot = self._job, int(self._job.slots * self._random.random() ** HOT)
        # the conversations begin anew one after the other, so that none grows without end
        epoch = int((now() - job.began) / job.epoch + slot / job.slots)
        label = f"{job.run}e{epoch}s{slot}"
        name = str(uuid5(NAMESPACE_OID, label)) if slot % 2 else label
        return Conversation(label, name, f"user-{slot % 5}", slot % (job.slots // job.wiped) == 1)

    async def _operate(self, conversation: Conversation) -> None:
        dice = self._random.random()
        if dice < 0.35:
            await self._append(conversation)
        elif dice < 0.35 + self._job.wiping and conversation.wiped:
            await self._wipe(conversation, self._random.choice(("clear", "delete")))
        elif dice > 0.95:
            await self._read(conversation, None)
        elif dice > 0.92 and conversation.id != conversation.label:
            await self._trespass(conversation)
        else:
            await self._read(conversation, self._random.choice(WANTS))

    async def _append(self, conversation: Conversation) -> None:
        tokens, messages = self._batch(conversation, self._random.choice(SHAPES), self._random.random() < 0.5)
        named = bool(messages[0].id)
        again = 3 if named and self._random.random() < 0.7 else 1
        history = self._memory.history(conversation.id, user_id=conversation.user)
        sent = messages
        if named and not conversation.wiped:  # where nothing is cleared, what was acknowledged is there
            sent = [*self._stored.get(conversation.label, ()), *messages]
        while again:
            outcome = await self._write(
                "append", conversation, tokens, lambda: self._add(conversation, history, sent)
            )
            if outcome == OK:
                if named and not self._waits and self._random.random() < OVERLAP:
                    self._stored[conversation.label] = messages
                else:
                    self._stored.pop(conversation.label, None)
                return
            again -= 1
            await self._rest(self._random.uniform(0, 0.3))

    @property
    def _waits(self) -> bool:
        """Whether what this worker writes may wait in a journal: what was stored long before is found when it is drained."""
        return bool({"durability", "journal"} & self._job.settings.keys())

    async def _add(self, conversation: Conversation, history: Any, sent: list[BaseMessage]) -> bool:
        """Store messages; whether they wait in Redis for PostgreSQL."""
        if not self._job.journals:
            await add(history, sent)
            return False
        stored = await self._memory.save_messages(conversation.id, sent, user_id=conversation.user)
        return any(seq is None for seq in stored.seqs)

    def _batch(
        self, conversation: Conversation, shape: str, named: bool
    ) -> tuple[list[str], list[BaseMessage]]:
        tokens, messages = [], []
        for role in shape:
            self._count += 1
            token = f"{self._name}.{self._count}{role}"
            kind = HumanMessage if role == "h" else AIMessage
            tokens.append(token)
            messages.append(kind(f"{conversation.label}|{token}", id=token if named else None))
        return tokens, messages

    async def _wipe(self, conversation: Conversation, do: str) -> None:
        verb = self._memory.clear if do == "clear" else self._memory.delete_conversation
        await self._write(do, conversation, [], lambda: verb(conversation.id, user_id=conversation.user))

    async def _write(self, do: str, conversation: Conversation, tokens: list[str], call: Any) -> str:
        self._count += 1
        health = self._health
        marks, dark = health.counters.dirty_marks, health.open
        op, begin, how, pending = f"{self._name}-{self._count}", now(), UNKNOWN, None
        may = {"journals": True} if self._job.journals else {}
        self._log.note("begin", op=op, do=do, conv=conversation.label, tokens=tokens, at=begin, **may)
        try:
            pending, how = await self._perhaps_cut(call), OK
        except ConversationNotFound:
            how = MISSING
        except (StorageUnavailable, TimeoutError):
            pass
        end = now()
        marked = dark or health.open or health.counters.dirty_marks > marks
        facts = {"from": begin, "cache": self._job.cache, "far": self._job.far} | may
        if how == OK and pending is True:
            facts["pending"] = True
        self._log.note("end", op=op, at=end, how=how, marked=marked, **facts)
        if how == UNKNOWN:
            await self._rest(PAUSE)
        return how

    async def _read(self, conversation: Conversation, want: int | None) -> None:
        health = self._health
        failures, hits, dark = health.counters.failures, health.counters.hits, health.open
        begin, saw, how = now(), [], UNKNOWN
        with suppress(StorageUnavailable, TimeoutError):
            saw, how = await self._perhaps_cut(lambda: self._messages(conversation, want)), OK
        values = {"from": begin, "at": now(), "how": how, "want": want}
        values |= {"cache": self._job.cache, "far": self._job.far}
        dark = dark or health.open or health.counters.failures > failures
        hit = health.counters.hits > hits
        well = not dark and (self._memory.redis is None or self._memory.redis.trust.trusted)
        shown = [_token(conversation, message) for message in saw]
        self._log.note(
            "read", by=self._name, conv=conversation.label, saw=shown, dark=dark, hit=hit, well=well, **values
        )
        if how == UNKNOWN:
            await self._rest(PAUSE)

    @property
    def _health(self) -> TierHealth:
        """How Redis does, as this process sees it; nothing happens to one that is not there."""
        return _NONE if self._memory.redis is None else self._memory.redis.health

    async def _perhaps_cut(self, call: Any) -> Any:
        if self._job.mode != "async" or self._random.random() >= CUT:
            return await call()
        async with asyncio.timeout(self._random.uniform(0, 0.01)):
            return await call()

    async def _messages(self, conversation: Conversation, want: int | None) -> list[BaseMessage]:
        if self._random.random() < 0.9:
            return await read(
                self._memory.history(conversation.id, user_id=conversation.user, max_messages=want)
            )
        try:
            found: list[BaseMessage] = await self._memory.get_history(
                conversation.id, user_id=conversation.user, limit=want
            )
        except ConversationNotFound:
            return []
        return found

    async def _trespass(self, conversation: Conversation) -> None:
        begin, saw = now(), 0
        with suppress(ConversationNotFound, StorageUnavailable):
            saw = len(await read(self._memory.history(conversation.id, user_id="stranger")))
        self._log.note("trespass", conv=conversation.label, at=now(), saw=saw, **{"from": begin})


async def blocking_sleep(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - blocking lanes have a thread each


def _token(conversation: Conversation, message: BaseMessage) -> str:
    """The message's token; its whole text where it is another conversation's."""
    label, _, token = str(message.content).partition("|")
    return token if label == conversation.label else str(message.content)
