"""One server as a child of the supervisor: started, waited for until it answers, stopped gently."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from convmemory.embedded.account import Account
from convmemory.errors import StorageError

PR_SET_PDEATHSIG = 1
LOG_LINES = 6  # of a server's log, in the error that says it did not start


@dataclass
class ServerProcess:
    """A command that serves until it gets ``goodbye``; ``answers`` tells, by process id, that it is ready."""

    tier: str
    command: list[str]
    log: Path
    goodbye: signal.Signals
    answers: Callable[[int], bool]
    account: Account
    pass_fds: tuple[int, ...] = ()

    def start(self) -> None:
        """Start the process without waiting for it.

        Raises:
            StorageError: the operating system refused to run it.
        """
        try:
            with self.log.open("wb") as log:
                self.process = subprocess.Popen(  # noqa: S603 - our own command  # pylint: disable=consider-using-with
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=clean_environment(),
                    cwd="/",
                    pass_fds=self.pass_fds,
                    preexec_fn=_end_with_parent(self.goodbye),  # noqa: PLW1509 - the supervisor has one thread
                    **self.account.popen_arguments(),
                )
        except OSError as error:
            raise StorageError(self.tier, "start", str(error)) from error

    def wait_until_ready(self, timeout: float) -> None:
        """Return when the server answers.

        Raises:
            StorageError: it ended, or did not answer within ``timeout`` seconds; says its last log lines.
        """
        deadline = time.monotonic() + timeout
        while not self.answers(self.process.pid):
            if self.process.poll() is not None:
                raise StorageError(self.tier, "start", f"it ended at once\n{last_lines(self.log)}")
            if time.monotonic() > deadline:
                raise StorageError(self.tier, "start", f"no answer in {timeout:g} s\n{last_lines(self.log)}")
            time.sleep(0.005)

    def end(self, patience: float = 30.0) -> None:
        """Ask the server to finish, and make it after ``patience`` seconds."""
        self.process.send_signal(self.goodbye)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def clean_environment() -> dict[str, str]:
    """Return an environment in which no PG* variable or odd locale of the owner changes a server."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def last_lines(log: Path) -> str:
    """Return the end of a log, indented, for an error message."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"  {line}" for line in lines[-LOG_LINES:])


def _end_with_parent(goodbye: signal.Signals) -> Callable[[], None] | None:
    """Let the kernel say goodbye for a supervisor that was killed itself (Linux only)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, goodbye.value)
