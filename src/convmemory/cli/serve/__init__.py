"""``convmemory serve``: the routes and the page, on this machine, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import BadParameter, Option

from convmemory.cli.connect import DatabaseUrl, Embedded, Place, RedisUrl, SchemaName


def serve(
    *,
    host: Annotated[
        str, Option(metavar="HOST", help="Where to listen. Others reach it on 0.0.0.0, without TLS.")
    ] = "127.0.0.1",
    port: Annotated[
        int, Option(metavar="PORT", min=0, max=65535, help="0 for any that is free; it says which.")
    ] = 8000,
    user: Annotated[
        str,
        Option(
            "--user", "-u", metavar="USER", help="Whose conversations: all who have the token act for them."
        ),
    ] = "me",
    demo: Annotated[
        bool, Option("--demo", help="A scripted model, and conversations to look at; nothing is kept.")
    ] = False,
    model: Annotated[
        str | None,
        Option(metavar="PROVIDER:NAME", help="A real model answers; needs its package and its key."),
    ] = None,
    runnable: Annotated[
        str | None,
        Option(
            metavar="MODULE:NAME",
            help="Your chain, agent or async generator answers, or a function of the memory that makes one.",
        ),
    ] = None,
    titles: Annotated[
        bool, Option("--titles", help="The model of --model makes titles of conversations as well.")
    ] = False,
    viewer: Annotated[bool, Option("--viewer/--no-viewer", help="The page, or the routes alone.")] = True,
    drain: Annotated[
        float,
        Option(metavar="SECONDS", min=0, max=3600, help="How long answers on their way have at the end."),
    ] = 10.0,
    max_runs: Annotated[
        int,
        Option(metavar="N", min=1, max=10_000, help="How many answers may be on their way at once."),
    ] = 8,
    language: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="What was said is searched by this configuration; default: CONVMEMORY_SEARCH.",
        ),
    ] = None,
    as_json: Annotated[
        bool, Option("--json", help="Say where it is as one JSON object, for programs.")
    ] = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """Serve the page, the REST routes and the chat route until Ctrl-C.

    It prints an address with a token; whoever has it is USER. The servers are those of the options, else of the
    environment, else embedded ones, whose data is kept in your home. Without `--demo`, `--model` or `--runnable` nobody
    answers: conversations can be looked at, renamed and deleted.

    A token of your own is read from CONVMEMORY_SERVE_TOKEN, and not printed. The log on stderr has the routes that were
    asked for and nothing of what was said. Ctrl-C (or SIGTERM) lets answers come to their end, and is status 0.

    For example:

    ```
    convmemory serve --demo
    convmemory serve --user maria --model openai:gpt-5-mini
    convmemory serve --database-url postgresql://app@db/app --redis-url redis://cache --no-viewer
    ```
    """
    if sum((demo, model is not None, runnable is not None)) > 1:
        raise BadParameter("--demo, --model and --runnable: give one of them")
    if titles and model is None:
        raise BadParameter("--titles: which model makes them is said by --model")
    place = Place(database_url, redis_url, embedded, schema, language)
    if demo and place != Place(None, None, None, None):
        raise BadParameter("--demo has servers of its own: leave out those that say which")
    from convmemory.cli.serve.run import Plan, run  # noqa: PLC0415 - a web framework that --help need not wait for

    run(
        Plan(
            host=host,
            port=port,
            user=user,
            place=place,
            demo=demo,
            model=model,
            runnable=runnable,
            titles=titles,
            viewer=viewer,
            drain=drain,
            max_runs=max_runs,
            as_json=as_json,
        )
    )


def kept_at() -> Path:
    """Where the embedded servers' data is when nobody says otherwise."""
    from os import environ  # noqa: PLC0415 - read when it is asked for

    home = environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "convmemory"
