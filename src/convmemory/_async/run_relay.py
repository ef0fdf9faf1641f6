"""Answers that are on their way, for other processes to read along: in Redis, and only while they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from convmemory._async.tiered import AsyncTieredStore
from convmemory.errors import StorageUnavailable

LEASE: Final = 10_000
"""Milliseconds after which a run that is not written to has died, with its process."""
READ_AT_ONCE: Final = 500
"""Frames a reader is given at once."""


@dataclass(frozen=True, slots=True)
class RelayedRun:
    """What there is of a run, from a place on; ``state`` is empty while more may come."""

    run: str
    key: str
    question: UUID | None
    state: str
    last: int
    frames: tuple[bytes, ...]


class AsyncRunRelay:
    """What runs send, one run a conversation, under the conversation's row.

    Every verb raises ``StorageUnavailable`` where the memory has no Redis tier, or Redis is out of reach: a run goes on
    without, and only its own process knows of it.
    """

    def __init__(self, store: AsyncTieredStore) -> None:
        self._store = store

    async def begin(
        self, conversation: UUID, run: str, key: str, *, over: bool = False
    ) -> tuple[str, str] | None:
        """Take a conversation for a run.

        Where another is on its way there, its key and ``""`` (``cut``, where no more of it can be read); where the same request
        has been answered just now, its key and how that ended, unless it is to be taken ``over``.
        """
        found = await self._call("run_begin", conversation, run, key, LEASE, int(over))
        return None if found is None else (_text(found[0]), _text(found[1]))

    async def write(
        self,
        conversation: UUID,
        run: str,
        first: int,
        frames: Sequence[bytes],
        *,
        question: UUID | None,
        state: str,
    ) -> str:
        """Add frames, the ``first`` of that number, and live on: ``kept``, ``stop`` where somebody wants it to end, ``lost``."""
        asked = "" if question is None else str(question)
        return _text(await self._call("run_write", conversation, run, LEASE, asked, state, first, *frames))

    async def read(self, conversation: UUID, after: int = 0) -> RelayedRun | None:
        """What a run has sent behind a place; ``None`` where none is on its way, and none ended just now."""
        found = await self._call("run_read", conversation, after, READ_AT_ONCE)
        if not found:
            return None
        run, key, question, state, last, *frames = found
        row = UUID(_text(question)) if question else None
        return RelayedRun(_text(run), _text(key), row, _text(state), int(last), tuple(frames))

    async def stop(self, conversation: UUID) -> bool:
        """Ask whoever has the run to end it; whether there is one."""
        return bool(await self._call("run_stop", conversation))

    async def _call(self, script: str, conversation: UUID, *arguments: object) -> Any:
        redis = await self._store.hot()
        if redis is None:
            raise StorageUnavailable("Redis", script, "this memory has no Redis tier")
        return await redis.run_script(script, redis.keys.run(conversation), *arguments)


def _text(said: object) -> str:
    return said.decode() if isinstance(said, bytes) else str(said)
