"""Parts of the schema that need an extension of PostgreSQL's, made where a setting asks for them and the extension is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, LiteralString

from convmemory.settings import Settings
from convmemory.storage.sql_and_lua import sql

_STEP: Final = "-- step\n"
OLDEST_PGVECTOR: Final = (0, 7)
"""The first one that has ``halfvec``."""


@dataclass(frozen=True, slots=True)
class Room:
    """One of them: ``sql/rooms/{name}.sql``, the setting that asks for it, and the function of the migrations that it replaces.

    ``relation`` and its ``attribute`` are of the extension's making: they go with it.
    """

    name: str
    setting: str
    extension: str
    function: str
    relation: str
    attribute: str

    @property
    def steps(self) -> list[LiteralString]:
        """What is sent one by one; each may be sent again after one that failed."""
        return sql(f"rooms/{self.name}").split(_STEP)


LETTERS: Final = Room("letters", "search_typos", "pg_trgm", "alike_v1", "messages_by_letters", "letters_v1")
VECTORS: Final = Room("vectors", "search_vectors", "vector", "near_v1", "vectors", "vector")


@dataclass(frozen=True, slots=True)
class Found:
    """What a database has of a room: the schema and version of its extension, whether the server could have it, whether it is made."""

    schema: LiteralString | None
    version: str | None
    available: bool
    made: bool

    def lacks(self, room: Room) -> str | None:
        """What is to be done to have the room, ``None`` where it can be made."""
        if self.schema is None or self.version is None:
            where = "" if self.available else "install it on the server, then "
            return f"needs the extension {room.extension}: {where}CREATE EXTENSION {room.extension}, then `convmemory init`"
        if room is VECTORS and tuple(map(int, self.version.split(".")[:2])) < OLDEST_PGVECTOR:
            return f"needs the extension vector 0.7 or newer, not {self.version}: ALTER EXTENSION vector UPDATE, then `convmemory init`"
        return None


def asked_for(room: Room, schema: str) -> dict[str, str]:
    """The parameters of ``find_room.sql``."""
    return {
        "schema": schema,
        "extension": room.extension,
        "function": room.function,
        "relation": room.relation,
        "attribute": room.attribute,
    }


def wanted(settings: Settings) -> list[Room]:
    """The rooms that the settings ask for; none where ``search`` is off."""
    if not settings.search_configurations:
        return []
    asked = ((LETTERS, settings.search_typos), (VECTORS, settings.search_model is not None))
    return [room for room, on in asked if on]
