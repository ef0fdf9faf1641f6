"""Settings: defaults, names in the environment, and that no secret or wrong value is repeated."""

import copy
import pickle
import traceback

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr
from redis.connection import parse_url

from convmemory import AsyncRedisStore, ConfigurationError, ConversationMemory, RedisStore, Settings

SECRET = "s3cr3t:/?#[]@!$&'()*+,;=%"
VARIABLES = {
    "DATABASE_URL": ("database_url", "postgresql://a@b/c", SecretStr("postgresql://a@b/c")),
    "POSTGRES_HOST": ("postgres_host", "db", "db"),
    "POSTGRES_PORT": ("postgres_port", "5433", 5433),
    "POSTGRES_DB": ("postgres_db", "chat", "chat"),
    "POSTGRES_USER": ("postgres_user", "app", "app"),
    "POSTGRES_PASSWORD": ("postgres_password", SECRET, SecretStr(SECRET)),
    "REDIS_URL": ("redis_url", "redis://r", SecretStr("redis://r")),
    "REDIS_HOST": ("redis_host", "cache", "cache"),
    "REDIS_PORT": ("redis_port", "6380", 6380),
    "REDIS_PASSWORD": ("redis_password", SECRET, SecretStr(SECRET)),
    "REDIS_DB": ("redis_db", "3", 3),
    "SESSION_TTL_MINUTES": ("session_ttl_minutes", "0.5", 0.5),
    "MAX_HISTORY_MESSAGES": ("max_history_messages", "20", 20),
    "CONVMEMORY_HARD_MAX_MESSAGES": ("hard_max_messages", "50", 50),
    "CONVMEMORY_DB_SCHEMA": ("db_schema", "chat_memory", "chat_memory"),
    "CONVMEMORY_KEY_PREFIX": ("key_prefix", "", ""),
    "CONVMEMORY_POOL_MIN": ("pool_min", "0", 0),
    "CONVMEMORY_POOL_MAX": ("pool_max", "3", 3),
    "CONVMEMORY_POOL_TIMEOUT": ("pool_timeout", "1.5", 1.5),
    "CONVMEMORY_CONNECT_TIMEOUT": ("connect_timeout", "2", 2),
    "CONVMEMORY_STATEMENT_TIMEOUT": ("statement_timeout", "9", 9),
    "CONVMEMORY_LOCK_TIMEOUT": ("lock_timeout", "0.25", 0.25),
    "CONVMEMORY_REDIS_POOL_MAX": ("redis_pool_max", "7", 7),
    "CONVMEMORY_REDIS_TIMEOUT": ("redis_timeout", "0.1", 0.1),
    "CONVMEMORY_PREPARE_THRESHOLD": ("prepare_threshold", "none", None),
    "CONVMEMORY_MAX_WINDOW_BYTES": ("max_window_bytes", "0", 0),
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def test_every_field_has_its_variable():
    assert {field for field, _, _ in VARIABLES.values()} == set(Settings.model_fields)


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_variable_sets_its_field_and_no_other(monkeypatch, variable):
    field, text, value = VARIABLES[variable]
    monkeypatch.setenv(variable, text)

    assert Settings.from_env() == Settings(**{field: value})
    assert getattr(Settings.from_env(), field) == value


def test_arguments_alone_read_no_environment(monkeypatch):
    for variable, (_, text, _) in VARIABLES.items():
        monkeypatch.setenv(variable, text)

    assert Settings() == Settings.model_construct()
    assert Settings.from_env(postgres_port=1).postgres_port == 1


def test_the_missions_defaults():
    found = Settings()

    assert (found.session_ttl_minutes, found.session_ttl, found.max_history_messages) == (30, 1800, 6)
    assert (found.key_prefix, found.db_schema) == ("convmemory:", "convmemory")
    assert found.postgres_conninfo() == "postgresql://postgres@localhost:5432/postgres"
    assert found.redis_conninfo() == "redis://localhost:6379/0"


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Settings().postgres_port = 1


def test_whole_urls_win_over_their_parts():
    found = Settings(
        database_url="postgresql://one", postgres_host="two", redis_url="redis://one", redis_host=""
    )

    assert (found.postgres_conninfo(), found.redis_conninfo()) == ("postgresql://one", "redis://one")


def test_no_redis_host_means_no_redis_tier():
    assert Settings(redis_host="").redis_conninfo() is None
    for store in (RedisStore, AsyncRedisStore):
        with pytest.raises(ConfigurationError, match=r"^REDIS_HOST: empty"):
            store(None, Settings(redis_host=""))


def test_a_memory_without_a_redis_host_has_one_tier(monkeypatch):
    monkeypatch.setenv("REDIS_HOST", "")

    assert ConversationMemory.from_env().redis is None


@pytest.mark.parametrize("password", [SECRET, "", "ü", "a b", "%41"])
@pytest.mark.parametrize("host", ["localhost", "::1", "10.0.0.1"])
def test_parts_become_urls_that_drivers_read_back(password, host):
    found = Settings(
        postgres_host=host,
        postgres_user="us:er@",
        postgres_password=password,
        postgres_db="d/b",
        redis_host=host,
        redis_password=password,
        redis_db=4,
    )

    postgres, redis = conninfo_to_dict(found.postgres_conninfo()), parse_url(found.redis_conninfo())
    assert (postgres["host"], postgres["user"], postgres["dbname"]) == (host, "us:er@", "d/b")
    assert postgres.get("password", "") == password
    assert (redis["host"], redis["db"], redis.get("password", "")) == (host, 4, password)


def test_a_socket_directory_is_a_host():
    found = Settings(postgres_host="/run/postgresql")

    assert conninfo_to_dict(found.postgres_conninfo())["host"] == "/run/postgresql"


@pytest.mark.parametrize("word", ["none", "None", " NONE ", ""])
def test_none_is_a_word(monkeypatch, word):
    monkeypatch.setenv("MAX_HISTORY_MESSAGES", word)
    monkeypatch.setenv("CONVMEMORY_PREPARE_THRESHOLD", word)
    found = Settings.from_env()

    assert (found.max_history_messages, found.prepare_threshold) == (None, None)


def test_an_empty_url_is_none(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("REDIS_URL", "")

    assert Settings.from_env() == Settings()


@pytest.mark.parametrize(
    ("newest", "hard", "kept"), [(6, 200, 12), (None, 200, 12), (150, 200, 200), (1, 200, 2), (6, 5, 5)]
)
def test_two_default_windows_stay_in_redis(newest, hard, kept):
    assert Settings(max_history_messages=newest, hard_max_messages=hard).window_messages == kept


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("postgres_port", 0),
        ("postgres_port", 65_536),
        ("postgres_port", "5432x"),
        ("postgres_db", ""),
        ("postgres_user", ""),
        ("redis_db", -1),
        ("session_ttl_minutes", 0),
        ("session_ttl_minutes", -1),
        ("session_ttl_minutes", float("nan")),
        ("session_ttl_minutes", float("inf")),
        ("session_ttl_minutes", 600_000),
        ("max_history_messages", 0),
        ("max_history_messages", 10_001),
        ("hard_max_messages", 0),
        ("db_schema", ""),
        ("db_schema", "1st"),
        ("db_schema", "a-b"),
        ("db_schema", "a.b"),
        ("db_schema", 'a"b'),
        ("db_schema", "trailing\n"),
        ("db_schema", "x" * 64),
        ("key_prefix", "a{b"),
        ("key_prefix", "a}b"),
        ("key_prefix", "a\0b"),
        ("key_prefix", "x" * 101),
        ("pool_max", 0),
        ("pool_timeout", 0),
        ("pool_timeout", float("nan")),
        ("connect_timeout", -1),
        ("connect_timeout", float("inf")),
        ("statement_timeout", 0),
        ("statement_timeout", float("inf")),
        ("redis_timeout", 0),
        ("redis_timeout", float("inf")),
        ("prepare_threshold", -1),
        ("max_window_bytes", -1),
    ],
)
def test_a_wrong_value_names_its_variable(field, bad):
    [variable] = [name for name, (owner, _, _) in VARIABLES.items() if owner == field]

    with pytest.raises(ConfigurationError, match=rf"^{variable}: ") as caught:
        Settings(**{field: bad})
    assert isinstance(caught.value, ValueError)


def test_all_wrong_values_are_told_at_once():
    with pytest.raises(ConfigurationError, match=r"^POSTGRES_PORT: .*; REDIS_PORT: "):
        Settings(postgres_port=0, redis_port=0)


def test_an_unknown_setting_is_named():
    with pytest.raises(ConfigurationError, match=r"^max_messages: no such setting; .*max_history_messages"):
        Settings(max_messages=5)
    with pytest.raises(ConfigurationError, match=r"^zzz: no such setting$"):
        Settings(zzz=5)


def test_no_secret_is_shown():
    found = Settings(
        database_url=f"postgresql://a:{SECRET}@b/c",
        postgres_password=SECRET,
        redis_url=f"redis://:{SECRET}@b",
        redis_password=SECRET,
    )

    for shown in (repr(found), str(found), f"{found}", repr(found.model_dump()), found.model_dump_json()):
        assert "s3cr3t" not in shown
    assert copy.deepcopy(found) == pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own


@pytest.mark.parametrize("field", ["database_url", "redis_url", "postgres_password", "redis_password"])
def test_a_wrong_secret_is_not_repeated_by_the_error(field):
    with pytest.raises(ConfigurationError) as caught:
        Settings(**{field: ["s3cr3t"]})

    said = "".join(traceback.format_exception(caught.value, chain=True))
    assert "s3cr3t" not in said.replace('["s3cr3t"]', "")
    assert "s3cr3t" not in str(caught.value)
