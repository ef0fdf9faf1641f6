"""What chat memory costs: this library, its peers and bare drivers, measured in one interleaved run.

    python benchmarks/run.py turns --lengths 10 1000 10000
    python benchmarks/run.py turns --only convmemory,LIMIT,floor
    python benchmarks/run.py workers --workers 16 64
    python benchmarks/run.py cpu --workers 1 4 16 64
    python benchmarks/run.py network
    python benchmarks/run.py processes
    python benchmarks/run.py bulk
    python benchmarks/run.py storage
    python benchmarks/run.py growth --messages 1000000
    python benchmarks/run.py writes --turns 20000
    python benchmarks/run.py rest

Servers are started for the run unless DATABASE_URL and REDIS_URL name some. Quote ratios, not microseconds.
The exit status is 1 when convmemory did not see its own last write.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import platform
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from adapters import opened
from servers import servers
from timing import finish

PHASES = ("turns", "workers", "cpu", "network", "processes", "bulk", "storage", "growth", "writes", "rest")
ALONE = ("growth", "network", "writes", "rest")
"""Those that open what they measure themselves."""
MEASURED = (
    *("convmemory", "langchain-core", "psycopg", "redis", "hiredis", "langchain-postgres"),
    *("langchain-community", "openai-agents", "SQLAlchemy", "asyncpg"),
    *("fastapi", "starlette", "uvicorn", "httptools", "uvloop"),
)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("phase", choices=PHASES)
    parser.add_argument(
        "--only", default="", help="adapters whose name contains one of these, comma-separated"
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=[10, 1000, 10_000], help="messages (turns)")
    parser.add_argument(
        "--rounds", type=int, default=20, help="rounds at 1000 messages (turns); ten times as many (rest)"
    )
    parser.add_argument("--workers", type=int, nargs="+", help="at once (workers: 16 64; cpu: 1 4 16 64)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=2.0,
        help="a slice, of three (workers, processes), or of five twice as short (cpu)",
    )
    parser.add_argument("--messages", type=int, default=200_000, help="in the large database (growth)")
    parser.add_argument("--turns", type=int, default=20_000, help="to store (writes)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    return parser.parse_args()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in MEASURED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def stale(figures: dict[str, Any]) -> list[str]:
    """Lengths and adapters of this library whose window lacked the last write."""
    return [
        f"{name} at {length} messages"
        for length, table in figures.items()
        for name, row in table.items()
        if name.startswith("convmemory") and row.get("sees last write") is False
    ]


def main() -> int:
    options = parsed()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with servers() as what:
        print(what, file=sys.stderr)
        only = [part for part in options.only.split(",") if part]
        adapters = [] if options.phase in ALONE else opened(only)
        try:
            figures = import_module(f"phases.{options.phase}").run(adapters, options)
        finally:
            for adapter in adapters:
                finish(adapter.close())
    if options.out:
        found = {"phase": options.phase, "servers": what, "versions": versions(), "figures": figures}
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    late = stale(figures) if adapters else []
    print(*(f"STALE: {line}" for line in late), sep="\n", end="\n" if late else "")
    return int(bool(late))


if __name__ == "__main__":
    sys.exit(main())
