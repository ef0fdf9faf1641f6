"""Processes of the real library that write to journals, on the stage of world.py; who moves next, chance decides.

What is held against them is less than what ledger.py asks, because a window and a journal together are no state that
PostgreSQL ever had: nothing twice, nothing that was taken away, all that is owed, and of two writes that did not overlap
the earlier one first; and when all is drained the same of PostgreSQL.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from langchain_core.messages import AIMessage

from convmemory import ConversationNotFound, Draft, StorageUnavailable
from convmemory.encoding.codec import unpack
from convmemory.ids import ConversationKey
from convmemory.windows.snapshots import Snapshot
from model.ledger import PromiseBroken
from model.machine import OWNER, STRANGER
from model.processes import GatedPostgres, Play, Process
from model.stage import Actor, Order, playing
from model.world import FAR, HARD, KEPT, World

WANTS = (2, KEPT, KEPT, None)
MOST_CALLS, STEPS = 4, 30
ROLES = ({"durability": "journal"}, {"durability": "commit"}, {"journal": "outage"})
"""How each of the three processes writes."""


@dataclass
class Said:
    """A message that somebody began to say: after which others it has to stand, and what became of it."""

    after: frozenset[str] = frozenset()
    acked: bool = False
    pending: bool = False
    told: bool = True
    at: float = 0.0
    process: str = ""


@dataclass
class Book:
    """What is owed to the readers of one conversation, by the words of its messages."""

    said: dict[str, Said] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    """Owed to nobody: a delete or a pop that it overlapped may have taken it, or Redis lost it."""
    doubtful: dict[Any, set[str]] = field(default_factory=dict)
    """What clears, deletes and pops on their way may take."""
    wipes: int = 0
    """Clears and deletes on their way: what is accepted meanwhile may go with them."""
    taken: set[str] = field(default_factory=set)
    """Shown to nobody any more."""

    @property
    def free(self) -> set[str]:
        """Owed to nobody now."""
        return self.lost.union(*self.doubtful.values())

    def owed(self, process: str, before: float) -> frozenset[str]:
        """What a read that begins now must show: what its Redis was told, its own, and what is old enough."""
        return frozenset(
            word
            for word, one in self.said.items()
            if one.acked
            and word not in self.free | self.taken
            and (one.told or one.process == process or one.at < before)
        )

    def check(
        self, shown: Sequence[str], want: int | None, owed: frozenset[str], never: frozenset[str]
    ) -> None:
        """Hold an answer against what was owed, and what had been taken away, when the read began."""
        if len(set(shown)) < len(shown):
            raise PromiseBroken(f"twice: {shown}")
        if back := never.intersection(shown):
            raise PromiseBroken(f"taken away, and shown: {back} in {shown}")
        for place, word in enumerate(shown):
            if behind := self.said[word].after.intersection(shown[place:]) - self.free:
                raise PromiseBroken(f"{word} stands before {behind}: {shown}")
        for word in owed - self.free - self.taken - set(shown):
            older = self.said[word].after.intersection(shown)
            if want is None or len(shown) < want or older:
                raise PromiseBroken(f"owed, and not shown: {word} in {shown}")


class AwayPostgres(GatedPostgres):
    """PostgreSQL that may be away: what it is asked then it may still do, later."""

    async def _send(
        self, home: Any, query: str, parameters: Mapping[str, Any], *, fetch: bool, **more: Any
    ) -> Sequence[Any]:
        world = self.process.world
        if getattr(world, "away", False):
            name = next(name for name, text in self._statements.items() if text is query)
            await playing().stop(name)
            if name in {"append", "append_in_life", "store_entries"} and len(world.delayed) < 2:
                world.delayed.append(lambda: self._late(query, parameters))
            raise psycopg.OperationalError("away")
        return await super()._send(home, query, parameters, fetch=fetch, **more)

    async def _late(self, query: str, parameters: Mapping[str, Any]) -> None:
        """The statement is carried out after all, on a connection of its own."""
        url = self.process.world.url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
            with suppress(psycopg.Error):  # a row that is there already is refused
                await conn.execute(query, parameters)


class JournalWorld(World):
    """The world with journals: three processes of one cache, each of which writes in its own way."""

    postgres = AwayPostgres
    looked: ClassVar[Mapping[str, bool]] = {"journals": True}

    def begin(self) -> None:
        self.books: dict[UUID, Book] = {}
        self.away = False
        super().begin()
        self._eye.execute("UPDATE installation SET journals = true")
        self.books = {uuid: Book() for uuid in self.conversations}
        self.words = 0
        self.story: list[str] = []

    def settle(self, places: Sequence[str]) -> None:
        self.processes = []
        for n, (store, place, role) in enumerate(zip(self._stores, places, ROLES, strict=True)):
            process = Process(f"p{n}", self, store, place)
            process.settings = process.settings.model_copy(update=role | {"journal_ack": "memory"})
            process.start()
            self.processes.append(process)

    def close(self) -> None:
        self._eye.execute("UPDATE installation SET journals = false")
        super().close()

    def stated(self, actor: Any, name: str, parameters: Mapping[str, Any]) -> None:
        """Nothing is compared with a ledger of moments here."""

    def look_ahead(self) -> None:
        """Nor is what would be served."""

    # Calls

    def append(self, process: Process, uuid: UUID, size: int) -> Play:
        """Begin to say something."""
        words = [f"m{self.words + n}" for n in range(size)]
        self.words += size
        book = self.books[uuid]
        before = frozenset(
            w for w, one in book.said.items() if one.acked and w not in book.free | book.taken and one.told
        )
        for n, word in enumerate(words):
            book.said[word] = Said(before | set(words[:n]), process=process.name)
        drafts = [Draft(AIMessage(word)) for word in words]
        play = Play(f"{process.name} appends {' '.join(words)}", process)
        play.told = True
        call = self._tiered(process).append(ConversationKey(uuid, OWNER), drafts)
        self.stage.begin(play, self._said(play, book, words, call))
        return play

    async def _said(self, play: Play, book: Book, words: Sequence[str], call: Any) -> None:
        cut = play.process.cut
        with suppress(ConversationNotFound, StorageUnavailable):
            batch = await call
            told = play.told and not cut and not play.process.cut
            for word in words:
                one = book.said[word]
                one.acked, one.told, one.at = True, told, self.now
                one.pending = None in batch.seqs
                if book.wipes:
                    book.lost.add(word)
                if not told:  # whoever is cut off from Redis stands where PostgreSQL received it
                    one.after = frozenset(w for w in one.after if book.said[w].process == play.process.name)

    def take(self, process: Process, uuid: UUID, what: str) -> Play:
        """Begin to clear, to delete or to pop."""
        book = self.books[uuid]
        acked = {word for word, one in book.said.items() if one.acked and word not in book.free | book.taken}
        play = Play(f"{process.name} {what}", process)
        play.told = True
        book.doubtful[play] = set(acked if what == "pop" else book.said)
        book.wipes += what != "pop"
        call = getattr(self._tiered(process), what)(ConversationKey(uuid, OWNER))
        self.stage.begin(play, self._took(play, book, what, acked, call))
        return play

    async def _took(self, play: Play, book: Book, what: str, acked: set[str], call: Any) -> None:
        try:
            found = await call
        except (ConversationNotFound, StorageUnavailable):
            book.lost |= book.doubtful[play]
            return
        gone = acked
        if what == "pop":
            gone = {found.content} if found is not None else set()
        else:
            book.wipes -= 1
            book.lost |= book.said.keys() - gone
        told = play.told and not play.process.cut
        (book.taken if told else book.lost).update(gone)
        del book.doubtful[play]

    def look_at(self, process: Process, uuid: UUID, want: int | None, user: str = OWNER) -> Play:
        """Begin to read."""
        book = self.books[uuid]
        play = Play(f"{process.name} reads {want}{'' if user == OWNER else ', a stranger'}", process)
        play.told = True
        owed = book.owed(process.name, process.marks_owed_before(self.now))
        never = frozenset(book.taken)
        call = self._tiered(process).read(ConversationKey(uuid, user), want, HARD)
        self.stage.begin(play, self._looked(play, book, want, owed, never, user, call))
        return play

    async def _looked(
        self,
        play: Play,
        book: Book,
        want: int | None,
        owed: frozenset[str],
        never: frozenset[str],
        user: str,
        call: Any,
    ) -> None:
        cut = play.process.cut
        try:
            answer: Snapshot = await call
        except (ConversationNotFound, StorageUnavailable):
            return
        shown = [str(unpack(entry).content) for entry in answer.entries]
        self.story.append(f"{play.name}: {shown}")
        if user != OWNER:
            if shown:
                raise PromiseBroken(f"a stranger was shown {shown}")
            return
        dark = cut or play.process.cut or not play.told or play.process.redis.health.open
        waits = {word for word, one in book.said.items() if one.pending and one.process != play.process.name}
        book.check(shown, want, owed - waits if dark else owed, never)

    # What happens

    def flush(self) -> None:
        """Redis loses everything: what waited is owed to nobody until it is stored."""
        for uuid, book in self.books.items():
            stored = set(self.stored(uuid))
            book.lost |= {word for word, one in book.said.items() if word not in stored}
            for process in self.processes:
                for key in (process.keys.window(uuid), process.keys.journal(uuid)):
                    self.hot.evict(key)

    def mend(self) -> None:
        """Everybody reaches everything again."""
        self.away = False
        for process in self.processes:
            process.cut = False

    def leave(self) -> None:
        """PostgreSQL is away."""
        self.away = True

    def stored(self, uuid: UUID) -> list[str]:
        """What PostgreSQL has."""
        query = "SELECT content FROM messages JOIN conversations c USING (conversation_id)"
        rows = self._eye.execute(
            f"{query} WHERE conversation_id = %s AND seq > c.cleared ORDER BY seq", [uuid]
        ).fetchall()
        return [row[0] for row in rows]

    def end(self) -> None:
        """All is well again, everybody comes to an end, and all that waits is drained."""
        self.mend()
        for delayed in self.delayed:
            self.stage.loop.run_until_complete(delayed())
        self.delayed.clear()
        while calls := [actor for actor in self.stage.waiting() if actor.at != "asleep"]:
            self.step(calls[0])
        self.wait(10)
        for uuid in self.conversations:
            for process in self.processes:
                play = Play(f"{process.name} drains", process)
                call = self._tiered(process).drained(ConversationKey(uuid, OWNER))
                self.stage.begin(play, _quietly(call))
                self.finish(play)
            for process in self.processes:
                self.finish(self.look_at(process, uuid, KEPT))
            self.finish(self.look_at(self.processes[0], uuid, None))
            book = self.books[uuid]
            owed = frozenset(w for w, one in book.said.items() if one.acked and w not in book.taken)
            book.check(self.stored(uuid), None, owed, frozenset(book.taken))


async def _quietly(call: Any) -> None:
    with suppress(StorageUnavailable, ConversationNotFound):
        await call


class Chance:
    """One example: what a seed has everybody do."""

    def __init__(
        self, world: JournalWorld, seed: int, troubles: Sequence[str], writes: Sequence[str]
    ) -> None:
        self.world, self.random = world, random.Random(seed)  # noqa: S311 - no secret
        self.troubles, self.writes = troubles, writes

    def play(self) -> None:
        """Begin with a conversation that has a window, take some steps, and look at the end."""
        world = self.world
        world.begin()
        uuid = world.conversations[0]
        for process in world.processes:
            process.looked()
        first = world.processes[0]
        world.finish(world.append(first, uuid, 1))
        if self.random.random() < 0.8:
            world.finish(world.look_at(first, uuid, KEPT))
        left = 3
        for _ in range(STEPS):
            left -= self._step(uuid, left)
        world.end()

    def _pick(self, choices: Sequence[Any]) -> Any:
        return self.random.choice(choices)

    def _step(self, uuid: UUID, left: int) -> int:
        world = self.world
        waiting = world.stage.waiting()
        calls = [actor for actor in waiting if actor.at != "asleep"]
        choices: list[Callable[[], Actor | None]] = []
        if len(calls) < MOST_CALLS:
            choices += [lambda: world.append(self._pick(world.processes), uuid, self._pick((1, 2)))] * 3
            choices += [lambda: world.look_at(self._pick(world.processes), uuid, self._pick(WANTS))] * 3
            choices += [
                lambda: world.look_at(self._pick(world.processes), uuid, KEPT, STRANGER),
                lambda: world.take(self._pick(world.processes), uuid, self._pick(self.writes)),
            ]
        choices += [lambda: self._go(self._pick(waiting))] * (4 if waiting else 0)
        if left and self.troubles and self.random.random() < 0.2:
            self._trouble(uuid, self._pick(self.troubles))
            return 1
        actor = self._pick(choices)()
        if actor is not None and not actor.over:
            world.story.append(repr(actor))
            self._go(actor)
        return 0

    def _go(self, actor: Actor) -> None:
        for _ in range(self._pick((1, 2, 3, 5, FAR))):
            if actor.over or actor.at == "asleep":
                if not actor.over:
                    self.world.step(actor)
                return
            self.world.story.append(f"  {actor!r}")
            self.world.step(actor)

    def _trouble(self, uuid: UUID, what: str) -> None:
        world = self.world
        calls = [actor for actor in world.stage.waiting() if actor.at != "asleep"]
        world.story.append(what)
        orders = {
            "lose": (Order.LOSE_ANSWER, Order.LOSE_REQUEST),
            "hold": (Order.HOLD,),
            "twice": (Order.TWICE,),
        }
        if what in orders:
            if calls:
                world.step(self._pick(calls), self._pick(orders[what]))
            return
        acts: dict[str, Callable[[], None]] = {
            "cut": self._cut,
            "mend": world.mend,
            "away": world.leave,
            "evict": lambda: world.evict(uuid),
            "flush": world.flush,
            "wait": lambda: world.wait(1.25),
            "die": self._die,
            "arrive": lambda: world.arrive() if world.delayed else None,
            "crash": lambda: world.crash(self._pick(calls)) if calls else None,
        }
        acts[what]()

    def _cut(self) -> None:
        self._pick(self.world.processes).cut = True

    def _die(self) -> None:
        process = self._pick(self.world.processes)
        self.world.die(process)
        process.looked()
