"""The short way to one Redis server: connections of redis-py, each with one caller at a time, without its client in between."""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from typing import Any, TypeAlias

from redis.exceptions import ConnectionError as Broken
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as TooLate

from convmemory.tiers.driver_errors import read_only
from convmemory.tiers.packing import PACKS, packed
from convmemory.tiers.waiting import aforsake, alimit, awhole

Command: TypeAlias = Sequence[Any]


class AsyncRedisLines:
    """Connections like those of a client's pool, kept ready between calls.

    Two fifths of what a small command costs its caller is the client's way to a connection and back. All that is used here is
    public as well: a connection packs a command, sends it, and reads the reply. Whoever calls sees to how many call at
    once. Every command may be repeated: where a connection was cut, or leads to a server that is no primary any more, the
    others are given up with it, and the command is sent once more.
    """

    def __init__(self, pool: Any) -> None:
        self._kind = pool.connection_class
        self._seconds: float | None = pool.connection_kwargs.get("socket_timeout")
        self._options = awhole(pool.connection_kwargs)
        self._ready: list[tuple[float, Any]] = []
        """Each with when it was heard of last."""
        self._made: set[Any] = set()
        self._closed = False
        weakref.finalize(self, aforsake, self._made, pool)  # a program may end without closing anything

    async def execute(self, *command: Any) -> Any:
        """Send a command and return its reply; errors are those of redis-py's client."""
        [reply] = await self._send([command])
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    async def execute_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one trip and return their replies; the first error among them is raised, as a pipeline does."""
        replies = await self._send(commands)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return replies

    async def close(self) -> None:
        """Hang up; whoever calls again, or still does, gets a new connection for that call."""
        self._closed = True
        self._ready.clear()
        for line in self.connections:
            await self._give_up(line)

    async def doubt(self, since: float) -> None:
        """Hang up on those that wait for their next use and were not heard of since then."""
        fresh = []
        while self._ready:
            with suppress(IndexError):  # another thread was faster, and it is that one's now
                heard, line = self._ready.pop()
                if heard > since:
                    fresh.append((heard, line))
                else:
                    await self._give_up(line)
        self._ready.extend(reversed(fresh))

    @property
    def connections(self) -> list[Any]:
        """All that there are, in use or not."""
        return list(self._made)

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        try:
            return await self._once(commands)
        except (Broken, ReadOnlyError):
            await self.doubt(inf)
        return await self._once(commands)

    async def _once(self, commands: Sequence[Command]) -> list[Any]:
        try:
            _, line = self._ready.pop()
        except IndexError:  # the usual way of asking, since another thread may be faster
            line = await self._new()
        replies: list[Any] = []
        try:
            async with alimit(self._seconds):
                await line.send_packed_command(packed(commands) if PACKS else line.pack_commands(commands))
                while len(replies) < len(commands):
                    try:
                        replies.append(await line.read_response())
                    except ResponseError as error:
                        if read_only(error):
                            raise ReadOnlyError(*error.args) from error
                        replies.append(error)
        except TimeoutError:
            await self._give_up(line)
            raise TooLate("no reply in time") from None
        except BaseException:
            await self._give_up(line)
            raise
        self._ready.append((time.monotonic(), line))
        if self._closed:  # while this one called
            await self.doubt(inf)
        return replies

    async def _new(self) -> Any:
        line = self._kind(**self._options)
        self._made.add(line)
        try:
            async with alimit(self._seconds and 2 * self._seconds):  # to connect, and to be let in
                await line.connect()
        except TimeoutError:
            await self._give_up(line)
            raise TooLate("no connection in time") from None
        except BaseException:
            await self._give_up(line)
            raise
        return line

    async def _give_up(self, line: Any) -> None:
        self._made.discard(line)
        with suppress(Exception):
            await line.disconnect(True)  # noqa: FBT003 - by its name blocking connections do not take it
