"""What messages mean, by any model of embeddings: asked of it away from the write path, and when something is looked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from traceback import format_tb
from typing import Final, TypeAlias

from langchain_core.embeddings import Embeddings

from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory.errors import ConfigurationError
from convmemory.ids import FIRST, ConversationKey
from convmemory.storage.rooms import VECTORS
from convmemory.storage.vectors import vector_text, vector_texts
from convmemory.tiers.waiting import alimit

logger = logging.getLogger("convmemory.search")

_CONVERSATIONS: Final = 500
_TEXTS: Final = 64
"""How many texts a model is given at once."""
_LONGEST: Final = 30.0
"""Seconds for which a search waits for the model; a blocking one waits as long as the model does."""

Progress: TypeAlias = Callable[[int], object]
"""Called with how many messages have been looked at so far."""


class AsyncEmbedding:
    """The vectors of messages, in PostgreSQL, and the model that makes them; the setting ``search_vectors`` is its name."""

    def __init__(self, postgres: AsyncPostgresStore, embeddings: Embeddings | None) -> None:
        self._postgres = postgres
        self._embeddings = embeddings

    async def of_query(self, text: str) -> str | None:
        """What a query means; ``None`` where there is no model, no room for its vectors, or it fails: then words alone count."""
        if self._embeddings is None or not text.strip() or not await self._postgres.has_vectors():
            return None
        try:
            async with alimit(_LONGEST):
                return vector_text(await self._embeddings.aembed_query(text))
        except Exception as error:  # noqa: BLE001 - whatever somebody's model raises
            # the places in code: what it says may quote the query
            where = "".join(format_tb(error.__traceback__))
            logger.warning(
                "the model of embeddings failed, so that words alone are looked for: %s\n%s",
                type(error).__name__,
                where,
            )
            return None

    async def embed(self, user_id: str | None, progress: Progress | None) -> int:
        """Have a model tell what messages mean that have no vector of it yet; how many there were.

        Raises:
            ConfigurationError: There is no model, or the tables for it are not there; says what is to be done.
        """
        if self._embeddings is None:
            raise ConfigurationError(
                "embeddings: give the memory a model, ConversationMemory.from_env(embeddings=..., search_vectors='its name')"
            )
        if lacking := await self._postgres.lacking(VECTORS):
            raise ConfigurationError(f"{self._postgres.settings.name_of('search_vectors')}: {lacking}")
        done, after = 0, FIRST
        while keys := await self._postgres.to_embed(user_id, after, _CONVERSATIONS):
            for key in keys:
                done = await self._conversation(self._embeddings, key, done, progress)
            after = keys[-1].uuid
        return done

    async def _conversation(
        self, embeddings: Embeddings, key: ConversationKey, done: int, progress: Progress | None
    ) -> int:
        seq, state, last = 0, None, False
        while not last:
            now, messages = await self._postgres.without_vector(key, seq, _TEXTS)
            state, last = state or now, len(messages) < _TEXTS
            told = await embeddings.aembed_documents([one.said for one in messages]) if messages else []
            vectors = vector_texts(told, messages)
            done += await self._postgres.store_vectors(key, messages, vectors, state if last else None)
            if messages:
                seq = messages[-1].seq
                if progress is not None:
                    progress(done)
        return done
