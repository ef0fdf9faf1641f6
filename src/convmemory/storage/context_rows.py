"""Retrieved documents on their way to PostgreSQL and back: as its JSON can hold them, and apart from what is of one retrieval alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from convmemory.encoding.storable_text import clean_json, clean_text
from convmemory.models import SCORES, Draft, RetrievedContext


def contexts_text(drafts: Sequence[Draft]) -> str | None:
    """The documents of a batch as ``append.sql`` takes them, each with the place of its message; ``None`` for none at all."""
    if not any(draft.contexts for draft in drafts):
        return None
    found = [
        {"n": n, "position": position} | _split(plain_context(context))
        for n, draft in enumerate(drafts, 1)
        for position, context in enumerate(draft.contexts)
    ]
    return json.dumps(found, ensure_ascii=False)


def plain_context(context: RetrievedContext) -> dict[str, Any]:
    """A document as PostgreSQL can hold it; JSON has text for NaN and infinity."""
    plain: dict[str, Any] = clean_json(
        {
            "doc_id": None if context.doc_id is None else clean_text(context.doc_id),
            "content": clean_text(context.content),
            "score": context.score,
            "metadata": dict(context.metadata),
        }
    )
    return plain


def _split(plain: dict[str, Any]) -> dict[str, Any]:
    """A document apart from what is of this retrieval alone: its metadata often has the score, and it is stored once, not each time."""
    metadata: dict[str, Any] = plain["metadata"]
    figures = {name: metadata[name] for name in SCORES if isinstance(metadata.get(name), (int, float))}
    rest = {name: value for name, value in metadata.items() if name not in figures}
    return plain | {"metadata": rest, "figures": figures or None}


def context_of(plain: Mapping[str, Any]) -> RetrievedContext:
    """The document that was stored like this."""
    score = plain["score"]
    return RetrievedContext.built(
        content=plain["content"] or "",
        doc_id=plain["doc_id"],
        score=None if score is None else float(score),
        metadata={**(plain["metadata"] or {}), **(plain.get("figures") or {})},
    )
