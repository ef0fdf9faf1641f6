"""Runs of other processes: ours are handed on to them, and theirs are followed, for as long as there is a Redis between."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
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
"""The state of a run that has sent more than that: it goes on, and for its readers elsewhere it broke off."""


_BEHIND_ALL: Final = 2**53
"""A place behind every frame: of a run that is read from there only its state is told."""


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
                if not at:  # it did not begin after all
                    yield self._lost
                return
            if not found.frames:
                if time.monotonic() - heard > HEARTBEAT:
                    heard = time.monotonic()
                    yield BEAT
                await asyncio.sleep(GATHERED)

    async def ended(self) -> None:
        """Wait until it is over, whatever of it can be read."""
        with suppress(ConvMemoryError):
            while (found := await self._relay.read(self._conversation, _BEHIND_ALL)) is not None:
                if found.run != self._run or found.state not in {"", CUT}:
                    return
                await asyncio.sleep(GATHERED)


class Relay:
    """Between the processes of one application; without a Redis each process knows of its own runs alone."""

    def __init__(self, relay: AsyncRunRelay, lost: bytes) -> None:
        self._relay = relay
        self._lost = lost
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._late: dict[str, asyncio.Task[None]] = {}
        """Those that nobody waits for, by their run: Redis did not take its end."""

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
        run.answered_before = taken is not None and taken[1] not in {"", CUT}
        if taken is None or run.answered_before or await self._is_over(run.conversation):
            return None
        elsewhere = await self.find(run.conversation) if run.key and taken == (run.key, "") else None
        if elsewhere is None:
            raise Busy
        return elsewhere

    async def answered(self, conversation: UUID) -> UUID | None:
        """The question that the run answered which came to its end just now."""
        with suppress(ConvMemoryError):
            found = await self._relay.read(conversation)
            return None if found is None else found.question
        return None

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
        await self._write(run, 0, [], state="failed")

    def hand_on(self, run: Run) -> None:
        """Hand on what a run sends, until it is over."""
        task = asyncio.create_task(self._hand_on(run), name="convmemory relay")
        self._tasks[run.conversation] = task
        task.add_done_callback(lambda _: self._forget(run, task))

    def _forget(self, run: Run, task: asyncio.Task[None]) -> None:
        if self._tasks.get(run.conversation) is task:
            del self._tasks[run.conversation]
        self._late.pop(run.run_id, None)

    def _let_wait(self, run: Run) -> None:
        """Have nobody wait any longer for the end of a run to be told."""
        task = self._tasks.pop(run.conversation, None)
        if task is not None:
            self._late[run.run_id] = task

    async def _is_over(self, conversation: UUID) -> bool:
        """Whether the run that Redis has on its way there is one of ours, and over."""
        with suppress(ConvMemoryError):
            found = await self._relay.read(conversation, _BEHIND_ALL) if self._late else None
            return found is not None and found.run in self._late
        return False

    async def drained(self) -> None:
        """Wait until the ends of all runs have been handed on."""
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()), timeout=ALIVE)

    async def _hand_on(self, run: Run) -> None:
        at, size, told_of_cut = 0, 0, False
        late = None  # when an end that cannot be told is told by the lease
        while late is None or time.monotonic() < late:
            over, frames = run.over, run.frames[at:]
            length = sum(map(len, frames))
            cut = size + length > MOST_BYTES
            if cut:
                frames = [] if told_of_cut else [self._lost]
            said = await self._write(run, at, frames, state=str(run.state) if over else CUT if cut else "")
            if said == "stop":
                run.stop()
            if said == "lost" or (over and said is not None):
                return
            if cut:
                told_of_cut = told_of_cut or said is not None
            elif said is not None:
                at, size = at + len(frames), size + length
            if over:
                if late is None:
                    late = time.monotonic() + LEASE / 1_000
                    self._let_wait(run)
                await asyncio.sleep(GATHERED)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(run.ended(), ALIVE if told_of_cut else GATHERED)
            if said is not None and not cut:
                await run.changed(at, ALIVE)

    async def _write(self, run: Run, at: int, frames: Sequence[bytes], *, state: str) -> str | None:
        try:
            return await self._relay.write(
                run.conversation, run.run_id, at + 1, frames, question=run.question, state=state
            )
        except ConvMemoryError as error:
            logger.debug("an answer was not handed on: %s", error)
            return None
