"""No garbage collection in the midst of making a great many objects that all stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_MANY: Final = 1000


@contextmanager
def uncollected(count: int) -> Iterator[None]:
    """Make ``count`` objects without the collector: each of its passes would look at all that are there, and free none.

    It is left alone for a few objects, and where the application has it off. Nothing may be awaited inside.
    """
    if count <= _MANY or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
