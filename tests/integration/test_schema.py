"""The schema: made once by however many, asked for by name where it is missing, and never older than it seems."""

import asyncio
import logging
import subprocess
import sys
import threading
import time
from uuid import uuid4

import psycopg
import pytest

from convmemory import SchemaOutdated, StorageError
from convmemory._async.migrate import _LOCK
from convmemory.storage import sql_and_lua


async def test_without_a_schema_every_verb_names_the_command_that_makes_it(make_memory, schema_name):
    memory = await make_memory()
    wanted = rf"schema '{schema_name}' is not there: run `convmemory init`"
    for verb in (
        lambda: memory.save_message("c", "x", user_id="ana"),
        lambda: memory.get_history("c", user_id="ana"),
        lambda: memory.get_history("c", user_id="ana", limit=None),
        lambda: memory.list_user_conversations("ana"),
        lambda: memory.create_conversation("ana"),
        lambda: memory.clear("c", user_id="ana"),
        lambda: memory.delete_conversation("c", user_id="ana"),
    ):
        with pytest.raises(SchemaOutdated, match=wanted) as caught:
            await verb()
        assert (caught.value.found, caught.value.wanted) == (None, 1)
        assert isinstance(caught.value.__cause__, psycopg.Error)
    report = await memory.check()
    assert not report.ok
    assert "convmemory init" in report.postgres.problem
    assert report.postgres.breaker == "closed"  # the server is there
    assert report.postgres.figures["failed_writes"] == 1
    await memory.init_schema()
    assert (await memory.save_message("c", "x", user_id="ana")).content == "x"


async def test_a_schema_that_was_restored_without_its_rows_says_which_it_needs(schema, make_memory, database):
    memory = await make_memory()
    kept = database.execute("DELETE FROM schema_migrations RETURNING version, name").fetchall()
    database.execute("CREATE TABLE was AS SELECT * FROM installation; DELETE FROM installation")
    with pytest.raises(StorageError, match="restore the rows of schema_migrations and installation too"):
        await memory.init_schema()
    database.execute("INSERT INTO installation SELECT * FROM was")
    database.execute("INSERT INTO schema_migrations (version, name) VALUES (%s, %s)", kept[0])

    assert await memory.init_schema() == []
    assert (await memory.save_message("c", "x", user_id="ana")).content == "x"


async def test_a_newer_schema_is_refused_on_open_and_by_init(memory, make_memory, database):
    database.execute(
        "INSERT INTO schema_migrations (version, name, compatible_from) VALUES (99, 'future', 2)"
    )
    wanted = "at version 99, newer than this library's 1: upgrade convmemory"

    with pytest.raises(SchemaOutdated, match=wanted):
        await make_memory()
    with pytest.raises(SchemaOutdated, match=wanted):
        await memory.init_schema()


async def test_a_newer_schema_that_older_releases_run_on_opens_with_one_warning(
    memory, make_memory, database, caplog
):
    """What is left of a roll-back, and what a rolling deployment's older processes start on."""
    database.execute("INSERT INTO schema_migrations (version, name, compatible_from) VALUES (98, 'one', 2)")
    database.execute("UPDATE schema_migrations SET compatible_from = 1")
    database.execute("INSERT INTO schema_migrations (version, name) VALUES (99, 'two')")
    with caplog.at_level(logging.WARNING, "convmemory"):
        older = await make_memory()
        assert (await older.save_message("c", "x", user_id="ana")).content == "x"
        assert await older.init_schema() == []

    [told] = caplog.records
    assert told.getMessage().endswith(
        "is at version 99, newer than this library's 1, which runs on it all the same"
    )
    assert [m.content for m in await memory.get_history("c", user_id="ana")] == ["x"]


def more(monkeypatch, *texts):
    """Let there be more migrations than there are."""
    steps = sql_and_lua.migrations()
    for version, text in enumerate(texts, len(steps) + 1):
        steps += (sql_and_lua.migration_of(version, f"more_{version}", text),)
    for name in ("convmemory.storage.sql_and_lua", "convmemory._sync.migrate", "convmemory._async.migrate"):
        monkeypatch.setattr(f"{name}.migrations", lambda: steps)


ADDS = "-- compatible: 1\nALTER TABLE {schema}.messages ADD COLUMN more integer"
BESIDE = """-- compatible: 1
-- transaction: none
-- An index that is built beside the traffic.
DROP INDEX CONCURRENTLY IF EXISTS {schema}.messages_by_role;
CREATE INDEX CONCURRENTLY messages_by_role ON {schema}.messages (role);
"""


async def test_each_migration_is_a_transaction_and_notes_who_may_run_on_it(memory, monkeypatch, database):
    fails = "-- compatible: 2\nALTER TABLE {schema}.messages ADD COLUMN fourth integer; SELECT 1/0"
    with monkeypatch.context() as patched:
        more(patched, ADDS, "-- compatible: 2\nALTER TABLE {schema}.messages ADD COLUMN third integer", fails)
        with pytest.raises(StorageError, match="zero"):
            await memory.init_schema()
    noted = database.execute(
        "SELECT version, name, compatible_from FROM schema_migrations ORDER BY 1"
    ).fetchall()

    assert noted == [(1, "initial", 1), (2, "more_2", 1), (3, "more_3", 2)]
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'messages' AND column_name = 'fourth'"
    assert database.execute(columns).fetchone() == (0,)
    with pytest.raises(SchemaOutdated, match="at version 3, newer than this library's 1"):
        await memory.init_schema()


async def test_a_migration_gives_way_to_who_waits_behind_it_and_is_tried_again(
    make_memory, schema, monkeypatch, database, database_url
):
    memory = await make_memory(lock_timeout=0.1)
    await memory.save_message("c", "x", user_id="ana")
    with psycopg.connect(database_url, options=f"-c search_path={schema}") as reader:
        reader.execute("SELECT * FROM messages")  # a long report holds the table
        more(monkeypatch, ADDS)
        release = threading.Timer(1.5, reader.commit)
        release.start()
        asked = threading.Thread(target=_asks, args=(database_url, schema, slowest := []))
        asked.start()
        assert await memory.init_schema() == ["0002_more_2"]
        asked.join()
        release.join()
    assert max(slowest) < 1, "who came after the migration waited for no more than its lock_timeout"
    assert database.execute("SELECT count(*) FROM schema_migrations").fetchone() == (2,)


def _asks(url, schema, slowest):
    with psycopg.connect(url, autocommit=True, options=f"-c search_path={schema}") as other:
        for _ in range(50):
            began = time.monotonic()
            other.execute("SELECT count(*) FROM messages")
            slowest.append(time.monotonic() - began)
            time.sleep(0.02)


async def test_a_migration_may_build_an_index_beside_the_traffic(memory, make_memory, monkeypatch, database):
    others = [await make_memory() for _ in range(3)]
    more(monkeypatch, ADDS, BESIDE)
    done = await asyncio.gather(*(one.init_schema() for one in (memory, *others)))

    assert sorted(name for names in done for name in names) == ["0002_more_2", "0003_more_3"]
    [[valid]] = database.execute(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'messages_by_role'::regclass"
    ).fetchall()
    assert valid
    assert database.execute("SELECT count(*) FROM schema_migrations").fetchone() == (3,)


async def test_init_says_what_it_did_and_then_does_nothing(make_memory, database):
    memory = await make_memory()

    assert await memory.init_schema() == ["0001_initial"]
    assert await memory.init_schema() == []
    assert database.execute("SELECT version, name FROM schema_migrations").fetchall() == [(1, "initial")]


async def test_a_role_without_the_right_to_create_can_use_a_schema_that_is_there(
    schema, make_memory, database
):
    role = f"reader_{uuid4().hex[:12]}"
    database.execute(f"CREATE ROLE {role} LOGIN")
    try:
        database.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        database.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}")
        url = psycopg.conninfo.make_conninfo(database.info.dsn, user=role, options="")
        memory = await make_memory(url)
        assert await memory.init_schema() == []
        assert (await memory.save_message("c", "x", user_id="ana")).content == "x"
        await memory.close()
    finally:
        database.execute(f"DROP OWNED BY {role}")
        database.execute(f"DROP ROLE {role}")


async def test_a_migration_waits_for_anothers_longer_than_any_time_out(make_memory, database_url, database):
    impatient = psycopg.conninfo.make_conninfo(
        database_url, options="-c statement_timeout=300 -c lock_timeout=300"
    )
    memory = await make_memory(impatient, statement_timeout=0.3)
    database.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    release = threading.Timer(1.5, database.execute, ["SELECT pg_advisory_unlock(%s)", [_LOCK]])
    release.start()
    try:
        assert await memory.init_schema() == ["0001_initial"]
        assert release.finished.is_set()
    finally:
        release.join()


EIGHT_PROCESSES = r"""
import os, sys
from convmemory import ConversationMemory
memory = ConversationMemory.from_url(sys.argv[1], db_schema=sys.argv[2])
wait, go = os.pipe()
children = []
for _ in range(8):
    if not (child := os.fork()):
        os.close(go)
        os.read(wait, 1)
        os.write(1, f"{memory.init_schema()}\n".encode())  # in one piece
        os._exit(0)
    children.append(child)
os.close(go)  # and they all begin
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def test_eight_processes_may_make_the_schema_at_once(database_url, schema_name, database):
    command = [sys.executable, "-c", EIGHT_PROCESSES, database_url, schema_name]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert sorted(outcome.stdout.splitlines()) == ["['0001_initial']"] + ["[]"] * 7, outcome.stderr
    assert outcome.returncode == 0
    assert database.execute("SELECT count(*) FROM schema_migrations").fetchone() == (1,)
