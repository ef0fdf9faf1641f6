"""Runs of other processes: ours are handed on to them, and theirs are followed, for as long as there is a Redis between."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final
from uuid import UUID

from convmemory._async.run_relay import LEASE, AsyncRunRelay, RelayedRun
from convmemory.api.chat.runs import BEAT, HEARTBEAT, Busy, Run
from convmemory.errors import ConvMemoryError

logger = logging.getLogger("convmemory.api.chat")

GATHERED: Final = 0.2
"""Seconds for which frames are gathered before they are handed on, and after which a reader looks for more."""
ALIVE: Final = LEASE / 3_000
"""Seconds after which a run that says nothing says that it is alive."""
MOST_BYTES: Final = 4_000_000
"""What is handed on of one run: Redis holds it for all of them."""
CUT: Final = "cut"
"""How a run ends for its readers elsewhere that sends more."""


class RunElsewhere:
    """A run of another process; read as a ``Run`` is, but for its result, which is what is stored in the end."""

    result: object = None

    def __init__(self, relay: AsyncRunRelay, conversation: UUID, found: RelayedRun, lost: bytes) -> None:
        self._relay = relay
        self._conversation = conversation
        self._lost = lost
        self._run = found.run
        self.key = found.key
        self.question = found.question

    async def follow(self) -> AsyncIterator[bytes]:
        """What it sends, from its beginning until it is over; where its process died, that it broke off."""
        at, heard = 0, time.monotonic()
        while True:
            try:
                found = await self._relay.read(self._conversation, at)
            except ConvMemoryError:
                found = None
            if found is None or found.run != self._run:
                yield self._lost
                return
            if found.frames:
                at, heard = found.last, time.monotonic()
                yield b"".join(found.frames)
            if found.state:
                return
            if not found.frames:
                if time.monotonic() - heard > HEARTBEAT:
                    heard = time.monotonic()
                    yield BEAT
                await asyncio.sleep(GATHERED)

    async def ended(self) -> None:
        """Wait until it is over."""
        async for _ in self.follow():
            pass


class Relay:
    """Between the processes of one application; without a Redis each process knows of its own runs alone."""

    def __init__(self, relay: AsyncRunRelay, lost: bytes) -> None:
        self._relay = relay
        self._lost = lost
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    async def begin(self, run: Run, *, over: bool = False) -> RunElsewhere | None:
        """Take a conversation for a run; the one of the same request that is on its way elsewhere, if there is one.

        One that the same request began and that came to its end is left as it is, for who still reads it, but where it is
        to be taken ``over``.

        Raises:
            Busy: Another is on its way there.
        """
        taken, before = None, self._tasks.get(run.conversation)
        if before is not None:  # whose end is being told
            await asyncio.wait({before}, timeout=ALIVE)
        with suppress(ConvMemoryError):
            taken = await self._relay.begin(run.conversation, run.run_id, run.key or "", over=over)
        if taken is None or taken[1]:
            return None
        if run.key is None or taken[0] != run.key:
            raise Busy
        return await self.find(run.conversation)

    async def find(self, conversation: UUID) -> RunElsewhere | None:
        """The run that is on its way in a conversation, in whichever process."""
        found = None
        with suppress(ConvMemoryError):
            found = await self._relay.read(conversation)
        if found is None or found.state:
            return None
        return RunElsewhere(self._relay, conversation, found, self._lost)

    async def stop(self, conversation: UUID) -> None:
        """Ask whoever has the run of a conversation to end it."""
        with suppress(ConvMemoryError):
            await self._relay.stop(conversation)

    async def release(self, run: Run) -> None:
        """Let go of a conversation whose run did not begin."""
        await self._write(run, 0, state="failed")

    def hand_on(self, run: Run) -> None:
        """Hand on what a run sends, until it is over."""
        task = asyncio.create_task(self._hand_on(run), name="convmemory relay")
        self._tasks[run.conversation] = task
        task.add_done_callback(lambda _: self._forget(run.conversation, task))

    def _forget(self, conversation: UUID, task: asyncio.Task[None]) -> None:
        if self._tasks.get(conversation) is task:
            del self._tasks[conversation]

    async def drained(self) -> None:
        """Wait until the ends of all runs have been handed on."""
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()), timeout=ALIVE)

    async def _hand_on(self, run: Run) -> None:
        at, size = 0, 0
        while True:
            over, frames = run.over, run.frames[at:]
            size += sum(map(len, frames))
            state = str(run.state) if over else CUT if size > MOST_BYTES else ""
            said = await self._write(run, at, state=state)
            if said == "stop":
                run.stop()
            if said == "lost" or (state and said is not None):
                return
            if over:  # Redis is away: those elsewhere find out by the lease
                return
            if said is not None:
                at += len(frames)
            else:
                size -= sum(map(len, frames))
            with suppress(TimeoutError):
                await asyncio.wait_for(run.ended(), GATHERED)
            if said is not None:
                await run.changed(at, ALIVE)

    async def _write(self, run: Run, at: int, *, state: str) -> str | None:
        try:
            return await self._relay.write(
                run.conversation, run.run_id, at + 1, run.frames[at:], question=run.question, state=state
            )
        except ConvMemoryError as error:
            logger.debug("an answer was not handed on: %s", error)
            return None
