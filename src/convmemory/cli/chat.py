"""``convmemory chat``: talk to a model at a terminal or through a pipe, in a conversation that is kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, echo

from convmemory.chains.turn import PARTIAL_KEY
from convmemory.cli.connect import DatabaseUrl, Embedded, Place, RedisUrl, SchemaName
from convmemory.cli.screen import command, harmless, screen
from convmemory.errors import ConversationNotFound
from convmemory.models import Message

if TYPE_CHECKING:
    from convmemory._sync.user_memory import UserMemory


def chat(
    message: Annotated[
        str | None, Argument(metavar="MESSAGE", help="What to say; without it, lines until an empty one.")
    ] = None,
    *,
    user: Annotated[str, Option("--user", "-u", metavar="USER", help="Who is talking.")],
    model: Annotated[
        str,
        Option(
            metavar="PROVIDER:NAME", help="Who answers, as LangChain names it; needs its package and its key."
        ),
    ],
    conversation: Annotated[
        str | None,
        Option(
            "--conversation", "-c", metavar="CONVERSATION", help="Where; made if need be. Default: a new one."
        ),
    ] = None,
    as_json: Annotated[bool, Option("--json", help="One JSON object a turn, for programs.")] = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """Talk to a model; what is said is kept, and the model sees the turns before.

    Of an answer that Ctrl-C breaks off, or the model, what came of it is kept, marked as `partial`.

    With `--json` every line is an object with `conversation_id`, `message_id`, `reply`, `tokens_used` and `latency_ms`.

    For example:

    ```
    convmemory chat --user maria --model openai:gpt-5-mini
    convmemory chat "And the day after?" --user maria --model openai:gpt-5-mini --conversation weather --json
    ```
    """
    from convmemory.cli.demo.models import choose_model, speaking  # noqa: PLC0415 - LangChain takes a second

    answers = choose_model(model)
    with Place(database_url, redis_url, embedded, schema).memory() as memory:
        mine = memory.for_user(user)
        place = _place(mine, conversation)
        for said in [message] if message is not None else _lines():
            with speaking(model):
                kept = _turn(mine, place, said, answers, aloud=not as_json)
            if as_json:
                echo(json.dumps(_told(kept)))
    if not as_json:
        screen.print("To go on, add:")
        command(f"--conversation {place}")


def _place(mine: UserMemory, named: str | None) -> str:
    """The conversation's name; a new one where none is given."""
    try:
        return mine.get_conversation(named).id if named is not None else mine.create_conversation().id
    except ConversationNotFound:
        return mine.create_conversation(conversation_id=named).id


def _lines() -> Iterator[str]:
    typed = sys.stdin.isatty()
    while True:
        try:
            line = screen.input("> " if typed else "").strip()
        except EOFError:
            return
        if not line:
            return
        yield line


def _turn(mine: UserMemory, place: str, said: str, model: Any, *, aloud: bool) -> Message:
    """One question and its answer, both kept: the question before the model is asked, of the answer what came of it."""
    mine.save_message(place, "user", said)
    began, whole = perf_counter(), None
    try:
        for piece in model.stream(mine.get_history(place)):
            whole = piece if whole is None else whole + piece
            if aloud:
                screen.print(harmless(str(piece.text)), end="", soft_wrap=True)
    except BaseException:
        if whole is not None and whole.text:
            marked = {"response_metadata": {**whole.response_metadata, PARTIAL_KEY: True}}
            mine.save_message(
                place, whole.model_copy(update=marked), latency_ms=(perf_counter() - began) * 1000
            )
        raise
    finally:
        if aloud:
            screen.print()
    return mine.save_message(place, whole, latency_ms=(perf_counter() - began) * 1000)


def _told(kept: Message) -> dict[str, Any]:
    return {
        "conversation_id": kept.conversation_id,
        "message_id": str(kept.id),
        "reply": kept.content,
        "tokens_used": kept.tokens_used,
        "latency_ms": kept.latency_ms,
    }
