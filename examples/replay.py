"""Replay real conversations through the memory, kill the app half-way, and prove that nothing was lost.

    python examples/replay.py                          the sample beside this file, on servers of its own
    python examples/replay.py FILE --keep ./servers    your conversations; the databases stay in ./servers
    python examples/replay.py FILE --database-url postgresql://... --redis-url redis://...

The app (replay_app.py) reads for every turn the window a model would be shown, then stores the turn. Half-way, with a
turn in flight, it is killed (SIGKILL) and started again; the turn it had not acknowledged is sent once more. Then
every message in PostgreSQL is compared with the file. The last line is the verdict; the exit status is 1 when anything
differs. The shapes a FILE can have: replay_formats.py. An environment variable that convmemory reads, such as
MAX_HISTORY_MESSAGES, counts here as well.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replay_app import misfit, owner
from replay_formats import Step, Talk, read_talks, steps_of
from replay_proof import Found, verify

from convmemory import ConversationMemory
from convmemory.embedded import EmbeddedServers

HERE = Path(__file__).parent
DIED = 1 if sys.platform == "win32" else -signal.SIGKILL
SHOWN = 10  # wrong windows


@dataclass(slots=True)
class Tally:
    """What was seen of the app, over both of its lives."""

    steps: Sequence[Step]
    acknowledged: int = 0  # steps; whether the one after them is stored nobody knows
    told: int = 0  # messages acknowledged
    windows: int = 0
    wrong: list[str] = field(default_factory=list)
    shown: set[int] = field(default_factory=set)  # steps before which a window was read
    sessions: set[str] = field(default_factory=set)
    killed: bool = False
    status: int = 0  # the app's last one

    def note(self, event: dict[str, Any]) -> None:
        """Count one line of the app."""
        if "stored" in event:
            self.told += len(self.steps[event["stored"]].messages)
            self.acknowledged = event["stored"] + 1
            return
        self.window(event["wrong"])
        self.shown.add(event["step"])
        self.sessions.add(event["session"])

    def window(self, wrong: str | None) -> None:
        """Count one window."""
        self.windows += 1
        self.wrong += [wrong] if wrong else []

    def faults(self) -> list[str]:
        """What went wrong on the way, whatever PostgreSQL holds in the end."""
        visits = len({(step.talk.name, step.sitting) for step in self.steps})
        said = [] if self.killed else ["the app came to its end before it could be killed"]
        said += [f"a wrong window: {what}" for what in self.wrong[:SHOWN]]
        if len(self.shown) != len(self.steps):
            said.append(f"windows were read before {len(self.shown)} of {len(self.steps)} turns")
        if len(self.sessions) != visits:
            said.append(f"there were {len(self.sessions)} sessions in {visits} visits")
        return [*said, f"the app ended with status {self.status}"] if self.status else said


def play(file: Path, run: str, tally: Tally, advance: Callable[[int], None], *, kill: bool) -> None:
    """Have the app play on from the first step that was not acknowledged.

    With ``kill`` it dies at the step that crosses the half, just after it said that it would store it.
    """
    half = sum(len(step.messages) for step in tally.steps) / 2
    command = [sys.executable, str(HERE / "replay_app.py"), str(file), run, str(tally.acknowledged)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as app:  # noqa: S603 - the file beside this one
        for line in app.stdout or ():
            event = json.loads(line)
            tally.note(event)
            advance(tally.told)
            if kill and "step" in event and tally.told + len(tally.steps[event["step"]].messages) > half:
                app.kill()
    tally.status = app.returncode
    tally.killed |= kill and app.returncode == DIED


def experiment(file: Path, run: str, talks: Sequence[Talk]) -> int:
    """Play, kill, play on, verify, and say the verdict; the exit status."""
    with ConversationMemory.from_env() as memory:
        memory.init_schema()
    tally = Tally(steps_of(talks))
    with progress(sum(len(talk.messages) for talk in talks)) as advance:
        play(file, run, tally, advance, kill=True)
        at = tally.told
        play(file, run, tally, advance, kill=False)
    with ConversationMemory.from_env() as memory:
        found = verify(memory, talks, run)
        for talk in talks:  # and what the next visits would begin with
            window = memory.history(talk.name, user_id=owner(run, talk)).messages
            tally.window(misfit(memory, window, Step(talk, 0, len(talk.messages), [])))
    return verdict(found, tally, at)


def verdict(found: Found, tally: Tally, at: int) -> int:
    """Print what went wrong, then the last line; 1 when anything did."""
    faults = tally.faults()
    print(*faults, sep="\n", end="\n" if faults else "")
    good = found.perfect and not faults
    windows = f"{tally.windows} windows checked, {len(tally.wrong)} wrong; {len(tally.sessions)} sessions"
    end = f"survived kill -9 at message {at}" if good else f"its first life ended at message {at}"
    print(f"{'OK' if good else 'FAILED'}: {found}; {windows}; {end}")
    return int(not good)


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where ``rich`` is installed (``langchain-convmemory[cli]``), else a counter."""
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.progress import Progress  # noqa: PLC0415 - an extra
    except ImportError:
        yield lambda done: print(f"\r{done} of {total} messages", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        return
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("replaying", total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def servers(options: argparse.Namespace) -> Iterator[str]:
    """Have DATABASE_URL and REDIS_URL name the servers, for this process and the app; yields what they are."""
    if options.database_url:
        os.environ |= {"DATABASE_URL": options.database_url, "REDIS_URL": options.redis_url}
        yield "the servers given"
        return
    with EmbeddedServers.start(options.keep) as pair:
        if pair.redis_url is None:
            sys.exit(
                "replay: no Redis program here; pip install 'langchain-convmemory[embedded]', or give --redis-url"
            )
        os.environ |= {"DATABASE_URL": pair.database_url, "REDIS_URL": pair.redis_url}
        yield pair.describe()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "file", nargs="?", type=Path, default=HERE / "sample_conversations.json", metavar="FILE"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="servers over DIR, which stays (default: scratch)"
    )
    parser.add_argument("--database-url", metavar="URL", help="a PostgreSQL that is there; its messages stay")
    parser.add_argument("--redis-url", metavar="URL", help="the Redis beside it")
    options = parser.parse_args()
    if bool(options.database_url) != bool(options.redis_url):
        parser.error("--database-url and --redis-url go together")
    try:
        talks = read_talks(options.file)
    except (OSError, ValueError, LookupError) as error:
        parser.error(f"FILE: {error}")
    run = secrets.token_hex(4)
    with servers(options) as what:
        print(f"{options.file.name}: {len(talks)} conversations, as user replay-{run}-*, on {what}")
        return experiment(options.file, run, talks)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
