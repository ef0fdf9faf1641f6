"""A schema that one test leaves to the next is as good as new, or is not handed on."""

from __future__ import annotations

import psycopg
import pytest

from convmemory import ConversationMemory
from fix_memory import installation
from fix_schemas import KEPT, TABLES, Schemas
from fix_servers import DATABASE_URL

pytestmark = pytest.mark.skipif(bool(DATABASE_URL), reason="schemas are handed on in databases of our own")


@pytest.fixture
def own(database_url):
    """Nobody else's schemas."""
    found = Schemas(database_url)
    yield found
    found.close()


@pytest.fixture
def run(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield lambda statement: connection.execute(statement.encode())


def test_rows_are_taken_away_and_it_is_another_installation(own, run, database_url, redis_url, key_prefix):
    name = own.take()
    before = installation(database_url, name)
    with ConversationMemory.from_url(
        database_url, redis_url, db_schema=name, key_prefix=key_prefix
    ) as memory:
        memory.save_message("c", "hello", user_id="ana")
    assert run(f"SELECT FROM {name}.messages").rowcount == run(f"SELECT FROM {name}.caches").rowcount == 1
    own.give_back(name)

    assert own.take() == name
    assert installation(database_url, name) != before
    for (table,) in run(TABLES.replace("%s", f"'{name}'", 1).replace("%s", "'r'")).fetchall():
        assert run(f"SELECT FROM {name}.{table}").rowcount == (table in KEPT), table


@pytest.mark.parametrize(
    "change",
    [
        "DROP SCHEMA {} CASCADE",
        "CREATE TABLE {}.more (n int)",
        "DROP TABLE {}.marks",
        "ALTER TABLE {}.messages ADD COLUMN more int",
        "ALTER TABLE {}.messages ALTER COLUMN content SET STORAGE EXTERNAL",
        "ALTER TABLE {}.messages DISABLE TRIGGER updated_by_hand",
        "ALTER TABLE {}.messages SET UNLOGGED",
        "DROP TRIGGER updated_by_hand ON {}.messages",
        "DROP INDEX {}.messages_by_id",
        "CREATE OR REPLACE FUNCTION {}.history_v1() RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'x' $$",
        "CREATE OR REPLACE VIEW {0}.message_contexts AS TABLE {0}.message_contexts",
        "GRANT SELECT ON {}.messages TO PUBLIC",
        "GRANT USAGE ON SCHEMA {} TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {} GRANT SELECT ON TABLES TO PUBLIC",
        "UPDATE {}.schema_migrations SET version = version + 1",
        "ANALYZE {}.conversations",
        "INSERT INTO {}.caches SELECT n::text, 'x' FROM generate_series(1, 20000) AS n",
    ],
)
def test_what_was_changed_is_not_handed_on(own, run, change):
    name = own.take()
    run(change.format(name))
    own.give_back(name)

    assert own.take() != name


def test_nor_what_somebody_still_holds(own, database_url):
    name = own.take()
    with psycopg.connect(database_url) as holding:
        holding.execute(f"LOCK TABLE {name}.messages".encode())
        own.give_back(name)

    assert own.take() != name


def test_a_test_that_breaks_every_connection_costs_the_next_one_nothing(own, run):
    name = own.take()
    run(f"SELECT pg_terminate_backend({own._conn.info.backend_pid}, 1000)")
    own.give_back(name)

    assert own.take() != name
