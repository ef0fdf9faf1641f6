"""Who runs the embedded servers: root, or an ordinary user, and neither over the data of the other."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from convmemory import ConfigurationError
from convmemory.embedded import EmbeddedServers
from convmemory.embedded.plan import CONTROL_SOCKET, RUN_LINK
from fix_embedded import NOBODY, OWNER, SOURCE, Owner, ask, wait_until_ended, wheel_bin

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root on Linux can be both"),
    pytest.mark.usefixtures("wheels"),
]


def modes(path: Path) -> list[tuple[int, int]]:
    return [(step.stat().st_mode, step.stat().st_uid) for step in (path, *path.parents)]


@pytest.fixture
def ordinary_home() -> Iterator[Path]:
    """A directory of an ordinary user's, where he can get at it."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp"))  # a TMPDIR may be closed to them
    os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


def as_ordinary_user(directory: Path) -> dict[str, Any]:
    """What makes an Owner an ordinary user's, on the first Python and PostgreSQL that such a user may run."""
    account: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    script = "import convmemory.embedded, convmemory.embedded.lease"
    environment = {"PYTHONPATH": str(SOURCE), "CONVMEMORY_POSTGRES_BIN": str(wheel_bin()), "PATH": os.defpath}
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with contextlib.suppress(OSError):
            command = [python, "-c", script]
            if (
                subprocess.run(command, env=environment, cwd=directory, check=False, **account).returncode
                == 0
            ):
                return {"python": python, "env": environment, **account}
    pytest.skip("no Python here that an ordinary user may run")


def test_root_keeps_data_where_only_root_may_go(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    before = modes(closed)
    for expected in ("1", "2"):
        with EmbeddedServers.start(closed / "data") as servers:
            ask(servers.database_url, "CREATE TABLE IF NOT EXISTS visits AS SELECT 0 AS n")
            assert ask(servers.database_url, "UPDATE visits SET n = n + 1 RETURNING n::text") == expected
            assert Path(f"/proc/{servers.processes['postgres']}").stat().st_uid == NOBODY
    assert modes(closed) == before


def test_root_runs_programs_that_only_root_may_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_directory = wheel_bin()
    package = bin_directory.parents[1]
    closed = tmp_path / "closed" / package.name
    closed.mkdir(parents=True)
    closed.parent.chmod(0o700)
    (closed / "pginstall").symlink_to(package / "pginstall")
    libraries = package.with_name(f"{package.name}.libs")
    closed.with_name(libraries.name).symlink_to(libraries)
    monkeypatch.setenv("CONVMEMORY_POSTGRES_BIN", str(closed / "pginstall" / "bin"))
    before = modes(closed)
    with EmbeddedServers.start(redis=False) as servers:
        assert ask(servers.database_url, "SELECT 1") == 1
    assert modes(closed) == before


def test_an_ordinary_user_needs_nothing_special(ordinary_home: Path, owner: Callable[..., Owner]) -> None:
    program = owner(ordinary_home / "data", **as_ordinary_user(ordinary_home))
    processes, database_url, _ = program.report()
    assert {Path(f"/proc/{process_id}").stat().st_uid for process_id in processes.values()} == {NOBODY}
    assert ask(database_url, "SELECT 1") == 1
    program.kill()
    wait_until_ended(processes)


def test_a_process_id_that_is_somebody_elses_now_does_not_block(
    ordinary_home: Path, owner: Callable[..., Owner]
) -> None:
    options = as_ordinary_user(ordinary_home)
    first = owner(ordinary_home / "data", **options)
    first.report()
    first.leave()
    bystander = owner(ordinary_home / "elsewhere", **options)
    bystander.report()
    note = [
        str(bystander.process.pid),
        str(ordinary_home / "data" / "postgres"),
        "1700000000",
        "5432",
        "",
        "",
        "0 0",
    ]
    (ordinary_home / "data" / "postgres" / "postmaster.pid").write_text("\n".join(note))
    _, database_url, _ = owner(ordinary_home / "data", **options).report()
    assert ask(database_url, "SELECT 1") == 1


def test_root_leaves_an_ordinary_users_data_alone(
    ordinary_home: Path, owner: Callable[..., Owner], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = owner(ordinary_home / "data", **as_ordinary_user(ordinary_home))
    program.report()
    monkeypatch.setenv("CONVMEMORY_POSTGRES_BIN", str(wheel_bin()))
    for _ in range(2):  # while it is served, and afterwards
        with pytest.raises(
            ConfigurationError, match=rf"^directory: .*data belongs to another user .*{NOBODY}"
        ):
            EmbeddedServers.start(ordinary_home / "data", redis=False)
        program.leave()
    again = owner(ordinary_home / "data", **as_ordinary_user(ordinary_home))
    assert ask(again.report()[1], "SELECT 1") == 1


@pytest.mark.parametrize("whose", ["the directory", "the link", "what it leads to"])
def test_nobody_is_led_to_a_strangers_servers(tmp_path: Path, ordinary_home: Path, whose: str) -> None:
    directory, trap = tmp_path / "data", ordinary_home / "convmemory-trap"
    for path in (directory, trap):
        path.mkdir(mode=0o755)
    os.chown(trap, NOBODY, NOBODY)
    (directory / RUN_LINK).symlink_to(trap)
    if whose == "the directory":
        os.chown(directory, NOBODY, NOBODY)
    if whose == "the link":
        os.chown(directory / RUN_LINK, NOBODY, NOBODY, follow_symlinks=False)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(trap / CONTROL_SOCKET))
        listener.listen()
        listener.settimeout(0.2)
        if whose == "what it leads to":  # a link of ours that a killed supervisor left
            with EmbeddedServers.start(directory, redis=False) as servers:
                assert ask(servers.database_url, "SELECT 1") == 1
        else:
            with pytest.raises(ConfigurationError, match="belongs to another user"):
                EmbeddedServers.start(directory, redis=False)
        with pytest.raises(TimeoutError):  # and nobody came by
            listener.accept()


def test_another_users_directory_is_refused(ordinary_home: Path) -> None:
    (ordinary_home / "data").mkdir(mode=0o700)
    options = as_ordinary_user(ordinary_home)
    command = [options.pop("python"), "-c", OWNER, str(ordinary_home / "data")]
    outcome = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **options)
    assert "ConfigurationError: directory: " in outcome.stderr
    assert "belongs to another user (uid 0)" in outcome.stderr
