"""Death between any two steps: once armed, the process kills itself where a later step of a store begins or ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from convmemory import AsyncPostgresStore, AsyncRedisStore, PostgresStore, RedisStore

STEPS = {
    PostgresStore: ("_send",),
    AsyncPostgresStore: ("_send",),
    RedisStore: ("run_script", "drop"),
    AsyncRedisStore: ("run_script", "drop"),
}
"""Every trip to a tier goes through one of these."""

_left: list[int] = []


def arm(steps: int) -> None:
    """Die at the ``steps``-th beginning or end of a trip from now on."""
    _left[:] = [steps]


def install() -> None:
    """Watch the trips of all stores in this process."""
    for store, names in STEPS.items():
        for name in names:
            setattr(store, name, _watched(getattr(store, name)))


def _cross() -> None:
    if _left:
        _left[0] -= 1
        if _left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _watched(step: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(step):

        @wraps(step)
        async def awaited(*arguments: Any, **named: Any) -> Any:
            _cross()
            found = await step(*arguments, **named)
            _cross()
            return found

        return awaited

    @wraps(step)
    def blocking(*arguments: Any, **named: Any) -> Any:
        _cross()
        found = step(*arguments, **named)
        _cross()
        return found

    return blocking
