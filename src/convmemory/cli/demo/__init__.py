"""``convmemory demo``: the memory at work on real servers, with a scripted model or a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option


def demo(
    *,
    model: Annotated[
        str | None,
        Option(
            metavar="PROVIDER:NAME",
            help="A real model, as LangChain names it; needs its package and its key.",
        ),
    ] = None,
    keep: Annotated[
        Path | None, Option(metavar="DIR", help="Keep the data in this directory, and go on there next time.")
    ] = None,
    chat: Annotated[
        bool, Option("--chat", help="Talk to the model yourself; an empty line or `exit` ends it.")
    ] = False,
    journal: Annotated[
        bool, Option("--journal", help="Stop PostgreSQL in mid-conversation, go on, and start it again.")
    ] = False,
) -> None:
    """See it work: one conversation without memory, with memory, in a second process, after its session ended.

    It starts a PostgreSQL and a Redis of its own, needs no key and no network, and leaves nothing behind. The
    model is a script that can answer "How do I request it?" only if the turn before reached it.

    For example:

    ```
    convmemory demo
    convmemory demo --journal
    convmemory demo --keep ./data
    convmemory demo --chat --model openai:gpt-5-mini
    ```
    """
    from convmemory.cli.demo.play import play  # noqa: PLC0415 - LangChain takes a second that --help need not wait

    play(model, keep, chat=chat, journal=journal)
