"""Every rule of the protocol left out of the real scripts, statements and code: what the state machine must catch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from convmemory._async import tiered
from convmemory._async.redis_store import AsyncRedisStore
from convmemory._async.tiered import AsyncTieredStore
from convmemory.errors import StorageError
from convmemory.ids import ConversationKey
from convmemory.windows.snapshots import Snapshot, Written
from convmemory.windows.trust import Trust
from model.machine import APART, Topic

READ, PUBLISH, FILL = "window_read", "window_publish", "window_fill"
Edits = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Mutant:
    """Edits of scripts and statements (file, old, new), a class in the place of the store's, and methods of ``Trust``.

    ``topic``: what the examples that are to catch it are about.
    """

    topic: Topic
    edits: Edits = ()
    tiered: type[AsyncTieredStore] = AsyncTieredStore
    trust: dict[str, Any] = field(default_factory=dict)

    def script(self, name: str, text: str) -> str:
        """The script as this mutant has it."""
        for where, old, new in self.edits:
            if where == name:
                assert old in text, f"{name} has no {old}"
                text = text.replace(old, new)
        return text

    def statement(self, name: str, query: bytes) -> bytes:
        """The statement as this mutant has it."""
        return self.script(name, query.decode()).encode()


# Code


class SilentMiss(AsyncTieredStore):
    """A reader without the lease says nothing of what it read."""

    async def _read_tiered(
        self, redis: AsyncRedisStore, key: ConversationKey, want: int, hard: int
    ) -> Snapshot:
        return await Silent(self.postgres, redis)._read_tiered(redis, key, want, hard)


class Silent(AsyncTieredStore):
    async def _tell(self, redis: AsyncRedisStore, key: ConversationKey, snapshot: Snapshot) -> None:
        """Nothing."""


class SilentFullRead(AsyncTieredStore):
    """Whoever reads everything says nothing of it."""

    async def read(self, key: ConversationKey, want: int | None, hard: int) -> Snapshot:
        return await (Silent(self.postgres, self.redis) if want is None else super()).read(key, want, hard)


class NotMarked(AsyncTieredStore):
    """A publish that failed leaves nothing behind."""

    async def _publish(self, key: ConversationKey, written: Written, *, marked: bool) -> None:
        await super()._publish(key, written, marked=marked or True)


class NotDrained(AsyncTieredStore):
    """Redis is trusted again without a look at the marks."""

    async def _drain(self, redis: AsyncRedisStore) -> None:
        """Nothing."""


class DeleteSaysNothing(AsyncTieredStore):
    async def delete(self, key: ConversationKey) -> None:
        await self.postgres.delete_conversation(key)


class ClearSaysNothing(AsyncTieredStore):
    async def clear(self, key: ConversationKey) -> None:
        await self.postgres.clear_conversation(key)


class MarkAfterAck(AsyncTieredStore):
    """What could not be published is marked behind the caller's back."""

    async def _publish(self, key: ConversationKey, written: Written, *, marked: bool) -> None:
        assert self.redis is not None
        try:
            await self.redis.publish(key, written)
        except StorageError:
            if not marked:
                self.postgres.process.later(lambda: self.postgres.mark_dirty(key.uuid, written))


class PublishAfterAck(AsyncTieredStore):
    """Redis is told behind the caller's back."""

    async def _publish(self, key: ConversationKey, written: Written, *, marked: bool) -> None:
        self.postgres.process.later(
            lambda: super(PublishAfterAck, self)._publish(key, written, marked=marked)
        )


class MarkClearedFirst(AsyncTieredStore):
    """The mark goes before the window does."""

    async def _drain_some(self, redis: AsyncRedisStore) -> Sequence[object]:
        marks = await self.postgres.read_dirty(10)
        if marks:
            await self.postgres.clear_dirty(marks)
            await redis.drop([conversation for conversation, _, _ in marks])
        return marks


class OwnMarkNotDoubted(AsyncTieredStore):
    """The process that leaves a mark goes on believing what it drained a moment before."""

    async def _publish(self, key: ConversationKey, written: Written, *, marked: bool) -> None:
        assert self.redis is not None
        try:
            await self.redis.publish(key, written)
        except StorageError:
            if not marked:
                await self.postgres.mark_dirty(key.uuid, written)


def begin_in_doubt_only(trust: Trust, now: float) -> int | None:
    return None if trust.trusted else BEGIN(trust, now)


def drained_at_its_end(trust: Trust, ticket: int, _began: float) -> None:
    DRAINED(trust, ticket, tiered.time.monotonic())


def serves_while_somebody_looks(trust: Trust, _now: float) -> bool:
    return trust.trusted


def left_as_if_looked(trust: Trust) -> None:
    trust.gave_up(tiered.time.monotonic())


BEGIN, DRAINED = Trust.begin, Trust.drained

# Topics

COLD = {"there": (True,), "cached": (False,), "trusting": (True,), "begun": (("read", "window_fill"),)}
WARM = {"there": (True,), "cached": (True,), "trusting": (True,)}
MARKED = WARM | {"apart": ("marked",), "processes": 2}
LOOKING = MARKED | {"begun": (("read", "read_dirty"),)}
LIVES = ("append", "delete")

OF_THE_MODEL = {
    "fill without lease": Mutant(
        Topic(**COLD),
        (
            (FILL, "if not held[1] then", "if not held[1] and ARGV[5] == '' then"),
            (FILL, "ARGV[5] ~= '' and held[4] == ARGV[5] and held[1] == ARGV[1]", "ARGV[5] ~= ''"),
            (FILL, "if held[5] == run then", "if true then"),
        ),
    ),
    "any lease fills": Mutant(
        Topic((), meanwhile=("append",), **COLD), ((FILL, "held[4] == ARGV[5]", "held[4]"),)
    ),
    "publish keeps the lease": Mutant(
        Topic(**COLD),
        ((PUBLISH, "local same", "if not held[3] then return 'kept' end\nlocal same"),),
    ),
    "publish without version check": Mutant(
        Topic(**WARM),
        (
            (PUBLISH, "or behind > 0 or (behind == 0 and held[5] + 1 ~= tonumber(ARGV[7]))", ""),
            (PUBLISH, "if behind < 0 then", "if false then"),
        ),
    ),
    "no run check": Mutant(
        Topic(troubles=("restart",), **WARM), ((READ, "held[4] and held[2] == run", "held[4]"),)
    ),
    "lease without run": Mutant(
        Topic((), troubles=("restart",), meanwhile=("append",), **COLD),
        ((FILL, "if held[5] == run then", "if true then"),),
    ),
    "silent miss": Mutant(Topic(meanwhile=("commit",), **COLD), tiered=SilentMiss),
    "silent full read": Mutant(Topic(**WARM), tiered=SilentFullRead),
    "failed publish not marked": Mutant(Topic(troubles=APART, **WARM), tiered=NotMarked),
    "trust without draining": Mutant(Topic(troubles=APART, **WARM), tiered=NotDrained),
    "delete without publish": Mutant(Topic(LIVES, **WARM), tiered=DeleteSaysNothing),
    "incarnation ignored": Mutant(
        Topic(LIVES, begun=(("append", "window_publish"),), **WARM),
        (
            (PUBLISH, "held[3] and held[2] == ARGV[2]", "held[3]"),
            (FILL, "held[3] and held[2] == ARGV[2]", "held[3]"),
        ),
    ),
    "clear keeps the window": Mutant(Topic(("append", "clear"), **WARM), tiered=ClearSaysNothing),
    "drain clears a newer mark": Mutant(
        Topic(**MARKED | {"processes": 3, "begun": (("read", "clear_dirty"),), "meanwhile": ("read",)}),
        (("clear_dirty", "USING (conversation_id, incarnation, version)", "USING (conversation_id)"),),
    ),
    "mark after ack": Mutant(Topic(troubles=APART, **WARM), tiered=MarkAfterAck),
    "creation extends no conversation": Mutant(
        Topic(
            LIVES,
            there=(False,),
            cached=(False,),
            trusting=(True,),
            begun=(("append", "window_publish"),),
        ),
        (
            (
                PUBLISH,
                "held[2] == ARGV[2]",
                "(held[2] == ARGV[2] or (held[2] == '' and version == 1))",
            ),
        ),
    ),
    "publish vouches for the run": Mutant(
        Topic(
            (), troubles=("restart",), meanwhile=("append",), begun=(("append", "window_publish"),), **WARM
        ),
        (
            (
                PUBLISH,
                "redis.call('HSET', key, 'incarnation'",
                "redis.call('HSET', key, 'run', string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'), 'incarnation'",
            ),
        ),
    ),
    "degraded write not marked": Mutant(
        Topic(troubles=("cut",), processes=1, **WARM),
        tuple((name, "%(dirty)s)", "false)") for name in ("append", "clear_conversation")),
    ),
    "mark cleared first": Mutant(Topic(**MARKED), tiered=MarkClearedFirst),
    "publish after ack": Mutant(Topic(**WARM), tiered=PublishAfterAck),
    "look under way counts": Mutant(Topic((), **LOOKING), trust={"serves": serves_while_somebody_looks}),
    "no look while trusted": Mutant(
        Topic(**MARKED), trust={"begin": begin_in_doubt_only, "serves": serves_while_somebody_looks}
    ),
    "a lease is given twice": Mutant(
        Topic(
            (),
            troubles=("arrive",),
            meanwhile=("append",),
            **COLD | {"begun": (("read", "window_fill", "window_read"),)},
        ),
        ((READ, "token = token .. ':' .. clock[1] .. ':' .. clock[2]", ""),),
    ),
    "look counts from its end": Mutant(
        Topic(
            (),
            troubles=("wait",),
            there=(True,),
            cached=(True,),
            trusting=(False,),
            apart=("cut",),
            begun=(("read", "the answer of read_dirty"),),
            meanwhile=("append",),
            processes=2,
        ),
        trust={"drained": drained_at_its_end},
    ),
}
"""By the names that tests/model/coherence_model.py gives them."""

FINER = {
    "own mark not doubted": Mutant(
        Topic((), troubles=("mend",), apart=("cut",), begun=(("append", "mark_dirty"),), processes=1, **WARM),
        tiered=OwnMarkNotDoubted,
    ),
    "a cancelled look counts": Mutant(Topic((), ("crash",), **LOOKING), trust={"left": left_as_if_looked}),
}
"""What the model is too coarse to tell apart: calls that share a process, and answers on their way."""

MUTANTS = OF_THE_MODEL | FINER
