"""Servers as people set them up: what the library leans on it asks for, whatever a role, a database or the environment says."""

import json
from datetime import UTC, datetime, timedelta, timezone
from threading import Thread
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from psycopg import postgres, sql
from psycopg.adapt import AdaptersMap
from psycopg.types.array import ListDumper
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import TextLoader

from convmemory import ConfigurationError, ConversationMemory, Draft, RetrievedContext
from fix_memory import texts

WHEN = datetime(2031, 2, 3, 23, 59, 59, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
SAID = 'back\\slash, "quote" and {NULL} in Grüße 👋'
ODD = {
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "TimeZone": "<+0530>-5:30",
    "bytea_output": "escape",
    "search_path": "nowhere",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "extra_float_digits": "-5",
    "client_encoding": "LATIN1",
    "statement_timeout": "5s",
    "lock_timeout": "1ms",
    "row_security": "off",
}
"""Settings of which each is somebody's default somewhere, and none is ours."""


@pytest.fixture
def role(database_url, schema):
    """A user whose every session begins with odd settings; its URL."""
    name = f"odd_{uuid4().hex[:8]}"
    with psycopg.connect(database_url, autocommit=True) as admin:
        _execute(admin, "CREATE ROLE {role} LOGIN", role=name)
        _execute(admin, "GRANT ALL ON SCHEMA {schema} TO {role}", role=name, schema=schema)
        _execute(admin, "GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}", role=name, schema=schema)
        for setting, value in ODD.items():
            if not (setting == "standard_conforming_strings" and admin.info.server_version >= 190_000):
                _execute(
                    admin,
                    "ALTER ROLE {role} SET {setting} = {value}",
                    role=name,
                    setting=setting,
                    value=value,
                )
    yield urlsplit(database_url)._replace(netloc=f"{name}@{_host(database_url)}").geturl()
    with psycopg.connect(database_url, autocommit=True) as admin:
        _execute(admin, "DROP OWNED BY {role}", role=name)
        _execute(admin, "DROP ROLE {role}", role=name)


def _host(url):
    return urlsplit(url).netloc.rpartition("@")[2]


def _execute(conn, text, *, value=None, **names):
    identifiers = {name: sql.Identifier(found) for name, found in names.items()}
    conn.execute(sql.SQL(text).format(value=sql.Literal(value), **identifiers))


async def test_a_role_with_settings_of_its_own_changes_nothing(role, make_memory):
    memory = await make_memory(role)
    await lives(memory)


async def lives(memory):
    """Everything a conversation is used for, twice: statements are prepared the second time."""
    for number in range(2):
        name = f"c{number}"
        context = RetrievedContext("text", score=0.12345678901234567)
        draft = Draft(HumanMessage(SAID), tokens_used=3, contexts=[context], created_at=WHEN)
        await memory.save_messages(name, [draft, HumanMessage("NULL")], user_id="ana")
        await memory.create_conversation("ana", conversation_id=f"k{number}")
        [stored, other] = await memory.get_messages(name, user_id="ana")
        assert (stored.content, stored.created_at, stored.tokens_used) == (SAID, WHEN, 3)
        assert (stored.contexts, other.content, other.tokens_used) == ((context,), "NULL", None)
        assert texts(await memory.get_history(name, user_id="ana")) == [SAID, "NULL"]
    page = await memory.list_user_conversations("ana", limit=3)
    rest = await memory.list_user_conversations("ana", limit=3, cursor=page.next_cursor)
    assert {c.conversation_id for c in [*page, *rest]} == {"c0", "c1", "k0", "k1"}
    assert all(abs(datetime.now(UTC) - c.updated_at) < timedelta(minutes=5) for c in page)
    assert all(c.updated_at.utcoffset() == timedelta(0) for c in page)


async def test_an_environment_with_settings_of_its_own_changes_nothing(monkeypatch, make_memory, schema):
    words = [f"-c {name}={value}" for name, value in ODD.items() if " " not in value]
    monkeypatch.setenv("PGOPTIONS", " ".join(words))
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGDATESTYLE", "German")
    monkeypatch.setenv("PGTZ", "Asia/Kolkata")

    await lives(await make_memory())


class AsJson(ListDumper):
    """A list as the application wants it in its own tables."""

    oid = postgres.types["jsonb"].oid

    def dump(self, obj):
        return json.dumps(obj).encode()


async def test_what_an_application_registers_with_the_driver_is_for_its_own_connections(
    monkeypatch, make_memory, schema
):
    theirs = AdaptersMap(postgres.adapters)
    for kind in ("int8", "uuid", "timestamptz"):
        theirs.register_loader(kind, TextLoader)
    theirs.register_dumper(list, AsJson)
    theirs.register_dumper(int, Int8Dumper)
    monkeypatch.setattr(postgres, "adapters", theirs)
    monkeypatch.setattr("psycopg.types.json._JsonLoader._loads", bytes)

    await lives(await make_memory())


async def test_migrations_run_in_a_session_of_odd_settings(role, database_url, make_memory):
    name = urlsplit(role).username
    other = f"t_{uuid4().hex[:12]}"
    with psycopg.connect(database_url, autocommit=True) as admin:
        _execute(admin, "GRANT CREATE ON DATABASE {base} TO {role}", base=admin.info.dbname, role=name)
        memory = await make_memory(role, db_schema=other)
        assert await memory.init_schema()
        await lives(memory)
        await memory.close()
        _execute(admin, "DROP SCHEMA {schema} CASCADE", schema=other)


def test_overlapping_writes_are_all_stored_under_any_default_isolation(role, redis_url, schema, key_prefix):
    with ConversationMemory.from_url(role, redis_url, db_schema=schema, key_prefix=key_prefix) as memory:
        threads = [
            Thread(target=lambda: [memory.save_message("c", "x", user_id="ana") for _ in range(20)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(memory.get_messages("c", user_id="ana", limit=100)) == 80


@pytest.fixture
def other_database(database_url):
    """A function that makes a database of another encoding; its URL."""
    made = []

    def make(encoding):
        name = f"test_{encoding.lower()}_{uuid4().hex[:8]}"
        with psycopg.connect(database_url, autocommit=True) as admin:
            text = "CREATE DATABASE {name} ENCODING {value} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            _execute(admin, text, name=name, value=encoding)
        made.append(name)
        return urlsplit(database_url)._replace(path=f"/{name}").geturl()

    yield make
    with psycopg.connect(database_url, autocommit=True) as admin:
        for name in made:
            _execute(admin, "DROP DATABASE {name} WITH (FORCE)", name=name)


async def test_a_database_without_an_encoding_keeps_every_character(other_database, make_memory):
    memory = await make_memory(other_database("SQL_ASCII"))
    await memory.init_schema()
    await lives(memory)
    await memory.rename_conversation("c0", "漢字", user_id="ana")
    assert (await memory.get_conversation("c0", user_id="ana")).title == "漢字"


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP"])
async def test_a_database_that_cannot_hold_every_character_is_refused(other_database, make_memory, encoding):
    with pytest.raises(ConfigurationError, match=rf"^DATABASE_URL: .*{encoding}.*ENCODING 'UTF8'"):
        await make_memory(other_database(encoding))


async def test_connections_are_kept_alive_and_a_url_has_the_last_word(schema, make_memory, postgres_proxy):
    plain = await make_memory(postgres_proxy.url, pool_max=1)
    options = "?keepalives_idle=7&target_session_attrs=any"
    said = await make_memory(f"{postgres_proxy.url}{options}", pool_max=1)
    for memory, wanted in ((plain, ("1", "30", "primary")), (said, ("1", "7", "any"))):
        await memory.check()
        [connection] = list(memory.postgres._pool._pool)
        found = {one.keyword.decode(): one.val for one in connection.pgconn.info if one.val is not None}
        names = ("keepalives", "keepalives_idle", "target_session_attrs")
        assert tuple(found[name].decode() for name in names) == wanted


async def test_behind_a_pooler_each_statement_brings_its_settings(make_memory, schema, role, make_proxy):
    proxy = make_proxy(role)
    proxy.pooled = True
    memory = await make_memory(proxy.url, pool_max=1, lock_timeout=0.7)
    await lives(memory)
    with proxy.counting() as counted:
        await memory.save_message("c0", "one more", user_id="ana")
    assert (counted.round_trips, counted.requests) == (1, 1)

    [connection] = list(memory.postgres._pool._pool)
    shown = "SELECT current_setting('search_path'), current_setting('lock_timeout'), current_setting('transaction_isolation')"
    inside = await _run(connection, shown)
    assert [tuple(row) for row in inside] == [("pg_catalog, pg_temp", "700ms", "read committed")]
    left = await _done(connection.execute("SHOW search_path"))
    assert await _done(left.fetchone()) == ("nowhere",), "the session is somebody else's next"


async def _run(connection, text):
    return await _done(connection.run(text, {}, fetch=True))


async def _done(outcome):
    """The outcome of a driver's call in either colour."""
    return await outcome if hasattr(outcome, "__await__") else outcome
