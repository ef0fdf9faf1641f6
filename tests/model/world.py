"""Three processes of the real library over real servers, on a stage where each of their steps waits to be told.

What runs is the library's own ``AsyncTieredStore``, ``AsyncPostgresStore`` and ``AsyncRedisStore``. Only three things
are put between them and the world: a gate before every statement and every command, a clock that moves when told,
and a Redis client that can be cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar, LiteralString
from uuid import UUID, uuid4

import psycopg
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import ConversationNotFound, Draft, Settings
from convmemory._async.tiered import AsyncTieredStore
from convmemory.encoding.codec import encode, pack, pack_row, unpack
from convmemory.errors import StorageUnavailable
from convmemory.ids import ConversationKey
from convmemory.windows.snapshots import Snapshot
from model.hot import Hot
from model.ledger import FOREIGN, Ack, Ledger, Moment
from model.processes import GatedPostgres, Play, Process
from model.stage import Actor, Order, Stage, playing

LEASE = 5.0
"""Seconds on the world's clock a lease lasts; by the server's own, ten minutes."""
CHANGES = {"append", "clear_conversation", "delete_conversation", "pop_message"}
MARKS = {"mark", "clear_marks", "forget_caches", "tidy_caches", "register"}
HERE = ("", "", "")
"""Where three processes keep their windows: in one cache, of one key prefix."""
HARD, KEPT = 6, 4
"""Messages a turn may have at most, and that a window keeps."""
FAR = 30
"""Steps no read or write ever needs."""
TRUTH = """
SELECT c.user_id, c.stamp::text, c.last_seq, c.last_human_seq, c.gaps, m.seq, m.body, m.content
FROM conversations c LEFT JOIN messages m USING (conversation_id) WHERE conversation_id = %s ORDER BY m.seq
"""


class World:
    """Everything there is: two conversations, two users, three processes, one of either server, and the truth."""

    postgres = GatedPostgres
    looked: ClassVar[Mapping[str, bool]] = {}
    """What a look brings beside eras."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, database_url: str, settings: Settings, hot: Hot
    ) -> None:
        self.settings = settings
        self.hot = hot
        self.stage = Stage(loop)
        self.now = 0.0
        self.steps = self.begun = 0
        self.failed = False
        self.tiered = AsyncTieredStore
        self.statement: Callable[[str, bytes], bytes] = lambda _name, query: query
        self.hand: LiteralString = "DELETE FROM conversations WHERE conversation_id = %s"
        self._eye = psycopg.connect(
            database_url, autocommit=True, options=f"-c search_path={settings.db_schema}"
        )
        [[self.installation]] = self._eye.execute("SELECT id::text FROM installation").fetchall()
        self.url = database_url
        self._stores = [self.postgres(database_url, settings) for _ in range(3)]
        for store in self._stores:
            loop.run_until_complete(store.open())
        self.settle(HERE)

    def close(self) -> None:
        self.stage.clear()
        for store in self._stores:
            self.stage.loop.run_until_complete(store.close())
        self.stage.loop.run_until_complete(self.hot.close())
        self._eye.close()

    def begin(self) -> None:
        """New conversations, and processes that know nothing."""
        self.begun += 1
        self.failed = False
        self.stage.clear()
        self.hot.forget()
        self._eye.execute("DELETE FROM caches")
        self._eye.execute("DELETE FROM marks")
        self.marks: set[tuple[str, UUID]] = set()
        self.eras: set[str] = set()
        self.now = 1000.0
        self.conversations = [uuid4(), uuid4()]
        self.ledgers = {uuid: Ledger() for uuid in self.conversations}
        self.batches: dict[UUID, list[Draft]] = {}
        self.delayed: list[Callable[[], Coroutine[Any, Any, Any]]] = []
        for process in self.processes:
            process.cut = False
            process.start()

    def settle(self, places: Sequence[str]) -> None:
        """Have each process keep its windows somewhere: processes of one place share a cache."""
        self.processes = [
            Process(f"p{n}", self, store, place)
            for n, (store, place) in enumerate(zip(self._stores, places, strict=True))
        ]

    def registered(self, name: str) -> str:
        """The era of a cache that is registered now, if it was not."""
        self._eye.execute("SELECT register_v1(%s)", [[name]])
        [[era]] = self._eye.execute("SELECT era::text FROM caches WHERE name = %s", [name]).fetchall()
        self._look_at_marks()
        return str(era)

    # What actors do

    def write(self, process: Process, user: str, uuid: UUID, what: str, drafts: Sequence[Draft] = ()) -> Play:
        """Begin to append, clear, delete or pop."""
        key, tiered = ConversationKey(uuid, user), self._tiered(process)
        play = Play(f"{process.name} {what}", process)
        play.intent = lambda was: after(what, was, user, drafts)
        call = getattr(tiered, what)(key, *[drafts] * (what == "append"))
        self.stage.begin(play, self._written(play, uuid, call))
        return play

    def _tiered(self, process: Process) -> AsyncTieredStore:
        return self.tiered(process.postgres, None if process.bare else process.redis)

    async def _written(self, play: Play, uuid: UUID, call: Any) -> None:
        try:
            await call
        except (ConversationNotFound, StorageUnavailable):
            return
        told = play.process.cache if play.told else ""
        self.ledgers[uuid].acknowledged(Ack(play.moment, self.now, told))
        if not play.told and not play.process.bare:  # its own process knows at once
            play.process.missed()

    def read(self, process: Process, user: str, uuid: UUID, want: int | None) -> Play:
        """Begin to read; what is owed is settled now."""
        play = Play(f"{process.name} read", process)
        play.owed = self.ledgers[uuid].owed(process.marks_owed_before(self.now), process.cache)
        play.told = True  # a full history asks nothing before it tells
        tiered = self._tiered(process)
        call = tiered.read(ConversationKey(uuid, user), want, HARD)
        self.stage.begin(play, self._read(play, user, uuid, want, call))
        return play

    async def _read(self, play: Play, user: str, uuid: UUID, want: int | None, call: Any) -> None:
        ledger = self.ledgers[uuid]
        try:
            answer: Snapshot | str = await call
        except ConversationNotFound:
            answer, play.told = FOREIGN, False
        found = ledger.check(answer, user, want, HARD, play.owed, play.name)
        if play.told and not play.process.redis.health.open:
            cache = play.process.cache
            ledger.seen[cache] = max(ledger.seen.get(cache, 0), found)

    def step(self, actor: Actor, order: Order = Order.GO) -> None:
        """Let an actor take a step; what it found wrong is raised."""
        self.steps += 1
        self.stage.step(actor, order)
        self._bury()

    def finish(self, actor: Actor) -> None:
        """Let an actor go to its end; one that asks for ever goes far."""
        for _ in range(FAR):
            if actor.over:
                return
            self.step(actor)

    def _bury(self) -> None:
        for actor in [actor for actor in self.stage.actors if actor.over]:
            self.stage.actors.remove(actor)
            if not actor.task.cancelled() and (error := actor.task.exception()):
                self.failed = True
                raise error

    # What happens

    def stated(self, actor: Play, name: str, parameters: Mapping[str, Any]) -> None:
        """A statement was carried out: look at what it made of the tables."""
        if name in CHANGES:
            ledger, found = self.ledgers[parameters["conversation"]], self._truth(parameters["conversation"])
            was = ledger.moments[-1]
            if ledger.commit(found) and actor.intent:
                wanted = actor.intent(was)._replace(stamp=found.stamp)
                assert found == wanted, f"{name} made {found}, not {wanted}"
            actor.moment = ledger.now
        if name in CHANGES | MARKS:
            self._look_at_marks()

    def _look_at_marks(self) -> None:
        found = self._eye.execute(
            "SELECT era::text, conversation FROM caches LEFT JOIN marks ON cache = name"
        ).fetchall()
        self.marks = {(era, conversation) for era, conversation in found if conversation is not None}
        self.eras = {era for era, _ in found}

    def forget(self) -> None:
        """Somebody deletes the rows of all caches, and their marks."""
        self._eye.execute("DELETE FROM caches")
        self._eye.execute("DELETE FROM marks")
        self._look_at_marks()

    def by_hand(self, uuid: UUID) -> None:
        """Somebody deletes a conversation at psql."""
        self._eye.execute(self.hand, [uuid])
        ledger = self.ledgers[uuid]
        if ledger.commit(self._truth(uuid)):
            ledger.acknowledged(Ack(ledger.now, self.now))
        self._look_at_marks()

    def _truth(self, uuid: UUID) -> Moment:
        rows = self._eye.execute(TRUTH, [uuid]).fetchall()
        if not rows:
            return Moment()
        owner, stamp, last, human, gaps, *_ = rows[0]
        stored = [(seq, pack_row(body, content)) for *_, seq, body, content in rows if seq is not None]
        place = next((n for n, (seq, _) in enumerate(stored, gaps + 1) if seq == human), 0)
        return Moment(owner, stamp, last, place, tuple(entry for _, entry in stored), gaps)

    def die(self, process: Process) -> None:
        """A process is killed and starts again."""
        for actor in [actor for actor in self.stage.actors if actor.process is process]:
            self.crash(actor)
        process.start()

    def crash(self, actor: Actor) -> None:
        """A call is cancelled where it stands."""
        self.stage.crash(actor)
        self._bury()

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.hot.let_leases_end(self.now, LEASE)

    def arrive(self) -> None:
        """A command that was on its way twice arrives once more."""
        self.stage.loop.run_until_complete(self.delayed.pop(0)())

    def evict(self, uuid: UUID) -> None:
        for process in self.processes:
            self.hot.evict(process.keys.window(uuid))

    def monotonic(self) -> float:
        """The clock the library reads."""
        return self.now

    async def asleep(self, _seconds: float) -> None:
        """Somebody in the background waits, until it is told that the time is over."""
        actor = playing()
        if asyncio.current_task() is not actor.task:
            actor = Play(f"prober of {actor.process.name}", actor.process)
            self.stage.join(actor)
        await actor.stop("asleep")

    def look_ahead(self) -> None:
        """Whoever read now, and was served by Redis, would be given what the promise says.

        That is all that was acknowledged, unless the conversation is marked, or the cache was forgotten: then a look
        comes first.
        """
        for process in {process.cache: process for process in self.processes if not process.bare}.values():
            eras = process.redis.trust.standing.eras
            for uuid, ledger in self.ledgers.items() if self.eras.intersection(eras) else ():
                self._look_ahead(process, uuid, ledger, eras)

    def _look_ahead(self, process: Process, uuid: UUID, ledger: Ledger, eras: Sequence[str]) -> None:
        name = process.keys.window(uuid)
        if not self.hot.exists(name):
            return
        owner = self.hot.shadows[name].owner
        answer = self.hot.would_serve(name, owner, KEPT, HARD, eras)
        if answer is not None:
            given = Snapshot(answer[1].decode(), int(answer[2]), int(answer[3]), answer[5:], int(answer[4]))
            marked = any((era, uuid) in self.marks for era in eras)
            owed = ledger.owed(float("-inf" if marked else "inf"), process.cache)
            self.failed = True
            ledger.check(given, owner, KEPT, HARD, owed, "whoever read now")
            self.failed = False


def after(what: str, was: Moment, user: str, drafts: Sequence[Draft]) -> Moment:
    """The conversation after a write, by what the write is for; messages it has already stay as they are."""
    if what == "delete":
        return Moment()
    fresh = [pack(encode(draft.message)) for draft in drafts]
    kept = {"append": was.entries, "clear": (), "pop": was.entries[:-1]}[what]
    new = [entry for entry in fresh if entry not in kept]
    last, entries = was.last + len(new), (*kept, *new)
    gaps = last - len(entries)
    human = max(
        (at for at, entry in enumerate(entries, gaps + 1) if unpack(entry).type == "human"), default=0
    )
    return Moment(was.owner or user, was.stamp, last, human, entries, gaps)


def batch(numbers: Sequence[int], human: bool) -> list[Draft]:
    """Messages that nobody else says; the first of them a human's, if asked."""
    kinds = [HumanMessage if human and at == 0 else AIMessage for at in range(len(numbers))]
    return [Draft(kind(f"message {n}", id=f"m{n}")) for kind, n in zip(kinds, numbers, strict=True)]
