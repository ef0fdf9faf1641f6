"""The journals in Redis: what waits beside a window, in the same slot, until PostgreSQL has it."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

from redis.exceptions import NoScriptError, ResponseError

from convmemory._async.homes import AsyncHomes
from convmemory._async.redis_calls import AsyncRedisCalls
from convmemory._async.redis_connections import AsyncRedisHome
from convmemory.errors import StorageUnavailable
from convmemory.ids import ConversationKey
from convmemory.journal.conditions import CHECK_EVERY, too_full, unkept
from convmemory.journal.entries import Entry, parse_reply_beside
from convmemory.journal.remembered import SWEEP_EVERY, Remembered
from convmemory.settings import Settings
from convmemory.storage.redis_keys import Keys
from convmemory.storage.sql_and_lua import lua
from convmemory.tiers.driver_errors import REDIS, refused
from convmemory.windows.snapshots import ELSEWHERE, Reply, Snapshot, Written
from convmemory.windows.telling import asked, filled_with, written_to
from convmemory.windows.trust import Standing

logger = logging.getLogger("convmemory.journal")

OUTLIVES: Final = 86_400_000
"""Milliseconds a window lives beside which something waits: nothing can be accepted without one."""
_MOST: Final = {False: (64, 262_144, 5_000), True: (500, 1_048_576, 0)}
"""Entries and bytes of one journal, and milliseconds without any being stored; by whether PostgreSQL is known to be away."""


class AsyncJournalScripts:
    """What a store of Redis does where writes may wait; the rules are those of ``docs/explanation/journal.md``."""

    settings: Settings
    keys: Keys
    _calls: AsyncRedisCalls
    _homes: AsyncHomes[AsyncRedisHome]
    _digests: dict[str, str]
    _ttl: int
    _client: Any
    _digest: Callable[[str], Awaitable[str]]
    _info: Callable[[str], Awaitable[list[Any]]]
    window_limit: int
    _told: Callable[..., Awaitable[str]]
    tell: Callable[[ConversationKey, str], Awaitable[str]]

    def __init__(self) -> None:
        self._forget()
        self._checked = float("-inf")
        self._unkept: str | None = None
        self.is_full = False
        """Whether Redis had no room for more when it was last asked."""
        self._complained: set[str] = set()

    def _forget(self) -> None:
        """Begin with nothing that was accepted: in a forked process that is its parent's."""
        self.remembered = Remembered()

    def here(self) -> AsyncRedisHome:
        """The connections of this process and event loop, and who drains there."""
        return self._homes.here()

    async def accept(
        self, key: ConversationKey, entry: Entry, standing: Standing, *, away: bool
    ) -> tuple[str, str, Sequence[bytes]]:
        """Have an entry wait: ``accepted``, or why not, with the life of the window or what waits already.

        Raises:
            StorageUnavailable: Nobody answered in time, or no replica has it: it may wait all the same.
        """
        entries, most, age = _MOST[away]
        about = (key.user_id, entry.life, entry.id, OUTLIVES, entries, most, age, entry.text)
        told = await self._beside("journal_append", key.uuid, *about, *standing.eras, wait=self._waits)
        (said, *more), replicas = told if self._waits else (told, 1)
        if said == b"accepted" and not replicas:
            self._unkept, self._checked = "no replica had the last write in time", time.monotonic()
            self._complain(self._unkept)
            raise StorageUnavailable(REDIS, "journal_append", "no replica has it in time")
        verdict = said.decode()
        if verdict == "life":
            return verdict, more[0].decode(), ()
        return verdict, "", more[0] if more and verdict != "accepted" else ()

    async def take(
        self, key: ConversationKey, standing: Standing, owner: str = ""
    ) -> tuple[str, Sequence[bytes]] | None:
        """What waits for PostgreSQL, and the life in which the user's window is; ``None`` where another server answered."""
        said, *more = await self._beside("journal_take", key.uuid, owner, *standing.eras)
        return None if said.decode() == ELSEWHERE else (more[0].decode(), more[1])

    async def read_beside(
        self, key: ConversationKey, want: int, hard: int, token: str, standing: Standing
    ) -> Reply:
        """As ``read_window``, with what waits beside it: ``Reply.life`` and ``Reply.waiting``."""
        about = asked(key, want, hard, self._ttl, token, standing)
        raw = await self._beside("journal_read", key.uuid, OUTLIVES, *about)
        return parse_reply_beside(raw, self.remembered.of(key.uuid) if self.remembered.mine else ())

    async def settle(
        self, key: ConversationKey, written: Written, standing: Standing, ids: Sequence[str]
    ) -> str:
        """As ``publish``, and let go of the entries that are stored by it."""
        most = self.settings.max_window_bytes
        about = written_to(key, written, self._ttl, self.window_limit, most, standing)
        said: bytes = await self._beside("journal_settle", key.uuid, len(ids), *ids, *about)
        return said.decode()

    async def fill_beside(
        self, key: ConversationKey, snapshot: Snapshot, lease: Reply, keep: int, life: str
    ) -> str:
        """As ``fill``, of what was read in a life, its rows behind its messages."""
        about = filled_with(key, snapshot, self._ttl, lease, keep, self.settings.max_window_bytes)
        if about is None:
            return await self.tell(key, snapshot.stamp)
        return await self._told("journal_fill", self.keys.window(key.uuid), life, *about)

    @property
    def _waits(self) -> bool:
        """Whether a replica must have what was accepted."""
        return self.settings.journal_ack == "replica"

    async def _beside(self, script: str, conversation: UUID, *arguments: Any, wait: bool = False) -> Any:
        """Run a script on the window and the journal of a conversation; with ``wait``, what it said and how many replicas have it."""
        names = (self.keys.window(conversation), self.keys.journal(conversation))
        async with self._calls.to(script) as home:
            digest = self._digests.get(script) or await self._digest(script)
            if wait:
                run = ("EVAL", lua(script), 2, *names, *arguments)
                return await home.clients.execute_all([run, ("WAIT", 1, self._patience)])
            try:
                return await home.clients.execute("EVALSHA", digest, 2, *names, *arguments)
            except NoScriptError:
                return await home.clients.execute("EVAL", lua(script), 2, *names, *arguments)

    @property
    def _patience(self) -> int:
        """Milliseconds that a replica may take: less than the command may."""
        return max(1, round(self.settings.redis_timeout * 500))

    @property
    def declines(self) -> list[str]:
        """Why nothing waits in this Redis, where it should."""
        return [self._unkept] if self._unkept is not None and self.settings.journals else []

    async def keeps(self, *, anew: bool = False) -> str | None:
        """Why nothing may wait in this Redis; ``None`` where it may. Asked every ten seconds, or ``anew``.

        Raises:
            StorageUnavailable: Nobody answers in time.
        """
        now = time.monotonic()
        if anew or now - self._checked >= CHECK_EVERY:
            ack = self.settings.journal_ack
            async with self._calls.to("info"):
                memory = await self._info("memory")
                persistence = await self._info("persistence") if ack != "memory" else []
                replication = await self._info("replication") if ack == "replica" else []
            fsync = None if ack == "memory" else await self._fsync()
            why = unkept(ack, memory, persistence, fsync, replication)
            if ack == "replica" and hasattr(self._client, "PRIMARIES"):
                why = "journal_ack='replica' is for one server and its replicas, not for a cluster: set 'always'"
            self.is_full = why is None and too_full(memory)
            self._unkept = "Redis is nearly full" if self.is_full else why
            self._checked = now
            if why:
                self._complain(why)
        return self._unkept

    def _complain(self, why: str) -> None:
        """Say so in the log, once."""
        if why not in self._complained:
            self._complained.add(why)
            logger.warning("no write waits in Redis any more: %s", why)

    async def _fsync(self) -> str | None:
        """When the server writes its append-only file through; ``None`` where it may not be asked."""
        async with self._calls.to("info"):
            try:
                found = await self._client.config_get("appendfsync")
            except ResponseError as error:
                if not refused(error):
                    raise
                return None
        if found and all(isinstance(value, dict) for value in found.values()):  # of a cluster's nodes
            said = {str(one.get("appendfsync")) for one in found.values()}
            return said.pop() if len(said) == 1 else None
        said = found.get("appendfsync")
        return None if said is None else str(said)

    async def orphans(self, *, anyway: bool = False) -> list[UUID]:
        """Conversations in whose journals something waits, whoever wrote it; none where another process is looking, unless ``anyway``."""
        async with self._calls.to("journal_sweep"):
            mine = await self._client.set(self.keys.sweep(), "", nx=True, px=round(SWEEP_EVERY * 1000))
            if not (mine or anyway):
                return []
            return [
                self.keys.journaled(name)
                async for name in self._client.scan_iter(match=self.keys.journals(), count=1000)
            ]
