"""What a worker runs: the library, the naive cache, or the library with one rule taken out."""

from __future__ import annotations

from torture import mutants, naive

LIBRARY, JOURNALS, NAIVE = "library", "journals", "naive"


def install(variant: str) -> None:
    """Make this process run a variant; the library itself, with journals or without, needs nothing."""
    if variant == NAIVE:
        naive.install()
    elif variant not in {LIBRARY, JOURNALS}:
        mutants.install(variant)
