"""The hot tier: recent windows and sessions in Redis or Valkey, every key with a time to live."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self
from uuid import UUID

from redis.exceptions import NoScriptError

from convmemory._async.homes import AsyncHomes
from convmemory._async.prober import AsyncProber
from convmemory._async.redis_connections import AsyncGivenClient, AsyncRedisHome, AsyncRedisLink
from convmemory.errors import ConfigurationError, StorageUnavailable
from convmemory.ids import ConversationKey
from convmemory.models import Session
from convmemory.settings import Settings
from convmemory.storage.redis_keys import Keys
from convmemory.storage.redis_sessions import (
    changes,
    checked_metadata,
    fields_of,
    index_is_due,
    new_session_id,
    session_of,
)
from convmemory.storage.redis_urls import redis_place
from convmemory.storage.sql_and_lua import lua, read_ahead
from convmemory.tiers.breaker import TierHealth
from convmemory.tiers.driver_errors import REDIS, translated, wrong_type
from convmemory.tiers.socket_checks import Deserted
from convmemory.tiers.waiting import aheeded, aload
from convmemory.windows.snapshots import Reply, Snapshot, Written, parse_reply
from convmemory.windows.trust import Trust

LEASE: Final = 5_000
"""Milliseconds a reader may take between its lease and its fill; longer than any statement that succeeds needs."""
PROBE: Final = 1_000
"""Milliseconds that what a sign of life writes stays."""
_PINGS: Final = 10
"""How many times ``redis_timeout`` a sign of life may take: a few commands, each sent twice, to Sentinels first."""


class AsyncRedisStore:
    """Recent windows and sessions in Redis (6 or newer) or Valkey: fast, and never the only copy of a message.

    Args:
        client: A URL (``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://``, ``redis+cluster://``) or a
            ready client of redis-py of any of these kinds. ``None`` builds the URL from ``settings``.
        settings: Time to live, time-out and key prefix; ``Settings()`` has the defaults.

    Nothing connects before the first command. Forked processes and other event loops have connections of their own.
    """

    def __init__(self, client: Any = None, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.health = TierHealth(REDIS)
        self.trust = Trust()
        url = (
            client if isinstance(client, str) else self.settings.redis_conninfo() if client is None else None
        )
        if client is None and url is None:
            raise ConfigurationError("REDIS_HOST: empty, so there is no Redis to connect to")
        self._url = url or ""
        if url is not None:
            AsyncRedisLink(url, self.settings)  # says what is wrong with it
        self._given = None if url is not None else AsyncGivenClient(_undecoded(client))
        self._keys = Keys(self.settings.key_prefix)
        self._ttl = round(self.settings.session_ttl * 1000)
        self._digests: dict[str, str] = {}
        self._homes = AsyncHomes(self._new_home, self._forked)

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
        clients = self._given.here() if self._given is not None else AsyncRedisLink(self._url, self.settings)
        prober = AsyncProber(self.health, self.ping, _PINGS * self.settings.redis_timeout)
        return AsyncRedisHome(clients, prober)

    def _forked(self) -> None:
        """What the other process knew of the server, this one has yet to learn."""
        self.health.begin_anew()
        self.trust = Trust()

    @property
    def address(self) -> str | None:
        """Where it is, without user and password, for messages; ``None`` with a client that was given."""
        return redis_place(self._url).address if self._url else None

    @property
    def _client(self) -> Any:
        """The client of redis-py; asked for inside ``_observed``, since making a cluster's can fail."""
        return self._homes.here().clients.client()

    async def ping(self) -> dict[str, Any]:
        """Ask the server for a sign of life: its version.

        Asks for what every call needs: that all primaries answer, and that a script may write.

        Raises:
            StorageUnavailable: Nobody answers in time, or nothing can be written.
        """
        with aheeded(), self._observed("ping"):
            everywhere = (
                {"target_nodes": self._client.PRIMARIES} if hasattr(self._client, "PRIMARIES") else {}
            )
            info = await self._client.info("server", **everywhere)
            await self._evaluate("session_write", self._keys.probe(), PROBE, "0", "", "asked", "1")
        servers = [info] if "redis_version" in info else list(info.values())
        version = servers[0].get("valkey_version") or servers[0]["redis_version"]
        return {"version": str(version)}

    def figures(self) -> dict[str, Any]:
        """What this process knows without asking: its counters, and whether windows are trusted (no marks left to drain)."""
        return {**self.health.figures(), "windows_trusted": self.trust.trusted}

    async def read_window(self, key: ConversationKey, want: int, hard: int, token: str) -> Reply:
        """The newest ``want`` messages if the window has them, else the lease to fill it if nobody holds it.

        A ``want`` below 0 is a number of turns, and those up to ``hard`` messages are meant. ``token`` names the reader; ``fill`` takes the token of the reply.
        """
        name = self._keys.window(key.uuid)
        return parse_reply(
            await self._run("window_read", name, key.user_id, want, hard, self._ttl, token, LEASE)
        )

    async def publish(self, key: ConversationKey, written: Written) -> str:
        """Tell the window of a committed write: ``extended``, ``kept``, ``dropped`` or ``absent``."""
        hard, limit = self.settings.hard_max_messages, self.settings.max_window_bytes
        size = sum(map(len, written.entries))
        if not written.entries or len(written.entries) > hard or size > limit:
            return await self.tell(key, written.incarnation, written.version)
        about = (
            written.incarnation,
            written.version,
            self._ttl,
            hard,
            limit,
            written.first_seq,
            written.human_seq,
        )
        name = self._keys.window(key.uuid)
        return await self._told("window_publish", name, key.user_id, *about, *written.entries)

    async def fill(self, key: ConversationKey, snapshot: Snapshot, token: str, keep: int) -> str:
        """Fill the window with what was read under the lease ``token``: ``filled``, or as ``tell``."""
        size = sum(map(len, snapshot.entries))
        if size > self.settings.max_window_bytes:
            return await self.tell(key, snapshot.incarnation, snapshot.version)
        about = (snapshot.incarnation, snapshot.version, self._ttl, token, keep, size)
        place = (snapshot.first_seq, snapshot.last_seq, snapshot.human_seq)
        name = self._keys.window(key.uuid)
        return await self._told("window_fill", name, key.user_id, *about, *place, *snapshot.entries)

    async def tell(self, key: ConversationKey, incarnation: str, version: int) -> str:
        """Leave word of a version that was read or written, so that nothing older is filled or served after it."""
        name = self._keys.window(key.uuid)
        about = (incarnation, version, self._ttl, "", 0, 0, 1, 0, 0)
        return await self._told("window_fill", name, key.user_id, *about)

    async def drop(self, conversations: Sequence[UUID]) -> None:
        """Forget windows and leases; always safe."""
        self._refuse_while_open("drop")
        with aheeded(), self._observed("drop"):
            async with self._client.pipeline(transaction=False) as pipe:
                for conversation in conversations:
                    # not pipe.unlink(): an awaited cluster's puts nothing in the pipe
                    pipe.execute_command("UNLINK", self._keys.window(conversation))
                await pipe.execute()

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
        facts = {} if metadata is None else checked_metadata(metadata)
        session = Session.built(
            id=new_session_id(),
            user_id=user_id,
            dept_id=dept_id,
            created_at=now,
            last_active=now,
            conversation_id=conversation_id,
            metadata=facts,
        )
        await self._run(
            "session_write", self._keys.session(session.id), self._ttl, "0", "", *fields_of(session)
        )
        await self._keep_listed(session)
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
        """End a session at once; whether it was alive (and the user's, where one is named). Its conversation stays."""
        if user_id is not None and await self.get_session(session_id, user_id=user_id) is None:
            return False  # a session never changes hands, so nothing slips between the two
        self._refuse_while_open("end_session")
        with aheeded(), self._observed("end_session"):
            return bool(await self._client.unlink(self._keys.session(session_id)))

    async def list_user_sessions(self, user_id: str) -> list[Session]:
        """A user's live sessions, the newest first; looking does not prolong them."""
        self._refuse_while_open("list_user_sessions")
        index = self._keys.user_sessions(user_id)
        with aheeded(), self._observed("list_user_sessions"):
            ids = [raw.decode() for raw in await self._client.zrevrange(index, 0, -1)]
            async with self._client.pipeline(transaction=False) as pipe:
                for session_id in ids:
                    pipe.hgetall(self._keys.session(session_id))
                found = await pipe.execute()
            ended = [session_id for session_id, raw in zip(ids, found, strict=True) if not raw]
            if ended:
                await self._client.zrem(index, *ended)
        return [session_of(session_id, raw) for session_id, raw in zip(ids, found, strict=True) if raw]

    async def _touch(self, session_id: str, user_id: str | None, more: Sequence[str]) -> Session | None:
        active = ("last_active", datetime.now(UTC).isoformat())
        name = self._keys.session(session_id)
        raw = await self._run("session_write", name, self._ttl, "1", user_id or "", *active, *more)
        if not raw:
            return None
        fields = dict(zip(raw[::2], raw[1::2], strict=True))
        session = session_of(session_id, fields)
        if index_is_due(fields, self.settings.session_ttl):
            await self._keep_listed(session)
        return session

    async def _keep_listed(self, session: Session) -> None:
        """Have the user's list of sessions outlive this one; due once per half a TTL, not at every use."""
        index, since = self._keys.user_sessions(session.user_id), session.created_at.timestamp()
        await self._run("session_list", index, 2 * self._ttl, session.id, since)
        listed = ("listed", session.last_active.isoformat())
        await self._run("session_write", self._keys.session(session.id), self._ttl, "1", "", *listed)

    async def _told(self, script: str, name: str, *arguments: Any) -> str:
        said: bytes = await self._run(script, name, *arguments)
        return said.decode()

    async def _run(self, script: str, name: str, *arguments: Any) -> Any:
        """Run a script by its digest; by its text where the server does not know it yet. All of them may be repeated."""
        self._refuse_while_open(script)
        with aheeded(), self._observed(script):
            return await self._evaluate(script, name, *arguments)

    async def _evaluate(self, script: str, name: str, *arguments: Any) -> Any:
        digest = self._digests.get(script) or await self._digest(script)
        try:
            return await self._client.execute_command("EVALSHA", digest, 1, name, *arguments)
        except NoScriptError:
            return await self._client.execute_command("EVAL", lua(script), 1, name, *arguments)

    async def _digest(self, script: str) -> str:
        await aload(read_ahead)
        digest = hashlib.sha1(lua(script).encode(), usedforsecurity=False).hexdigest()
        self._digests[script] = digest
        return digest

    def _refuse_while_open(self, operation: str) -> None:
        if self.health.open and self._homes.here().prober.refuses():
            raise StorageUnavailable(
                REDIS, operation, "it did not answer a moment ago and is left alone until it does"
            )

    def _observed(self, operation: str) -> translated:
        return translated(REDIS, operation, heard=self._heard)

    def _heard(self, error: BaseException | None) -> None:
        """Tell the breaker how it went; after a failure no window is trusted until the marks are drained."""
        if error is None:
            self.health.succeeded()
        elif not wrong_type(error):  # else one key is not ours; the server is there
            self.trust.lost()
            if self.health.failed(error):
                self._homes.here().prober.start(at_once=isinstance(error, Deserted))


def _undecoded(client: Any) -> Any:
    """A caller's own client, which must hand out bytes: what is stored is not always text.

    Raises:
        ConfigurationError: It decodes replies.
    """
    encoder = getattr(client, "get_encoder", None)
    if encoder is not None and encoder().decode_responses:
        raise ConfigurationError(
            "redis: make the client without decode_responses=True; windows are read as bytes"
        )
    return client
