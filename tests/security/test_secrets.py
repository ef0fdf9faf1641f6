"""A password appears nowhere: in no repr, no log record, no error or what caused it, no report; nor does message text."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from langchain_core.messages import HumanMessage
from redis.exceptions import RedisError

from convmemory import ConfigurationError, ConvMemoryError, Message, Settings, StorageUnavailable
from convmemory.embedded.runtime import runtime_directory
from fix_memory import Awaited, add, read
from fix_servers import same_binaries
from torture.servers import Hot, Postgres

MARK = "s3cr3t"
PASSWORD = f"{MARK}-1/{MARK}-2@{MARK}-3:{MARK}-4%{MARK}-5#{MARK}-6"
QUOTED = quote(PASSWORD, safe="")
SAID = "w0rds-of-a-message"
SHORT = {"connect_timeout": 2, "pool_timeout": 0.5, "redis_timeout": 0.2, "statement_timeout": 0.5}


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """All that anything logs, down to DEBUG."""
    kept: list[logging.LogRecord] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = kept.append
    root, level = logging.getLogger(), logging.getLogger().level
    names = ("", "convmemory", "psycopg", "psycopg.pool", "redis", "asyncio")
    before = {name: logging.getLogger(name).level for name in names}
    root.addHandler(handler)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield kept
    root.removeHandler(handler)
    for name, was in before.items():
        logging.getLogger(name).setLevel(was)
    root.setLevel(level)


def shown(*things: Any) -> str:
    """What people see of things: their text, their attributes, of errors the whole traceback with all causes."""
    text = []
    for thing in things:
        if isinstance(thing, Message):  # what the caller asked for is the caller's
            continue
        text += [str(thing), repr(thing), repr(getattr(thing, "__dict__", ""))]
        if isinstance(thing, logging.LogRecord):
            text += [thing.getMessage(), str(thing.args), logging.Formatter().format(thing)]
        if isinstance(thing, BaseException):
            text += [*traceback.format_exception(thing), repr(thing.args)]
    return "\n".join(text)


def leaks(text: str) -> list[str]:
    """Where a password or a message is shown, with what stands around it."""
    return [text[max(0, at.start() - 80) : at.end()] for at in re.finditer(f"{MARK}|{SAID}", text)]


def parts_of(memory: Any) -> list[Any]:
    """A memory, and all that is reached from it."""
    memory = memory.blocking if isinstance(memory, Awaited) else memory
    stores = [store for store in (memory.postgres, memory.redis) if store is not None]
    history = memory.history("c", user_id="ana")
    # its str() is the conversation: LangChain's classes are like that
    said = [repr(history), repr(vars(history))]
    return [memory, memory.settings, *stores, *(store.health for store in stores), *said, memory._store]


async def everything_fails(memory: Any) -> list[Any]:
    """Use a memory whose servers may be out of reach; the errors, and what it says of itself."""
    found: list[Any] = []
    for verb in (
        memory.open,
        memory.init_schema,
        lambda: memory.save_message("c", HumanMessage(SAID), user_id="ana"),
        lambda: memory.get_history("c", user_id="ana"),
        lambda: memory.create_session("ana"),
        lambda: add(memory.history("c", user_id="ana"), [HumanMessage(SAID)]),
        lambda: read(memory.history("c", user_id="ana")),
        memory.check,
    ):
        try:
            found.append(await verb())
        except ConvMemoryError as error:
            found.append(error)
    return [one for one in found if not isinstance(one, (list, tuple))] + parts_of(memory)


@pytest.fixture
async def made(colour):
    """A function that makes a memory of this test's colour which nobody has opened; closed in the end."""
    import convmemory

    memories: list[Any] = []

    def make(postgres: str, redis: Any = None, **settings: Any) -> Any:
        if colour == "awaited":
            memories.append(convmemory.AsyncConversationMemory.from_url(postgres, redis, **SHORT, **settings))
        else:
            memories.append(
                Awaited(convmemory.ConversationMemory.from_url(postgres, redis, **SHORT, **settings))
            )
        return memories[-1]

    yield make
    for memory in memories:
        await memory.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, Hot]]:
    """Servers that want the password."""
    directory = tmp_path_factory.mktemp("guarded")
    directory.chmod(0o711)
    for parent in (directory.parent, directory.parent.parent):
        parent.chmod(0o711)
    place = directory / "pg"
    place.mkdir(mode=0o711)
    with same_binaries(), runtime_directory() as runtime:
        postgres, redis = Postgres(place, runtime), Hot(directory / "redis")
        for server in (postgres, redis):
            server.start()
        with postgres.connect() as conn:
            conn.execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")
            conn.execute("GRANT CREATE ON DATABASE convmemory TO app")
            (place / "postgres/pg_hba.conf").write_text("host all app 127.0.0.1/32 scram-sha-256\n")
            conn.execute("SELECT pg_reload_conf()")
        redis.client.config_set("requirepass", PASSWORD)
        yield postgres, redis
        for server in (postgres, redis):
            server.end()


def urls(guarded: tuple[Postgres, Hot], password: str) -> tuple[str, str]:
    postgres, redis = guarded
    durable = f"postgresql://app:{password}@127.0.0.1:{postgres.port}/convmemory"
    return durable, f"redis://:{password}@127.0.0.1:{redis.port}/0"


async def test_a_memory_that_works_says_no_password_and_no_message(made, guarded, records):
    durable, hot = urls(guarded, QUOTED)
    memory = made(durable, hot)
    found = await everything_fails(memory)
    reported = await memory.check()

    assert reported.ok
    assert SAID in repr(await memory.get_history("c", user_id="ana"))
    assert leaks(shown(*found, reported, *records)) == []


@pytest.mark.parametrize("wrong", ["password", "port", "database", "tls", "user"])
async def test_a_server_that_refuses_makes_no_error_with_a_password(made, guarded, records, wrong):
    durable, hot = urls(guarded, QUOTED)
    if wrong == "password":
        durable, hot = urls(guarded, QUOTED + "-not")
    elif wrong == "port":
        durable, hot = (
            url.replace(f":{s.port}/", ":1/") for url, s in zip((durable, hot), guarded, strict=True)
        )
    elif wrong == "database":
        durable, hot = durable + "-not", hot + "99"
    elif wrong == "tls":
        durable, hot = durable + "?sslmode=require", hot.replace("redis:", "rediss:")
    elif wrong == "user":
        durable, hot = durable.replace("app:", "nobody:"), hot.replace("//:", "//nobody:")
    found = await everything_fails(made(durable, hot))

    assert any(isinstance(one, StorageUnavailable) for one in found)
    text = shown(*found, *records)
    assert "PostgreSQL failed to" in text
    assert leaks(text) == []


@pytest.mark.parametrize(
    "form", ["redis+cluster://:{}@127.0.0.1:1", "redis+sentinel://:{}@127.0.0.1:1/main/0"]
)
async def test_a_cluster_or_sentinel_out_of_reach_makes_no_error_with_a_password(
    made, guarded, records, form
):
    durable, _ = urls(guarded, QUOTED)
    memory = made(durable, form.format(QUOTED))
    found = await everything_fails(memory)
    reported = await memory.check()

    assert reported.postgres.reachable
    assert not reported.redis.reachable
    assert leaks(shown(*found, reported, *records)) == []


@pytest.mark.parametrize("mode", ["blackhole", "drop_replies", "cut_reply", "refuse"])
async def test_a_network_that_fails_makes_no_error_with_a_password(made, guarded, records, make_proxy, mode):
    proxies = [make_proxy(url) for url in urls(guarded, QUOTED)]
    memory = made(*(proxy.url for proxy in proxies))
    await memory.open()
    await memory.init_schema()
    for proxy in proxies:
        proxy.mode = mode
        proxy.reset_all()

    assert leaks(shown(*await everything_fails(memory), *records)) == []


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://app:{MARK}/{MARK}@127.0.0.1:1/db",
        f"postgresql://app:{MARK}%zz@127.0.0.1:1/db",
        f"postgresql://app:{MARK}@127.0.0.1:{MARK}/db",
        f"postgresql://app:{MARK}:{MARK}@127.0.0.1:1/db",
        f"postgresql://app:{MARK}@127.0.0.1:1/db?{MARK}={MARK}",
        f"postgresql://app:{MARK}@[127.0.0.1:1/db",
        f"mysql://app:{MARK}@127.0.0.1:1/db",
        f"host=127.0.0.1 port=1 password='{MARK}",
        f"host=127.0.0.1 port=1 user=app password={MARK}",
        MARK,
    ],
)
async def test_a_database_url_that_cannot_be_read_is_not_quoted(made, records, url):
    text = shown(*await everything_fails(made(url)), *records)

    assert "convmemory." in text
    assert leaks(text) == []


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{PASSWORD}@127.0.0.1:1/0",
        f"redis://app:{MARK}@127.0.0.1:{MARK}",
        f"redis://app:{MARK}@127.0.0.1:1/{MARK}",
        f"redis://:{MARK}@127.0.0.1:1?socket_timeout={MARK}",
        f"redis://:{MARK}@127.0.0.1:1?{MARK}={MARK}",
        f"redis://:{MARK}@[127.0.0.1:1",
        f"http://:{MARK}@127.0.0.1:1/0",
        f"redis+{MARK}://:{MARK}@127.0.0.1:1/0",
        f"redis+sentinel://:{MARK}@127.0.0.1:1",
        f"redis+sentinel://:{MARK}@127.0.0.1:{MARK}/main",
        f"redis+sentinel://:{MARK}@127.0.0.1:1/main/{MARK}",
        f"redis+sentinel://:{MARK}@[127.0.0.1:1/main",
        f"redis+cluster://:{MARK}@127.0.0.1:1/7",
        f"redis+cluster://:{MARK}@,",
        f"redis+cluster://:{MARK}@127.0.0.1:1?{MARK}={MARK}",
        MARK,
    ],
)
async def test_a_redis_url_that_cannot_be_read_is_not_quoted(made, records, url):
    with pytest.raises(ConfigurationError, match="REDIS_URL: not a Redis URL") as refused:
        made("postgresql://app@127.0.0.1:1/db", url)

    assert leaks(shown(refused.value, *records)) == []


def test_settings_show_no_password(monkeypatch):
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        monkeypatch.setenv(name, PASSWORD)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://app:{QUOTED}@db/app")
    monkeypatch.setenv("REDIS_URL", f"redis://:{QUOTED}@cache/0")
    settings = Settings.from_env()
    parts = Settings(postgres_password=PASSWORD, redis_password=PASSWORD)

    for one in (settings, parts):
        said = [
            str(one),
            repr(one),
            one.model_dump_json(),
            repr(one.model_dump()),
            repr(vars(one)),
            f"{one:}",
        ]
        assert MARK not in "".join(said)
        assert MARK in one.postgres_conninfo()
        assert MARK in (one.redis_conninfo() or "")


@pytest.mark.parametrize("setting", ["database_url", "redis_url", "postgres_password", "redis_password"])
def test_a_bad_setting_is_not_quoted(setting):
    with pytest.raises(ConfigurationError) as refused:
        Settings(**{setting: [PASSWORD], "pool_min": PASSWORD, f"{setting}x": PASSWORD})

    assert leaks(shown(refused.value)) == []


def test_the_repr_of_a_client_made_here_shows_no_password(guarded):
    from convmemory import RedisStore

    _, hot = urls(guarded, QUOTED)
    store = RedisStore(hot)
    try:
        assert store.ping()["version"]
        assert leaks(shown(store, store._homes.here())) == []
    finally:
        store.close()


def test_the_marks_are_where_a_leak_would_show_them(guarded):
    """The means of these tests see what they look for."""
    _, redis = guarded
    error = RedisError(f"cannot reach redis://:{QUOTED}@127.0.0.1:{redis.port}")
    record = logging.LogRecord("x", 10, str(Path()), 1, "%s", (PASSWORD,), None)

    for leaking in (error, record, {"url": QUOTED}):
        assert leaks(shown(leaking))
