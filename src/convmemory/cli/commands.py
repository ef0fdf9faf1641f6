"""How commands fail: what the library has to say is one line on stderr, never a traceback."""

from __future__ import annotations

from typing import Any

from typer import Exit, echo
from typer.core import TyperGroup

from convmemory.errors import ConversationNotFound, ConvMemoryError, StorageUnavailable
from convmemory.tiers.driver_errors import POSTGRES, REDIS


class Commands(TyperGroup):
    """A group of commands in which an error of the library ends the command with status 1 and says what to do."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except ConvMemoryError as error:
            echo(f"convmemory: {error}{_advice(error)}", err=True)
            raise Exit(1) from None


def _advice(error: ConvMemoryError) -> str:
    if isinstance(error, ConversationNotFound):
        return ": `convmemory history list --user USER` shows those there are"
    if isinstance(error, StorageUnavailable) and error.tier in {POSTGRES, REDIS}:
        return " (is it running, and at that address? See --database-url and --redis-url; --embedded DIR needs neither)"
    return ""
