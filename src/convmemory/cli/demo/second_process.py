"""``python -m convmemory.cli.demo.second_process JSON``: one question of the conversation, asked by another process.

It is told a question and where the servers are, and nothing of what was said; it prints its answer as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from typing import Final, Self

from convmemory.cli.demo.meter import Cost
from convmemory.cli.demo.stage import redis_at, staged
from convmemory.cli.demo.talk import Talk
from convmemory.errors import ConvMemoryError, StorageError

_MODULE: Final = "convmemory.cli.demo.second_process"


@dataclass(frozen=True, slots=True)
class Errand:
    """What the second process is told."""

    question: str
    database_url: str
    redis_url: str | None
    model: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What it says: ``reached`` counts the earlier messages that reached its model."""

    text: str
    reached: int
    pid: int
    cost: Cost

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what the second process printed."""
        said = json.loads(text)
        return cls(**{**said, "cost": Cost(**said["cost"])})


def answer(errand: Errand) -> Answer:
    """Ask the question in this process."""
    redis = closing(redis_at(errand.redis_url)) if errand.redis_url else nullcontext()
    with redis as client, staged(errand.database_url, client, Talk(errand.model)) as stage:
        text = stage.ask(errand.question, f"   in it: {errand.question}")
        return Answer(text, stage.talk.reached, os.getpid(), stage.meter.costs[-1])


def send(errand: Errand) -> Answer:
    """Run a second process and wait for its answer.

    Raises:
        StorageError: It failed; what it said is on stderr.
    """
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", _MODULE, json.dumps(asdict(errand))],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StorageError("the second process", "take its turn", f"it ended with status {done.returncode}")
    return Answer.from_json(done.stdout)


def main() -> None:
    """Do the errand of the command line."""
    try:
        said = answer(Errand(**json.loads(sys.argv[1])))
    except ConvMemoryError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(asdict(said)))


if __name__ == "__main__":
    main()
