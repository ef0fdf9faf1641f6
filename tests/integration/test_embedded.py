"""The embedded servers, started for real: each test names what a newcomer would notice if it broke."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from convmemory import ConfigurationError, StorageError
from convmemory.embedded import EmbeddedServers
from fix_embedded import SOURCE, Owner, ask, ask_redis, run_python, running, wait_until_ended, wheel_bin

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="needs unix sockets"),
    pytest.mark.usefixtures("wheels"),
]


def test_scratch_servers_answer_and_leave_nothing() -> None:
    with EmbeddedServers.start() as servers:
        assert ask(servers.database_url, "SELECT current_database()") == "convmemory"
        assert ask_redis(servers.redis_url, "SET", "key", "value")
        assert set(servers.processes) == {"supervisor", "postgres", "redis"}
        assert all(map(running, servers.processes.values()))
        sockets = Path(ask(servers.database_url, "SHOW unix_socket_directories")).parent
        assert servers.directory.exists()
        assert sockets.exists()
    wait_until_ended(servers.processes)
    assert not servers.directory.exists()
    assert not sockets.exists()


def test_postgresql_can_be_stopped_and_started_again_and_redis_goes_on() -> None:
    with EmbeddedServers.start() as servers:
        ask(servers.database_url, "CREATE TABLE kept AS SELECT 'yes' AS answer")
        for _ in range(2):
            with servers.postgres_stopped():
                assert ask_redis(servers.redis_url, "SET", "key", "value")
                with pytest.raises(psycopg.OperationalError):
                    ask(servers.database_url, "SELECT 1")
            assert ask(servers.database_url, "SELECT answer FROM kept") == "yes"
    wait_until_ended(servers.processes)
    assert not servers.directory.exists()


def test_one_that_does_not_start_again_is_told_with_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convmemory.embedded.outage.LONGEST", 2.0)
    with (
        EmbeddedServers.start() as servers,
        pytest.raises(StorageError, match=r"failed to start: not done in 2 s(?s:.*)FATAL"),
        servers.postgres_stopped(),
    ):
        (servers.directory / "postgres" / "PG_VERSION").write_text("1")
    wait_until_ended(servers.processes)


def test_data_outlives_the_program(tmp_path: Path) -> None:
    with EmbeddedServers.start(tmp_path / "data") as servers:
        ask(servers.database_url, "CREATE TABLE kept AS SELECT 'yes' AS answer")
        ask_redis(servers.redis_url, "SET", "kept", "yes")
    began = time.monotonic()
    with EmbeddedServers.start(tmp_path / "data") as servers:
        assert time.monotonic() - began < 5
        assert ask(servers.database_url, "SELECT answer FROM kept") == "yes"
        assert ask_redis(servers.redis_url, "GET", "kept") == "yes"
        assert ask(servers.database_url, "SHOW fsync") == "on"
        servers.stop()
        servers.stop()


def test_kill_of_the_owner_ends_the_servers_and_keeps_the_data(
    data: Path, owner: Callable[..., Owner]
) -> None:
    program = owner(data)
    processes, database_url, _ = program.report()
    ask(database_url, "CREATE TABLE kept AS SELECT 'yes' AS answer")
    program.kill()
    wait_until_ended(processes)
    with EmbeddedServers.start(data) as servers:
        assert ask(servers.database_url, "SELECT answer FROM kept") == "yes"


def test_programs_that_start_at_once_share_one_pair(tmp_path: Path, owner: Callable[..., Owner]) -> None:
    programs = [owner(tmp_path / "data") for _ in range(3)]
    reports = [program.report() for program in programs]
    assert reports[0] == reports[1] == reports[2]
    processes, database_url, _ = reports[0]
    programs[0].leave()
    programs[1].kill()
    assert ask(database_url, "SELECT 1") == 1
    programs[2].leave()
    assert not any(map(running, list(processes.values())[1:]))
    wait_until_ended(processes)


def test_leaving_and_starting_again_never_meets_a_stopping_server(data: Path) -> None:
    program = "import sys; from convmemory.embedded import EmbeddedServers as E; import subprocess"
    loop = f"{program}\nfor _ in range(4):\n with E.start(sys.argv[1], redis=False) as s: assert s.processes['postgres']"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", loop, str(data)],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        for _ in range(2)
    ]
    assert [run.wait(40) for run in runs] == [0, 0]


def test_a_forked_child_does_not_take_the_servers_with_it(servers: EmbeddedServers) -> None:
    child = os.fork()
    if child == 0:
        servers.stop()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert ask(servers.database_url, "SELECT 1") == 1


def test_ctrl_c_in_the_terminal_does_not_reach_the_servers(servers: EmbeddedServers) -> None:
    assert all(os.getsid(process_id) != os.getsid(0) for process_id in servers.processes.values())


@pytest.mark.skipif(sys.platform != "linux", reason="the Linux kernel does this")
def test_kill_of_the_supervisor_ends_the_servers_and_the_next_start_mends(data: Path) -> None:
    servers = EmbeddedServers.start(data)
    ask(servers.database_url, "CREATE TABLE kept AS SELECT 'yes' AS answer")
    left_behind = (data / "run").readlink()
    os.kill(servers.processes["supervisor"], signal.SIGKILL)
    wait_until_ended(servers.processes)
    servers.stop()
    with EmbeddedServers.start(data) as again:
        assert ask(again.database_url, "SELECT answer FROM kept") == "yes"
        assert not left_behind.exists()


def test_a_machine_shutting_down_stops_the_servers_gently(data: Path) -> None:
    servers = EmbeddedServers.start(data)
    os.kill(servers.processes["supervisor"], signal.SIGTERM)
    wait_until_ended(servers.processes)
    servers.stop()
    assert "database system is shut down" in (data / "postgres.log").read_text()
    assert not (data / "run").is_symlink()


def test_a_long_path_is_no_matter(tmp_path: Path) -> None:
    directory = tmp_path.joinpath(*["a-rather-long-name-for-a-directory"] * 5)
    with EmbeddedServers.start(directory, durable=False) as servers:
        assert ask(servers.database_url, "SELECT 1") == 1
        assert ask_redis(servers.redis_url, "PING")


def test_an_interrupted_first_start_is_made_good(tmp_path: Path) -> None:
    (tmp_path / "postgres.new" / "base").mkdir(parents=True)
    with EmbeddedServers.start(tmp_path, redis=False) as servers:
        assert ask(servers.database_url, "SELECT 1") == 1


def test_scratch_servers_remove_only_what_they_made(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "mine").write_text("kept")
    EmbeddedServers.start(tmp_path, durable=False).stop()
    assert list(tmp_path.rglob("*")) == [tmp_path / "redis", tmp_path / "redis" / "mine"]


def test_scratch_servers_over_kept_data_keep_it(data: Path) -> None:
    EmbeddedServers.start(data, redis=False, durable=False).stop()
    assert (data / "postgres" / "PG_VERSION").exists()


@pytest.mark.parametrize(
    ("first", "second"), [({"redis": False}, {}), ({"durable": False}, {"durable": True})]
)
def test_joining_servers_that_lack_what_is_asked_is_refused(data: Path, first: Any, second: Any) -> None:
    with (
        EmbeddedServers.start(data, **first) as servers,
        pytest.raises(ConfigurationError, match="redis=False or durable=False"),
    ):
        EmbeddedServers.start(data, **second)
    wait_until_ended(servers.processes)


def test_data_of_another_postgres_version_says_so(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(
        ConfigurationError, match=r"written by PostgreSQL 12.*this machine has PostgreSQL 1\d"
    ):
        EmbeddedServers.start(tmp_path)


def test_a_server_that_does_not_start_says_why(data: Path) -> None:
    (data / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(StorageError, match="could not find the database system"):
        EmbeddedServers.start(data, redis=False)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"directory: .*file cannot be used"):
        EmbeddedServers.start(tmp_path / "file")


def test_a_machine_without_postgres_is_told_what_to_install() -> None:
    code = "from convmemory.embedded import EmbeddedServers; EmbeddedServers.start()"
    outcome = run_python(code)
    assert outcome.returncode == 1
    assert "MissingExtra: PostgreSQL (none found on this machine) needs an extra" in outcome.stderr
    assert "pip install 'langchain-convmemory[embedded]'" in outcome.stderr


def test_a_machine_without_redis_still_has_postgres() -> None:
    code = (
        "from convmemory.embedded import EmbeddedServers\n"
        "with EmbeddedServers.start() as s: print(s.redis_url, s.processes.keys(), s.describe())"
    )
    outcome = run_python(code, CONVMEMORY_POSTGRES_BIN=str(wheel_bin()))
    assert outcome.stdout.startswith("None dict_keys(['supervisor', 'postgres']) PostgreSQL ")
    assert outcome.stdout.endswith("Redis in each process (fakeredis)\n")


@pytest.mark.parametrize("name", ["CONVMEMORY_POSTGRES_BIN", "CONVMEMORY_REDIS_BIN", "CONVMEMORY_BINARIES"])
def test_a_wrong_variable_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(ConfigurationError, match=f"^{name}: '{tmp_path}' is not"):
        EmbeddedServers.start()


async def test_fake_clients_share_their_data(servers: EmbeddedServers) -> None:
    servers.fake_redis().set("key", "value")
    async with servers.fake_async_redis(decode_responses=True) as client:
        assert await client.get("key") == "value"
