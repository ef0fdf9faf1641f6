"""The rights the documentation asks for are enough, and no more than that: its own lines are run here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from psycopg.errors import InsufficientPrivilege
from redis import Redis

from convmemory import (
    ConversationMemory,
    ConversationNotFound,
    Draft,
    PostgresStore,
    RetrievedContext,
    Settings,
    StorageError,
)
from fix_servers import same_binaries
from torture.servers import Hot

PAGE = Path(__file__).parents[2].joinpath("docs/how-to/production.md").read_text("utf-8")
GRANTS, POLICIES = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
[COMMANDS] = re.findall(r"^ACL SETUSER app on >password ~convmemory:\* (.*)$", PAGE, re.MULTILINE)
PASSWORD = "correct horse"
Grantee = Callable[..., str]


@pytest.fixture
def role(database_url: str) -> Iterator[Callable[[], str]]:
    """A function that makes a role which may do nothing yet; dropped in the end."""
    made: list[str] = []

    def make() -> str:
        made.append(f"r_{uuid4().hex[:12]}")
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(f"CREATE ROLE {made[-1]} LOGIN")
        return made[-1]

    yield make
    with psycopg.connect(database_url, autocommit=True) as admin:
        for name in made:
            admin.execute(f"DROP OWNED BY {name}")
            admin.execute(f"DROP ROLE {name}")


@pytest.fixture
def as_role(database_url: str) -> Callable[[str], str]:
    def url(name: str) -> str:
        return urlsplit(database_url)._replace(netloc=f"{name}@").geturl()

    return url


def run(database_url: str, statements: str, schema: str, role: str = "") -> None:
    """The documentation's own lines, with this test's names in them."""
    text = re.sub(
        r"\b(TO|FROM) app;", rf"\1 {role};", statements.replace("SCHEMA convmemory ", f"SCHEMA {schema} ")
    )
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(text.replace("convmemory.", f"{schema}."))


def use_everything(memory: ConversationMemory, user: str = "ana") -> None:
    """Every verb, with everything that can be given to it."""
    contexts = [RetrievedContext("page", "d1", 0.5, {"n": 1})]
    memory.create_conversation(user, conversation_id="c", dept_id="d", metadata={"a": 1})
    for number in range(8):
        turn = [Draft(HumanMessage(f"q{number}")), Draft(AIMessage("a", id=f"m{number}"), contexts=contexts)]
        memory.save_messages("c", turn, user_id=user)
        memory.save_messages("c", turn[1:], user_id=user)
        memory.get_history("c", user_id=user, limit=2)
        memory.get_history("c", user_id=user)
    memory.get_history("c", user_id=user, limit=None)
    assert len(memory.get_messages("c", user_id=user)) == 16
    memory.rename_conversation("c", "mine", user_id=user)
    assert [c.title for c in memory.list_user_conversations(user)] == ["mine"]
    memory.clear("c", user_id=user)
    for _ in range(3):
        assert memory.get_history("c", user_id=user) == []
    caches = memory.redis.trust.standing.names
    memory.postgres.mark(memory.get_conversation("c", user_id=user).uuid, caches)
    memory.postgres.tidy_caches(caches)
    memory.redis.trust.lost()
    assert memory.get_history("c", user_id=user) == []
    sessions = [memory.create_session(user, conversation_id="c") for _ in range(3)]
    memory.get_session(sessions[0].session_id)
    memory.extend_session(sessions[0].session_id, metadata={"a": 1})
    memory.end_session(sessions[1].session_id)
    assert len(memory.list_user_sessions(user)) == 2
    memory.delete_conversation("c", user_id=user)


@pytest.fixture
def granted(database_url, schema, role, as_role) -> str:
    """The URL of a role with the rights of the documentation, on this test's schema."""
    name = role()
    run(database_url, GRANTS, schema, name)
    return as_role(name)


def test_the_documented_rights_are_enough_for_every_verb(granted, redis_url, schema, key_prefix):
    with ConversationMemory.from_url(granted, redis_url, db_schema=schema, key_prefix=key_prefix) as memory:
        assert memory.init_schema() == []
        use_everything(memory)

        assert memory.check().ok
        assert memory.check().postgres.figures["failed_writes"] == 0


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE {0}.mine (n int)",
        "CREATE FUNCTION {0}.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE {0}.messages ADD COLUMN mine int",
        "ALTER TABLE {0}.messages DISABLE TRIGGER ALL",
        (
            "CREATE OR REPLACE FUNCTION {0}.clear_v1(p_conversation uuid, p_user text, p_own text[], p_batch bigint)"
            " RETURNS TABLE (stamp text, left_here boolean, left_anywhere boolean)"
            " LANGUAGE sql AS 'SELECT 1::text, true, true'"
        ),
        "DROP TABLE {0}.message_documents",
        "TRUNCATE {0}.messages CASCADE",
        "DROP SCHEMA {0} CASCADE",
        "INSERT INTO {0}.schema_migrations (version, name, compatible_from) VALUES (99, 'newer', 1)",
        "UPDATE {0}.schema_migrations SET version = 99",
        "DELETE FROM {0}.schema_migrations",
        "UPDATE {0}.installation SET id = gen_random_uuid()",
        "CREATE SCHEMA mine",
    ],
)
def test_that_role_can_change_no_schema(granted, schema, statement):
    with psycopg.connect(granted, autocommit=True) as conn, pytest.raises(InsufficientPrivilege):
        conn.execute(statement.format(schema))


@pytest.mark.parametrize("right", ["USAGE", "SELECT", "INSERT", "UPDATE", "DELETE"])
def test_every_documented_right_is_needed(database_url, redis_url, schema, key_prefix, role, as_role, right):
    name = role()
    run(database_url, GRANTS, schema, name)
    where = f"SCHEMA {schema}" if right == "USAGE" else f"ALL TABLES IN SCHEMA {schema}"
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"REVOKE {right} ON {where} FROM {name}")

    with (
        pytest.raises(StorageError),
        ConversationMemory.from_url(
            as_role(name), redis_url, db_schema=schema, key_prefix=key_prefix
        ) as memory,
    ):
        use_everything(memory)


def test_functions_that_nobody_else_may_call_can_be_called(
    database_url, redis_url, schema, key_prefix, role, as_role
):
    name = role()
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC")
    run(database_url, GRANTS, schema, name)

    with ConversationMemory.from_url(
        as_role(name), redis_url, db_schema=schema, key_prefix=key_prefix
    ) as memory:
        use_everything(memory)


def test_a_tenant_with_a_schema_of_its_own_reaches_no_other(database_url, redis_url, schema, role, as_role):
    other, names = f"{schema}_b", (role(), role())
    PostgresStore(database_url, Settings(db_schema=other)).init_schema()
    try:
        for name, place in zip(names, (schema, other), strict=True):
            run(database_url, GRANTS, place, name)
            with ConversationMemory.from_url(
                as_role(name), redis_url, db_schema=place, key_prefix=f"{place}:"
            ) as memory:
                use_everything(memory)
                memory.save_message("c", HumanMessage(place), user_id="ana")
                memory.get_history("c", user_id="ana")
                assert memory.get_history("c", user_id="ana") == [HumanMessage(place)]

        with (
            pytest.raises(StorageError, match="permission denied"),
            ConversationMemory.from_url(as_role(names[0]), db_schema=other) as memory,
        ):
            memory.get_history("c", user_id="ana")
    finally:
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(f"DROP SCHEMA {other} CASCADE")


@pytest.fixture
def tenants(database_url, redis_url, schema, key_prefix, role, as_role) -> Iterator[list[ConversationMemory]]:
    """Two tenants' memories over the same tables, under the documented policies."""
    run(database_url, POLICIES, schema)
    names = [role(), role()]
    for name in names:
        run(database_url, GRANTS, schema, name)
    memories = [
        ConversationMemory.from_url(
            as_role(name), redis_url, db_schema=schema, key_prefix=f"{key_prefix}{name}:"
        )
        for name in names
    ]
    for memory in memories:
        memory.open()
    yield memories
    for memory in memories:
        memory.close()


def test_row_level_security_by_role_leaves_every_verb_to_its_tenant(tenants):
    for memory, user in zip(tenants, ("ana", "ben"), strict=True):
        use_everything(memory, user)


def test_row_level_security_by_role_leaves_each_tenant_caches_and_marks_of_its_own(tenants, database, schema):
    """Or every write would leave a mark for every other tenant, which that one can do nothing with."""
    for memory, user in zip(tenants, ("ana", "ben"), strict=True):
        memory.save_message("c", HumanMessage("x"), user_id=user)
        memory.get_history("c", user_id=user)
        memory.save_message("c", HumanMessage("y"), user_id=user)
    assert database.execute("SELECT count(*), count(DISTINCT registered_by) FROM caches").fetchone() == (2, 2)
    assert database.execute("SELECT count(*) FROM marks").fetchone() == (0,)

    one, other = tenants
    one.redis.health.open = True
    one.save_message("c", HumanMessage("z"), user_id="ana")
    assert (
        one.check().postgres.figures["dirty_windows"],
        other.check().postgres.figures["dirty_windows"],
    ) == (1, 0)
    database.execute("DELETE FROM messages")  # their owner's hand reaches everybody
    assert other.check().postgres.figures["dirty_windows"] == 2
    assert other.postgres.forget_caches() == 1
    assert database.execute("SELECT count(*) FROM caches").fetchone() == (1,)


def test_row_level_security_by_role_hides_another_tenants_rows(tenants, schema):
    one, other = tenants
    made = one.create_conversation("ana")
    one.save_message(made.uuid, HumanMessage("secret"), user_id="ana", contexts=[RetrievedContext("page")])

    with pytest.raises(ConversationNotFound):
        other.get_history(made.uuid, user_id="ana")
    with pytest.raises(ConversationNotFound):
        other.save_message(made.uuid, HumanMessage("hi"), user_id="ana")
    with pytest.raises(ConversationNotFound):
        other.delete_conversation(made.uuid, user_id="ana")
    with pytest.raises(StorageError, match="row-level security"):
        other.create_conversation("ana", conversation_id=made.uuid)
    assert other.list_user_conversations("ana") == []
    with other.postgres._pool.connection() as conn:
        for table in ("conversations", "messages", "message_contexts"):
            assert conn.execute(f"SELECT count(*) FROM {schema}.{table}").fetchone() == (0,)
    assert one.get_history(made.uuid, user_id="ana") == [HumanMessage("secret")]


@pytest.fixture(scope="module")
def private_redis(tmp_path_factory) -> Iterator[Redis]:
    """A server with users of this module's own."""
    with same_binaries():
        server = Hot(tmp_path_factory.mktemp("acl") / "redis")
    server.start()
    yield server.client
    server.end()


def limited(client: Redis, commands: list[str]) -> str:
    """The URL of a user who may run these commands on our keys; the server holds no key and no script."""
    port = client.connection_pool.connection_kwargs["port"]
    client.flushall()
    client.script_flush()
    client.execute_command("ACL", "SETUSER", "app", "reset", "on", f">{PASSWORD}", "~convmemory:*", *commands)
    return f"redis://app:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/0"


def test_the_documented_redis_user_can_do_every_verb(database_url, schema, private_redis):
    with ConversationMemory.from_url(
        database_url, limited(private_redis, COMMANDS.split()), db_schema=schema
    ) as memory:
        use_everything(memory)

        assert memory.check().ok
        assert memory.check().redis.figures["failures"] == 0
        assert memory.check().redis.figures["hits"] > 0


def test_a_numbered_database_needs_one_command_more(database_url, schema, private_redis):
    [more] = re.findall(r"with another database than number 0, `(.*)`", PAGE)
    for commands, reached in ((COMMANDS, False), (f"{COMMANDS} {more}", True)):
        url = urlsplit(limited(private_redis, commands.split()))._replace(path="/1").geturl()
        with ConversationMemory.from_url(database_url, url, db_schema=schema) as memory:
            assert memory.check().redis.reachable is reached


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_documented_redis_command_is_needed(database_url, schema, private_redis, command):
    fewer = [one for one in COMMANDS.split() if one != command]
    with ConversationMemory.from_url(database_url, limited(private_redis, fewer), db_schema=schema) as memory:
        try:
            use_everything(memory)
        except StorageError as error:
            failed = error.tier == "Redis"
        else:
            figures = memory.check().redis.figures  # without INFO nothing is cached, and nothing fails
            failed = bool(figures["failures"]) or not figures["caching"]

    assert failed


def test_the_documented_redis_user_reaches_no_other_keys(database_url, schema, private_redis):
    url = limited(private_redis, COMMANDS.split())
    with ConversationMemory.from_url(database_url, url, db_schema=schema, key_prefix="other:") as memory:
        with pytest.raises(StorageError, match="Redis"):
            memory.create_session("ana")
        memory.save_message("c", HumanMessage("x"), user_id="ana")

        assert memory.get_history("c", user_id="ana") == [HumanMessage("x")]
    assert list(private_redis.scan_iter("other:*")) == []
