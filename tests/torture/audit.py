"""Triggers that write down what PostgreSQL commits, in the order it does: the truth the checker goes by."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from psycopg import sql

from torture.records import Event

_INSTALL = """
CREATE TABLE {schema}.audit (
    n bigserial PRIMARY KEY, transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    conversation uuid NOT NULL, what text NOT NULL, seq bigint NOT NULL, said text NOT NULL,
    at float8 NOT NULL DEFAULT extract(epoch FROM clock_timestamp()));
CREATE FUNCTION {schema}.audit_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE m {schema}.messages;
BEGIN
    IF TG_OP = 'DELETE' THEN m := OLD; ELSE m := NEW; END IF;
    INSERT INTO {schema}.audit (conversation, what, seq, said)
    VALUES (m.conversation_id, CASE TG_OP WHEN 'DELETE' THEN 'd' ELSE 'i' END, m.seq, m.content);
    RETURN NULL;
END $$;
CREATE FUNCTION {schema}.audit_conversation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE c {schema}.conversations;
BEGIN
    IF TG_OP = 'DELETE' THEN c := OLD; ELSE c := NEW; END IF;
    INSERT INTO {schema}.audit (conversation, what, seq, said)
    VALUES (c.conversation_id, CASE TG_OP WHEN 'INSERT' THEN 'n' WHEN 'UPDATE' THEN 'u' ELSE 'x' END, c.last_seq - c.gaps, '');
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR DELETE ON {schema}.messages
    FOR EACH ROW EXECUTE FUNCTION {schema}.audit_message();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON {schema}.conversations
    FOR EACH ROW EXECUTE FUNCTION {schema}.audit_conversation();
"""
_READ = (
    "SELECT transaction::text::bigint, conversation, what, seq, said, at - %s FROM {schema}.audit "
    "WHERE n > %s ORDER BY n"
)
_NEWEST = "SELECT coalesce(max(n), 0) FROM {schema}.audit"


def install(conn: psycopg.Connection[Any], schema: str) -> None:
    """Watch the tables of a schema that convmemory has just made."""
    conn.execute(sql.SQL(_INSTALL).format(schema=sql.Identifier(schema)))


def read(conn: psycopg.Connection[Any], schema: str, after: int = 0) -> list[Event]:
    """Everything that was committed, in order, or the rows after one of them; its times by the clock of the records."""
    apart = time.time() - time.perf_counter()
    rows = conn.execute(sql.SQL(_READ).format(schema=sql.Identifier(schema)), [apart, after])
    return [Event(transaction, str(conversation), *rest) for transaction, conversation, *rest in rows]


def newest(conn: psycopg.Connection[Any], schema: str) -> int:
    """The number of the newest row, of which every later one has a higher number."""
    found = conn.execute(sql.SQL(_NEWEST).format(schema=sql.Identifier(schema))).fetchone()
    assert found
    number: int = found[0]
    return number
