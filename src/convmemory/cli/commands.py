"""How commands fail, in one line on stderr and never with a traceback, and how they explain themselves."""

from __future__ import annotations

from typing import Any

from typer import Exit, echo
from typer.core import TyperCommand, TyperGroup

from convmemory.cli.advice import advice
from convmemory.errors import ConvMemoryError


class Command(TyperCommand):
    """A command whose help shows no type beside a flag, which takes no value."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, ``--help`` among them."""
        return _without_types(super().get_params(ctx))


class Commands(TyperGroup):
    """A group of commands in which an error of the library ends the command with status 1 and says what to do."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, ``--help`` among them."""
        return _without_types(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except ConvMemoryError as error:
            echo(f"convmemory: {error}{advice(error)}", err=True)
            raise Exit(1) from None


def _without_types(parameters: Any) -> Any:
    for one in parameters:
        if getattr(one, "is_bool_flag", False):
            one.metavar = ""
    return parameters
