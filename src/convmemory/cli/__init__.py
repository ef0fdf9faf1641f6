"""The ``convmemory`` command: set up the database, look into both tiers, and see the memory at work."""

from __future__ import annotations

from typing import Annotated, Final

from typer import Exit, Option, Typer, echo

import convmemory
from convmemory.cli import cache, chat, check, history, journal, lists, retention, schema, search, sessions
from convmemory.cli.commands import Command, Commands
from convmemory.cli.demo import demo
from convmemory.cli.serve import serve

app: Final = Typer(
    name="convmemory",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # they would show passwords
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=Command)(demo)
app.command(cls=Command)(serve)
app.command(cls=Command)(schema.init)
app.add_typer(schema.app, name="schema")
app.command(cls=Command)(check.check)
app.command(cls=Command)(chat.chat)
app.command("list", cls=Command)(lists.list_)
app.command(cls=Command)(history.show)
app.command(cls=Command)(history.export)
app.command(cls=Command)(search.search)
app.add_typer(sessions.app, name="sessions")
app.add_typer(cache.app, name="cache")
app.add_typer(journal.app, name="journal")
app.command(cls=Command)(lists.archive)
app.command(cls=Command)(lists.unarchive)
app.command(cls=Command)(lists.pin)
app.command(cls=Command)(lists.unpin)
app.command(cls=Command)(retention.delete)
app.command(cls=Command)(retention.erase)
app.command(cls=Command)(retention.prune)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - how typer calls it
    if asked:
        echo(f"convmemory {convmemory.__version__}")
        raise Exit


@app.callback()
def main(
    *,
    _version: Annotated[
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Chat memory for LangChain agents: PostgreSQL keeps every turn, Redis serves the last ones.

    See it work, with no server installed and no key:

    ```
    convmemory demo
    ```

    Talk to it in a browser, and look at conversations:

    ```
    convmemory serve --demo
    ```

    Set up your own database, and look at both tiers:

    ```
    export DATABASE_URL=postgresql://app@db/app REDIS_URL=redis://cache
    convmemory init
    convmemory check
    ```
    """


def run() -> None:
    """Run the command line of this process."""
    app(prog_name="convmemory")
