"""Three processes of the real library over real servers, on a stage where each of their steps waits to be told.

What runs is the library's own ``AsyncTieredStore``, ``AsyncPostgresStore`` and ``AsyncRedisStore``. Only three things
are put between them and the world: a gate before every statement and every command, a clock that moves when told,
and a Redis client that can be cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import ConversationNotFound, Draft, Settings
from convmemory._async.tiered import AsyncTieredStore
from convmemory.encoding.codec import encode, pack, pack_row, unpack
from convmemory.errors import StorageUnavailable
from convmemory.ids import ConversationKey
from convmemory.storage.redis_keys import Keys
from convmemory.windows.snapshots import Snapshot
from model.hot import Hot
from model.ledger import FOREIGN, Ack, Ledger, Moment
from model.processes import GatedPostgres, Play, Process
from model.stage import Actor, Order, Stage, playing

LEASE = 5.0
"""Seconds on the world's clock a lease lasts; by the server's own, ten minutes."""
CHANGES = {"append", "clear_conversation", "delete_conversation", "pop_message"}
HARD, KEPT = 6, 4
"""Messages a turn may have at most, and that a window keeps."""
FAR = 30
"""Steps no read or write ever needs."""
TRUTH = """
SELECT c.user_id, c.incarnation::text, c.version, c.last_seq, c.last_human_seq, m.body, m.content
FROM conversations c LEFT JOIN messages m USING (conversation_id) WHERE conversation_id = %s ORDER BY m.seq
"""


class World:
    """Everything there is: two conversations, two users, three processes, one of either server, and the truth."""

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
        self._eye = psycopg.connect(
            database_url, autocommit=True, options=f"-c search_path={settings.db_schema}"
        )
        self._keys = Keys(settings.key_prefix)
        stores = [GatedPostgres(database_url, settings) for _ in range(3)]
        self.processes = [Process(f"p{n}", self, store) for n, store in enumerate(stores)]
        for store in stores:
            loop.run_until_complete(store.open())

    def close(self) -> None:
        self.stage.clear()
        for process in self.processes:
            self.stage.loop.run_until_complete(process.postgres.close())
        self.stage.loop.run_until_complete(self.hot.close())
        self._eye.close()

    def begin(self) -> None:
        """New conversations, and processes that know nothing."""
        self.begun += 1
        self.failed = False
        self.stage.clear()
        self.hot.forget()
        self._eye.execute("DELETE FROM dirty_windows")
        self.marks: set[UUID] = set()
        self.now = 1000.0
        self.conversations = [uuid4(), uuid4()]
        self.ledgers = {uuid: Ledger() for uuid in self.conversations}
        self.batches: dict[UUID, list[Draft]] = {}
        self.delayed: list[Callable[[], Coroutine[Any, Any, Any]]] = []
        for process in self.processes:
            process.cut = False
            process.start()

    # What actors do

    def write(self, process: Process, user: str, uuid: UUID, what: str, drafts: Sequence[Draft] = ()) -> Play:
        """Begin to append, clear, delete or pop."""
        key, tiered = ConversationKey(uuid, user), self.tiered(process.postgres, process.redis)
        play = Play(f"{process.name} {what}", process)
        play.intent = lambda was: after(what, was, user, drafts)
        call = getattr(tiered, what)(key, *[drafts] * (what == "append"))
        self.stage.begin(play, self._written(play, uuid, call))
        return play

    async def _written(self, play: Play, uuid: UUID, call: Any) -> None:
        try:
            await call
        except (ConversationNotFound, StorageUnavailable):
            return
        self.ledgers[uuid].acknowledged(Ack(play.moment, self.now, play.told))
        if not play.told:  # its own process knows at once
            play.process.missed()

    def read(self, process: Process, user: str, uuid: UUID, want: int | None) -> Play:
        """Begin to read; what is owed is settled now."""
        play = Play(f"{process.name} read", process)
        play.owed = self.ledgers[uuid].owed(process.marks_owed_before(self.now))
        play.told = True  # a full history asks nothing before it tells
        tiered = self.tiered(process.postgres, process.redis)
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
            ledger.seen = max(ledger.seen, found)

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
                wanted = actor.intent(was)._replace(life=found.life)
                assert found == wanted, f"{name} made {found}, not {wanted}"
            actor.moment = ledger.now
        if name in CHANGES or name.endswith("dirty"):
            self.marks = {row[0] for row in self._eye.execute("SELECT conversation_id FROM dirty_windows")}

    def _truth(self, uuid: UUID) -> Moment:
        rows = self._eye.execute(TRUTH, [uuid]).fetchall()
        if not rows:
            return Moment()
        entries = tuple(pack_row(body, content) for *_, body, content in rows if body is not None)
        owner, life, version, last, human, *_ = rows[0]
        return Moment(owner, life, version, last, human, entries)

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
        self.hot.evict(self._keys.window(uuid))

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

        That is all that was acknowledged, unless the conversation is marked: then the marks come first.
        """
        for uuid, ledger in self.ledgers.items():
            name = self._keys.window(uuid)
            if not self.hot.exists(name):
                continue
            owner = self.hot.shadows[name].owner
            answer = self.hot.would_serve(name, owner, KEPT, HARD)
            if answer is not None:
                given = Snapshot(
                    answer[1].decode(), int(answer[2]), int(answer[3]), int(answer[4]), answer[5:]
                )
                owed = ledger.owed(float("-inf" if uuid in self.marks else "inf"))
                self.failed = True
                ledger.check(given, owner, KEPT, HARD, owed, "whoever read now")
                self.failed = False


def after(what: str, was: Moment, user: str, drafts: Sequence[Draft]) -> Moment:
    """The conversation after a write, by what the write is for; messages it has already stay as they are."""
    if what == "delete":
        return Moment()
    fresh = [pack(encode(draft.message)) for draft in drafts]
    kept = {"append": was.entries, "clear": (), "pop": was.entries[:-1]}[what]
    entries = (*kept, *(entry for entry in fresh if entry not in kept))
    human = max((seq for seq, entry in enumerate(entries, 1) if unpack(entry).type == "human"), default=0)
    return Moment(was.owner or user, was.life, was.version + 1, len(entries), human, entries)


def batch(numbers: Sequence[int], human: bool) -> list[Draft]:
    """Messages that nobody else says; the first of them a human's, if asked."""
    kinds = [HumanMessage if human and at == 0 else AIMessage for at in range(len(numbers))]
    return [Draft(kind(f"message {n}", id=f"m{n}")) for kind, n in zip(kinds, numbers, strict=True)]
