"""``convmemory sessions``: a user's visits that are alive, and the end of one."""

from __future__ import annotations

import json
from typing import Annotated, Final

from typer import Argument, Exit, Option, Typer, echo

from convmemory.cli.commands import Command, Commands
from convmemory.cli.connect import DatabaseUrl, Embedded, Place, RedisUrl, SchemaName
from convmemory.cli.screen import harmless, screen, table
from convmemory.cli.times import in_utc, moment
from convmemory.models import Session

app: Final = Typer(cls=Commands, no_args_is_help=True, help="Look at a user's visits, and end one.")

User = Annotated[str, Option("--user", "-u", metavar="USER", help="Whose sessions.")]
AsJson = Annotated[bool, Option("--json", help="One JSON object a session, for programs.")]


@app.command("list", cls=Command)
def list_(
    *,
    user: User,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """List a user's live sessions, the newest first, each by a handle: it can end the session, and nothing else.

    With `--json` every line is an object with `handle`, `user_id`, `dept_id`, `conversation_id`, `created_at`, `last_active`
    (both UTC) and `metadata`.

    For example:

    ```
    convmemory sessions list --user maria
    ```
    """
    with Place(database_url, redis_url, embedded, schema).memory() as memory:
        found = memory.list_user_sessions(user)
    if as_json:
        for session in found:
            echo(json.dumps(_told(session)))
        return
    if not found:
        echo(f"no live sessions of {harmless(user)}", err=True)
        return
    shown = table("session", "conversation", "begun", "last use")
    for session in found:
        where = harmless(session.conversation_id or "")
        shown.add_row(session.id, where, moment(session.created_at), moment(session.last_active))
    screen.print(shown)


@app.command(cls=Command)
def end(
    session: Annotated[str, Argument(metavar="SESSION", help="Its handle, as the list has it, or its id.")],
    *,
    user: User,
    as_json: Annotated[bool, Option("--json", help="One JSON object, for programs.")] = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """End a session; its conversation stays. Status 1 when there is none.

    With `--json` it prints an object with `ended`, true or false.

    For example:

    ```
    convmemory sessions end 8c1f0f2a --user maria
    ```
    """
    with Place(database_url, redis_url, embedded, schema).memory() as memory:
        ended = memory.end_session(session, user_id=user)
    if as_json:
        echo(json.dumps({"ended": ended}))
    elif ended:
        echo("ended")
    else:
        echo(
            f"no live session of {harmless(user)} by that name: `convmemory sessions list` has them", err=True
        )
    if not ended:
        raise Exit(1)


def _told(session: Session) -> dict[str, object]:
    return {"handle": session.id, **in_utc(session, "created_at", "last_active", without={"id"})}
