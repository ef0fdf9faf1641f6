"""The hot tier: recent windows and sessions in Redis or Valkey, every key with a time to live."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Self
from uuid import UUID

from pydantic import SecretStr
from redis.exceptions import NoScriptError, ResponseError

from convmemory._async.given_client import AsyncGivenClient, connections_of, given_client
from convmemory._async.homes import AsyncHomes
from convmemory._async.journal_scripts import AsyncJournalScripts
from convmemory._async.prober import AsyncProber
from convmemory._async.redis_calls import FULL, AsyncRedisCalls
from convmemory._async.redis_connections import AsyncRedisHome, AsyncRedisLink
from convmemory.encoding.storable_text import clean_json
from convmemory.errors import ConfigurationError, StorageError, in_words
from convmemory.ids import ConversationKey, new_row_id, session_handle
from convmemory.models import Session
from convmemory.settings import Settings
from convmemory.storage.redis_keys import Keys, server_named
from convmemory.storage.redis_sessions import (
    changes,
    fields_of,
    index_is_due,
    new_session_id,
    newest_first,
    session_of,
)
from convmemory.storage.redis_urls import redis_place
from convmemory.storage.sql_and_lua import lua, read_ahead
from convmemory.tiers.asking import aload
from convmemory.tiers.breaker import TierHealth
from convmemory.tiers.driver_errors import REDIS, refused
from convmemory.tiers.turns import AsyncTurns
from convmemory.value_fields import checked_metadata
from convmemory.windows.snapshots import ELSEWHERE, Reply, Snapshot, Written, parse_reply
from convmemory.windows.telling import asked, filled_with, written_to
from convmemory.windows.trust import NAMELESS, NOWHERE, Cache, Standing, Trust

MOST_LISTED: Final = 10_000
"""Sessions a user's list has room for; those that were used last stay in it."""
NOBODYS: Final = ConversationKey(UUID(int=0), "nobody")
"""A conversation that there is none of."""
PROBE: Final = 1_000
"""Milliseconds that what a sign of life writes stays."""
_PINGS: Final = 10
"""How many times ``redis_timeout`` a sign of life may take: a few commands, each sent twice, to Sentinels first."""


class AsyncRedisStore(AsyncJournalScripts):
    """Recent windows and sessions in Redis (6.2 or newer) or Valkey: fast, and never the only copy of a message.

    Args:
        client: A URL (``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://``, ``redis+cluster://``) or a
            ready client of redis-py of any of these kinds. ``None`` builds the URL from ``settings``.
        settings: Time to live, time-out and key prefix; ``Settings()`` has the defaults.

    Nothing connects before the first command. Forked processes and other event loops have connections of their own.
    """

    def __init__(self, client: Any = None, settings: Settings | None = None) -> None:
        super().__init__()
        self.settings = settings or Settings()
        self.health = TierHealth(REDIS)
        self.trust = Trust()
        url = (
            client if isinstance(client, str) else self.settings.redis_conninfo() if client is None else None
        )
        if client is None and url is None:
            raise ConfigurationError("REDIS_HOST: empty, so there is no Redis to connect to")
        self._url = SecretStr(url or "")
        self._given = None if url is not None else AsyncGivenClient(given_client(client), self.settings)
        self._most = (  # and a link says what is wrong with a URL
            connections_of(client, self.settings) if url is None else AsyncRedisLink(url, self.settings).most
        )
        self.installation: str | None = None
        self.keys = Keys(self.settings.key_prefix)
        self._ttl = round(self.settings.session_ttl * 1000)
        self._digests: dict[str, str] = {}
        self._readers, self._asked = secrets.token_hex(8), itertools.count()
        self.window_limit = self.settings.window_limit
        self._homes = AsyncHomes(self._new_home, self._forked)
        self._calls = AsyncRedisCalls(self.health, self.trust, self._homes)

    @property
    def off(self) -> bool:
        """Whether no windows are cached: this Redis does not say who it is, or refuses what they need."""
        return self.trust.off or self._calls.windows_off

    @property
    def away(self) -> bool:
        """Whether it is left alone, and windows with it; somebody asks after it then, in this very event loop."""
        if not self.health.open:
            return self.off
        self._homes.here().prober.start(at_once=True)
        return True

    def reader(self) -> str:
        """A name for one reader, which no other has."""
        return f"{self._readers}{next(self._asked):x}"

    @property
    def complaint(self) -> str | None:
        """What a server that answers does not let us do."""
        said = [
            f"refuses to {in_words(operation)}: {why}"
            for operation, why in sorted(self._calls.refusals.items())
        ]
        return "; ".join(said + [NAMELESS] * self.trust.off + self.declines) or None

    async def open(self) -> Self:
        """Make ready to connect, which the first command does; a Redis that was out of reach is asked anew."""
        await aload(read_ahead)
        if not self._homes.opened_here:
            self._homes.open_here()
            self.health.begin_anew()
        return self

    async def close(self) -> None:
        """Close the connections of a client made from a URL; a client that was given stays open."""
        await self._homes.close()

    def _new_home(self) -> AsyncRedisHome:
        clients = self._given.here() if self._given is not None else self._new_link()
        prober = AsyncProber(self.health, self._sign_of_life, _PINGS * self.settings.redis_timeout)
        return AsyncRedisHome(clients, prober, AsyncTurns(self._most, self.settings.pool_timeout, FULL))

    def _new_link(self) -> AsyncRedisLink:
        return AsyncRedisLink(self._url.get_secret_value(), self.settings)

    def _forked(self) -> None:
        """What the other process knew of the server, this one has yet to learn."""
        self.health.begin_at_nothing()
        self.trust = Trust()
        self._forget()
        self._readers = secrets.token_hex(8)
        self._calls = AsyncRedisCalls(self.health, self.trust, self._homes)

    @property
    def address(self) -> str | None:
        """Where it is, without user and password, for messages; ``None`` with a client that was given."""
        return None if self._given is not None else redis_place(self._url.get_secret_value()).address

    def belong(self, installation: str, former: str | None = None) -> None:
        """Keep this database's keys apart from those of every other: they carry the id of its installation.

        ``former`` is what that was before its schema was made anew.

        Raises:
            ConfigurationError: This store has been used with another database.
        """
        if self.installation not in (None, installation, former):
            raise ConfigurationError(
                "redis: this RedisStore is in use with another database or schema; make one for each"
            )
        self.keys = Keys(self.settings.key_prefix, installation)
        self.installation = installation

    @property
    def _client(self) -> Any:
        """The client of redis-py; asked for inside a call, since making a cluster's can fail."""
        return self._homes.here().clients.client()

    async def ping(self) -> dict[str, Any]:
        """Ask the server for a sign of life: its version, and whether windows can be cached there.

        Raises:
            StorageUnavailable: Nobody answers in time, or nothing can be written.
        """
        server = await self._sign_of_life()
        version = server.get("valkey_version") or server.get("redis_version") or "unknown"
        caches = await self.caches()
        await self._rehearse(caches)
        return {"version": str(version), "caching": bool(caches) and not self.off}

    async def _sign_of_life(self) -> Any:
        """Ask for what every call needs: that all primaries answer, and that a script may write."""
        async with self._calls.to("ping", anyway=True) as home:
            servers = await self._info("server")
            await self._evaluate(home, "session_write", self.keys.probe(), PROBE, "0", "", "asked", "1")
        return servers[0] or {}

    async def _rehearse(self, caches: Sequence[Cache]) -> None:
        """Do with a window of nobody's what is done with every window; what is refused is noted, and not raised."""
        eras = tuple(word for cache in caches for word in (cache.server, "rehearsal"))
        standing = Standing(tuple(cache.name for cache in caches), eras, known=True)
        with suppress(StorageError):
            reply = await self.read_window(NOBODYS, 1, 1, new_row_id(), standing)
            await self.fill(NOBODYS, Snapshot("1", 1, 0, [b"[]"]), reply, 1)
            await self.read_window(NOBODYS, -1, 1, new_row_id(), standing)
            await self.publish(NOBODYS, Written("2", "1", 2, 0, [b"[]"]), standing)
        with suppress(StorageError):
            await self.drop([NOBODYS.uuid])

    async def caches(self) -> list[Cache]:
        """The servers that hold windows, by the names they have for themselves; none where one of them does not say.

        A name belongs to one server from when it starts or becomes the primary until it ends, whatever is copied or
        promoted; with the number of the database and the key prefix it is what PostgreSQL knows a cache by.
        """
        async with self._calls.to("info"):
            servers = [server_named(server) for server in await self._info("replication")]
        if None in servers:
            return []
        pool = getattr(self._client, "connection_pool", None)
        number = getattr(pool, "connection_kwargs", {}).get("db") or 0
        place = f"{number}/{self.settings.key_prefix}"
        return [Cache(server, f"{server}/{place}") for server in servers if server is not None]

    async def _info(self, section: str) -> list[Any]:
        """What each server says of itself; nothing where it may not be asked."""
        everywhere = {"target_nodes": self._client.PRIMARIES} if hasattr(self._client, "PRIMARIES") else {}
        try:
            found = await self._client.info(section, **everywhere)
        except ResponseError as error:
            if not refused(error):
                raise
            return [None]
        return list(found.values()) if everywhere and not _is_one(found) else [found]

    def figures(self) -> dict[str, Any]:
        """What this process knows without asking: its counters, and whether windows are trusted (no marks left to drain)."""
        waiting = {"journal": self.remembered.figures()} if self.trust.journals else {}
        return {**self.health.figures(), "windows_trusted": self.trust.trusted, **waiting}

    async def read_window(
        self, key: ConversationKey, want: int, hard: int, token: str, standing: Standing
    ) -> Reply:
        """The newest ``want`` messages if the window has them, else the lease to fill it if nobody holds it.

        A ``want`` below 0 is a number of turns, and those up to ``hard`` messages are meant. ``token`` names the reader;
        ``fill`` takes what the reply has.
        """
        about = asked(key, want, hard, self._ttl, token, standing)
        return parse_reply(await self.run_script("window_read", self.keys.window(key.uuid), *about))

    async def publish(self, key: ConversationKey, written: Written, standing: Standing) -> str:
        """Tell the window of a committed write: ``extended``, ``kept``, ``dropped``, ``absent`` or ``elsewhere``."""
        limits = (self._ttl, self.window_limit, self.settings.max_window_bytes)
        about = written_to(key, written, *limits, standing)
        return await self._told("window_publish", self.keys.window(key.uuid), *about)

    async def fill(self, key: ConversationKey, snapshot: Snapshot, lease: Reply, keep: int) -> str:
        """Fill the window with what was read under a lease: ``filled``, or as ``tell``."""
        about = filled_with(key, snapshot, self._ttl, lease, keep, self.settings.max_window_bytes)
        if about is None:
            return await self.tell(key, snapshot.stamp)
        return await self._told("window_fill", self.keys.window(key.uuid), *about)

    async def tell(self, key: ConversationKey, stamp: str) -> str:
        """Leave word of what was read, so that nothing else is filled or served after it; on whichever server."""
        return await self.publish(key, Written(stamp), NOWHERE)

    async def drop(self, conversations: Sequence[UUID], servers: Sequence[str] = ()) -> list[bool]:
        """Forget windows and leases, on the servers that are meant (none: any); which of them were dropped.

        One that was asked of another server than these is left alone. Of a cluster all nodes are meant at once: a window
        lies on one of them, whichever has its slot.
        """
        script, names = lua("window_drop"), map(self.keys.window, conversations)
        async with self._calls.to("window_drop") as home:
            said = await home.clients.execute_all([("EVAL", script, 1, name, *servers) for name in names])
        return [one != ELSEWHERE.encode() for one in said]

    async def drop_run(self, conversation: UUID) -> None:
        """Forget what an answer that is on its way there has sent; whoever gives it is told so by the next thing it sends."""
        async with self._calls.to("run_drop"):
            await self._client.unlink(self.keys.run(conversation))

    async def create_session(
        self,
        user_id: str,
        *,
        dept_id: str | None = None,
        conversation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """Begin a session under an id nobody can guess (32 random bytes); it ends after the TTL without use."""
        now = datetime.now(UTC)
        facts = {} if metadata is None else clean_json(checked_metadata(metadata))
        session = Session.built(
            id=new_session_id(),
            user_id=user_id,
            dept_id=dept_id,
            created_at=now,
            last_active=now,
            conversation_id=conversation_id,
            metadata=facts,
        )
        await self._keep_listed(session, "0", *fields_of(session))
        return session

    async def get_session(self, session_id: str, *, user_id: str | None = None) -> Session | None:
        """A live session, its time to live begun anew; ``None`` when it has expired, never was, or is another user's."""
        return await self._touch(session_id, user_id, ())

    async def extend_session(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        conversation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session | None:
        """Keep a session alive, and note the conversation it is in or new metadata; ``None`` as ``get_session``."""
        return await self._touch(session_id, user_id, changes(conversation_id, metadata))

    async def end_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """End a session, by its id or its handle, at once; whether it was alive (and the user's, where one is named)."""
        name = self.keys.session(session_handle(session_id))
        return bool(await self.run_script("session_end", name, user_id or ""))

    async def list_user_sessions(self, user_id: str) -> list[Session]:
        """A user's live sessions under their handles, the newest first; looking does not prolong them."""
        index = self.keys.user_sessions(user_id)
        async with self._calls.to("list_user_sessions"):
            handles = [raw.decode() for raw in await self._client.zrevrange(index, 0, -1)]
            async with self._client.pipeline(transaction=False) as pipe:
                for handle in handles:
                    pipe.hgetall(self.keys.session(handle))
                found = await pipe.execute()
            ended = [handle for handle, raw in zip(handles, found, strict=True) if not raw]
            if ended:
                await self._client.zrem(index, *ended)
        return newest_first(handles, found)

    async def _touch(self, session_id: str, user_id: str | None, more: Sequence[str]) -> Session | None:
        handle = session_handle(session_id)
        if handle == session_id:  # a handle may end its session, and no more
            return None
        active = ("last_active", datetime.now(UTC).isoformat())
        raw = await self.run_script(
            "session_write", self.keys.session(handle), self._ttl, "1", user_id or "", *active, *more
        )
        if not raw:
            return None
        fields = dict(zip(raw[::2], raw[1::2], strict=True))
        session = session_of(session_id, fields)
        if index_is_due(fields, self.settings.session_ttl):
            await self._keep_listed(session, "1")
        return session

    async def _keep_listed(self, session: Session, must: str, *fields: str) -> None:
        """Write ``fields`` and have the user's list outlive the session, in one trip; due once per half a TTL, not at every use.

        Where only one of the two got through, the list is right again at the latest when it is due next: it lives longer.
        """
        handle, index = session.handle, self.keys.user_sessions(session.user_id)
        listed = ("listed", session.last_active.isoformat())
        name, written = self.keys.session(handle), lua("session_write")
        async with self._calls.to("session_write") as home:
            await home.clients.execute_all(
                [
                    ("EVAL", written, 1, name, self._ttl, must, "", *fields, *listed),
                    ("EVAL", lua("session_list"), 1, index, 2 * self._ttl, handle, MOST_LISTED),
                ]
            )

    async def _told(self, script: str, name: str, *arguments: Any) -> str:
        said: bytes = await self.run_script(script, name, *arguments)
        return said.decode()

    async def run_script(self, script: str, name: str, *arguments: Any) -> Any:
        """Run a script by its digest; by its text where the server does not know it yet. All of them may be repeated."""
        async with self._calls.to(script) as home:
            return await self._evaluate(home, script, name, *arguments)

    async def _evaluate(self, home: AsyncRedisHome, script: str, name: str, *arguments: Any) -> Any:
        digest = self._digests.get(script) or await self._digest(script)
        try:
            return await home.clients.execute("EVALSHA", digest, 1, name, *arguments)
        except NoScriptError:
            return await home.clients.execute("EVAL", lua(script), 1, name, *arguments)

    async def _digest(self, script: str) -> str:
        await aload(read_ahead)
        digest = hashlib.sha1(lua(script).encode(), usedforsecurity=False).hexdigest()
        self._digests[script] = digest
        return digest


def _is_one(info: Mapping[str, Any]) -> bool:
    """Whether this is what one server says, as a cluster of one node is answered with."""
    return not all(isinstance(value, Mapping) for value in info.values())
