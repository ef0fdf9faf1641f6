"""Commands to Redis as bytes, by hiredis where it is installed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, Final

try:
    _pack: Any = import_module("hiredis").pack_command
except (ImportError, AttributeError):
    _pack = None

PACKS: Final = _pack is not None
"""Whether hiredis is there to pack; else redis-py does, in Python."""


def packed(commands: Iterable[Sequence[Any]]) -> list[bytes]:
    """Commands in one piece.

    No number comes to hiredis: it has Python make words of them, and ends the process where a signal's handler raises just then, as
    at Ctrl-C or a time limit of Celery's.
    """
    return [b"".join([_pack(_words(command)) for command in commands])]


def _words(command: Sequence[Any]) -> tuple[Any, ...]:
    return tuple([str(one) if type(one) is int or type(one) is float else one for one in command])


class Packer:
    """What blocking connections of redis-py pack their own commands with, those by which they are let in."""

    def pack(self, name: str | bytes, *arguments: Any) -> list[bytes]:
        """One command; its name may be of several words."""
        words = name.encode() if isinstance(name, str) else name
        return packed([(*words.split(), *arguments)])
