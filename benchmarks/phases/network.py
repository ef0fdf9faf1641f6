"""W1, W2 and W4 with a network in between, as most users have one: so many milliseconds a round trip to each server."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from adapter import Adapter
from adapters import opened
from psycopg.conninfo import conninfo_to_dict
from servers import program
from timing import finish

from phases import turns, workers

TRIPS = ((0.0, 0.0), (0.5, 0.2), (2.0, 0.2))
"""Milliseconds to PostgreSQL, and to Redis."""
DELAYED = Path(__file__).resolve().parent.parent / "delayed.py"


def run(_adapters: list[Adapter], options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    only = [part for part in options.only.split(",") if part]
    for postgres, redis in TRIPS:
        print(f"\n==== {postgres} ms a trip to PostgreSQL, {redis} ms to Redis")
        with ExitStack() as stack:
            urls = stack.enter_context(_further_away(postgres, redis))
            stack.enter_context(mock.patch.dict(os.environ, urls))
            adapters = opened(only)
            try:
                options.lengths = [50]
                found = turns.run(adapters, options)
                options.workers = options.workers or [16]
                figures[f"{postgres}/{redis}"] = {"turns": found, "workers": workers.run(adapters, options)}
            finally:
                for adapter in adapters:
                    finish(adapter.close())
    return figures


@contextmanager
def _further_away(postgres: float, redis: float) -> Iterator[dict[str, str]]:
    """The URLs of the same two servers, each behind a process that delays what passes."""
    said = conninfo_to_dict(os.environ["DATABASE_URL"])
    host, port = str(said.get("host") or "localhost"), said.get("port") or 5432
    database = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else f"{host}:{port}"
    place = urlsplit(os.environ["REDIS_URL"])
    cache = place.path if place.scheme == "unix" else f"{place.hostname}:{place.port or 6379}"
    with program(DELAYED, str(postgres), database) as near, program(DELAYED, str(redis), cache) as nearer:
        login = f"{said['user']}:{said['password']}" if said.get("password") else said.get("user", "postgres")
        number = place.path.strip("/") if place.scheme != "unix" else ""
        yield {
            "DATABASE_URL": f"postgresql://{login}@127.0.0.1:{near}/{said.get('dbname', 'postgres')}",
            "REDIS_URL": f"redis://{place.netloc.rpartition('@')[0]}{'@' * ('@' in place.netloc)}127.0.0.1:{nearer}/{number}",
        }
