"""What a forked process must not touch: the sockets, threads and locks it inherited are the other process's."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol


class Inheritable(Protocol):
    """Something that knows in which process it was made."""

    def look(self) -> None:
        """Notice whether this is another process."""


_living: weakref.WeakSet[Any] = weakref.WeakSet()
_strangers: Final[list[Any]] = []
_turn = threading.Lock()


def told_of_forks(thing: Inheritable) -> None:
    """Have ``thing`` look where it is in every forked process, as long as it lives."""
    _living.add(thing)


def moving() -> threading.Lock:
    """The lock under which things settle in a new process; nobody holds it when that begins."""
    return _turn


def keep_for_good(things: Any) -> None:
    """Never let these go: finalizers would say farewell to a server, or wait for a thread, that is another process's."""
    _strangers.append(things)


def let_go(descriptor: int) -> None:
    """Give up this process's hold on a socket without a word on the wire.

    The number stays taken, so that nothing which is opened later is mistaken for the socket.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nowhere, descriptor)
    finally:
        os.close(nowhere)


def in_a_forked_process(call: Callable[[], object]) -> None:
    """Have ``call`` called at the beginning of every forked process, where the platform forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


def _begin() -> None:
    global _turn  # noqa: PLW0603 - whoever held it is a thread of the other process
    _turn = threading.Lock()
    for thing in list(_living):
        thing.look()


in_a_forked_process(_begin)
