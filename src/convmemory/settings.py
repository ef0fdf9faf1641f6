"""Settings: every number and name a memory can be given, with its default, its unit and its environment variable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import IPv6Address
from typing import Any, ClassVar, Final, Literal, Self
from urllib.parse import quote

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from convmemory.environment import PREFIX, read_environment, variables_of
from convmemory.errors import ConfigurationError

_DAY = 86_400.0  # seconds: no time-out is longer, and drivers take no infinite one
_SCHEME: Final = re.compile(r"postgres(?:ql)?\+(\w+)://", re.IGNORECASE)
_CONFIGURATION: Final = r"(?:[a-z_][a-z0-9_]*\.)?[a-z_][a-z0-9_]*"
_SEARCH: Final = rf"^{_CONFIGURATION}(?:,{_CONFIGURATION})*$"
_OR_NONE: Final = {
    "max_history_messages": "a number of messages, or none for all of them",
    **dict.fromkeys(
        ("max_content_bytes", "max_metadata_bytes", "max_contexts_bytes"),
        "a number of bytes, or none for what PostgreSQL holds",
    ),
    "prepare_threshold": "how often a statement is sent before it is prepared: 0 is at once, none is never",
}
"""What settings that may be ``None`` mean: a word that is no number is often meant to turn them off."""


class Settings(BaseSettings):
    """Frozen settings of a memory; ``Settings(...)`` takes arguments only, ``from_env()`` reads the environment.

    Whole URLs win over their parts. Durations are in seconds unless the name says otherwise.
    An empty ``REDIS_HOST`` (and no ``REDIS_URL``) means: no Redis tier, every read goes to PostgreSQL.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, validate_default=False
    )

    database_url: SecretStr | None = None
    postgres_host: str = "localhost"
    postgres_port: int = Field(5432, ge=1, le=65535)
    postgres_db: str = Field("postgres", min_length=1)
    postgres_user: str = Field("postgres", min_length=1)
    postgres_password: SecretStr | None = None

    redis_url: SecretStr | None = None
    redis_host: str = "localhost"
    redis_port: int = Field(6379, ge=1, le=65535)
    redis_password: SecretStr | None = None
    redis_db: int = Field(0, ge=0)

    session_ttl_minutes: float = Field(30, ge=0.001, le=525_600)
    max_history_messages: int | None = Field(6, ge=1, le=10_000)
    hard_max_messages: int = Field(200, ge=1, le=10_000)

    db_schema: str = Field("convmemory", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")
    key_prefix: str = Field("convmemory:", max_length=100, pattern=r"^[^{}\x00]*$")
    pool_min: int = Field(1, ge=0, le=1000)
    pool_max: int = Field(10, ge=1, le=1000)
    pool_timeout: float = Field(5, gt=0, le=_DAY)
    connect_timeout: float = Field(3, gt=0, le=_DAY)
    statement_timeout: float = Field(10, gt=0, le=_DAY)
    lock_timeout: float = Field(1, gt=0, le=_DAY)
    redis_timeout: float = Field(0.5, gt=0, le=_DAY)
    redis_pool_max: int = Field(50, ge=1, le=10_000)
    prepare_threshold: int | None = Field(1, ge=0)
    max_window_bytes: int = Field(1_000_000, ge=0)
    max_content_bytes: int | None = Field(None, ge=1)
    max_metadata_bytes: int | None = Field(None, ge=1)
    max_contexts_bytes: int | None = Field(None, ge=1)
    search: str = Field("off", pattern=_SEARCH)
    durability: Literal["commit", "journal"] = "commit"
    journal: Literal["off", "outage"] = "off"
    journal_ack: Literal["memory", "everysec", "always", "replica"] = "everysec"
    search_typos: bool = False
    search_vectors: str = Field("off", min_length=1, max_length=100)

    _environment: ClassVar[Mapping[str, tuple[str, str]]] = {}
    _variables: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            # The cause is left out on purpose: pydantic's text repeats the value, which may be a password.
            raise ConfigurationError(_explain(error, self._environment)) from None

    def __eq__(self, other: object) -> bool:
        """Whether every setting is the same; where each came from makes no difference."""
        return isinstance(other, Settings) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    @field_validator(*_OR_NONE, mode="before")
    @classmethod
    def _none_is_a_word(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.strip().lower() == "none" else value

    @field_validator("database_url", "redis_url", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("database_url")
    @classmethod
    def _as_libpq_has_it(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(libpq_url(value.get_secret_value()))

    @field_validator("postgres_host", "redis_host")
    @classmethod
    def _is_a_host_alone(cls, value: str, info: ValidationInfo) -> str:
        tier = str(info.field_name).removesuffix("_host")
        if "://" in value:
            whole = "DATABASE_URL" if tier == "postgres" else "REDIS_URL"
            raise ValueError(f"must be a host alone; a whole URL is for {whole}")
        if any(":" in host and not _is_ipv6(host) for host in value.split(",")):
            raise ValueError(f"must be a host alone; the port is for {tier.upper()}_PORT")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments alone, or arguments over the environment (``from_env``)."""
        del env_settings, dotenv_settings, file_secret_settings
        return init_settings, _Texts(settings_cls, cls._environment)

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """Read the environment; ``overrides`` win over it.

        Every setting may be named with the prefix ``CONVMEMORY_``, which wins; the servers, ``SESSION_TTL_MINUTES``
        and ``MAX_HISTORY_MESSAGES`` also without it.

        Raises:
            ConfigurationError: A variable has a value that cannot be used, or begins with ``CONVMEMORY_`` and is
                none of them; the message names it.
        """
        texts = read_environment(cls.model_fields, overrides)
        reading = type(cls.__name__, (cls,), {"_environment": texts, "__module__": cls.__module__})
        found = reading(**overrides)
        made = cls(**{name: getattr(found, name) for name in cls.model_fields})
        made._variables = {name: variable for name, (variable, _) in texts.items()}
        return made

    def name_of(self, setting: str) -> str:
        """The variable a setting was read from, for errors; the one it is best known by where it came as an argument."""
        return self._variables.get(setting) or variables_of(setting)[-1]

    @property
    def window_messages(self) -> int:
        """How many of the newest messages stay in Redis: two default windows, so that the newest turns always fit."""
        return min(2 * (self.max_history_messages or 6), self.window_limit)

    @property
    def window_limit(self) -> int:
        """How many messages a window in Redis may hold: a default read always fits, unless it is of everything."""
        return max(self.hard_max_messages, self.max_history_messages or 1)

    @property
    def search_configurations(self) -> list[str]:
        """The text search configurations that messages are found by; none where ``search`` is off."""
        return [] if self.search == "off" else self.search.split(",")

    @property
    def search_configuration(self) -> str | None:
        """The one for messages that are stored now: the first of them; ``None`` where ``search`` is off."""
        return None if self.search == "off" else self.search.partition(",")[0]

    @property
    def journals(self) -> bool:
        """Whether writes may wait in Redis for PostgreSQL: all of them, or while it is away."""
        return self.durability == "journal" or self.journal == "outage"

    @property
    def search_model(self) -> str | None:
        """The model whose vectors messages are found by; ``None`` where ``search_vectors`` is off."""
        return None if self.search_vectors == "off" else self.search_vectors

    @property
    def session_ttl(self) -> float:
        """Sliding life of sessions and recent windows, in seconds."""
        return self.session_ttl_minutes * 60

    def postgres_conninfo(self) -> str:
        """The libpq URL to connect to, password included: for the driver, never for a log."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        secret = (
            f":{quote(self.postgres_password.get_secret_value(), safe='')}" if self.postgres_password else ""
        )
        user, database = quote(self.postgres_user, safe=""), quote(self.postgres_db, safe="")
        return f"postgresql://{user}{secret}@{_hosts(self.postgres_host, self.postgres_port)}/{database}"

    def redis_conninfo(self) -> str | None:
        """The Redis URL to connect to, password included; ``None`` when there is no Redis tier."""
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        if not self.redis_host:
            return None
        secret = f":{quote(self.redis_password.get_secret_value(), safe='')}@" if self.redis_password else ""
        return f"redis://{secret}{_host(self.redis_host)}:{self.redis_port}/{self.redis_db}"


def _host(host: str) -> str:
    """A host as URLs want it: IPv6 in brackets, a socket directory quoted."""
    return f"[{host}]" if ":" in host else quote(host, safe="")


def _hosts(hosts: str, port: int) -> str:
    """One host, or several with a comma between them, as libpq wants them in a URL."""
    return ",".join(f"{_host(host.strip())}:{port}" for host in hosts.split(","))


def libpq_url(url: str) -> str:
    """A PostgreSQL URL as libpq takes it: without the driver that SQLAlchemy's have, ``postgresql+psycopg://``."""
    if not isinstance(url, str):
        raise ConfigurationError(f"DATABASE_URL: must be a URL as text, not {type(url).__name__}")
    plain = _SCHEME.sub("postgresql://", url.strip(), count=1)
    driver = _SCHEME.match(url.strip())
    if driver and driver[1].lower() == "asyncpg":  # which has another name for it
        plain = re.sub(r"(?<=[?&])ssl=", "sslmode=", plain)
    return plain


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host.strip().partition("%")[0])
    except ValueError:
        return False
    return True


class _Texts(PydanticBaseSettingsSource):
    """What ``from_env`` found in the environment; nothing, where arguments alone count."""

    def __init__(self, settings_cls: type[BaseSettings], texts: Mapping[str, tuple[str, str]]) -> None:
        super().__init__(settings_cls)
        self._texts = texts

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The text of one variable, as the base class wants to be told of it."""
        del field
        return self._texts[field_name][1], field_name, False

    def __call__(self) -> dict[str, Any]:
        """The texts by setting."""
        return {name: text for name, (_, text) in self._texts.items()}


def _explain(error: ValidationError, environment: Mapping[str, tuple[str, str]]) -> str:
    """Name each wrong setting as it was given, and what would be right, without its value."""
    said = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        setting = str(problem["loc"][0]) if problem["loc"] else "settings"
        if problem["type"] == "extra_forbidden":
            meant = setting.lower().removeprefix(PREFIX.lower())
            near = " or ".join(get_close_matches(meant, Settings.model_fields))
            said.append(f"{setting}: no such setting" + (f"; did you mean {near}?" if near else ""))
            continue
        name = environment[setting][0] if setting in environment else setting
        why = problem["msg"].removeprefix("Value error, ")
        said.append(f"{name}: {why}" + (f" ({_OR_NONE[setting]})" if setting in _OR_NONE else ""))
    return "; ".join(said)
