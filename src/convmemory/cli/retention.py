"""``convmemory delete``, ``erase`` and ``prune``: delete for good, and say what."""

from __future__ import annotations

import json
from typing import Annotated

from typer import Argument, BadParameter, Exit, Option, confirm, echo

from convmemory.cli.connect import DatabaseUrl, Embedded, Place, RedisUrl, SchemaName
from convmemory.cli.screen import counted, harmless, progress, screen
from convmemory.cli.times import ago, moment
from convmemory.models import Erased

Yes = Annotated[bool, Option("--yes", "-y", help="Do not ask.")]
AsJson = Annotated[bool, Option("--json", help="The receipt as one JSON object, for programs.")]


def delete(
    conversation: Annotated[str, Argument(metavar="CONVERSATION", help="Its id: a UUID, or its name.")],
    *,
    user: Annotated[str, Option("--user", "-u", metavar="USER", help="Whose conversation.")],
    yes: Yes = False,
    as_json: Annotated[
        bool, Option("--json", help="What was deleted as one JSON object, for programs.")
    ] = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """Delete a conversation of a user's with everything in it, and what is cached of it.

    It cannot be taken back. With `--json` it prints an object with `id`, `uuid`, `title` and `message_count` of what there was.

    For example:

    ```
    convmemory delete vacation-policy --user maria
    convmemory delete vacation-policy --user maria --yes --json
    ```
    """
    with Place(database_url, redis_url, embedded, schema).memory() as memory:
        mine = memory.for_user(user)
        found = mine.get_conversation(conversation)
        count = counted(found.message_count, "message")
        _ask(f"Delete {found.title or found.id!r} with {count}, for good?", yes=yes)
        mine.delete_conversation(found.uuid)
    if as_json:
        echo(json.dumps(found.model_dump(mode="json", include={"id", "uuid", "title", "message_count"})))
    else:
        screen.print(f"deleted: {count}")


def erase(
    user: Annotated[str, Argument(metavar="USER", help="Whose; as the application names them.")],
    *,
    yes: Yes = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """Delete everything of a user: conversations, messages, documents, what is cached of them, and sessions.

    It cannot be taken back. Safe while others are served; run it again where it broke off. Backups, logs and traces are not
    touched. With `--json` the receipt has `rows` by table, `windows` and `sessions`.

    For example:

    ```
    convmemory erase maria
    convmemory erase maria --yes --json > receipt.json
    ```
    """
    with Place(database_url, redis_url, embedded, schema).memory() as memory:
        _ask(f"Delete everything of user {user!r}, for good?", yes=yes)
        with progress("Deleting") as told:
            receipt = memory.retention.erase_user(user, progress=lambda so_far: told(_in_words(so_far)))
    _print(receipt, as_json=as_json)


def prune(
    older_than: Annotated[
        str,
        Option(
            "--older-than",
            metavar="AGE",
            help="Not spoken in for so long: 90d, 12w, 36h; or since: 2025-01-31.",
        ),
    ],
    *,
    user: Annotated[str | None, Option("--user", "-u", metavar="USER", help="Only this user's.")] = None,
    dept: Annotated[
        str | None, Option("--dept", "--department", metavar="DEPT", help="Only this department's.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """Delete conversations that nobody has spoken in for a while, with their messages and documents.

    It cannot be taken back. Safe while others are served; run it again where it broke off. With `--json` the receipt has
    `rows` by table, `windows` and `sessions`.

    For example:

    ```
    convmemory prune --older-than 365d
    convmemory prune --older-than 90d --dept support --yes --json
    ```
    """
    before = ago("--older-than", older_than)
    if user is not None and dept is not None:
        raise BadParameter("--user and --dept: give one of them")
    whose = f" of user {user!r}" if user else f" of department {dept!r}" if dept else ""
    with Place(database_url, redis_url, embedded, schema).memory() as memory:
        _ask(f"Delete conversations{whose} not spoken in since {moment(before)}, for good?", yes=yes)
        with progress("Deleting") as told:
            receipt = memory.retention.prune(
                older_than=before,
                user_id=user,
                dept_id=dept,
                progress=lambda so_far: told(_in_words(so_far)),
            )
    _print(receipt, as_json=as_json)


def _ask(question: str, *, yes: bool) -> None:
    if not yes and not confirm(harmless(question), err=True):
        raise Exit(1)


def _in_words(receipt: Erased) -> str:
    rows = {"conversations": "conversation", "messages": "message", "message_contexts": "document"}
    found = [counted(receipt.rows.get(name, 0), what) for name, what in rows.items()]
    return ", ".join(
        [*found, counted(receipt.windows, "cached window"), counted(receipt.sessions, "session")]
    )


def _print(receipt: Erased, *, as_json: bool) -> None:
    if as_json:
        echo(json.dumps(receipt.model_dump()))
    else:
        screen.print(f"deleted: {_in_words(receipt)}")
