"""``convmemory check``: do both tiers answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from typer import Exit, Option, echo

import convmemory
from convmemory.cli.advice import advice
from convmemory.cli.connect import AsJson, DatabaseUrl, Embedded, Place, RedisUrl, SchemaName, memory_over
from convmemory.cli.screen import screen, table
from convmemory.errors import StorageError
from convmemory.models import Check, TierReport
from convmemory.tiers.driver_errors import POSTGRES
from convmemory.windows.trust import NAMELESS


def check(
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
    *,
    as_json: AsJson = False,
    strict: Annotated[bool, Option("--strict", help="Status 1 also when only Redis is away.")] = False,
) -> None:
    """Ask PostgreSQL and Redis for a sign of life: status 0 when conversations are served, else 1.

    Without Redis they are served, from PostgreSQL: that is degraded, and no reason to stop sending users.
    With `--json` it prints an object with `status` (`ok`, `degraded` or `down`), `postgres` and `redis`.

    For example:

    ```
    convmemory check
    convmemory check --strict
    convmemory check --database-url postgresql://app@db/app --redis-url redis://cache
    ```
    """
    with Place(database_url, redis_url, embedded, schema).settings() as settings:
        memory = memory_over(settings)
        found = _ask(memory)
    if as_json:
        echo(json.dumps({"status": found.status, **found.model_dump(mode="json")}))
    else:
        _print(memory, found)
    if not found.ok or (strict and found.degraded):
        raise Exit(1)


def _print(memory: convmemory.ConversationMemory, found: Check) -> None:
    address = None if memory.redis is None else memory.redis.address
    shown = table("tier", "state", "what it says")
    shown.add_row(*_row(found.postgres, None))
    absent = ("Redis", "not used", "every read goes to PostgreSQL, and there are no sessions")
    shown.add_row(*(absent if found.redis is None else _row(found.redis, address)))
    screen.print(shown)
    if found.degraded:
        screen.print("degraded: conversations are served from PostgreSQL alone, and there are no sessions")


def _ask(memory: convmemory.ConversationMemory) -> Check:
    """Ask both tiers, Redis also when PostgreSQL cannot be opened."""
    try:
        with memory:
            return memory.check()
    except StorageError as error:
        redis = None if memory.redis is None else _ask_redis(memory.redis)
        return Check(postgres=_report("PostgreSQL", error), redis=redis)


def _ask_redis(store: convmemory.RedisStore) -> TierReport:
    try:
        return _report("Redis", None, store.ping())
    except StorageError as error:
        return _report("Redis", error)


def _report(tier: str, error: StorageError | None, figures: Mapping[str, Any] | None = None) -> TierReport:
    return TierReport(
        tier=tier,
        reachable=error is None,
        breaker="closed",
        problem=None if error is None else _problem(error),
        last_failure=None,
        figures=dict(figures or {}),
    )


def _problem(error: StorageError) -> str:
    return f"{error}{advice(error)}" if error.tier == POSTGRES else str(error)


def _row(report: TierReport, address: str | None) -> tuple[str, str, str]:
    if report.problem is not None:
        return report.tier, "failed", report.problem + (f" (at {address})" if address else "")
    known = {"version": "version {}", "dirty_windows": "windows to be dropped: {}"}
    known |= {setting: f"{setting} {{}}" for setting in ("search_typos", "search_vectors")}
    said = [text.format(report.figures[name]) for name, text in known.items() if report.figures.get(name)]
    if report.figures.get("caching") is False:
        said.append(NAMELESS)
    return report.tier, "ok", ", ".join(said)
