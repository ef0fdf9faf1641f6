"""What the terminal gets: plain text from the library's side, harmless text from everybody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from shlex import quote
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from typer import echo

screen: Final = Console(markup=False, emoji=False, highlight=False)
"""Nothing that is printed is read as markup: a message may say ``[red]``."""

STARTING: Final = "Starting the servers"

_HARMLESS: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    **dict.fromkeys([*range(0x7F, 0xA0), *range(0xD800, 0xE000)], 0xFFFD),
}
"""Control characters, which could steer a terminal, and halves of surrogate pairs, which cannot be printed."""


def harmless(text: str) -> str:
    """Stored text as it may go to a terminal: what is no character of a text becomes a visible sign."""
    return text.translate(_HARMLESS)


def table(*columns: str, title: str | None = None, numbers: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns in ``numbers`` are set to the right, and long cells are folded, not cut."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    return made


def command(text: str) -> None:
    """Print a command to copy, on one line however long it is."""
    screen.print(f"  {text}", soft_wrap=True, style="cyan")


def counted(number: int, one: str, many: str | None = None) -> str:
    """How many there are of something, with the word for one of it or for several."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


@contextmanager
def progress(doing: str) -> Iterator[Callable[[str], None]]:
    """Show on stderr, where that is a terminal, that something goes on; gives something to tell of what was done so far."""
    with Console(stderr=True, markup=False, highlight=False).status(f"{doing} ...") as status:
        yield status.update


def tell_of_more(cursor: str | None, *, as_json: bool = False) -> None:
    """Say how a list goes on, where it does; on stderr where stdout is for programs."""
    if cursor and as_json:
        echo(f"convmemory: there may be more: --cursor {quote(cursor)}", err=True)
    elif cursor:
        screen.print("There may be more; add to the same command:")
        command(f"--cursor {quote(cursor)}")
