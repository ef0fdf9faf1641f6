"""Rules of the protocol left out of the real scripts, statements and code: what the state machine must catch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from convmemory._async import lookout, tiered
from convmemory._async.lookout import AsyncLookout
from convmemory._async.redis_store import AsyncRedisStore
from convmemory._async.tiered import AsyncTieredStore
from convmemory.errors import StorageError
from convmemory.ids import ConversationKey
from convmemory.storage.cache_marks import Looked
from convmemory.windows.snapshots import Snapshot, Written
from convmemory.windows.trust import Cache, Standing, Ticket, Trust
from model.machine import APART, ELSEWHERE, WITHOUT, Topic
from model.processes import BARE

READ, PUBLISH, FILL = "window_read", "window_publish", "window_fill"
EVERYBODY = "(SELECT array_agg(name) FROM {schema}.caches)"
"""In the place of the caches that are told: nobody is left to be marked."""
SAME_ERA = """INSERT INTO {schema}.caches (name, history, era)
SELECT n, {schema}.history_v1(), md5(n)::uuid FROM unnest(%(names)s::text[]) AS n"""
Edits = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Mutant:
    """Edits of scripts and statements (file, old, new), classes in the place of the library's, and methods of ``Trust``.

    ``topic``: what the examples that are to catch it are about. ``hand``: what somebody at psql does instead.
    """

    topic: Topic
    edits: Edits = ()
    tiered: type[AsyncTieredStore] = AsyncTieredStore
    lookout: type[AsyncLookout] = AsyncLookout
    trust: dict[str, Any] = field(default_factory=dict)
    hand: str = ""

    def script(self, name: str, text: str) -> str:
        """The script as this mutant has it."""
        for where, old, new in self.edits:
            if where == name:
                assert old in text, f"{name} has no {old}"
                text = text.replace(old, new)
        return text

    def statement(self, name: str, text: str) -> str:
        """The statement as this mutant has it."""
        schema = text.partition('".')[0].rpartition('"')[2]
        mine = [
            (file, old.format(schema=f'"{schema}"'), new.format(schema=f'"{schema}"'))
            for file, old, new in self.edits
            if file == name
        ]
        return Mutant(self.topic, tuple(mine)).script(name, text)


# Code


class Silent(AsyncTieredStore):
    async def _tell(self, key: ConversationKey, stamp: str) -> None:
        """Nothing."""


class SilentMiss(AsyncTieredStore):
    """A reader without the lease says nothing of what it read."""

    async def _read_tiered(
        self, redis: AsyncRedisStore, key: ConversationKey, want: int, hard: int, turns: int | None
    ) -> Snapshot:
        return await Silent(self.postgres, redis)._read_tiered(redis, key, want, hard, turns)


class SilentFullRead(AsyncTieredStore):
    """Whoever reads everything says nothing of it."""

    async def read(
        self, key: ConversationKey, want: int | None, hard: int, turns: int | None = None
    ) -> Snapshot:
        store = Silent(self.postgres, self.redis) if want is None else super()
        return await store.read(key, want, hard, turns)


class NotMarked(AsyncTieredStore):
    """A publish that failed leaves nothing behind."""

    async def _publish(
        self, key: ConversationKey, written: Written, standing: Standing, _stored: Sequence[str] = ()
    ) -> None:
        await super()._publish(key, written, Standing((), standing.eras, standing.known))


class NotDistrusted(AsyncTieredStore):
    """A process whose publish failed goes on believing what it drained a moment before."""

    async def _publish(
        self, key: ConversationKey, written: Written, standing: Standing, _stored: Sequence[str] = ()
    ) -> None:
        assert self.redis is not None
        try:
            await self.redis.publish(key, written, standing)
        except StorageError:
            await self.postgres.mark(key.uuid, standing.names)


class MarkAfterAck(AsyncTieredStore):
    """What could not be published is marked behind the caller's back."""

    async def _publish(
        self, key: ConversationKey, written: Written, standing: Standing, _stored: Sequence[str] = ()
    ) -> None:
        assert self.redis is not None
        try:
            await self.redis.publish(key, written, standing)
        except StorageError:
            self.postgres.process.later(lambda: self.postgres.mark(key.uuid, standing.names))


class PublishAfterAck(AsyncTieredStore):
    """Redis is told behind the caller's back."""

    async def _publish(
        self, key: ConversationKey, written: Written, standing: Standing, _stored: Sequence[str] = ()
    ) -> None:
        self.postgres.process.later(lambda: super(PublishAfterAck, self)._publish(key, written, standing))


class RepeatSaysNothing(AsyncTieredStore):
    """A batch that was all stored already tells nobody."""

    async def _publish(
        self, key: ConversationKey, written: Written, standing: Standing, _stored: Sequence[str] = ()
    ) -> None:
        if written.entries:
            await super()._publish(key, written, standing)


class DeleteSaysNothing(AsyncTieredStore):
    async def delete(self, key: ConversationKey) -> None:
        standing = await self.own()
        await self.postgres.delete_conversation(key, own=standing.own)


class ClearSaysNothing(AsyncTieredStore):
    async def clear(self, key: ConversationKey) -> None:
        standing = await self.own()
        await self.postgres.clear_conversation(key, own=standing.own)


class MarkClearedFirst(AsyncLookout):
    """The mark goes before the window does."""

    async def _drained(self, caches: Sequence[Cache], found: Looked) -> bool:
        if found.marks:
            await self._postgres.clear_marks(found.marks)
        return await super()._drained(caches, found)


class NotDrained(AsyncLookout):
    """Redis is trusted again whatever is marked."""

    async def _drained(self, *_: object) -> bool:
        return True


class SkipsRegistering(AsyncLookout):
    """A process that is in no register goes on under the era it had."""

    async def _looked(self, ticket: Ticket) -> None:
        standing, names = self._trust.standing, [cache.name for cache in ticket.caches or ()]
        found = await self._postgres.look(names) if standing.known else None
        if found is None or found.eras:
            await super()._looked(ticket)
        else:
            self._trust.looked(ticket, dict(zip(names, standing.eras[1::2], strict=True)))


def begin_in_doubt_only(trust: Trust, now: float, *, beside: bool = False) -> Ticket | None:
    return None if trust.trusted else BEGIN(trust, now, beside=beside)


def looked_at_its_end(trust: Trust, ticket: Ticket, eras: Mapping[str, str], *, journals: bool) -> None:
    LOOKED(trust, ticket._replace(began=tiered.time.monotonic()), eras, journals=journals)


def serves_while_somebody_looks(trust: Trust, _now: float) -> bool:
    return trust.trusted


def left_as_if_looked(trust: Trust) -> None:
    trust.gave_up(lookout.time.monotonic())


BEGIN, LOOKED = Trust.begin, Trust.looked

# Topics

COLD = {"there": (True,), "cached": (False,), "trusting": (True,), "begun": (("read", "window_fill"),)}
WARM = {"there": (True,), "cached": (True,), "trusting": (True,)}
BESIDE = WARM | {"places": ("", BARE, ""), "processes": 2}
"""One process that has its window, and one without a Redis."""
MARKED = WARM | {"apart": ("marked",), "processes": 2}
LOOKING = MARKED | {"begun": (("read", "look"),)}
LIVES = ("append", "delete")
ANY_SERVER = ("if ARGV[i] == run then era = ARGV[i + 1] end", "era = ARGV[i + 1]")

OF_THE_MODEL = {
    "read asks the name": Mutant(Topic(troubles=("restart",), **WARM), ((READ, *ANY_SERVER),)),
    "read compares the era": Mutant(
        Topic(troubles=("forget", "wait"), **BESIDE),
        ((READ, "held[3] and held[2] == era", "held[3]"),),
    ),
    "a look asks for the row": Mutant(Topic(troubles=("forget", "wait"), **BESIDE), lookout=SkipsRegistering),
    "a new row, a new era": Mutant(
        Topic(troubles=("forget", "wait"), places=WITHOUT, **WARM | {"trusting": (False,)}),
        (
            (
                "register",
                "SELECT {schema}.register_v1(%(names)s::text[])",
                SAME_ERA,
            ),
        ),
    ),
    "writes mark others": Mutant(
        Topic(troubles=("wait",), places=ELSEWHERE, **WARM), (("append", "%(own)s::text[]", EVERYBODY),)
    ),
    "bare writers mark": Mutant(
        Topic(troubles=("wait",), places=WITHOUT, **WARM), (("append", "%(own)s::text[]", EVERYBODY),)
    ),
    "hands mark": Mutant(
        Topic((), troubles=("hand", "wait"), **WARM),
        hand="WITH silent AS (SELECT set_config('convmemory.seen_to', %s::text, true) AS id)"
        " DELETE FROM conversations USING silent WHERE conversation_id = id::uuid",
    ),
    "a failed publish marks": Mutant(Topic(troubles=APART, **WARM), tiered=NotMarked),
    "a failed publish distrusts": Mutant(
        Topic((), troubles=("mend",), apart=("cut",), begun=(("append", "mark"),), processes=1, **WARM),
        tiered=NotDistrusted,
    ),
    "drain only mine": Mutant(
        Topic(("append",), troubles=("wait",), places=ELSEWHERE, **WARM),
        (
            ("look", "k.cache = c.name AND ", ""),
            ("clear_marks", "o.cache = seen.cache AND ", ""),
        ),
    ),
    "drop before clear": Mutant(Topic(**MARKED), lookout=MarkClearedFirst),
    "clear only what I saw": Mutant(
        Topic(**MARKED | {"processes": 3, "begun": (("read", "clear_marks"),), "meanwhile": ("read",)}),
        (("clear_marks", " AND o.id = seen.id", ""),),
    ),
    "a look counts from its begin": Mutant(
        Topic(
            (),
            troubles=("wait",),
            there=(True,),
            cached=(True,),
            trusting=(False,),
            apart=("cut",),
            begun=(("read", "the answer of look"),),
            meanwhile=("append",),
            processes=2,
        ),
        trust={"looked": looked_at_its_end},
    ),
    "extend by stamp": Mutant(
        Topic(**WARM),
        ((PUBLISH, "held[3] == ARGV[3] and ", ""), (PUBLISH, "or held[5] + 1 ~= tonumber(ARGV[7])", "")),
    ),
    "keep by stamp": Mutant(
        Topic(processes=2, **WARM), ((PUBLISH, "held[3] == ARGV[2] and", "held[3] and said > #ARGV and"),)
    ),
    "nothing is not extended": Mutant(
        Topic(
            LIVES, there=(False,), cached=(False,), trusting=(True,), begun=(("append", "window_publish"),)
        ),
        ((PUBLISH, "ARGV[3] ~= '' and held[3]", "held[3]"),),
    ),
    "a repeat tells": Mutant(Topic(("append", "repeat"), ("lose",), **WARM), tiered=RepeatSaysNothing),
    "fill needs the lease": Mutant(
        Topic(**COLD),
        (
            (FILL, "if not held[1] then", "if false then"),
            (FILL, "held[3] == ARGV[4] and held[1] == ARGV[1]", "true"),
        ),
    ),
    "publish ends the lease": Mutant(
        Topic(**COLD),
        (
            (
                PUBLISH,
                "local extends",
                "if not held[3] and said <= #ARGV then return 'kept' end\nlocal extends",
            ),
        ),
    ),
    "tell ends the lease": Mutant(
        Topic(meanwhile=("commit",), **COLD),
        (
            (
                PUBLISH,
                "local extends",
                "if not held[3] and said > #ARGV then return 'kept' end\nlocal extends",
            ),
        ),
    ),
    "a miss tells": Mutant(Topic(meanwhile=("commit",), **COLD), tiered=SilentMiss),
    "a full read tells": Mutant(Topic(processes=2, **WARM), tiered=SilentFullRead),
}
"""By the names that tests/model/coherence_model.py gives them."""

FINER = {
    "any lease fills": Mutant(
        Topic((), meanwhile=("append",), **COLD), ((FILL, "held[3] == ARGV[4]", "held[3]"),)
    ),
    "trust without draining": Mutant(Topic(troubles=APART, **WARM), lookout=NotDrained),
    "delete without publish": Mutant(Topic(LIVES, **WARM), tiered=DeleteSaysNothing),
    "clear keeps the window": Mutant(Topic(("append", "clear"), **WARM), tiered=ClearSaysNothing),
    "mark after ack": Mutant(Topic(troubles=APART, **WARM), tiered=MarkAfterAck),
    "publish after ack": Mutant(Topic(**WARM), tiered=PublishAfterAck),
    "degraded write not marked": Mutant(
        Topic(troubles=("cut",), processes=1, **WARM),
        tuple((name, "%(own)s::text[]", EVERYBODY) for name in ("append", "clear_conversation")),
    ),
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
    "a cancelled look counts": Mutant(Topic((), ("crash",), **LOOKING), trust={"left": left_as_if_looked}),
}
"""What the model is too coarse to tell apart: calls that share a process, and answers on their way."""

ON_PAPER = {
    "one era a call": "a look for another conversation at the right moment, once in thousands of examples",
    "publish asks the name": "two servers at once",
    "drain asks the name": "two servers at once",
    "a server names itself": "two servers at once",
    "publish compares the era": "a PostgreSQL that goes back",
    "the row has the history": "a PostgreSQL that goes back",
    "registering waits": "a statement under way; tests/integration/test_broken_connections.py has its lock",
    "mark mine too": "a rule that is not taken",
    "a drain drops": "there is no stamp in a mark to go by",
    "every mark is another": "two deletes during one drain",
    "a fresh stamp an attempt": "a PostgreSQL that goes back",
}
"""Rules that only the model leaves out: for each, what this world does not have."""

MUTANTS = OF_THE_MODEL | FINER
