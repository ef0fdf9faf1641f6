"""The worker processes: started from a server that has everything imported, started anew when they die."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, Self

from torture.worker import work
from torture.workload import Job

_BEGIN: Final = multiprocessing.get_context("forkserver")
_BEGIN.set_forkserver_preload(["torture.worker"])
_PATIENCE = 30.0


class Crew:
    """Keeps a process running for every job, whatever is done to them, until ``dismiss``."""

    def __init__(self, jobs: list[Job], directory: Path) -> None:
        self._jobs = jobs
        self._directory = directory
        self._staff: dict[int, tuple[Job, BaseProcess]] = {}
        self._lives = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Self:
        for place in range(len(self._jobs)):
            self._hire(place)
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()

    @property
    def logs(self) -> list[Path]:
        """What the workers wrote so far."""
        return sorted(self._directory.glob("*.jsonl"))

    def dismiss(self) -> None:
        """Let everybody finish what they are at, and go."""
        self._over.set()
        self._keeper.join()
        processes = [process for _, process in self._staff.values()]
        for process in processes:
            _signal(process, signal.SIGCONT)
            _signal(process, signal.SIGTERM)
        for process in processes:
            process.join(_PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()

    def kill(self, chance: random.Random) -> None:
        """Kill one worker at a moment of no choice."""
        _signal(self._one(chance), signal.SIGKILL)

    def crash(self, chance: random.Random) -> None:
        """Have one worker kill itself between two steps."""
        _signal(self._one(chance), signal.SIGUSR1)

    def jump(self, chance: random.Random) -> None:
        """Have the clock of one worker jump."""
        _signal(self._one(chance), signal.SIGUSR2)

    @contextmanager
    def stopped(self, chance: random.Random) -> Iterator[str]:
        """One worker stands still meanwhile; yields its name."""
        process = self._one(chance)
        _signal(process, signal.SIGSTOP)
        try:
            yield process.name
        finally:
            _signal(process, signal.SIGCONT)

    def _one(self, chance: random.Random) -> BaseProcess:
        with self._lock:
            return chance.choice([process for _, process in self._staff.values() if process.is_alive()])

    def _hire(self, place: int) -> None:
        self._lives += 1
        job = self._jobs[place]
        name = f"{job.name}{self._lives}"
        mine = replace(
            job, name=name, seed=job.seed + self._lives, log=str(self._directory / f"{name}.jsonl")
        )
        process = _BEGIN.Process(target=work, args=(mine,), name=name, daemon=True)
        process.start()
        with self._lock:
            self._staff[place] = (mine, process)

    def _keep(self) -> None:
        while not self._over.wait(0.05):
            for place, (_, process) in list(self._staff.items()):
                if not process.is_alive():
                    process.join()
                    self._hire(place)


def _signal(process: BaseProcess, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, number)


def warm() -> None:
    """Have the server of processes import what every worker needs, before the clock of a run starts."""
    process = _BEGIN.Process(target=time.sleep, args=(0,))
    process.start()
    process.join()
