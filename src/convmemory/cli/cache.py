"""``convmemory cache``: have every window in Redis read anew."""

from __future__ import annotations

import json
from typing import Final

from typer import Typer, echo

import convmemory
from convmemory.cli.commands import Command, Commands
from convmemory.cli.connect import AsJson, DatabaseUrl, Embedded, Place, SchemaName
from convmemory.cli.screen import counted

app: Final = Typer(cls=Commands, no_args_is_help=True, help="Have what is cached in Redis read anew.")


@app.callback()
def cache() -> None:
    """Have what is cached in Redis read anew."""


@app.command(cls=Command)
def invalidate(
    database_url: DatabaseUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Have every process forget the windows it has in Redis, within a second; sessions stay.

    For after a restore of PostgreSQL, and after rows were inserted by SQL; what was changed or deleted by SQL is noticed
    without it. Redis is not asked: the register of its caches is emptied, and whoever uses one begins it anew. Safe at
    any time; it costs each conversation one read. With `--json` it prints an object with `caches`, how many there were.

    For example:

    ```
    convmemory cache invalidate
    ```
    """
    with Place(database_url, None, embedded, schema).settings() as settings:
        store = convmemory.PostgresStore(settings=settings).open()
        try:
            forgotten = store.forget_caches()
        finally:
            store.close()
    if as_json:
        echo(json.dumps({"caches": forgotten}))
        return
    echo(f"{counted(forgotten, 'cache')} forgotten; windows from before are not served any more")
