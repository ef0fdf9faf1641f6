"""Settings: defaults, names in the environment, and that no secret or wrong value is repeated."""

import copy
import os
import pickle
import traceback

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr
from redis.connection import parse_url

from convmemory import (
    AsyncRedisStore,
    ConfigurationError,
    ConversationMemory,
    InvalidArgument,
    PostgresStore,
    RedisStore,
    Settings,
)
from convmemory.environment import PREFIX, UNPREFIXED, variables_of

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
    "CONVMEMORY_MAX_CONTENT_BYTES": ("max_content_bytes", "100", 100),
    "CONVMEMORY_MAX_METADATA_BYTES": ("max_metadata_bytes", "none", None),
    "CONVMEMORY_MAX_CONTEXTS_BYTES": ("max_contexts_bytes", "5", 5),
    "CONVMEMORY_SEARCH": ("search", "german,english", "german,english"),
    "CONVMEMORY_SEARCH_TYPOS": ("search_typos", "true", True),
    "CONVMEMORY_SEARCH_VECTORS": ("search_vectors", "minilm-1", "minilm-1"),
    "CONVMEMORY_MAX_WINDOW_BYTES": ("max_window_bytes", "0", 0),
    "CONVMEMORY_DURABILITY": ("durability", "journal", "journal"),
    "CONVMEMORY_JOURNAL": ("journal", "outage", "outage"),
    "CONVMEMORY_JOURNAL_ACK": ("journal_ack", "always", "always"),
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for variable in [*VARIABLES, *(name for name in os.environ if name.startswith(PREFIX))]:
        monkeypatch.delenv(variable, raising=False)


def test_every_setting_has_its_variables():
    assert {field for field, _, _ in VARIABLES.values()} == set(Settings.model_fields)
    assert set(VARIABLES) == {variables_of(field)[-1] for field in Settings.model_fields}
    assert {
        field for field, _, _ in VARIABLES.values() if PREFIX + field.upper() not in VARIABLES
    } == UNPREFIXED


@pytest.mark.parametrize("spelling", [str, str.lower])
@pytest.mark.parametrize("variable", [*VARIABLES, *(PREFIX + field.upper() for field in sorted(UNPREFIXED))])
def test_a_variable_sets_its_setting_and_no_other(monkeypatch, variable, spelling):
    field, text, value = VARIABLES[variable if variable in VARIABLES else variable.removeprefix(PREFIX)]
    monkeypatch.setenv(spelling(variable), text)

    found = Settings.from_env()
    assert found == Settings(**{field: value})
    assert getattr(found, field) == value
    assert found.name_of(field) == variable
    assert pickle.loads(pickle.dumps(found)).name_of(field) == variable  # noqa: S301 - our own
    assert hash(found) == hash(Settings(**{field: value}))


def test_the_prefix_wins_over_the_name_that_others_read_too(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://the-applications/own")
    monkeypatch.setenv("CONVMEMORY_DATABASE_URL", "postgresql://chat/memory")
    monkeypatch.setenv("SESSION_TTL_MINUTES", "5")
    monkeypatch.setenv("CONVMEMORY_SESSION_TTL_MINUTES", "7")

    found = Settings.from_env()
    assert (found.postgres_conninfo(), found.session_ttl_minutes) == ("postgresql://chat/memory", 7)
    assert Settings.from_env(session_ttl_minutes=9).session_ttl_minutes == 9
    monkeypatch.setenv("CONVMEMORY_DATABASE_URL", "")  # as a compose file leaves one that nobody set
    assert Settings.from_env().postgres_conninfo() == "postgresql://the-applications/own"


def test_a_server_named_nearer_wins_over_a_whole_url_from_further_away(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://shared/app")
    monkeypatch.setenv("REDIS_URL", "redis://shared")
    monkeypatch.setenv("POSTGRES_HOST", "beside-the-url")
    assert Settings.from_env().postgres_conninfo() == "postgresql://shared/app"

    monkeypatch.setenv("CONVMEMORY_POSTGRES_HOST", "ours")
    monkeypatch.setenv("CONVMEMORY_REDIS_HOST", "")
    found = Settings.from_env()
    assert (found.postgres_conninfo(), found.redis_conninfo()) == (
        "postgresql://postgres@ours:5432/postgres",
        None,
    )

    monkeypatch.setenv("CONVMEMORY_DATABASE_URL", "postgresql://whole/ours")
    assert Settings.from_env().postgres_conninfo() == "postgresql://whole/ours"
    assert (
        Settings.from_env(postgres_host="given").postgres_conninfo()
        == "postgresql://postgres@given:5432/postgres"
    )
    assert Settings.from_env(database_url="postgresql://given").postgres_conninfo() == "postgresql://given"
    assert (
        Settings.from_env(database_url=None).postgres_conninfo() == "postgresql://postgres@ours:5432/postgres"
    )


def test_parts_that_a_whole_url_stands_for_are_not_looked_at(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://cache")
    monkeypatch.setenv("REDIS_PORT", "no port")

    assert Settings.from_env().redis_conninfo() == "redis://cache"
    assert Settings.from_env(redis_url="redis://given").redis_conninfo() == "redis://given"


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("CONVMEMORY_PREPARE_TRESHOLD", "CONVMEMORY_PREPARE_THRESHOLD"),
        ("CONVMEMORY_DATABSE_URL", "CONVMEMORY_DATABASE_URL"),
        ("convmemory_poolmax", "CONVMEMORY_POOL_MAX"),
        ("CONVMEMORY_SCHEMA", "CONVMEMORY_DB_SCHEMA"),
        ("CONVMEMORY_BINARY", "CONVMEMORY_BINARIES"),
    ],
)
def test_a_misspelt_variable_is_no_default_that_nobody_chose(monkeypatch, wrong, meant):
    monkeypatch.setenv(wrong, "s3cr3t")

    with pytest.raises(
        ConfigurationError, match=rf"^{wrong.upper()}: no such variable; did you mean .*{meant}"
    ) as told:
        ConversationMemory.from_env()
    assert "s3cr3t" not in str(told.value)
    assert Settings() == Settings.model_construct()  # arguments alone do not care


def test_a_variable_like_no_other_is_told_as_well_and_all_at_once(monkeypatch):
    monkeypatch.setenv("CONVMEMORY_ZZZ", "1")
    monkeypatch.setenv("CONVMEMORY_QQQ", "1")

    with pytest.raises(
        ConfigurationError, match=r"^CONVMEMORY_QQQ: .*; CONVMEMORY_ZZZ: no such variable; names that"
    ):
        Settings.from_env()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("CONVMEMORY_BINARIES", "wheels"),
        ("CONVMEMORY_POSTGRES_BIN", "/usr/bin"),
        ("CONVMEMORY_TEST_DATABASE_URL", "postgresql://test"),
        ("CONVMEMORY_SERVICE_HOST", "10.0.0.1"),  # a Service of that name makes Kubernetes set these
        ("CONVMEMORY_SERVICE_PORT", "80"),
        ("CONVMEMORY_SERVICE_PORT_HTTP", "80"),
        ("CONVMEMORY_PORT", "tcp://10.0.0.1:80"),
        ("CONVMEMORY_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("CONVMEMORY_API_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("XCONVMEMORY_POOL", "1"),
    ],
)
def test_variables_that_are_somebody_elses_are_left_alone(monkeypatch, variable, text):
    monkeypatch.setenv(variable, text)

    assert Settings.from_env() == Settings()


@pytest.mark.parametrize("variable", ["REDIS_PORT", "POSTGRES_PORT", "CONVMEMORY_REDIS_PORT"])
def test_what_kubernetes_says_of_a_service_is_no_port(monkeypatch, variable):
    monkeypatch.setenv(variable, "tcp://10.0.0.1:6379")
    url = "CONVMEMORY_REDIS_URL" if "REDIS" in variable else "CONVMEMORY_DATABASE_URL"

    with pytest.raises(
        ConfigurationError, match=rf"^{variable}: .*Kubernetes.*{url}, or enableServiceLinks: false"
    ):
        Settings.from_env()
    monkeypatch.setenv(url, "redis://cache")
    Settings.from_env()


def test_arguments_alone_read_no_environment(monkeypatch):
    for variable, (_, text, _) in VARIABLES.items():
        monkeypatch.setenv(variable, text)

    assert Settings() == Settings.model_construct()
    assert Settings.from_env(postgres_host="h", postgres_port=1).postgres_port == 1


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


@pytest.mark.parametrize("host", ["localhost:5432", "10.0.0.1:1", "a,b:1", "s3cr3t@h:1", "::1:2:zz"])
@pytest.mark.parametrize(
    ("field", "port"), [("postgres_host", "POSTGRES_PORT"), ("redis_host", "REDIS_PORT")]
)
def test_a_port_in_a_host_is_told_where_it_belongs(field, port, host):
    with pytest.raises(ConfigurationError, match=rf"^{field}: must be a host alone; the port is for {port}$"):
        Settings(**{field: host})


@pytest.mark.parametrize(("field", "url"), [("postgres_host", "DATABASE_URL"), ("redis_host", "REDIS_URL")])
def test_a_url_in_a_host_is_told_where_it_belongs(field, url):
    with pytest.raises(
        ConfigurationError, match=rf"^{field}: must be a host alone; a whole URL is for {url}$"
    ):
        Settings(**{field: "redis://:s3cr3t@cache:6379"})


@pytest.mark.parametrize("host", ["::1", "fe80::1%eth0", "a,b", "/run/postgresql", "db.example.org"])
def test_hosts_of_every_kind_are_taken(host):
    assert Settings(postgres_host=host, redis_host=host).postgres_host == host


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("postgresql+psycopg://a:b%2F@h:1/d?x=1", "postgresql://a:b%2F@h:1/d?x=1"),
        ("postgresql+psycopg2://h/d", "postgresql://h/d"),
        ("postgresql+asyncpg://h/d", "postgresql://h/d"),
        ("postgresql+asyncpg://h/d?a=1&ssl=require", "postgresql://h/d?a=1&sslmode=require"),
        ("postgresql+pg8000://h/d", "postgresql://h/d"),
        ("postgres+psycopg://h/d", "postgresql://h/d"),
        ("postgres://h/d", "postgres://h/d"),
        (" postgresql://h/d\n", "postgresql://h/d"),
        ("postgresql://h/d?ssl=true", "postgresql://h/d?ssl=true"),
        ("host=h dbname=d+e", "host=h dbname=d+e"),
    ],
)
def test_the_url_of_another_library_is_taken_without_its_driver(monkeypatch, url, plain):
    assert Settings(database_url=url).postgres_conninfo() == plain
    assert PostgresStore(url)._conninfo.get_secret_value() == plain
    monkeypatch.setenv("DATABASE_URL", url)
    assert ConversationMemory.from_env().postgres._conninfo.get_secret_value() == plain


def test_a_url_that_is_none_names_the_variable_it_came_from(monkeypatch):
    monkeypatch.setenv("CONVMEMORY_DATABASE_URL", "postgresql://h/d?colour=s3cr3t")
    with pytest.raises(
        ConfigurationError, match=r"^CONVMEMORY_DATABASE_URL: not a PostgreSQL URL .*option"
    ) as told:
        ConversationMemory.from_env().open()
    assert "s3cr3t" not in str(told.value)
    monkeypatch.setenv("CONVMEMORY_REDIS_URL", "cache:6379")
    with pytest.raises(ConfigurationError, match=r"^CONVMEMORY_REDIS_URL: not a Redis URL"):
        ConversationMemory.from_env()
    with pytest.raises(
        ConfigurationError, match=r"^DATABASE_URL: not a PostgreSQL URL .*it is the URL of a Redis"
    ):
        ConversationMemory.from_url("redis://cache").open()


@pytest.mark.parametrize("word", ["none", "None", " NONE "])
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
    ("newest", "hard", "kept"), [(6, 200, 12), (None, 200, 12), (150, 200, 200), (1, 200, 2), (6, 5, 6)]
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
def test_a_wrong_value_is_told_by_the_name_it_was_given_under(monkeypatch, field, bad):
    with pytest.raises(ConfigurationError, match=rf"^{field}: ") as caught:
        Settings(**{field: bad})
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ConfigurationError, match=rf"^{field}: "):
        Settings.from_env(**{field: bad})
    if "\0" in str(bad):
        return
    for variable in reversed(variables_of(field)):
        monkeypatch.setenv(variable, str(bad))
        with pytest.raises(ConfigurationError, match=rf"^{variable}: "):
            Settings.from_env()


@pytest.mark.parametrize("word", ["off", "never", "false"])
def test_a_word_for_never_is_answered_with_the_one_that_is_understood(monkeypatch, word):
    monkeypatch.setenv("CONVMEMORY_PREPARE_THRESHOLD", word)

    with pytest.raises(
        ConfigurationError, match=r"^CONVMEMORY_PREPARE_THRESHOLD: .*0 is at once, none is never"
    ):
        Settings.from_env()


def test_all_wrong_values_are_told_at_once():
    with pytest.raises(ConfigurationError, match=r"^postgres_port: .*; redis_port: "):
        Settings(postgres_port=0, redis_port=0)


def test_an_unknown_setting_is_named():
    with pytest.raises(ConfigurationError, match=r"^max_messages: no such setting; .*max_history_messages"):
        Settings(max_messages=5)
    with pytest.raises(
        ConfigurationError, match=r"^CONVMEMORY_POOL_MAX: no such setting; did you mean pool_max"
    ):
        Settings(CONVMEMORY_POOL_MAX=5)
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


@pytest.mark.parametrize(
    ("environment", "given", "named"),
    [
        ({"DATABASE_URL": "postgresql://u@h/prod"}, {"postgres_db": "test"}, "postgres_db"),
        (
            {"DATABASE_URL": "postgresql://u@h/prod", "CONVMEMORY_POSTGRES_DB": "test"},
            {},
            "CONVMEMORY_POSTGRES_DB",
        ),
        ({"REDIS_URL": "redis://h", "CONVMEMORY_REDIS_DB": "3"}, {}, "CONVMEMORY_REDIS_DB"),
    ],
)
def test_a_part_that_a_url_hides_though_it_is_nearer_is_refused(monkeypatch, environment, given, named):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(
        ConfigurationError, match=rf"^{named}: stands beside .*_URL, which names the whole server"
    ):
        Settings.from_env(**given)


def test_an_empty_number_is_no_number(monkeypatch):
    monkeypatch.setenv("MAX_HISTORY_MESSAGES", "")
    with pytest.raises(ConfigurationError, match=r"^MAX_HISTORY_MESSAGES: "):
        Settings.from_env()


@pytest.mark.parametrize("name", ["postgres_db", "redis_host", "database_url", "redis_password"])
def test_a_memory_of_urls_takes_no_parts_beside_them(name):
    with pytest.raises(InvalidArgument, match=rf"^{name}: belongs into the URL"):
        ConversationMemory.from_url("postgresql://u@h/db", "redis://h", **{name: "x"})


def test_the_url_of_redis_may_be_named_as_the_setting_is():
    assert ConversationMemory.from_url("postgresql://u@h/db", redis_url="redis://h").redis is not None
