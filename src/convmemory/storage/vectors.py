"""What messages mean, on its way between a model of embeddings and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from convmemory.errors import InvalidArgument

LONGEST_TEXT: Final = 8_000
"""Characters of a message that a model is given."""


@dataclass(frozen=True, slots=True)
class Unembedded:
    """A message without a vector: its place, what tells whether it says the same still, and its text."""

    seq: int
    mark: str
    said: str


def vector_text(vector: Any) -> str:
    """A vector as pgvector reads it.

    Raises:
        InvalidArgument: It is no list of finite numbers.
    """
    try:
        numbers = [float(number) for number in vector]
    except (TypeError, ValueError):
        numbers = []
    if not numbers or not all(map(isfinite, numbers)):
        raise InvalidArgument("embeddings", "must give a list of finite numbers for each text")
    return f"[{','.join(format(number, '.6g') for number in numbers)}]"


def vector_texts(vectors: Iterable[Any], messages: Sequence[Unembedded]) -> list[str]:
    """The vectors of messages, one each.

    Raises:
        InvalidArgument: There are more or fewer of them, or one is none.
    """
    texts = [vector_text(vector) for vector in vectors]
    if len(texts) != len(messages):
        raise InvalidArgument("embeddings", f"gave {len(texts)} vectors for {len(messages)} texts")
    return texts
