"""A model of embeddings that needs no weights: words that mean the same share a direction, others have one of their own."""

from __future__ import annotations

import hashlib
import re
from math import sqrt

from langchain_core.embeddings import Embeddings

SAME = {"automobile": "car", "vehicle": "car", "physician": "doctor", "feline": "cat", "kitten": "cat"}
SIZE = 512


class Meaning(Embeddings):
    """Counts what it was asked; ``broken`` has it fail."""

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self.documents: list[str] = []
        self.queries: list[str] = []
        self.broken = False

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self._tried(texts)
        self.documents += texts
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self._tried([text])
        self.queries.append(text)
        return self._vector(text)

    def _tried(self, texts: list[str]) -> None:
        if self.broken:
            raise RuntimeError(f"the model is away, and cannot embed {texts}")

    def _vector(self, text: str) -> list[float]:
        vector = [0.01] * self.size
        for word in re.findall(r"\w+", text.lower()):
            digest = hashlib.sha256(SAME.get(word, word).encode()).digest()
            vector[int.from_bytes(digest[:4], "big") % self.size] += 1
        length = sqrt(sum(number * number for number in vector))
        return [number / length for number in vector]


MODEL = Meaning()
"""One for the command line, which takes it by its name."""
