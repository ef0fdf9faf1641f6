"""W7: a conversation of 10,000 messages stored at once and read back whole; the median of three."""

from __future__ import annotations

import argparse
import time
from typing import Any

from adapter import Adapter
from texts import conversation, uuid_of
from timing import finish

LENGTH = 10_000


def run(adapters: list[Adapter], _options: argparse.Namespace) -> dict[str, Any]:
    messages = conversation(LENGTH)
    taken: dict[str, list[tuple[float, float]]] = {adapter.name: [] for adapter in adapters}
    for round_ in range(3):
        for adapter in adapters:
            name = uuid_of(f"W7 {time.time_ns()} {round_}")
            start = time.perf_counter()
            finish(adapter.seed(name, messages))
            middle = time.perf_counter()
            back = finish(adapter.everything(name))
            taken[adapter.name].append((middle - start, time.perf_counter() - middle))
            assert len(back) == LENGTH, f"{adapter.name} gave {len(back)} messages back"
    print(f"\n{LENGTH:,} messages: seconds to store and to read")
    return {name: _row(name, rounds) for name, rounds in taken.items()}


def _row(name: str, rounds: list[tuple[float, float]]) -> dict[str, float]:
    stored, read = (sorted(column)[1] for column in zip(*rounds, strict=True))
    print(f"{name:28}{stored:>9.3f}{read:>9.3f}")
    return {"store_s": stored, "read_s": read}
