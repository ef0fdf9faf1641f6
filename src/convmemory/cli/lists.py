"""``convmemory list``, and the marks that lists go by: ``archive`` and ``pin``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, BadParameter, Option, echo

from convmemory.cli.connect import DatabaseUrl, Embedded, Place, RedisUrl, SchemaName
from convmemory.cli.history import User
from convmemory.cli.screen import harmless, screen, table, tell_of_more
from convmemory.cli.times import ago, in_utc, moment
from convmemory.models import Conversation, Page

if TYPE_CHECKING:
    from convmemory import ConversationMemory

Named = Annotated[
    str, Argument(metavar="CONVERSATION", help="Its id: a UUID, or the name the application gave it.")
]
AsJson = Annotated[bool, Option("--json", help="One JSON object a conversation, for programs.")]
_WHICH = "Which conversations"


def list_(
    *,
    user: Annotated[str | None, Option("--user", "-u", metavar="USER", help="Whose conversations.")] = None,
    all_users: Annotated[
        bool, Option("--all-users", help="Everybody's, for an operator; archived ones as well.")
    ] = False,
    archived: Annotated[
        bool, Option("--archived", rich_help_panel=_WHICH, help="Only those put away.")
    ] = False,
    everything: Annotated[
        bool, Option("--all", rich_help_panel=_WHICH, help="Those put away as well.")
    ] = False,
    pinned: Annotated[bool, Option("--pinned", rich_help_panel=_WHICH, help="Only those pinned.")] = False,
    dept: Annotated[
        str | None,
        Option(
            "--dept",
            "--department",
            metavar="DEPT",
            rich_help_panel=_WHICH,
            help="Only this department's.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        Option(
            metavar="AGE",
            rich_help_panel=_WHICH,
            help="Only last changed since then: 90d, 12w, 36h, or 2025-01-31.",
        ),
    ] = None,
    until: Annotated[
        str | None, Option(metavar="AGE", rich_help_panel=_WHICH, help="Only last changed before then.")
    ] = None,
    metadata: Annotated[
        str | None,
        Option(metavar="JSON", rich_help_panel=_WHICH, help="Only whose metadata contains this object."),
    ] = None,
    order: Annotated[
        Literal["updated", "created"],
        Option(metavar="ORDER", help="updated: the one changed last first; created: the one begun last."),
    ] = "updated",
    count: Annotated[bool, Option("--count", help="Only how many there are.")] = False,
    limit: Annotated[
        int, Option("--limit", "-n", metavar="N", min=1, max=1000, help="How many at once.")
    ] = 20,
    cursor: Annotated[
        str | None, Option(metavar="CURSOR", help="Where the page before ended; it says so.")
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """List a user's conversations, the one spoken in last first; or everybody's.

    With `--json` every line is an object with `id`, `uuid`, `user_id`, `dept_id`, `title`, `archived`, `pinned`,
    `message_count`, `created_at`, `updated_at` (both UTC), `metadata` and a few more; with `--count` as well, one with `count`.

    For example:

    ```
    convmemory list --user maria
    convmemory list --user maria --archived --json
    convmemory list --all-users --dept support --since 7d
    ```
    """
    if all_users == (user is not None):
        raise BadParameter("--user or --all-users: say whose conversations, with one of them")
    if archived and everything:
        raise BadParameter("--archived and --all contradict each other: give one of them")
    where: dict[str, Any] = {
        "archived": True if archived else None if everything or all_users else False,
        "pinned": True if pinned else None,
        "dept_id": dept,
        "since": None if since is None else ago("--since", since),
        "until": None if until is None else ago("--until", until),
        "metadata": None if metadata is None else _object(metadata),
    }
    with Place(database_url, redis_url, embedded, schema).memory() as memory:
        if count:
            number = _counted(memory, user, where)
            echo(json.dumps({"count": number}) if as_json else number)
            return
        page = _page(memory, user, {**where, "order": order, "limit": limit, "cursor": cursor})
    if as_json:
        for found in page:
            echo(_as_json(found))
        tell_of_more(page.next_cursor, as_json=True)
        return
    if not page:
        whose = "" if user is None else f" of {harmless(user)}"
        echo(f"no {'more ' if cursor else ''}conversations{whose}", err=True)
        return
    _print(page, whose=all_users)


def archive(
    conversation: Named,
    *,
    user: User,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """Put a conversation away: lists leave it out, and nothing of it is lost.

    With `--json` it prints the conversation as `list` does.

    For example:

    ```
    convmemory archive vacation-policy --user maria
    ```
    """
    place = Place(database_url, redis_url, embedded, schema)
    _mark(place, user, conversation, "archived", on=True, as_json=as_json)


def unarchive(
    conversation: Named,
    *,
    user: User,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """Take a conversation back that was put away.

    With `--json` it prints the conversation as `list` does.

    For example:

    ```
    convmemory unarchive vacation-policy --user maria
    ```
    """
    place = Place(database_url, redis_url, embedded, schema)
    _mark(place, user, conversation, "archived", on=False, as_json=as_json)


def pin(
    conversation: Named,
    *,
    user: User,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """Mark a conversation, so that pages show it in front of the others.

    With `--json` it prints the conversation as `list` does.

    For example:

    ```
    convmemory pin vacation-policy --user maria
    ```
    """
    place = Place(database_url, redis_url, embedded, schema)
    _mark(place, user, conversation, "pinned", on=True, as_json=as_json)


def unpin(
    conversation: Named,
    *,
    user: User,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """Take the mark from a conversation again.

    With `--json` it prints the conversation as `list` does.

    For example:

    ```
    convmemory unpin vacation-policy --user maria
    ```
    """
    place = Place(database_url, redis_url, embedded, schema)
    _mark(place, user, conversation, "pinned", on=False, as_json=as_json)


def _counted(memory: ConversationMemory, user: str | None, where: dict[str, Any]) -> int:
    if user is None:
        return memory.operator.count_conversations(**where)
    return memory.count_conversations(user, **where)


def _page(memory: ConversationMemory, user: str | None, how: dict[str, Any]) -> Page[Conversation]:
    if user is None:
        return memory.operator.list_conversations(**how)
    return memory.list_user_conversations(user, **how)


def _mark(place: Place, user: str, conversation: str, name: str, *, on: bool, as_json: bool) -> None:
    changes: dict[str, Any] = {name: on}
    with place.memory() as memory:
        found = memory.update_conversation(conversation, user_id=user, **changes)
    if as_json:
        echo(_as_json(found))
    else:
        screen.print(f"{'' if on else 'no longer '}{name}: {harmless(found.title or found.id)}")


def _print(page: Page[Conversation], *, whose: bool) -> None:
    owner = ("user",) if whose else ()
    shown = table(*owner, "conversation", "title", "messages", "last change", numbers=("messages",))
    for found in page:
        marks = "".join(f" ({mark})" for mark in ("pinned", "archived") if getattr(found, mark))
        shown.add_row(
            *((harmless(found.user_id),) if whose else ()),
            harmless(found.id),
            harmless(found.title or "") + marks,
            str(found.message_count),
            moment(found.updated_at),
        )
    screen.print(shown)
    tell_of_more(page.next_cursor)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadParameter('--metadata: must be a JSON object such as \'{"channel": "web"}\'')
    return found


def _as_json(found: Conversation) -> str:
    return json.dumps(in_utc(found, "created_at", "updated_at", without={"messages"}))
