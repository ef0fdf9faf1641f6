"""The runs of one process: which there are, who may begin another, and what each has sent so far. No I/O, and no clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID

HEARTBEAT: Final = 15.0
"""Seconds of silence after which a stream says that it is alive."""
BEAT: Final = b": \n\n"
MOST_BYTES: Final = 32_000_000
"""What one run may send."""
MOST_KNOWN: Final = 10_000
"""Conversations whose last request is known."""

State = Literal["running", "finished", "failed", "stopped"]


class Busy(Exception):
    """A run is going on in the conversation."""


class TooManyRuns(Exception):
    """The user has as many runs as one may have."""


class TooLong(Exception):
    """A run sent more than any may."""


@dataclass(eq=False)
class Run:
    """One run: what it has sent, and how it stands. Frames are kept for as long as it runs, for whoever comes back.

    However slow a reader is, it costs its place in the list, and holds up neither the run nor anybody else.
    """

    run_id: str
    user_id: str
    conversation: UUID
    key: str | None = None
    """What the request that began it was known by: the same request again is given this run."""
    question: UUID | None = None
    """The row of what it answers."""
    state: State = "running"
    frames: list[bytes] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    result: object = None
    """What whoever waits for the end is given."""
    wants_stop: bool = False
    answered_before: bool = False
    """Whether its request was answered just now, by a run that the conversation has yet to be taken over from."""
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it goes on, or is known not to."""
    _bytes: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.state != "running"

    def write(self, frame: bytes) -> None:
        """Send something more.

        Raises:
            TooLong: It is too much.
        """
        if not frame or self.over:
            return
        self._bytes += len(frame)
        if self._bytes > MOST_BYTES:
            raise TooLong
        self.frames.append(frame)
        self._wake()

    def end(self, state: State, last: bytes = b"", result: object = None) -> None:
        """Nothing more comes, after this; once."""
        if self.over:
            return
        if last:
            self.frames.append(last)
        self.result = result
        self.state = state
        self._wake()

    def stop(self) -> None:
        """Have it end early; what it has said is kept."""
        if not self.over and not self.wants_stop:
            self.wants_stop = True
            if self.task is not None:
                self.task.cancel()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def follow(self, at: int = 0) -> AsyncIterator[bytes]:
        """What it sends from a place on, until it is over; and a sign of life where it is silent for long."""
        while True:
            changed = self._changed
            if at < len(self.frames):
                sent, at = b"".join(self.frames[at:]), len(self.frames)
                yield sent
            elif self.over:
                return
            else:
                try:
                    await asyncio.wait_for(changed.wait(), HEARTBEAT)
                except TimeoutError:
                    yield BEAT

    async def changed(self, at: int, seconds: float) -> None:
        """Wait until it has sent more than so many frames, or is over; or for so long."""
        changed = self._changed
        if len(self.frames) <= at and not self.over:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), seconds)

    async def ended(self) -> None:
        """Wait until it is over."""
        while not self.over:
            await self._changed.wait()


class Runs:
    """The runs that go on in this process: one in a conversation at most, and so many for a user."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._here: dict[UUID, Run] = {}
        self._last: dict[UUID, tuple[str, UUID]] = {}

    def __len__(self) -> int:
        return len(self._here)

    def find(self, conversation: UUID) -> Run | None:
        """The run that goes on in a conversation."""
        return self._here.get(conversation)

    def begin(self, run: Run) -> None:
        """Take the conversation for a run.

        Raises:
            Busy: Another is going on there.
            TooManyRuns: Its user has as many as one may.
        """
        if run.conversation in self._here:
            raise Busy
        if sum(one.user_id == run.user_id for one in self._here.values()) >= self._most:
            raise TooManyRuns
        self._here[run.conversation] = run

    def forget(self, run: Run) -> None:
        """Let go of it; whoever reads it still does so to its end."""
        run.settled.set()
        if self._here.get(run.conversation) is run:
            del self._here[run.conversation]
        if run.key is not None and run.question is not None:
            self._last.pop(run.conversation, None)
            self._last[run.conversation] = run.key, run.question
            if len(self._last) > MOST_KNOWN:
                del self._last[next(iter(self._last))]

    def answered(self, conversation: UUID, key: str | None) -> UUID | None:
        """The question that the last run in a conversation answered, if it was begun by the request of this key."""
        known, question = self._last.get(conversation, (None, None))
        return question if key is not None and known == key else None

    def all(self) -> list[Run]:
        """Those that go on."""
        return list(self._here.values())
