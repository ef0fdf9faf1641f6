"""The Redis of the world: its scripts as they are sent, its past, its restarts, and the model walking beside it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, NamedTuple

import redis
import redis.asyncio

from convmemory.storage.sql_and_lua import lua
from model.window_model import Key, Lease, Window, fill, look, publish

READ, DROP = "window_read", "window_drop"
WHO = "redis.call('INFO', 'replication')"
LIFE = 1_800_000


class Differs(AssertionError):
    """A real script answered what the model does not."""


class Change(NamedTuple):
    """How a key was before a command changed it, for a restart that loses the command."""

    key: str
    content: bytes | None
    shadow: Shadow
    place: Any


@dataclass(frozen=True)
class Shadow:
    """What the model says a key holds, whose it is, and when a lease was taken."""

    key: Key = None
    owner: str = ""
    since: float = 0.0


def words(arguments: Sequence[Any]) -> list[str]:
    """A script's arguments as text, without the messages."""
    return [str(word) for word in arguments if not isinstance(word, bytes)]


@dataclass
class Hot:
    """One Redis. Its identity is a key (``HeldRun``) or its own (``RealServer`` in servers.py)."""

    url: str
    prefix: str
    alter: Callable[[str, str], str] = lambda _name, text: text
    compare: bool = True
    run: str = ""
    shadows: dict[str, Shadow] = field(default_factory=dict)
    past: list[Change] = field(default_factory=list)
    _contents: dict[str, bytes | None] = field(default_factory=dict)
    _place: Any = None

    def __post_init__(self) -> None:
        self.client = redis.asyncio.Redis.from_url(self.url)
        self.eye = redis.Redis.from_url(self.url)
        every = [path.name.removesuffix(".lua") for path in files("convmemory").joinpath("lua").iterdir()]
        self.texts = {name: self.text(name) for name in every}
        self.names = {_digest(lua(name)): name for name in every} | {lua(name): name for name in every}

    def text(self, name: str) -> str:
        """The script as this Redis is sent it."""
        return self.alter(name, lua(name))

    async def close(self) -> None:
        await self.client.aclose()
        self.eye.close()

    async def script(self, command: str, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script the library asked for by its digest or its text."""
        text = self.texts[self.names[script]]
        return await self.client.execute_command(
            command, text if command == "EVAL" else _digest(text), len(keys), *keys, *arguments
        )

    # What happened, and what the model says should have

    def happened(self, what: str, key: str, arguments: Sequence[Any], answer: Any, now: float) -> None:
        """Note a command that was carried out, and hold its answer against the model's."""
        if what.startswith("journal"):
            self._changed(key, self.shadows.get(key, Shadow()), Shadow())
        if not what.startswith("window"):
            return
        before = self.shadows.get(key, Shadow())
        expected, after = self._predicted(what, before, words(arguments), answer, now)
        if self.compare and (given := _verdict(answer, expected)) != expected:
            raise Differs(f"{what} {words(arguments)} on {before.key} answered {given}, the model {expected}")
        self._changed(key, before, after)

    def _predicted(
        self, what: str, before: Shadow, said: list[str], given: Any, now: float
    ) -> tuple[str, Shadow]:
        owner, key = said[0] if said else "", before.key
        era, meant = self._meant(what, said)
        if not meant:
            return "elsewhere", before
        if what == DROP:
            return "dropped", Shadow()
        if isinstance(key, Window) and before.owner != owner:
            if what == READ:
                return "foreign", before
            key = key._replace(stamp=None)
        if what == READ:
            answer, key = look(key, era, given[1].decode() if given[0] == b"lease" else "")
            fits = f"hit {key.stamp}" if isinstance(key, Window) else answer
            return fits, Shadow(key, owner, now) if answer == "lease" else before
        stamp = said[1]
        if what == "window_fill":
            holder = said[3] if before.owner == owner else ""
            answer, key = fill(key, holder, era, stamp)
        else:
            answer, key = publish(key, era, stamp, said[2])
        return answer, Shadow(key, owner)

    def _meant(self, what: str, said: list[str]) -> tuple[str | None, bool]:
        """The era that goes with this server in a script's arguments, and whether the server is meant at all."""
        if what == "window_fill":
            return said[4], True
        if what == DROP:
            return None, not said or self.run in said
        servers = said[6:] if what == READ else said[9 : 9 + 2 * int(said[8])]
        eras = dict(zip(servers[::2], servers[1::2], strict=True))
        return eras.get(self.run), self.run in eras or (what != READ and not eras)

    def _changed(self, key: str, before: Shadow, after: Shadow) -> None:
        content = self.eye.dump(key)
        old = self._contents.get(key)
        if content != old:
            self.past.append(Change(key, old, before, self._place))
        self._contents[key], self.shadows[key] = content, after
        self._place = self.place()

    def exists(self, key: str) -> bool:
        return self._contents.get(key) is not None

    # Faults

    def place(self) -> Any:
        """Where the server's file ends now, if it has one."""
        return None

    def evict(self, key: str) -> None:
        """What memory pressure and the end of the time to live do."""
        self.eye.unlink(key)
        self._changed(key, self.shadows.get(key, Shadow()), Shadow())

    def let_leases_end(self, now: float, seconds: float) -> None:
        """The time of leases that were taken so long ago is over."""
        for key, shadow in self.shadows.items():
            if isinstance(shadow.key, Lease) and not shadow.key.late and now - shadow.since >= seconds:
                self.eye.hset(key, "deadline", 1)
                self.shadows[key] = Shadow(shadow.key._replace(late=True), shadow.owner, shadow.since)
                self._contents[key] = self.eye.dump(key)
                self._place = self.place()

    def restart(self, lost: int) -> None:
        """Come back as another process without the last ``lost`` changes."""
        gone = self.past[len(self.past) - lost :]
        self.past.clear()
        self.come_back(gone)
        for change in reversed(gone):
            self.shadows[change.key], self._contents[change.key] = change.shadow, change.content
        for key, content in self._contents.items():
            assert self.eye.dump(key) == content, "the restart lost something else"
        self._place = self.place()

    def come_back(self, gone: Sequence[Change]) -> None:
        """Lose these changes and become somebody else."""
        raise NotImplementedError

    # Looking ahead

    def would_serve(
        self, key: str, owner: str, want: int, hard: int, eras: Sequence[str]
    ) -> list[bytes] | None:
        """What the real script would serve now, if anything; the key is left as it was."""
        with self.eye.pipeline(transaction=True) as pipe:
            pipe.dump(key)
            pipe.eval(self.texts[READ], 1, key, owner, want, hard, LIFE, secrets.token_hex(8), 1, *eras)
            pipe.unlink(key)
            content, answer, _ = pipe.execute()
        if content is not None:
            self.eye.restore(key, LIFE, content)
        return answer if answer[0] == b"hit" else None

    def forget(self) -> None:
        """Begin anew with other keys."""
        for key in self._contents:
            self.eye.unlink(key)
        self.shadows.clear()
        self.past.clear()
        self._contents.clear()
        self._place = self.place()


class HeldRun(Hot):
    """A Redis that other tests use as well: it 'restarts' by changing the key its scripts learn its replication id from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in self.texts.values():
            self.eye.script_load(text)
        self.become_another()

    def text(self, name: str) -> str:
        """The script, asking a key who the server is."""
        return super().text(name).replace(WHO, f"('master_replid:' .. redis.call('GET', '{self.prefix}run'))")

    def become_another(self) -> None:
        self.run = secrets.token_hex(20)
        self.eye.set(f"{self.prefix}run", self.run, px=LIFE)

    def come_back(self, gone: Sequence[Change]) -> None:
        for change in reversed(gone):
            self.eye.unlink(change.key)
            if change.content is not None:
                self.eye.restore(change.key, LIFE, change.content)
        self.become_another()


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _verdict(answer: Any, expected: str) -> str:
    if isinstance(answer, bytes):
        return answer.decode()
    given = [bytes(part).decode() if isinstance(part, bytes) else str(part) for part in answer[:2]]
    return " ".join(given) if given[0] == "hit" else given[0]
