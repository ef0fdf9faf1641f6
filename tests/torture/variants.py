"""What a worker runs: the library, the naive cache, or the library with one rule taken out."""

from __future__ import annotations

from torture import mutants, naive

LIBRARY, NAIVE = "library", "naive"


def install(variant: str) -> None:
    """Make this process run a variant; the library itself needs nothing."""
    if variant == NAIVE:
        naive.install()
    elif variant != LIBRARY:
        mutants.install(variant)
