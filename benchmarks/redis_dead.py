"""What a turn costs while Redis is dead, against a memory that never had one: interleaved, in one run.

    python benchmarks/redis_dead.py
    python benchmarks/redis_dead.py --rounds 200 --mode async

Servers are started for the run unless DATABASE_URL names one; the dead Redis is a port nobody listens on. The exit
status is 1 when W1 (read the window) or W2 (store a turn) costs more than 1.2 times what it costs without Redis.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, HumanMessage
from servers import empty_database, servers

from convmemory import AsyncConversationMemory, ConversationMemory

BAR = 1.2
BLOCK = 10
"""Operations of one kind in a row, before another kind has its turn."""
Operation = Callable[[], Awaitable[None]]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100, help=f"blocks of {BLOCK} operations of each kind")
    parser.add_argument("--mode", choices=("sync", "async"), default="sync")
    return parser.parse_args()


def dead_redis() -> str:
    """A URL where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return f"redis://127.0.0.1:{gone.getsockname()[1]}/0"


async def said(value: Any) -> Any:
    """What a call comes to, awaited where it must be."""
    return await value if hasattr(value, "__await__") else value


def operations(memory: Any, mode: str) -> tuple[Operation, Operation]:
    """W1 and W2 over one conversation of 20 messages."""
    history = memory.history(str(uuid4()), user_id="u")
    turn = [HumanMessage("q" * 400), AIMessage("a" * 400)]

    async def read() -> None:
        window = await history.aget_messages() if mode == "async" else history.messages
        assert len(window) == 6

    async def write() -> None:
        await history.aadd_messages(turn) if mode == "async" else history.add_messages(turn)

    return read, write


async def measure(mode: str, url: str, rounds: int) -> dict[str, dict[str, float]]:
    """Medians in microseconds by operation and memory."""
    kind: Any = AsyncConversationMemory if mode == "async" else ConversationMemory
    memories = {"no Redis": kind.from_url(url, None), "dead Redis": kind.from_url(url, dead_redis())}
    times: dict[tuple[str, str], list[float]] = {}
    work: list[tuple[tuple[str, str], Operation]] = []
    for name, memory in memories.items():
        await said(memory.open())
        await said(memory.init_schema())
        read, write = operations(memory, mode)
        for _ in range(10):  # by then the breaker has opened
            await write()
        work += [(("W1 read", name), read), (("W2 write", name), write)]
    for _ in range(rounds):
        for which, operation in random.sample(work, len(work)):
            for _ in range(BLOCK):
                begin = time.perf_counter()
                await operation()
                times.setdefault(which, []).append(time.perf_counter() - begin)
    for memory in memories.values():
        await said(memory.close())
    return {
        what: {name: statistics.median(times[what, name]) * 1e6 for name in memories}
        for what in ("W1 read", "W2 write")
    }


def main() -> int:
    options = parsed()
    logging.disable(logging.WARNING)
    with servers() as what:
        print(what, file=sys.stderr)
        figures = asyncio.run(measure(options.mode, empty_database("bench_redis_dead"), options.rounds))
    worst = 0.0
    print(f"{options.mode:10}{'no Redis':>12}{'dead Redis':>12}{'ratio':>8}")
    for operation, row in figures.items():
        ratio = row["dead Redis"] / row["no Redis"]
        worst = max(worst, ratio)
        print(f"{operation:10}{row['no Redis']:9.0f} us{row['dead Redis']:9.0f} us{ratio:8.2f}")
    return int(worst > BAR)


if __name__ == "__main__":
    sys.exit(main())
