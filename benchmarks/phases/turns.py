"""W1, W2, W3: reading the newest messages, storing a turn, and a whole turn through LangChain's chain, at each length.

Everything is measured in small blocks in random order, round after round, so that what disturbs the machine disturbs
all alike. Every operation has a conversation of its own, so that no write lengthens what a read is timed on; short
conversations are seeded anew every round, because each timed write makes them longer.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections import defaultdict
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from itertools import count
from typing import Any

from adapter import WINDOW, Adapter, Unsupported
from chain import chain_over, unheard
from langchain_core.messages import BaseMessage
from texts import Turn, conversation, turns, turns_ahead, uuid_of
from timing import finish, sample, summary

Operation = Callable[[], Any]
COLUMNS = ("W1 read", "W2 write", "W3 turn")
MARKS = count(1)


@dataclass(frozen=True, slots=True)
class Plan:
    """How often a block of ``block`` calls, or as many as fit into ``seconds``, is measured, and seeded anew."""

    rounds: int
    block: int
    seconds: float
    reseed_every: int


def plan_for(length: int, rounds: int) -> Plan:
    if length < 200:
        return Plan(2 * rounds, 5, 0.25, 1)
    if length < 5_000:
        return Plan(rounds, 10, 0.25, 5)
    return Plan(max(2, rounds * 2 // 5), 8, 0.6, rounds)


def run(adapters: list[Adapter], options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for length in options.lengths:
        samples, fresh = measured(adapters, length, plan_for(length, options.rounds))
        figures[str(length)] = {
            adapter.name: {
                "sees last write": fresh[adapter.name],
                **{
                    what: summary(samples[adapter.name, what])
                    for what in COLUMNS
                    if (adapter.name, what) in samples
                },
            }
            for adapter in adapters
        }
        show(length, adapters, figures[str(length)])
    return figures


def measured(
    adapters: list[Adapter], length: int, plan: Plan
) -> tuple[dict[tuple[str, str], list[float]], dict[str, bool]]:
    """Samples by adapter and operation, and whether each adapter's window held the last write."""
    samples: dict[tuple[str, str], list[float]] = defaultdict(list)
    operations: list[tuple[Adapter, str, Operation]] = []
    label = ""
    for round_ in range(plan.rounds):
        if round_ % plan.reseed_every == 0:
            label = f"{time.time_ns()} {length}"
            operations = [
                (adapter, what, operation)
                for adapter in adapters
                for what, operation in prepared(adapter, label, conversation(length), plan).items()
            ]
            gc.collect()
            gc.freeze()  # what the seeds of all keep alive must not slow down whoever allocates most
        random.shuffle(operations)
        for adapter, what, operation in operations:
            samples[adapter.name, what] += sample(adapter, operation, plan.block, plan.seconds)
    return samples, {adapter.name: sees_last_write(adapter, uuid_of(f"{label} W2")) for adapter in adapters}


def prepared(adapter: Adapter, label: str, messages: list[BaseMessage], plan: Plan) -> dict[str, Operation]:
    """The operations on conversations of their own, each called once to warm up."""
    said = turns_ahead(1 + plan.reseed_every * plan.block)
    read, write = seeded(adapter, f"{label} W1", messages), seeded(adapter, f"{label} W2", messages)
    operations: dict[str, Operation] = {
        "W1 read": lambda: adapter.window(read),
        "W2 write": lambda: adapter.append(write, next(said)),
    }
    try:
        adapter.history(read)
    except Unsupported:
        pass
    else:
        whole, chain = seeded(adapter, f"{label} W3", messages), chain_over(adapter.history)
        config: Any = {"configurable": {"session_id": whole}}
        context = copy_context() if adapter.ours else unheard()
        operations["W3 turn"] = lambda: context.run(
            chain.invoke, {"input": random.choice(turns()).human}, config
        )
    for operation in operations.values():
        finish(operation())
    return operations


def seeded(adapter: Adapter, label: str, messages: list[BaseMessage]) -> str:
    name = uuid_of(label)
    finish(adapter.seed(name, messages))
    finish(adapter.settle(name))
    return name


def sees_last_write(adapter: Adapter, name: str) -> bool:
    """Whether a window read after a write ends with it, and is as long as asked for."""
    mark = f"mark {next(MARKS)}"
    finish(adapter.append(name, Turn(f"human {mark}", f"ai {mark}")))
    window = [adapter.text_of(message) for message in finish(adapter.window(name))]
    return len(window) == WINDOW and window[-2:] == [f"human {mark}", f"ai {mark}"]


def show(length: int, adapters: list[Adapter], table: dict[str, Any]) -> None:
    """Print one length: median and p99 in microseconds, and the median's ratio to the adapter's limit."""
    print(
        f"\n{length} messages: p50 and p99 in microseconds, ratio to the adapter's limit (W3: to the floor)"
    )
    print(f"{'':28}" + "".join(f"{what:>30}" for what in COLUMNS))
    for adapter in sorted(adapters, key=lambda adapter: table[adapter.name]["W1 read"]["p50"]):
        cells = "".join(cell(table, adapter, what) for what in COLUMNS)
        print(f"{adapter.name:28}{cells}{'' if table[adapter.name]['sees last write'] else '  STALE'}")


def cell(table: dict[str, Any], adapter: Adapter, what: str) -> str:
    found = table[adapter.name].get(what)
    if found is None:
        return f"{'-':>30}"
    base = table.get("floor: in memory" if what == "W3 turn" else adapter.limit, {}).get(what)
    ratio = f"x{found['p50'] / base['p50']:.2f}" if base else ""
    return f"{found['p50']:>11.0f}{found['p99']:>10.0f}{ratio:>9}"
