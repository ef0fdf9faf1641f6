"""Spans and metrics for OpenTelemetry, where its API is installed (``langchain-convmemory[otel]``); nothing at all where it is not.

Spans ``convmemory.read``, ``.page``, ``.append``, ``.revise``, ``.pop``, ``.clear`` and ``.delete`` are around what an
application waits for, and ``convmemory.read.postgres`` is inside a read the window did not serve. They carry the
conversation's UUID, how many messages came or went, and the class of an error: no text, no user, and no error's message,
which may quote a driver.
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

from convmemory.errors import ConversationNotFound

try:
    from opentelemetry import metrics, trace
except ImportError:
    INSTALLED = False
else:
    INSTALLED = True

F = TypeVar("F", bound=Callable[..., Any])
COUNTED: Final = {
    "hits": "Reads served from the recent window",
    "misses": "Reads that the recent window could not serve",
    "failures": "Calls that could not reach the tier",
    "failed_writes": "Appends that failed",
    "dirty_marks": "Writes whose window could not be told",
    "drained": "Windows dropped because they had missed a write",
    "accepted": "Writes that wait in a journal for PostgreSQL",
    "stored": "Entries of journals that PostgreSQL has stored, or had already",
    "refused": "Entries of journals that PostgreSQL refused for what is in them",
}
LOOK_EVERY: Final = 0.1
"""Seconds between two looks whether the application has set up an SDK by now."""
_living: weakref.WeakSet[Any] = weakref.WeakSet()
_gone: deque[tuple[str, Any]] = deque()  # a finalizer runs at any time, in any thread: all it does is append
_ended: Counter[tuple[str, str]] = Counter()
_lock = threading.Lock()


def watch(health: Any) -> None:
    """Have the counters of a tier, and the state of its breaker, among the metrics of this process."""
    if INSTALLED:
        with _lock:
            _living.add(health)
        weakref.finalize(health, _gone.append, (health.tier, health.counters)).atexit = False


def traced(name: str, size: Callable[[Any], int] | None = None) -> Callable[[F], F]:
    """Put a span around a method whose first argument is a ``ConversationKey``; ``size`` counts messages in its result."""

    def around(call: F) -> F:
        if not INSTALLED:
            return call

        async def awaited(self: Any, key: Any, *arguments: Any, **named: Any) -> Any:
            if not _audience.listens():
                return await call(self, key, *arguments, **named)
            with _span(name, key, size) as result:
                result.append(await call(self, key, *arguments, **named))
            return result[0]

        def blocking(self: Any, key: Any, *arguments: Any, **named: Any) -> Any:
            if not _audience.listens():
                return call(self, key, *arguments, **named)
            with _span(name, key, size) as result:
                result.append(call(self, key, *arguments, **named))
            return result[0]

        return cast("F", functools.wraps(call)(awaited if inspect.iscoroutinefunction(call) else blocking))

    return around


class _Audience:
    """Whether an SDK is there to hear of spans: the API alone would still make, attach and detach an empty one.

    The question reads the environment, so until somebody is there it is asked no more than once per ``LOOK_EVERY`` seconds.
    """

    __slots__ = ("_due", "_here")

    def __init__(self) -> None:
        self._here = False
        self._due = float("-inf")

    def listens(self) -> bool:
        if not self._here and (now := time.monotonic()) >= self._due:
            self._due = now + LOOK_EVERY
            self._here = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        return self._here


@contextmanager
def _span(name: str, key: Any, size: Callable[[Any], int] | None) -> Iterator[list[Any]]:
    result: list[Any] = []
    with _tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
        try:
            yield result
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            if not isinstance(error, ConversationNotFound):  # which is an answer
                span.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            if key.known is not None:  # a name's is not before a store was asked
                span.set_attribute("convmemory.conversation", str(key.known))
        if size is not None:
            span.set_attribute("convmemory.messages", size(result[0]))


def _observe(name: str, _options: Any) -> Iterator[Any]:
    with _lock:
        while _gone:  # what a store counted stays: a counter never goes back
            tier, counters = _gone.popleft()
            _ended.update({(tier, one): getattr(counters, one) for one in COUNTED})
        found = Counter({tier: count for (tier, one), count in _ended.items() if one == name})
        for health in list(_living):
            found[health.tier] += getattr(health.counters, name)
    for tier, count in found.items():
        yield metrics.Observation(count, {"convmemory.tier": tier})


def _breakers(_options: Any) -> Iterator[Any]:
    with _lock:
        found = Counter({health.tier: 0 for health in _living})
        found.update(health.tier for health in _living if health.open)
    for tier, count in found.items():
        yield metrics.Observation(count, {"convmemory.tier": tier})


def _register(meter: Any) -> None:
    for name, what in COUNTED.items():
        meter.create_observable_counter(
            f"convmemory.{name}", [functools.partial(_observe, name)], description=what
        )
    meter.create_observable_gauge(
        "convmemory.breakers_open", [_breakers], description="Tiers left alone at the moment"
    )


if INSTALLED:
    _tracer = trace.get_tracer("convmemory")
    _audience = _Audience()
    _register(metrics.get_meter("convmemory"))
