"""Keys: where conversations may be spread over machines, each key says which conversation it is of."""

import pytest

NOT_PER_CONVERSATION = {
    "documents": "of a user, however many conversations they were retrieved in",
    "loose_documents": "of a user's documents",
    "caches": "of the database: a row for each Redis",
    "installation": "one row",
    "schema_migrations": "of the database: a row for each migration",
}
"""Tables whose keys have no conversation in them, and what they are of."""
COLUMNS = {"conversation_id", "conversation"}

KEYS = """SELECT t.relname, i.relname, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_index AS x
JOIN pg_class AS t ON t.oid = x.indrelid
JOIN pg_class AS i ON i.oid = x.indexrelid
JOIN pg_attribute AS a ON a.attrelid = i.oid
WHERE t.relnamespace = %s::regnamespace AND (x.indisunique OR x.indisexclusion)
GROUP BY t.relname, i.relname"""


@pytest.fixture
def keys(database, schema):
    """Every primary and unique key of the schema, and what it is over."""
    return database.execute(KEYS, [schema]).fetchall()


def test_every_primary_and_unique_key_contains_the_conversation(keys):
    without = {table: key for table, key, columns in keys if not COLUMNS & set(columns)}

    assert without.keys() == NOT_PER_CONVERSATION.keys()


def test_every_table_has_a_key(keys, database, schema):
    tables = database.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()

    assert {table for table, *_ in keys} == {table for (table,) in tables}


def test_what_refers_to_another_table_does_so_by_the_conversation(database, schema):
    """A foreign key between tables that lie on several machines has to."""
    references = """SELECT c.conrelid::regclass::text, array_agg(a.attname::text)
        FROM pg_constraint AS c JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
        WHERE c.contype = 'f' AND c.connamespace = %s::regnamespace GROUP BY c.oid, c.conrelid"""
    found = database.execute(references, [schema]).fetchall()

    assert found
    assert all("conversation_id" in columns for _, columns in found)
