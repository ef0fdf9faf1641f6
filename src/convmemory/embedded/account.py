"""Who runs PostgreSQL. It refuses root, so a root owner lends it the account ``nobody``.

An ordinary user's PostgreSQL is simply a process of that user. Root's runs as the owner of the data directory,
``nobody`` for a new one: no account is made, and no directory but our own changes hands or mode. (Other
programs that run as ``nobody`` can then reach the data; where there are such, start as an ordinary user.) What
that account may not reach is brought to it instead:

- the data directory is opened by root and inherited, so that ``nobody`` enters it through ``/proc/self/fd``
  even below a directory that only root may traverse, such as ``/root`` (Linux; elsewhere by its path);
- programs it may not execute where they are, such as a virtual environment in ``/root``, are copied beside the
  sockets for as long as the servers run.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convmemory.errors import StorageError


@dataclass(frozen=True, slots=True)
class Account:
    """The account a server runs under; without ids, that of the owner."""

    uid: int | None = None
    gid: int | None = None

    def popen_arguments(self) -> dict[str, Any]:
        """Return what ``subprocess`` needs to run a command under this account."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        """Hand a directory that we have just made to this account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def may_run(self, program: Path) -> bool:
        """Tell whether the program, libraries included, starts under this account where it is."""
        try:
            outcome = subprocess.run(  # noqa: S603 - a program we looked up
                [program, "--version"], capture_output=True, check=False, cwd="/", **self.popen_arguments()
            )
        except OSError:
            return False
        return outcome.returncode == 0


OWNER = Account()


def postgres_account(data: Path) -> Account:
    """Return who runs PostgreSQL over ``data``, which need not exist yet.

    Raises:
        StorageError: this is root and the machine has no account ``nobody``.
    """
    if os.geteuid() != 0:
        return OWNER
    if data.exists() and (stat := data.stat()).st_uid:
        return Account(stat.st_uid, stat.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        why = "it does not run as root, and this machine has no account `nobody` to lend it"
        raise StorageError("PostgreSQL", "start", why) from error
    return Account(nobody.pw_uid, nobody.pw_gid)


def open_for(account: Account, data: Path) -> tuple[str, tuple[int, ...]]:
    """Return the name under which the account reaches ``data``, and the file descriptors it inherits for it."""
    if account is OWNER or sys.platform != "linux":
        return str(data), ()
    descriptor = os.open(data, os.O_PATH | os.O_DIRECTORY)
    return f"/proc/self/fd/{descriptor}", (descriptor,)


def programs_for(account: Account, directory: Path, runtime: Path) -> Path:
    """Return a bin directory with PostgreSQL's programs that the account can run: the given one, or a copy.

    Raises:
        StorageError: the account can run neither.
    """
    if account is OWNER or account.may_run(directory / "initdb"):
        return directory
    copy = _copy_installation(directory.parent, runtime)
    if not account.may_run(copy / "initdb"):
        why = f"neither {directory} nor a copy in {runtime} can be run by uid {account.uid}: point TMPDIR elsewhere"
        raise StorageError("PostgreSQL", "start", why)
    return copy


def _copy_installation(installation: Path, runtime: Path) -> Path:
    """Copy what a server needs, keeping the places of both parts: the programs find their libraries by them."""
    package = installation.parent
    for source in (installation, package.with_name(f"{package.name}.libs")):
        if source.is_dir():
            target = runtime / source.relative_to(package.parent)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("include", "pgxs", "*.a"))
            _open_to_others(target)
    (runtime / package.name).chmod(0o755)
    return runtime / installation.relative_to(package.parent) / "bin"


def _open_to_others(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
