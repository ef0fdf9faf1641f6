"""A primary of PostgreSQL with an asynchronous replica, which takes over without the primary's last commits."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from convmemory.embedded.runtime import runtime_directory
from fix_proxy import Proxy
from torture import audit
from torture.records import Event
from torture.servers import READY, Postgres, Standby, family, wait_for


class _Fall(NamedTuple):
    """A primary that was killed, and what its replica had of the audit when it took over, at that moment."""

    primary: Postgres
    kept: list[Event]
    newest: int
    at: float


_FOLLOWS = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"


class Succession:
    """The primary of the moment and its replica, behind an address that stays; and what the former primaries had committed."""

    def __init__(self, directory: Path, runtime: Path) -> None:
        self._directory, self._runtime = directory, runtime
        self.primary = Postgres(self._new_place(), runtime)
        self._fall: _Fall | None = None

    @contextmanager
    def running(self) -> Iterator[Succession]:
        """Both of them, and the proxy everybody connects to."""
        self.primary.start()
        self._proxy = Proxy(self.primary.url)
        try:
            self._follow()
            yield self
        finally:
            self._proxy.close()
            for server in (self.primary, self._heir, *([self._fall.primary] if self._fall else [])):
                server.end()

    def watch(self, schema: str) -> None:
        """Write down from now on what is committed in a schema that was just made."""
        self._schema = schema
        self._past: list[Event] = []
        self._newest = 0  # row of the audit that the primary of the moment had when it took over
        with self.primary.connect() as conn:
            audit.install(conn, schema)

    @property
    def address(self) -> str:
        """Where the primary of the moment is found."""
        return self._proxy.url

    @staticmethod
    def impossible(postgres: Postgres) -> str:
        """Why there can be none with these programs; empty where there can."""
        return "" if Standby.possible(postgres) else "this PostgreSQL comes without pg_basebackup"

    def promote(self, chance: random.Random) -> None:
        """Hold back what the replica is sent, kill the primary a moment later, and have the replica take over."""
        fallen, heir = self.primary, self._heir
        for pid in family(fallen.pid):
            if _sends(pid):
                os.kill(pid, signal.SIGSTOP)
        time.sleep(chance.uniform(0.1, 0.8))
        self._proxy.mode = "refuse"
        fallen.kill()
        heir.promote()
        with heir.connect() as conn:
            kept, newest = audit.read(conn, self._schema), audit.newest(conn, self._schema)
        self.primary, self._fall = heir, _Fall(fallen, kept, newest, time.perf_counter())
        self._proxy.lead_to(heir.url)
        self._proxy.mode = "pass"

    def mend(self) -> None:
        """Learn what the one that was killed had committed, and give the new primary a replica."""
        assert self._fall
        fallen, kept, newest, at = self._fall
        fallen.start()  # nobody knows its address any more
        with fallen.connect() as conn:
            self._past += audit.read(conn, self._schema, self._newest)
        fallen.end()
        self._fall = None
        for place in (fallen.data, fallen.directory):
            shutil.rmtree(place, ignore_errors=True)
        self._past += _marks(self._past, kept, at)
        self._newest = newest
        self._follow()

    def events(self) -> list[Event]:
        """What was committed by all of them, in order, with a mark in each conversation where PostgreSQL went back."""
        with self.primary.connect() as conn:
            return [*self._past, *audit.read(conn, self._schema, self._newest)]

    def _follow(self) -> None:
        self._heir = Standby(self.primary, self._new_place(), self._runtime)
        self._heir.start()
        primary = self.primary

        def follows() -> bool:
            with primary.connect() as conn:
                return conn.execute(_FOLLOWS).fetchone() == (1,)

        wait_for(follows, READY, "the replica does not follow")

    def _new_place(self) -> Path:
        place = Path(tempfile.mkdtemp(prefix="pg-", dir=self._directory))
        place.chmod(0o711)
        return place


def _sends(pid: int) -> bool:
    with suppress(OSError):
        return b"walsender" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _marks(past: Sequence[Event], kept: Sequence[Event], at: float) -> Iterator[Event]:
    """One for each conversation there was: how many of its transactions are left."""
    left = Counter(conversation for conversation, _ in {(e.conversation, e.transaction) for e in kept})
    for conversation in dict.fromkeys(event.conversation for event in past):
        yield Event(-1, conversation, "b", left[conversation], "", at)


@contextmanager
def succession(directory: Path) -> Iterator[Succession]:
    """A pair with a runtime directory of its own."""
    with runtime_directory() as runtime, Succession(directory, runtime).running() as pair:
        yield pair
