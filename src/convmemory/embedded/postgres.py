"""PostgreSQL over one data directory: made once, then served on a unix socket."""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from convmemory.embedded.account import Account, open_for, postgres_account, programs_for
from convmemory.embedded.plan import DATABASE, POSTGRES_DATA, POSTGRES_LOG, Plan
from convmemory.embedded.processes import ServerProcess, clean_environment
from convmemory.errors import StorageError

LOCALES = ("C.UTF-8", "C")  # the wheels have no ICU; not every system knows the first
# Nobody needs a password: the sockets are in a private directory. Written to disk once, when all is there.
INITDB = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
QUICK = ("-c", "fsync=off")
CREATE = f"CREATE DATABASE {DATABASE}\n"
LAST_WORDS = 1000  # characters of a failed program's output, in the error
SCRATCH = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
STATUS_LINE = 7  # of postmaster.pid, where PostgreSQL writes "ready"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A PostgreSQL data directory with the programs and the account that serve it.

    ``name`` is the directory as that account reaches it, through ``descriptors`` where its path is closed to it.
    """

    programs: Path
    account: Account
    data: Path
    name: str
    descriptors: tuple[int, ...]

    @classmethod
    def prepare(cls, plan: Plan, runtime: Path) -> Cluster:
        """Return the cluster of ``plan``, made if it is not there yet.

        A new one is made beside its place and moved there whole, so that no start finds a half-made one.

        Raises:
            StorageError: PostgreSQL cannot run here, or ``initdb`` failed; says its last words.
        """
        data = Path(plan.directory, POSTGRES_DATA)
        account = postgres_account(data)
        programs = programs_for(account, Path(plan.postgres_bin), runtime)
        if not data.exists():
            unfinished = data.with_suffix(".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(mode=0o700)
            account.give(unfinished)
            cls.over(unfinished, programs, account).initialise(durable=plan.durable)
            unfinished.rename(data)
        return cls.over(data, programs, account)

    @classmethod
    def over(cls, data: Path, programs: Path, account: Account) -> Cluster:
        """Return the cluster over a directory that exists."""
        return cls(programs, account, data, *open_for(account, data))

    def server(self, plan: Plan, sockets: Path) -> ServerProcess:
        """Return the server of this cluster, not yet started, with its socket in the directory ``sockets``."""
        self._forget_a_dead_one()
        settings = [
            "port=5432",
            "listen_addresses=",
            f"unix_socket_directories={sockets}",
            "unix_socket_permissions=0700",
            f"max_connections={plan.max_connections}",
            *(() if plan.durable else SCRATCH),
        ]
        return ServerProcess(
            tier="PostgreSQL",
            command=[
                str(self.programs / "postgres"),
                "-D",
                self.name,
                *(f"--{setting}" for setting in settings),
            ],
            log=Path(plan.directory, POSTGRES_LOG),
            goodbye=signal.SIGINT,  # "fast": open transactions are rolled back, nobody is waited for
            answers=self._is_ready,
            account=self.account,
            pass_fds=self.descriptors,
        )

    def _is_ready(self, process_id: int) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return (
            len(lines) > STATUS_LINE
            and lines[0] == str(process_id)
            and lines[STATUS_LINE].startswith("ready")
        )

    def _forget_a_dead_one(self) -> None:
        """Remove the note of a server that ended with its container, where its process id now is somebody else's.

        We hold the directory's lock; and PostgreSQL, which would refuse to start, still checks by the directory's
        shared memory that no other server uses it.
        """
        note = self.data / "postmaster.pid"
        with suppress(FileNotFoundError):
            name = Path("/proc", note.read_text().split("\n", 1)[0], "comm")
            if name.read_text().strip() != "postgres":
                note.unlink()

    def initialise(self, *, durable: bool) -> None:
        """Make the data directory, with an empty database.

        Raises:
            StorageError: a program failed; says its last words.
        """
        for locale in LOCALES:
            outcome = self._run("initdb", "-D", self.name, *INITDB, f"--locale={locale}")
            if outcome.returncode == 0:
                break
        else:
            raise StorageError("PostgreSQL", "initdb", outcome.stderr[-LAST_WORDS:])
        outcome = self._run("postgres", "--single", "-D", self.name, *QUICK, "postgres", say=CREATE)
        if outcome.returncode or "ERROR" in outcome.stderr:
            raise StorageError("PostgreSQL", "create database", outcome.stderr[-LAST_WORDS:])
        if durable:
            self._run("initdb", "-D", self.name, "--sync-only")

    def _run(self, program: str, *arguments: str, say: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - PostgreSQL's own programs
            [self.programs / program, *arguments],
            input=say,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=clean_environment(),
            pass_fds=self.descriptors,
            **self.account.popen_arguments(),
        )
