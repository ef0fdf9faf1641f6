"""Texts arrive in PostgreSQL as they were, in the driver's binary form and written into a statement."""

import psycopg
import pytest

from convmemory.storage.adapters import OWN
from convmemory.storage.text_arrays import TextArray, sparse_array

TEXTS = [
    [],
    [""],
    ["one"],
    ["NULL", "null", '"', "\\", "{}", "a,b", " padded ", "\n\t\r"],
    ["ß", "日本語", "🙂\u200d🙂", "e\u0301", "\x01\x1f\x7f"],
    ["x" * 100_000, "'; DROP TABLE messages; --", "%s %(a)s $1"],
]


@pytest.fixture
def connection(database_url):
    with psycopg.connect(database_url, context=OWN) as found:
        yield found


@pytest.mark.parametrize("cursor", [psycopg.Cursor, psycopg.ClientCursor])
@pytest.mark.parametrize("texts", TEXTS, ids=range(len(TEXTS)))
def test_texts_arrive_as_they_were(connection, texts, cursor):
    asked = (
        "SELECT given, pg_typeof(given)::text, cardinality(given) FROM (SELECT %s::text[] AS given) AS one"
    )
    [(given, kind, how_many)] = cursor(connection).execute(asked, [TextArray(texts)]).fetchall()

    assert (given, kind, how_many) == (texts, "text[]", len(texts))


def test_they_go_in_binary(connection):
    sent = psycopg.adapt.Transformer(connection).get_dumper(TextArray([]), psycopg.adapt.PyFormat.AUTO)

    assert sent.format == psycopg.pq.Format.BINARY


def test_arrays_some_of_which_is_missing_arrive_as_they_were(database):
    texts, numbers = [None, "NULL", '{"a": "\\"b\\\\"}', ""], [None, 0, -1, 2**31 - 1]
    asked = "SELECT %s::text[], %s::integer[]"

    found = database.execute(asked, [sparse_array(texts), sparse_array(numbers)]).fetchall()

    assert found == [(texts, numbers)]
