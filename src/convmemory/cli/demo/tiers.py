"""The demo's closing tables: what each step cost, and what lies in which tier."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from psycopg import sql

from convmemory._sync.postgres_connections import connect
from convmemory.cli.demo.meter import Cost
from convmemory.cli.demo.stage import Stage
from convmemory.cli.screen import counted, screen, table
from convmemory.tiers.driver_errors import POSTGRES, translated

_TABLES: Final = ("conversations", "messages", "message_contexts")
_INSTALLATION: Final = re.compile(r":\d:[0-9a-f]{8}-[0-9a-f-]{27}:")
# a session's id is its key: nobody should read it whole
_LONG_ID: Final = re.compile(r"\{([^}]{6})[^}]{6,}\}")
_WHY_THE_FIRST: Final = (
    " A turn reads, asks the model and writes, LangChain included. The first one of a\n"
    " process also connects, and teaches a new Redis its scripts."
)


def print_costs(costs: Sequence[Cost]) -> None:
    """Print what each step took, and how many round trips it made to each tier."""
    numbers = ("ms", "to Redis", "to PostgreSQL")
    shown = table("step", *numbers, title="What each step cost", numbers=numbers)
    for cost in costs:
        trips = ("" if count is None else str(count) for count in (cost.redis, cost.postgres))
        shown.add_row(cost.step, f"{cost.ms:.1f}", *trips)
    screen.print()
    screen.print(shown)
    screen.print(_WHY_THE_FIRST, style="dim")


def print_tiers(stage: Stage) -> None:
    """Print the rows of PostgreSQL and the keys of Redis, with how long they stay."""
    shown = table("tier", "what", "how much", "stays", title="What now lies where")
    for row in (*_rows(stage), *_keys(stage)):
        shown.add_row(*row)
    screen.print()
    screen.print(shown)


def _rows(stage: Stage) -> Iterator[tuple[str, ...]]:
    count = sql.SQL("SELECT count(*) FROM {}")
    with connect(stage.settings.postgres_conninfo(), stage.settings) as connection:
        for name in _TABLES:
            with translated(POSTGRES, "count rows"):
                query = count.format(sql.Identifier(stage.settings.db_schema, name))
                [number] = connection.execute(query).fetchone() or (0,)
            yield POSTGRES, name, counted(number, "row"), "until deleted"


def _keys(stage: Stage) -> Iterator[tuple[str, ...]]:
    for key in sorted(stage.client.scan_iter(match=f"{stage.settings.key_prefix}*")):
        minutes, seconds = divmod(round(stage.client.pttl(key) / 1000), 60)
        name = _LONG_ID.sub(r"{\1…}", _INSTALLATION.sub(":…:", key.decode()))
        yield "Redis", name, f"1 {stage.client.type(key).decode()}", f"{minutes} min {seconds:02d} s"
