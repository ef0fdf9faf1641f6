"""Other people's search, asked what `recall.py` asks: each has all messages, and finds those of one user.

    pip install rank-bm25 langchain-postgres langchain-redis

What is not installed is left out. langchain-redis needs a Redis with the modules RediSearch and RedisJSON: SEARCH_REDIS_URL names one, with
`?protocol=2` behind it where redis-py is 8 or newer, whose replies of another shape langchain-redis does not read.
langchain-postgres needs pgvector and a model (`--embeddings`).
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from servers import empty_database, sqlalchemy_url

Place = tuple[str, str, int]
Search = Callable[[str, str], list[Place]]

MOST = 20
STOP = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "did",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "his",
        "how",
        "i",
        "in",
        "is",
        "it",
        "its",
        "my",
        "of",
        "on",
        "or",
        "she",
        "so",
        "that",
        "the",
        "their",
        "they",
        "this",
        "to",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)


def peers(texts: dict[Place, str], model: Any) -> Iterator[tuple[str, Search]]:
    """Those that are installed, by name, each with everything stored."""
    if find_spec("rank_bm25"):
        yield "rank-bm25, words as they are", rank_bm25(texts, plain)
        if find_spec("snowballstemmer"):
            yield "rank-bm25, stemmed, without stop words", rank_bm25(texts, stemmed())
    if find_spec("langchain_postgres") and model is not None:
        yield "langchain-postgres, hybrid (weighted sum)", langchain_postgres(texts, model, "weighted")
        yield "langchain-postgres, hybrid (reciprocal rank)", langchain_postgres(texts, model, "ranks")
        yield "langchain-postgres, vectors alone", langchain_postgres(texts, model, "")
    if find_spec("langchain_redis") and os.environ.get("SEARCH_REDIS_URL"):
        yield "langchain-redis, text search", langchain_redis(texts)


def plain(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def stemmed() -> Callable[[str], list[str]]:
    import snowballstemmer

    stemmer = snowballstemmer.stemmer("english")
    return lambda text: stemmer.stemWords([word for word in plain(text) if word not in STOP])


def by_user(texts: dict[Place, str]) -> dict[str, list[Place]]:
    users: dict[str, list[Place]] = defaultdict(list)
    for place in texts:
        users[place[0]].append(place)
    return users


def rank_bm25(texts: dict[Place, str], words: Callable[[str], list[str]]) -> Search:
    """In the memory of a process, an index a user."""
    from rank_bm25 import BM25Okapi

    users = by_user(texts)
    indexes = {user: BM25Okapi([words(texts[place]) for place in places]) for user, places in users.items()}

    def find(user: str, question: str) -> list[Place]:
        scores = indexes[user].get_scores(words(question))
        best = sorted(range(len(scores)), key=lambda n: -scores[n])[:MOST]
        return [users[user][n] for n in best]

    return find


def langchain_postgres(texts: dict[Place, str], model: Any, fusion: str) -> Search:
    """One table for all, with a column that says whose a text is."""
    from langchain_postgres import Column, PGEngine, PGVectorStore
    from langchain_postgres.v2.hybrid_search_config import (
        HybridSearchConfig,
        reciprocal_rank_fusion,
        weighted_sum_ranking,
    )

    fused = {"weighted": weighted_sum_ranking, "ranks": reciprocal_rank_fusion}.get(fusion)
    hybrid = fused and HybridSearchConfig(
        tsv_column="content_tsv",
        tsv_lang="pg_catalog.english",
        fusion_function=fused,
        fusion_function_parameters={"fetch_top_k": MOST},
        primary_top_k=MOST,
        secondary_top_k=MOST,
    )
    engine = PGEngine.from_connection_string(
        sqlalchemy_url(empty_database("recall_langchain_postgres"), "asyncpg")
    )
    columns = [Column("user_id", "TEXT"), Column("conversation", "TEXT"), Column("seq", "INTEGER")]
    engine.init_vectorstore_table(
        "turns", len(model.embed_query("x")), metadata_columns=columns, hybrid_search_config=hybrid or None
    )
    store = PGVectorStore.create_sync(
        engine,
        model,
        "turns",
        metadata_columns=[column.name for column in columns],
        hybrid_search_config=hybrid or None,
        k=MOST,
    )
    places = list(texts)
    for at in range(0, len(places), 256):
        some = places[at : at + 256]
        store.add_texts(
            [texts[place] for place in some],
            [{"user_id": user, "conversation": name, "seq": seq} for user, name, seq in some],
        )

    def find(user: str, question: str) -> list[Place]:
        found = store.similarity_search(question, k=MOST, filter={"user_id": user})
        return [(user, one.metadata["conversation"], one.metadata["seq"]) for one in found][:MOST]

    return find


def langchain_redis(texts: dict[Place, str]) -> Search:
    """It searches one session: a user's messages are all of one here."""
    from langchain_core.messages import HumanMessage
    from langchain_redis import RedisChatMessageHistory

    url = os.environ["SEARCH_REDIS_URL"]
    users = by_user(texts)
    histories = {user: RedisChatMessageHistory(session_id=user, redis_url=url) for user in users}
    for user, places in users.items():
        histories[user].clear()
        for _, name, seq in places:
            histories[user].add_message(
                HumanMessage(texts[user, name, seq], additional_kwargs={"place": [name, seq]})
            )

    def find(user: str, question: str) -> list[Place]:
        found = histories[user].search_messages(question, limit=MOST)
        places = [one["additional_kwargs"]["place"] for one in found]
        return [(user, name, seq) for name, seq in places]

    return find
