"""What a caller's function says, and what files say, in both colours: an event loop waits for neither."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from inspect import isawaitable
from typing import Any, TypeVar

from convmemory.tiers.waiting import spawn

T = TypeVar("T")


class NoThread(RuntimeError):
    """No thread can be had now."""


async def asaid(
    ask: Callable[[], Any],
    seconds: float | None,
    asking: Callable[[threading.Thread], object] | None = None,
) -> Any:
    """What a caller's function says, or whoever it has us await; in a thread of its own, which ``asking`` is told of.

    One that hangs takes neither those of the event loop, which others need, nor keeps the program alive.

    Raises:
        NoThread: There is none to ask in.
        TimeoutError: It said nothing for so long.
    """
    loop = asyncio.get_running_loop()
    answer_: asyncio.Future[Any] = loop.create_future()

    def settle(found: Any, error: Exception | None) -> None:
        if not answer_.done():
            answer_.set_result(found) if error is None else answer_.set_exception(error)

    def asked() -> None:
        found, error = None, None
        try:
            found = ask()
        except Exception as caught:  # noqa: BLE001 - whatever a caller's code raises is for whoever waits
            error = RuntimeError("StopIteration") if isinstance(caught, StopIteration) else caught
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, found, error)

    thread = spawn(asked)
    if thread.ident is None:
        raise NoThread
    if asking is not None:
        asking(thread)
    async with asyncio.timeout(seconds):
        found = await answer_
        return await found if isawaitable(found) else found


def said(ask: Callable[[], Any], seconds: float, asking: Callable[[threading.Thread], object]) -> Any:  # noqa: ARG001 - it is asked here
    """What a caller's function says; one that is to be awaited is, in an event loop of its own, for so long."""
    found = ask()
    if not isawaitable(found):
        return found

    async def awaited() -> Any:
        async with asyncio.timeout(seconds):
            return await found

    return asyncio.run(awaited())


async def aanswer(ask: Callable[[], Any], seconds: float) -> Any:
    """What a caller's function says, or whoever it has us await; one that blocks does not hold up the event loop.

    Raises:
        TimeoutError: It said nothing for so long.
    """
    return await asaid(ask, seconds)


def answer(ask: Callable[[], Any], seconds: float) -> Any:  # noqa: ARG001 - nothing ends what blocks
    """What a caller's function says, however long it takes."""
    return ask()


async def ahooked(hook: Callable[..., Any], *given: Any) -> Any:
    """What a caller's function makes of something, or whoever it has us await; one that blocks does not hold up the event loop."""
    said = await asyncio.to_thread(hook, *given)
    return await said if isawaitable(said) else said


def hooked(hook: Callable[..., Any], *given: Any) -> Any:
    """What a caller's function makes of something."""
    return hook(*given)


async def aload(read: Callable[[], T]) -> T:
    """Read files, which an event loop must not wait for; nor must the reader, for the loop's own threads.

    Those may all be busy with an application's work, and a program that ends has none any more.
    """
    try:
        found: T = await asaid(read, None)
    except NoThread:
        return read()
    return found


def load(read: Callable[[], T]) -> T:
    """Read files, which an event loop would have to wait for."""
    return read()
