"""Waiting in both colours: pairs of the same name but for the ``a``, so that generated code differs in nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from contextlib import nullcontext, suppress
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeVar

from convmemory.errors import NotOpen
from convmemory.tiers.packing import PACKS, Packer

T = TypeVar("T")

_NO_LOOP: Final = (
    "no event loop of asyncio runs here in this process: call the memory from an asyncio.run() of the process's own, after a"
    " fork as well; under trio use a ConversationMemory, in a thread"
)

_NOTHING: Final = nullcontext()
_HELD_UP: Final = 0.05
"""Seconds by which an event loop is late that somebody else's work has held up."""

asleep = asyncio.sleep
sleep = time.sleep


def aspawn(work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Run ``work`` beside the caller, on the running loop; keep the result, or the task may be collected."""
    return asyncio.get_running_loop().create_task(work())


def spawn(work: Callable[[], None]) -> threading.Thread:
    """Run ``work`` beside the caller, in a thread that does not keep the program alive.

    Where no thread can be had (a container's limit, a program at its end) it is not begun, and ``works`` says so.
    """
    thread = threading.Thread(target=work, name="convmemory", daemon=True)
    with suppress(RuntimeError):
        thread.start()
    return thread


def aworks(work: asyncio.Task[None] | None) -> bool:
    """Whether what ``aspawn`` began in this loop goes on."""
    return work is not None and not work.done()


def works(work: threading.Thread | None) -> bool:
    """Whether what ``spawn`` began goes on; nothing does that another process began."""
    return work is not None and work.is_alive()


def aend(work: asyncio.Task[None]) -> None:
    """Have what was begun in another event loop end, or be forgotten with a loop that is closed."""
    try:
        work.cancel()
    except RuntimeError:
        getattr(work.get_coro(), "close", work.done)()


def end(_work: threading.Thread) -> None:
    """Nothing: a thread ends by itself."""


def ahere() -> asyncio.AbstractEventLoop:
    """Where this call runs, as far as connections care: its event loop.

    Raises:
        NotOpen: None of this process's runs here, as in a process forked by a coroutine that goes on in it.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise NotOpen(_NO_LOOP) from None


def here() -> str:
    """Where this call runs, as far as connections care: blocking ones serve every thread."""
    return "every thread"


def alives(place: asyncio.AbstractEventLoop | None) -> bool:
    """Whether somebody may be waiting there right now."""
    return place is not None and place.is_running()


def lives(_place: object) -> bool:
    """Whether somebody may be waiting there right now: blocking calls have no other place."""
    return False


def agone(place: asyncio.AbstractEventLoop | None) -> bool:
    """Whether nothing will ever wait there again."""
    return place is None or place.is_closed()


def gone(_place: object) -> bool:
    """Whether nothing will ever wait there again."""
    return False


def atell(place: asyncio.AbstractEventLoop, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Have ``call`` awaited in another event loop."""
    with suppress(RuntimeError):  # it was closed a moment ago
        place.call_soon_threadsafe(lambda: place.create_task(call()))


def tell(_place: object, call: Callable[[], None]) -> None:
    """Have ``call`` called."""
    call()


def asever(connection: Any) -> None:
    """Close the socket of a connection of redis-py, whose event loop is closed, or has come to its end, and does so no more.

    Neither redis-py nor asyncio has a name for any of this; where they keep it elsewhere, the socket is closed when it is
    collected.
    """
    writer = getattr(connection, "_writer", None)  # held to the end, or it complains of having been left open
    transport = getattr(writer, "transport", None)
    for name in ("_writer", "_reader"):
        if hasattr(connection, name):
            setattr(connection, name, None)
    if transport is None:
        return
    with suppress(AttributeError):  # where the loop runs once more after all, it would close what is no more
        transport._call_connection_lost = _lost_already  # noqa: SLF001
    with suppress(RuntimeError):
        transport.abort()
    sock = getattr(transport, "_sock", None)
    if sock is not None:
        transport._sock = None  # noqa: SLF001 - or it complains as well
        sock.close()


def _lost_already(_error: Exception | None) -> None:
    """What a transport calls last, where all is done already."""


def sever(connection: Any) -> None:
    """Close the socket of a connection of redis-py."""
    connection.disconnect()


def aforsake(_connections: Iterable[Any], _pool: Any) -> None:
    """Nothing: they were closed when their event loop ended."""


def forsake(connections: Iterable[Any], pool: Any) -> None:
    """Close connections of redis-py that nobody can use any more, maybe while the interpreter comes to its end."""
    for held in (*connections, pool):
        with suppress(Exception):
            held.disconnect()


def aguard(leave: Callable[[], Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    """Have ``leave`` awaited when the running loop ends, or at ``aclose()``.

    ``asyncio.run`` cancels tasks first, which connections need for being closed, and then closes the asynchronous
    generators that were begun: so this is one, begun and left waiting.
    """

    async def guarded() -> AsyncGenerator[None]:
        try:
            yield
        except _Released:
            return
        except GeneratorExit:
            await leave()
            raise

    generator = guarded()
    with suppress(StopIteration):
        generator.__anext__().send(None)
    return generator


class _Released(BaseException):
    """There is nothing to guard any more."""


def arelease(guard: AsyncGenerator[None] | None) -> None:
    """End a guard without leaving: of one that is collected its loop would be told, which may never run again."""
    if guard is not None:
        with suppress(StopAsyncIteration, RuntimeError):  # it has ended, or is at it
            guard.athrow(_Released()).send(None)


def release(_guard: object) -> None:
    """Nothing: it holds nothing."""


class Guard:
    """Calls ``leave`` at ``close()``; a program that ends closes its sockets by ending."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self.close: Final = leave


guard = Guard


def aquietly(name: str) -> None:
    """Have asyncio not complain of a pool's tasks when a loop is closed without having cancelled anything.

    That is how many programs end their loops, and nothing of theirs is lost with these: the tasks whose name begins
    with ``name``, and on Python 3.11 the one in which a pool's scheduler waits.
    """
    for task in asyncio.all_tasks():
        frame = getattr(task.get_coro(), "cr_frame", None)
        whose = type(frame.f_locals.get("self")).__module__ if frame is not None else ""
        if task.get_name().startswith(name) or whose.startswith("psycopg_pool."):
            setattr(task, "_log_destroy_pending", False)  # noqa: B010 - as asyncio does with its own


def quietly(_name: str) -> None:
    """Nothing: a thread that ends with its program does so without a word."""


class alimit:  # noqa: N801 - reads as a word: `async with alimit(0.5):`
    """As ``asyncio.timeout``, which an event loop that somebody holds up ends as well, with the answer there and unread.

    Where the loop itself was late the time begins anew, once.
    """

    __slots__ = ("_anew", "_before", "_due", "_loop", "_over", "_seconds", "_task")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    async def __aenter__(self) -> None:
        self._loop, self._over, self._anew = asyncio.get_running_loop(), False, False
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be told that its time is over")
        self._task, self._before = task, task.cancelling()
        self._due = self._begin()

    def _begin(self) -> asyncio.TimerHandle | None:
        if self._seconds is None:
            return None
        return self._loop.call_later(self._seconds, self._end, self._loop.time() + self._seconds)

    def _end(self, due: float) -> None:
        if self._loop.time() - due > _HELD_UP and not self._anew:
            self._anew, self._due = True, self._begin()
            return
        self._over = True
        self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if self._due is not None:
            self._due.cancel()
        if self._over and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error


def awhole(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a connection of redis-py whose calls ``alimit`` bounds: each of its steps for itself would cost a task."""
    return {**options, "socket_timeout": None, "socket_connect_timeout": None}


def limit(_seconds: float | None) -> nullcontext[None]:
    """Nothing to limit: nothing ends what blocks, but a time-out of the socket's own."""
    return _NOTHING


def whole(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a connection of redis-py, whose socket has a time-out."""
    return dict(options)


def apacking() -> dict[str, Any]:
    """Nothing to say of how awaited connections of redis-py pack: in Python."""
    return {}


def packing() -> dict[str, Any]:
    """How blocking connections of redis-py pack."""
    return {"command_packer": Packer()} if PACKS else {}


class aheeded:  # noqa: N801 - reads as a word: `with aheeded():`
    """Raise ``CancelledError`` at the end if the task was cancelled inside and somebody below did not mind.

    A driver that is cancelled at the moment of its answer may prefer the answer; a call that was cancelled must
    not be taken for one that was acknowledged. Cancelled before, a task may still call: to store what it has.
    """

    __slots__ = ("_before", "_task")

    def __enter__(self) -> None:
        """Begin to listen."""
        try:
            self._task = asyncio.current_task()
        except RuntimeError:
            raise NotOpen(_NO_LOOP) from None
        self._before = self._task.cancelling() if self._task else 0

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None and self._task is not None and self._task.cancelling() > self._before:
            raise asyncio.CancelledError


def heeded() -> nullcontext[None]:
    """Nothing to heed: nobody cancels blocking code."""
    return _NOTHING


def atold_to_end() -> bool:
    """Whether the task that runs was cancelled, though somebody below it did not mind."""
    task = asyncio.current_task()
    return task is not None and bool(task.cancelling())


def told_to_end() -> bool:
    """Whether somebody cancelled this: nobody does."""
    return False


def aapart(work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Run ``work`` beside the caller as ``aspawn`` does, and out of its context: of no run, trace or request of the caller's."""
    return asyncio.get_running_loop().create_task(work(), name="convmemory", context=Context())


def apart(work: Callable[[], None]) -> threading.Thread:
    """Run ``work`` beside the caller, and out of its context, in a thread that does not keep the program alive."""
    return spawn(partial(Context().run, work))


async def aover(works: Iterable[asyncio.Task[None]], seconds: float) -> None:
    """Wait until what ``aapart`` began is over, for so long; then end it."""
    if going := [work for work in works if not work.done()]:
        _, late = await asyncio.wait(going, timeout=seconds)
        for work in late:
            work.cancel()


def over(works: Iterable[threading.Thread], seconds: float) -> None:
    """Wait until what ``apart`` began is over, for so long."""
    deadline = time.monotonic() + seconds
    for work in works:
        if work.is_alive():
            work.join(max(0.0, deadline - time.monotonic()))
