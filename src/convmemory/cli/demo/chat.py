"""``convmemory demo --chat``: the same conversation, with the questions from the keyboard or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from convmemory.cli.demo.narrator import answered, asked, heading, remark
from convmemory.cli.demo.script import POLICY_QUESTION, REQUEST_QUESTION
from convmemory.cli.demo.stage import Stage
from convmemory.cli.screen import screen


def converse(stage: Stage) -> None:
    """Answer line by line until the end of the input, an empty line or ``exit``."""
    heading("Ask away; an empty line ends it")
    remark(f'Try "{POLICY_QUESTION}" and then "{REQUEST_QUESTION}"')
    for number, question in enumerate(_questions(), 1):
        if not sys.stdin.isatty():  # a terminal shows what was typed
            asked(question)
        answered(stage.ask(question, f"turn {number}"), stage.talk.reached)


def _questions() -> Iterator[str]:
    while True:
        try:
            line = screen.input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if line in {"", "exit"}:
            return
        yield line
