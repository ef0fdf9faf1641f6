"""What a signal's handler raises in the middle of a call: it is for whoever set the handler, and no fault of a server."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterator
from types import CodeType


def raised_by_a_signal(error: BaseException) -> BaseException | None:
    """What a handler raised, if that is this error or what a driver made of it: a time limit of a task, a ``TimeoutError``.

    Drivers take it for an error of their own where it is an ``Exception``.
    """
    handlers = set(_handlers())
    cause: BaseException | None = error
    while cause is not None:
        if any(frame.f_code in handlers for frame, _ in traceback.walk_tb(cause.__traceback__)):
            return cause
        cause = cause.__context__
    return None


def _handlers() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        code = getattr(getattr(handler, "__func__", handler), "__code__", None)
        if code is not None and handler is not signal.default_int_handler:
            yield code
