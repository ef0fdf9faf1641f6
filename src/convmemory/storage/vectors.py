"""What messages mean, on its way between a model of embeddings and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import hypot, isfinite
from typing import Any, Final

from convmemory.errors import InvalidArgument

LONGEST_TEXT: Final = 8_000
"""Characters of a message that a model is given."""
MOST_NUMBERS: Final = 16_000
"""Dimensions of a vector; pgvector's ``halfvec`` has no more."""


@dataclass(frozen=True, slots=True)
class Unembedded:
    """A message without a vector: its place, what tells whether it says the same still, and its text."""

    seq: int
    mark: str
    said: str


def vector_text(vector: Any) -> str:
    """A vector as pgvector reads it, of length 1: what counts is where it points, and a ``halfvec`` has no large numbers.

    Raises:
        InvalidArgument: It is no list of finite numbers, or too long a one.
    """
    try:
        numbers = [] if isinstance(vector, str | bytes) else [float(number) for number in vector]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    length = hypot(*numbers)
    if not numbers or not isfinite(length):
        raise InvalidArgument("embeddings", "must give a list of finite numbers for each text")
    if len(numbers) > MOST_NUMBERS:
        raise InvalidArgument(
            "embeddings", f"must give at most {MOST_NUMBERS:,} numbers for a text, not {len(numbers):,}"
        )
    return f"[{','.join(format(number / (length or 1), '.6g') for number in numbers)}]"


def vector_texts(vectors: Iterable[Any], messages: Sequence[Unembedded]) -> list[str]:
    """The vectors of messages, one each.

    Raises:
        InvalidArgument: There are more or fewer of them, or one is none.
    """
    texts = [vector_text(vector) for vector in vectors]
    if len(texts) != len(messages):
        raise InvalidArgument("embeddings", f"gave {len(texts)} vectors for {len(messages)} texts")
    return texts
