"""``convmemory journal``: what waits in Redis for PostgreSQL, that it be stored now, and what was refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

from typer import Option, Typer, echo

from convmemory.cli.commands import Command, Commands
from convmemory.cli.connect import AsJson, DatabaseUrl, Embedded, Place, RedisUrl, SchemaName
from convmemory.cli.screen import counted, harmless
from convmemory.cli.times import moment

app: Final = Typer(
    cls=Commands, no_args_is_help=True, help="Look after writes that wait in Redis for PostgreSQL."
)


@app.callback()
def journal() -> None:
    """Look after writes that wait in Redis for PostgreSQL."""


@app.command("list", cls=Command)
def list_(
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List what waits, a line a conversation, the oldest first.

    Where the applications run and PostgreSQL answers there is next to nothing: what waits is stored in milliseconds. With `--json` it
    prints an object with `journals`, each with `conversation`, `user_id`, `entries`, `bytes` and `since`.

    For example:

    ```
    convmemory journal list
    ```
    """
    with Place(database_url, redis_url, embedded, schema).memory() as memory:
        found = memory.journals.waiting()
    if as_json:
        echo(_as_json("journals", found))
        return
    for one in found:
        echo(
            f"{one.conversation}  {harmless(one.user_id)}  {counted(one.entries, 'entry', 'entries')}  since {moment(one.since)}"
        )
    echo(f"{counted(len(found), 'conversation has', 'conversations have')} writes that wait")


@app.command(cls=Command)
def drain(
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Store what waits now, whichever process accepted it.

    For before Redis is replaced or emptied, and after the applications were stopped. Safe at any time: whatever is stored already is
    found to be. With `--json` it prints an object with `entries`, how many there were.

    For example:

    ```
    convmemory journal drain
    ```
    """
    with Place(database_url, redis_url, embedded, schema).memory() as memory:
        count = memory.journals.drain()
    echo(json.dumps({"entries": count}) if as_json else f"{counted(count, 'entry', 'entries')} stored")


@app.command(cls=Command)
def forbid(
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Store what waits, and have no write wait any more.

    For when no application has `CONVMEMORY_DURABILITY=journal` or `CONVMEMORY_JOURNAL=outage` any more: whoever has allows it again within
    a second. With `--json` it prints an object with `entries`, how many were stored.

    For example:

    ```
    convmemory journal forbid
    ```
    """
    with Place(database_url, redis_url, embedded, schema).memory() as memory:
        count = memory.journals.forbid()
    echo(
        json.dumps({"entries": count})
        if as_json
        else f"{counted(count, 'entry', 'entries')} stored; no write waits any more"
    )


@app.command(cls=Command)
def refused(
    limit: Annotated[
        int, Option("--limit", "-n", metavar="N", min=1, max=10_000, help="At most so many.")
    ] = 100,
    database_url: DatabaseUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List what PostgreSQL refused for what is in it, the newest first; its words stay in the table `journal_refused`.

    With `--json` it prints an object with `refused`, each with `conversation`, `entry`, `user_id`, `messages`, `refused_at` and `cause`.

    For example:

    ```
    convmemory journal refused
    ```
    """
    with Place(database_url, None, embedded, schema).memory() as memory:
        found = memory.journals.refused(limit)
    if as_json:
        echo(_as_json("refused", found))
        return
    for one in found:
        echo(
            f"{moment(one.refused_at)}  {one.conversation}  {harmless(one.user_id)}  "
            f"{counted(one.messages, 'message')}: {harmless(one.cause)}"
        )
    echo(f"{counted(len(found), 'entry was', 'entries were')} refused")


def _as_json(name: str, found: Sequence[Any]) -> str:
    return json.dumps({name: [asdict(one) for one in found]}, default=str)
