"""One process of the application, and the gates: before every command and every statement an actor stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
import redis.asyncio
import redis.exceptions

from convmemory import AsyncPostgresStore, AsyncRedisStore
from convmemory.errors import StorageError
from convmemory.storage.redis_keys import Keys
from convmemory.windows.trust import LOOK_EVERY, OLDEST_LOOK, Cache
from model.hot import DROP
from model.stage import Actor, Order, playing

if TYPE_CHECKING:
    from model.ledger import Moment
    from model.world import World


BARE = "no cache"
"""Where a process keeps its windows that has no Redis."""


class Play(Actor):
    """A read or a write: what it was told, and what it is owed."""

    told = False
    """Whether Redis answered the last time it was asked: it was told of what was written or read, or could have been."""
    moment = 0
    """The moment a write made."""
    owed = 0
    looks_since: float | None = None
    """When the look at the marks that is under way began."""
    losses = 0
    stumbled = False
    """The connection to PostgreSQL broke just now: the next attempt goes through."""
    intent: Callable[[Moment], Moment] | None = None


class Process:
    """One process of the application: its own stores, its own idea of how Redis is doing."""

    def __init__(self, name: str, world: World, postgres: GatedPostgres, place: str) -> None:
        self.name = name
        self.world = world
        self.postgres = postgres
        self.settings = world.settings.model_copy(update={"key_prefix": world.settings.key_prefix + place})
        self.bare = place == BARE
        self.cut = False
        self.start()

    @property
    def cache(self) -> str:
        """What its windows are told apart by; a process without a cache reads for itself alone."""
        return self.name if self.bare else self.settings.key_prefix

    @property
    def keys(self) -> Keys:
        return Keys(self.settings.key_prefix, self.world.installation)

    def __repr__(self) -> str:
        return self.name

    def start(self) -> None:
        """Begin with nothing known."""
        self.redis = AsyncRedisStore(GatedRedis(self), self.settings)
        self.redis.belong(self.world.installation)
        self.postgres.process = self
        self.postgres.health.begin_anew()
        self.doubts, self.losses = True, 0
        self._errands: list[asyncio.Task[None]] = []

    def later(self, errand: Callable[[], Awaitable[None]]) -> None:
        """Do something behind the back of a call that comes to its end; only mutants do."""
        self._errands.append(asyncio.get_running_loop().create_task(self._run(errand)))

    async def _run(self, errand: Callable[[], Awaitable[None]]) -> None:
        self.world.stage.join(Play(f"errand of {self.name}", self))
        with suppress(StorageError):
            await errand()

    def looked(self) -> None:
        """Begin as one that has found no marks just now."""
        if self.bare or self.redis.trust.trusted:
            return
        trust, server = self.redis.trust, self.world.hot.run
        cache = Cache(server, f"{server}/0/{self.settings.key_prefix}")
        trust.named([cache])
        ticket = trust.begin(self.world.now)
        assert ticket is not None
        trust.looked(ticket, {cache.name: self.world.registered(cache.name)}, **self.world.looked)
        self.doubts = False

    def missed(self) -> None:
        """A command did not come back: nothing cached may be believed until the marks are drained."""
        self.doubts, self.losses = True, self.losses + 1

    def marks_owed_before(self, now: float) -> float:
        """Writes that were only marked are owed to a read that begins now, if they were acknowledged before this."""
        if self.doubts:
            return float("inf")
        looks = (a.looks_since for a in self.world.stage.actors if a.process is self and not a.over)
        return now - (OLDEST_LOOK if any(since is not None for since in looks) else LOOK_EVERY)


class GatedRedis(redis.asyncio.Redis):
    """The client a process's store is given: one of redis-py by its class, and with no connection."""

    get_encoder = None
    """It hands out bytes."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def __del__(self, *_: Any) -> None:
        """There is nothing to close."""

    async def execute_command(self, command: str, script: str, count: int, *words: Any) -> Any:
        hot, keys, arguments = self._process.world.hot, words[:count], words[count:]
        return await self.ask(
            hot.names[script], keys, arguments, lambda: hot.script(command, script, keys, arguments)
        )

    async def set(self, *_: Any, **__: Any) -> bool:
        """Nobody else sweeps."""
        return True

    async def scan_iter(self, *, match: str, count: int) -> AsyncIterator[bytes]:
        """Names of keys, found at one stroke."""
        for name in self._process.world.hot.eye.scan_iter(match=match, count=count):
            yield name

    def pipeline(self, *, transaction: bool) -> GatedPipeline:
        assert not transaction
        return GatedPipeline(self)

    async def info(self, section: str) -> Any:
        async def call() -> dict[str, str]:
            run = self._process.world.hot.run
            return {"redis_version": "0", "master_replid": run, "maxmemory_policy": "noeviction"}

        return await self.ask(f"info {section}", [], (), call)

    async def drop(self, drops: list[tuple[str, str, Sequence[str]]]) -> Any:
        """Several drops, sent together."""
        hot = self._process.world.hot

        async def call() -> list[Any]:
            said = []
            for text, key, servers in drops:
                answer = await hot.script("EVAL", text, [key], servers)
                hot.happened(DROP, key, servers, answer, self._process.world.now)
                said.append(answer)
            return said

        return await self.ask(DROP, [], (), call)

    async def ask(
        self, what: str, keys: Sequence[str], arguments: Sequence[Any], call: Callable[[], Any]
    ) -> Any:
        process, actor = self._process, playing()
        order = await actor.stop(what)
        actor.told = False
        if process.cut or order is Order.LOSE_REQUEST:
            process.missed()
            raise redis.exceptions.ConnectionError("cut off")
        answer = await self._carried_out(what, keys, arguments, call)
        if order is Order.TWICE:
            process.world.delayed.append(lambda: self._carried_out(what, keys, arguments, call))
        if order is Order.HOLD:
            order = await actor.stop(f"the answer of {what}")
        if order in {Order.LOSE_ANSWER, Order.LOSE_REQUEST}:
            process.missed()
            raise redis.exceptions.ConnectionError("the answer was lost")
        actor.told = True
        return answer

    async def _carried_out(
        self, what: str, keys: Sequence[str], arguments: Sequence[Any], call: Callable[[], Any]
    ) -> Any:
        answer = await call()
        for key in keys:
            self._process.world.hot.happened(what, key, arguments, answer, self._process.world.now)
        return answer


class GatedPipeline:
    """Windows that are dropped together, which is all the store pipelines here."""

    def __init__(self, client: GatedRedis) -> None:
        self._client = client
        self._drops: list[tuple[str, str, Sequence[str]]] = []

    async def __aenter__(self) -> GatedPipeline:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is held open."""

    def execute_command(self, command: str, script: str, _keys: int, key: str, *servers: str) -> None:
        assert command == "EVAL"
        self._drops.append((script, key, servers))

    async def execute(self) -> Any:
        return await self._client.drop(self._drops)


class GatedPostgres(AsyncPostgresStore):
    """The durable store of one process."""

    process: Process

    async def _send(
        self, home: Any, query: str, parameters: Mapping[str, Any], *, fetch: bool, **more: Any
    ) -> Sequence[Any]:
        name = next(name for name, text in self._statements.items() if text is query)
        world, actor = self.process.world, playing()
        if name == "look" and actor.looks_since is None:
            actor.looks_since, actor.losses = world.now, self.process.losses
        order = await actor.stop(name)
        stumbles = order in {Order.LOSE_REQUEST, Order.LOSE_ANSWER} and not actor.stumbled
        actor.stumbled = stumbles
        if stumbles and order is Order.LOSE_REQUEST:
            raise psycopg.OperationalError("cut off")
        rows = await super()._send(home, query, parameters, fetch=fetch, **more)
        world.stated(actor, name, parameters)
        if order is Order.HOLD:
            await actor.stop(f"the answer of {name}")
        if stumbles:
            raise psycopg.OperationalError("the answer was lost")
        if name == "clear_marks" or (name == "look" and rows and rows[0][-1] is None):
            actor.looks_since = None
            self.process.doubts = self.process.doubts and actor.losses != self.process.losses
        return rows

    def _compile(self, name: str) -> str:
        query = super()._compile(name)
        self._statements[name] = altered = self.process.world.statement(name, query)
        return altered
