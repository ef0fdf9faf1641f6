"""What PostgreSQL is asked where something is looked for by its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from convmemory._async.statements import AsyncStatements
from convmemory.errors import ConfigurationError
from convmemory.ids import ConversationKey
from convmemory.storage.search_queries import Part
from convmemory.storage.search_rows import Row


class AsyncSearchStatements(AsyncStatements):
    """The index of words; the store of PostgreSQL has it beside conversations, messages and caches."""

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

    async def search(self, user_id: str, parts: Sequence[Part], where: Mapping[str, Any]) -> list[Row]:
        """Find one user's messages; ``where`` has the parameters of ``search_messages.sql`` that are not of the query.

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
        query = {
            "configs": self.settings.search_configurations,
            "kinds": [part.kind for part in parts],
            "texts": [part.text for part in parts],
            "signs": [part.sign for part in parts],
        }
        return [
            Row.of(row) for row in await self._run("search_messages", {**where, **query, "user_id": user_id})
        ]

    async def index_conversation(self, key: ConversationKey, after: int, batch: int) -> int | None:
        """Have the next ``batch`` messages found as the settings say; the last seq of them, ``None`` at the end."""
        where: dict[str, Any] = {
            "conversation": key.uuid,
            "user_id": key.user_id,
            "after": after,
            "batch": batch,
        }
        where["search"] = self.settings.search_configuration
        [[upto]] = await self._run("index_conversation", where)
        return None if upto is None else int(upto)

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
