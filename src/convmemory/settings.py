"""Settings: every number and name a memory can be given, with its default, its unit and its environment variable."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, ClassVar, Self
from urllib.parse import quote

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from convmemory.errors import ConfigurationError

_DAY = 86_400.0  # seconds: no time-out is longer, and drivers take no infinite one


def _named(variable: str) -> AliasChoices:
    """Let a setting be given by its field name in Python and by ``variable`` in the environment."""
    return AliasChoices(variable.lower(), variable)


class Settings(BaseSettings):
    """Frozen settings of a memory; ``Settings(...)`` takes arguments only, ``from_env()`` reads the environment.

    Whole URLs win over their parts. Durations are in seconds unless the name says otherwise.
    An empty ``REDIS_HOST`` (and no ``REDIS_URL``) means: no Redis tier, every read goes to PostgreSQL.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, validate_default=False
    )

    database_url: SecretStr | None = Field(None, validation_alias=_named("DATABASE_URL"))
    postgres_host: str = Field("localhost", validation_alias=_named("POSTGRES_HOST"))
    postgres_port: int = Field(5432, ge=1, le=65535, validation_alias=_named("POSTGRES_PORT"))
    postgres_db: str = Field("postgres", min_length=1, validation_alias=_named("POSTGRES_DB"))
    postgres_user: str = Field("postgres", min_length=1, validation_alias=_named("POSTGRES_USER"))
    postgres_password: SecretStr | None = Field(None, validation_alias=_named("POSTGRES_PASSWORD"))

    redis_url: SecretStr | None = Field(None, validation_alias=_named("REDIS_URL"))
    redis_host: str = Field("localhost", validation_alias=_named("REDIS_HOST"))
    redis_port: int = Field(6379, ge=1, le=65535, validation_alias=_named("REDIS_PORT"))
    redis_password: SecretStr | None = Field(None, validation_alias=_named("REDIS_PASSWORD"))
    redis_db: int = Field(0, ge=0, validation_alias=_named("REDIS_DB"))

    session_ttl_minutes: float = Field(30, gt=0, le=525_600, validation_alias=_named("SESSION_TTL_MINUTES"))
    max_history_messages: int | None = Field(
        6, ge=1, le=10_000, validation_alias=_named("MAX_HISTORY_MESSAGES")
    )
    hard_max_messages: int = Field(
        200, ge=1, le=10_000, validation_alias=_named("CONVMEMORY_HARD_MAX_MESSAGES")
    )

    db_schema: str = Field(
        "convmemory",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        validation_alias=_named("CONVMEMORY_DB_SCHEMA"),
    )
    key_prefix: str = Field(
        "convmemory:",
        max_length=100,
        pattern=r"^[^{}\x00]*$",
        validation_alias=_named("CONVMEMORY_KEY_PREFIX"),
    )
    pool_min: int = Field(1, ge=0, le=1000, validation_alias=_named("CONVMEMORY_POOL_MIN"))
    pool_max: int = Field(10, ge=1, le=1000, validation_alias=_named("CONVMEMORY_POOL_MAX"))
    pool_timeout: float = Field(5, gt=0, le=_DAY, validation_alias=_named("CONVMEMORY_POOL_TIMEOUT"))
    connect_timeout: float = Field(3, gt=0, le=_DAY, validation_alias=_named("CONVMEMORY_CONNECT_TIMEOUT"))
    statement_timeout: float = Field(
        10, gt=0, le=_DAY, validation_alias=_named("CONVMEMORY_STATEMENT_TIMEOUT")
    )
    lock_timeout: float = Field(1, gt=0, le=_DAY, validation_alias=_named("CONVMEMORY_LOCK_TIMEOUT"))
    redis_timeout: float = Field(0.5, gt=0, le=_DAY, validation_alias=_named("CONVMEMORY_REDIS_TIMEOUT"))
    redis_pool_max: int = Field(50, ge=1, le=10_000, validation_alias=_named("CONVMEMORY_REDIS_POOL_MAX"))
    prepare_threshold: int | None = Field(1, ge=0, validation_alias=_named("CONVMEMORY_PREPARE_THRESHOLD"))
    max_window_bytes: int = Field(1_000_000, ge=0, validation_alias=_named("CONVMEMORY_MAX_WINDOW_BYTES"))

    _reads_environment: ClassVar[bool] = False

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            # The cause is left out on purpose: pydantic's text repeats the value, which may be a password.
            raise ConfigurationError(_explain(error)) from None

    @field_validator("max_history_messages", "prepare_threshold", mode="before")
    @classmethod
    def _none_is_a_word(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.strip().lower() in {"none", ""} else value

    @field_validator("database_url", "redis_url", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return None if value == "" else value

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
        del settings_cls, dotenv_settings, file_secret_settings
        return (init_settings, env_settings) if cls._reads_environment else (init_settings,)

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """Read the environment; ``overrides`` win over it.

        Raises:
            ConfigurationError: A variable has a value that cannot be used; the message names it.
        """
        reading = type(cls.__name__, (cls,), {"_reads_environment": True, "__module__": cls.__module__})
        found = reading(**overrides)
        return cls(**{name: getattr(found, name) for name in cls.model_fields})

    @property
    def window_messages(self) -> int:
        """How many of the newest messages stay in Redis: two default windows, so that the newest turns always fit."""
        return min(2 * (self.max_history_messages or 6), self.window_limit)

    @property
    def window_limit(self) -> int:
        """How many messages a window in Redis may hold: a default read always fits, unless it is of everything."""
        return max(self.hard_max_messages, self.max_history_messages or 1)

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


def _explain(error: ValidationError) -> str:
    """Name each wrong setting and what would be right, without its value."""
    said = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        field = str(problem["loc"][0]) if problem["loc"] else "settings"
        if problem["type"] == "extra_forbidden":
            near = " or ".join(get_close_matches(field, Settings.model_fields))
            said.append(f"{field}: no such setting" + (f"; did you mean {near}?" if near else ""))
        else:
            said.append(f"{_variable(field)}: {problem['msg']}")
    return "; ".join(said)


def _variable(name: str) -> str:
    """The environment variable behind a field or alias."""
    info = Settings.model_fields.get(name)
    alias = info.validation_alias if info else None
    return str(alias.choices[-1]) if isinstance(alias, AliasChoices) else name.upper()
