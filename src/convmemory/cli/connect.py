"""Which servers a command works on: the environment's, the ones named by options, or embedded ones."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import BadParameter, Option

import convmemory
from convmemory.cli.screen import STARTING, progress
from convmemory.embedded import EmbeddedServers
from convmemory.embedded.plan import POSTGRES_DATA
from convmemory.errors import ConfigurationError
from convmemory.settings import Settings

_PANEL = "Which servers"

DatabaseUrl = Annotated[
    str | None,
    Option(
        metavar="URL",
        rich_help_panel=_PANEL,
        help="postgresql://user@host:5432/database; default: DATABASE_URL, or POSTGRES_HOST and the like. "
        "A password is better given there: others can read a command line.",
    ),
]
RedisUrl = Annotated[
    str | None,
    Option(
        metavar="URL",
        rich_help_panel=_PANEL,
        help="redis://host:6379/0; default: REDIS_URL, or REDIS_HOST and the like.",
    ),
]
Embedded = Annotated[
    Path | None,
    Option(
        metavar="DIR",
        rich_help_panel=_PANEL,
        help="The embedded servers of this directory: started, or joined where they run. The environment is not read.",
    ),
]
AsJson = Annotated[bool, Option("--json", help="One JSON object, for programs.")]
SchemaName = Annotated[
    str | None,
    Option(
        metavar="NAME",
        rich_help_panel=_PANEL,
        help="PostgreSQL schema; default: CONVMEMORY_DB_SCHEMA, or convmemory.",
    ),
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command was told to work; what is ``None`` is left to the environment."""

    database_url: str | None
    redis_url: str | None
    embedded: Path | None
    schema: str | None
    search: str | None = None

    @contextmanager
    def settings(self, *, new: bool = False) -> Iterator[Settings]:
        """The settings, with embedded servers running meanwhile where they were asked for.

        ``new`` allows a directory in which there are no servers yet: otherwise a slip of the finger would
        make some.

        Raises:
            BadParameter: The options contradict each other, or the directory holds no servers.
            ConfigurationError: A value cannot be used; the message names it.
        """
        named = {"db_schema": self.schema, "search": self.search}
        chosen = {name: value for name, value in named.items() if value is not None}
        if self.embedded is None:
            urls = {"database_url": self.database_url, "redis_url": self.redis_url}
            yield read_settings(**chosen, **{name: url for name, url in urls.items() if url is not None})
            return
        if self.database_url is not None or self.redis_url is not None:
            raise BadParameter("--embedded brings its own servers: leave out --database-url and --redis-url")
        if not new and not (self.embedded / POSTGRES_DATA).is_dir():
            raise BadParameter(
                f"--embedded: there are no servers in {self.embedded}; "
                "`convmemory init --embedded DIR` makes some"
            )
        if new and not (self.embedded / POSTGRES_DATA).is_dir() and _holds_something(self.embedded):
            raise BadParameter(f"--embedded: {self.embedded} holds other things; name a directory of its own")
        with _servers(self.embedded) as servers:
            yield Settings(
                database_url=servers.database_url, redis_url=servers.redis_url, redis_host="", **chosen
            )

    @contextmanager
    def memory(self, embeddings: Any = None) -> Iterator[convmemory.ConversationMemory]:
        """An open memory over these servers.

        Raises:
            StorageUnavailable: PostgreSQL does not answer.
            SchemaOutdated: The schema is newer than this library.
        """
        with self.settings() as settings, memory_over(settings, embeddings) as memory:
            yield memory


def read_settings(**chosen: Any) -> Settings:
    """The environment's settings, with those that options gave; an error names the option.

    Raises:
        ConfigurationError: A value cannot be used.
    """
    try:
        return Settings.from_env(**chosen)
    except ConfigurationError as error:
        raise ConfigurationError(str(error).replace("db_schema: ", "--schema: ")) from None


def memory_over(settings: Settings, embeddings: Any = None) -> convmemory.ConversationMemory:
    """A memory as the settings say, not open yet; without a Redis tier where they name none."""
    redis = convmemory.RedisStore(settings=settings) if settings.redis_conninfo() else None
    durable = convmemory.PostgresStore(settings=settings)
    return convmemory.ConversationMemory(durable, redis, embeddings=embeddings)


def named_object(option: str, name: str) -> Any:
    """What an option names, ``MODULE:NAME``, of this directory or of what is installed.

    Raises:
        BadParameter: It is no such name.
        ConfigurationError: There is no such thing.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise BadParameter(f"{option}: must be MODULE:NAME, such as my_app.agents:clerk")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{option} {name}: {error}") from error


def _holds_something(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())


def _servers(directory: Path) -> EmbeddedServers:
    with progress(STARTING):
        try:
            return EmbeddedServers.start(directory)
        except ConfigurationError:  # perhaps they run already, without Redis or as scratch: fine for a look
            return EmbeddedServers.start(directory, redis=False, durable=False)
