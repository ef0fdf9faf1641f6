"""The demo from the start of its servers to its closing words."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from time import perf_counter

from convmemory.cli.demo.chat import converse
from convmemory.cli.demo.meter import Cost
from convmemory.cli.demo.outage import outage, settings_for
from convmemory.cli.demo.script import CONVERSATION, USER
from convmemory.cli.demo.stage import redis_of, staged
from convmemory.cli.demo.talk import Talk
from convmemory.cli.demo.tiers import print_costs, print_tiers
from convmemory.cli.demo.tour import tour
from convmemory.cli.screen import STARTING, command, progress, screen
from convmemory.embedded import EmbeddedServers
from convmemory.errors import ConfigurationError


def play(model: str | None, keep: Path | None, *, chat: bool, journal: bool = False) -> None:
    """Start the servers, play the tour, chat or have an outage, show what it cost and left, and stop the servers.

    Raises:
        ConfigurationError: The model cannot be used.
        MissingExtra: There is no PostgreSQL on this machine.
        StorageError: A server did not start.
    """
    if chat and journal:
        raise ConfigurationError("--journal: plays a conversation of its own, so leave out --chat")
    talk = Talk(model)
    start = perf_counter()
    with progress(STARTING):
        starting = EmbeddedServers.start(keep)
    with starting as servers:
        started = Cost("start the servers", (perf_counter() - start) * 1000)
        screen.print(f"On {servers.describe()}")
        settings = settings_for(servers, kept=keep is not None) if journal else {}
        with redis_of(servers) as client, staged(servers.database_url, client, talk, **settings) as stage:
            if journal:
                outage(stage, servers)
            elif chat:
                converse(stage)
            else:
                tour(stage, servers.redis_url)
            print_costs([started, *stage.meter.costs])
            print_tiers(stage)
    _say_where_it_is(keep)


def _say_where_it_is(keep: Path | None) -> None:
    if keep is None:
        screen.print("The servers have stopped and their data is gone; --keep DIR keeps it.")
        return
    there = f"--user {USER} --embedded {quote(str(keep))}"
    screen.print("The servers have stopped; their data is kept. To look at it again, and to go on:")
    command(f"convmemory list {there}")
    command(f"convmemory show {CONVERSATION} {there}")
    command(f"convmemory demo --chat --keep {quote(str(keep))}")
