"""What PostgreSQL is asked where something is looked for by its words."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Self
from uuid import UUID

from convmemory._async.statements import AsyncStatements
from convmemory.errors import ConfigurationError, InvalidArgument
from convmemory.ids import ConversationKey
from convmemory.storage.rooms import VECTORS, Found, Room, asked_for
from convmemory.storage.search_queries import Part
from convmemory.storage.search_rows import Row
from convmemory.storage.vectors import LONGEST_TEXT, Unembedded

logger = logging.getLogger("convmemory.search")


class AsyncSearchStatements(AsyncStatements):
    """The index of words; the store of PostgreSQL has it beside conversations, messages and caches."""

    _has_vectors: bool | None = None

    async def open(self) -> Self:
        """Connect; see that the schema is not newer than this library, and that PostgreSQL knows the languages of ``search``.

        Raises:
            StorageUnavailable: Nobody answers in time, or the password is wrong.
            SchemaOutdated: The schema is newer than this library.
            ConfigurationError: ``search`` names a text search configuration that is not there.
        """
        await super().open()
        try:
            await self.check_search()
        except BaseException:
            await self.close()
            raise
        return self

    async def search(
        self, user_id: str, parts: Sequence[Part], where: Mapping[str, Any], vector: str | None = None
    ) -> list[Row]:
        """Find one user's messages; ``where`` has the parameters of ``search_messages.sql`` that are not of the query.

        ``vector`` is what the query means, as the model of the setting ``search_vectors`` says.

        Raises:
            ConfigurationError: ``search`` is off.
        """
        if not self.settings.search_configurations:
            name = self.settings.name_of("search")
            raise ConfigurationError(
                f"{name}: is off, so that nothing is found; set it to a text search configuration such as 'english',"
                " and run `convmemory search --index` for what was stored before"
            )
        if not parts:
            return []
        await self._drained_of(user_id)
        typos = self.settings.search_typos
        query = {
            "configs": self.settings.search_configurations,
            "kinds": [part.kind for part in parts],
            "texts": [part.text for part in parts],
            "signs": [part.sign for part in parts],
            "alike": [part.alike if typos else None for part in parts],
            "model": self.settings.search_model,
            "vector": vector,
        }
        return [
            Row.of(row) for row in await self._run("search_messages", {**where, **query, "user_id": user_id})
        ]

    async def index_conversation(
        self, key: ConversationKey, after: int, batch: int
    ) -> tuple[int, int] | None:
        """Have the next ``batch`` messages found as the settings say; the last seq of them, and how many; ``None`` at the end."""
        where: dict[str, Any] = {
            "conversation": key.uuid,
            "user_id": key.user_id,
            "after": after,
            "batch": batch,
        }
        where["search"] = self.settings.search_configuration
        for upto, looked in await self._run("index_conversation", where):
            return int(upto), int(looked)
        return None

    async def to_embed(self, user_id: str | None, after: UUID, batch: int) -> list[ConversationKey]:
        """The next conversations that may have messages without a vector of the model of the settings, one user's or everybody's."""
        where = {"user_id": user_id, "model": self.settings.search_model, "after": after, "batch": batch}
        return [ConversationKey(uuid, owner) for uuid, owner in await self._run("to_embed", where)]

    async def without_vector(
        self, key: ConversationKey, after: int, batch: int
    ) -> tuple[str | None, list[Unembedded]]:
        """The next messages of a conversation that have no vector yet, and its state; ``None`` where there is no conversation."""
        where = {"conversation": key.uuid, "user_id": key.user_id, "model": self.settings.search_model}
        found = await self._run(
            "without_vector", {**where, "after": after, "batch": batch, "longest": LONGEST_TEXT}
        )
        return (found[0][0] if found else None), [Unembedded(*row[1:]) for row in found if row[1] is not None]

    async def store_vectors(
        self, key: ConversationKey, messages: Sequence[Unembedded], vectors: Sequence[str], state: str | None
    ) -> int:
        """Keep the vectors of messages that say what they said; ``state`` with the conversation's last ones. How many were kept."""
        what = {
            "conversation": key.uuid,
            "user_id": key.user_id,
            "model": self.settings.search_model,
            "seqs": [one.seq for one in messages],
            "marks": [one.mark for one in messages],
            "vectors": list(vectors),
            "state": state,
        }
        found = await self._run("store_vectors", what)
        kept = int(found[0][0]) if found else 0
        if kept < 0:
            raise InvalidArgument(
                "embeddings",
                f"gave vectors of other lengths than {-kept}, as those are that {self.settings.search_model!r} stands for:"
                f" give the model another name ({self.settings.name_of('search_vectors')})",
            )
        return kept

    async def lacking(self, room: Room) -> str | None:
        """What is to be done to have a part of the schema that needs an extension; ``None`` where it is there."""
        found = Found(*(await self._run("find_room", asked_for(room, self.settings.db_schema)))[0])
        return None if found.made else found.lacks(room) or "is not made yet: run `convmemory init`"

    async def has_vectors(self) -> bool:
        """Whether there are vectors to compare with: else nobody's words go to a model, and the log says once what is to be done."""
        if not self._has_vectors:
            lacking = await self.lacking(VECTORS)
            if lacking and self._has_vectors is None:
                logger.warning("words alone are looked for: search_vectors %s", lacking)
            self._has_vectors = lacking is None
        return self._has_vectors

    async def check_search(self) -> None:
        """See that the server has the text search configurations of the settings.

        Raises:
            ConfigurationError: It does not have one of them.
        """
        names = self.settings.search_configurations
        unknown = (
            [name for [name] in await self._run("unknown_configurations", {"names": names})] if names else []
        )
        if unknown:
            raise ConfigurationError(
                f"{self.settings.name_of('search')}: this PostgreSQL has no text search configuration"
                f" {unknown[0]!r}; pg_ts_config lists them, and one outside of pg_catalog is named with its schema"
            )
