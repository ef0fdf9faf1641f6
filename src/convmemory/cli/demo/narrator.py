"""How the demo tells what happens: headings, what was said, and remarks."""

from __future__ import annotations

from rich.padding import Padding
from rich.table import Table

from convmemory.cli.demo.script import USER
from convmemory.cli.screen import counted, harmless, screen


def heading(text: str) -> None:
    """Begin a part."""
    screen.print(f"\n{text}", style="bold")


def asked(question: str) -> None:
    """Tell what the user said."""
    _said(USER, question)


def answered(answer: str, reached: int) -> None:
    """Tell what the model said, and how many earlier messages were in its prompt."""
    _said("model", answer, style="green")
    remark(f"({counted(reached, 'earlier message')} in its prompt)")


def remark(text: str) -> None:
    """Say something about it."""
    screen.print(Padding(text, (0, 0, 0, 10), expand=False), style="dim")


def _said(who: str, text: str, style: str = "") -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(min_width=5)
    grid.add_column(style=style)  # the following lines stand under the first
    grid.add_row(who, harmless(text))
    screen.print(Padding(grid, (0, 0, 0, 3), expand=False))
