"""What is said in the benchmark: messages of about 400 bytes, the same in every run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from uuid import NAMESPACE_URL, uuid5

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

SIZE = 400
WORDS = (
    *("ferry", "timetable", "bread", "harbour", "window", "ladder", "copper", "winter", "signal", "coffee"),
    *("letter", "engine", "island", "museum", "bicycle", "garden", "planet", "orchard", "violin", "ticket"),
)


@dataclass(slots=True)
class Turn:
    """One exchange: what the human says and what is answered."""

    human: str
    ai: str
    made: list[BaseMessage] | None = None

    def messages(self) -> list[BaseMessage]:
        """The two messages, never the same objects twice: some libraries write into them."""
        made, self.made = self.made, None
        return made or [HumanMessage(self.human), AIMessage(self.ai)]


def turns_ahead(count: int) -> Iterator[Turn]:
    """Turns whose messages are made already, as they are when a chain comes to store them."""
    chosen = random.choices(turns(), k=count)
    made = [Turn(turn.human, turn.ai, turn.messages()) for turn in chosen]
    return iter(made)


def sentence(rng: random.Random) -> str:
    text = " ".join(rng.choice(WORDS) for _ in range(SIZE // 4))
    return text[:SIZE]


@cache
def turns(count: int = 50) -> list[Turn]:
    rng = random.Random(7)
    return [Turn(sentence(rng), sentence(rng)) for _ in range(count)]


def conversation(length: int) -> list[BaseMessage]:
    """``length`` messages, human and AI in turn."""
    said = [message for turn in turns(100) for message in turn.messages()]
    return [said[at % len(said)].model_copy() for at in range(length)]


def uuid_of(label: str) -> str:
    """A conversation id for a label: always a UUID, because one peer takes nothing else."""
    return str(uuid5(NAMESPACE_URL, label))
