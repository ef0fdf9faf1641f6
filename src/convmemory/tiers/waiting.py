"""Waiting in both colours: pairs of the same name but for the ``a``, so that generated code differs in nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

asleep = asyncio.sleep
sleep = time.sleep


def aspawn(work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Run ``work`` beside the caller, on the running loop; keep the result, or the task may be collected."""
    return asyncio.get_running_loop().create_task(work())


def spawn(work: Callable[[], None]) -> threading.Thread:
    """Run ``work`` beside the caller, in a thread that does not keep the program alive."""
    thread = threading.Thread(target=work, name="convmemory", daemon=True)
    thread.start()
    return thread
