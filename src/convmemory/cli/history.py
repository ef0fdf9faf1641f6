"""``convmemory show`` and ``export``: what was said in a conversation, or in all of a user's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Annotated

from rich.padding import Padding
from typer import Argument, BadParameter, Option, echo

from convmemory.cli.connect import DatabaseUrl, Embedded, Place, RedisUrl, SchemaName
from convmemory.cli.screen import counted, harmless, progress, screen
from convmemory.cli.times import in_utc, moment
from convmemory.encoding.storable_text import clean_json
from convmemory.errors import ConversationNotFound
from convmemory.models import Conversation, Message

User = Annotated[str, Option("--user", "-u", metavar="USER", help="Whose conversations.")]


def show(
    conversation: Annotated[
        str, Argument(metavar="CONVERSATION", help="Its id: a UUID, or the name the application gave it.")
    ],
    *,
    user: User,
    limit: Annotated[
        int | None,
        Option("--limit", "-n", metavar="N", min=1, max=10_000, help="The newest so many [default: 50]."),
    ] = None,
    everything: Annotated[bool, Option("--all", help="All messages, from the first.")] = False,
    as_json: Annotated[bool, Option("--json", help="One JSON object a message, for programs.")] = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """Show what was said in a conversation, the oldest message first.

    With `--json` every line is an object with `seq`, `id`, `role`, `content`, `tool_calls`, `tokens_used`,
    `latency_ms` (milliseconds), `created_at` (UTC), `metadata`, `facts` and `contexts`.

    For example:

    ```
    convmemory show vacation-policy --user maria
    convmemory show vacation-policy --user maria --all --json > vacation.jsonl
    ```
    """
    if everything and limit is not None:
        raise BadParameter("--limit and --all contradict each other: give one of them")
    with Place(database_url, redis_url, embedded, schema).memory() as memory:
        found = memory.get_conversation(conversation, user_id=user)
        messages: Iterable[Message] = (
            memory.iter_messages(found.id, user_id=user)
            if everything
            else memory.get_messages(found.id, user_id=user, limit=limit or 50)
        )
        if as_json:
            for message in messages:
                echo(_as_json(message))
            return
        _print_heading(found)
        for message in messages:
            _print_message(message)


def export(
    user: Annotated[str, Argument(metavar="USER", help="Whose; as the application names them.")],
    *,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """Write all conversations of a user, those put away as well, with all that is known of their messages.

    A line of JSON on stdout for each conversation, with its `messages`; the one spoken in longest ago comes first. Nothing is left
    out: `Conversation.model_validate_json` reads a line back. How many there were is said on stderr.

    For example:

    ```
    convmemory export maria > maria.jsonl
    ```
    """
    conversations = messages = 0
    with Place(database_url, redis_url, embedded, schema).memory() as memory, progress("Exporting") as told:
        mine = memory.for_user(user)
        for found in mine.iter_conversations():
            try:
                said = tuple(mine.iter_messages(found))
            except ConversationNotFound:  # deleted meanwhile
                continue
            echo(found.model_copy(update={"messages": said}).model_dump_json())
            conversations, messages = conversations + 1, messages + len(said)
            told(f"{counted(conversations, 'conversation')}, {counted(messages, 'message')}")
    echo(
        f"exported: {counted(conversations, 'conversation')}, {counted(messages, 'message')}",
        err=True,
    )


def _as_json(message: Message) -> str:
    calls = clean_json(getattr(message.message, "tool_calls", []))
    return json.dumps({**in_utc(message, "created_at", without={"body"}), "tool_calls": calls})


def _print_heading(found: Conversation) -> None:
    screen.print(harmless(found.title or found.id), style="bold")
    count = counted(found.message_count, "message")
    about = (found.id, f"user {found.user_id}", count, f"begun {moment(found.created_at)}")
    screen.print(harmless(" · ".join(about)), style="dim")


def _print_message(message: Message) -> None:
    known = [
        moment(message.created_at),
        *([f"{message.tokens_used} tokens"] if message.tokens_used is not None else []),
        *([f"{message.latency_ms} ms"] if message.latency_ms is not None else []),
        *(["kept as text only"] if message.lossy else []),
    ]
    screen.print()
    screen.print(f"{message.seq:>4}  {harmless(message.role)}", style="bold", end="  ")
    screen.print("  ".join(known), style="dim")
    for line in _body(message):
        screen.print(Padding(harmless(line), (0, 0, 0, 6), expand=False))


def _body(message: Message) -> Iterator[str]:
    if message.content:
        yield message.content
    for call in getattr(message.message, "tool_calls", []):
        yield f"calls {call['name']}({json.dumps(clean_json(call['args']), ensure_ascii=False)})"
    for context in message.contexts:
        score = "" if context.score is None else f" ({context.score:.2f})"
        yield f"from {context.doc_id or 'a document'}{score}"
