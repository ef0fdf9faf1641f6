"""The schema: made once by however many, asked for by name where it is missing, and never older than it seems."""

import subprocess
import sys
import threading
from uuid import uuid4

import psycopg
import pytest

from convmemory import (
    SchemaOutdated,
)
from convmemory._async.migrate import _LOCK


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


async def test_a_newer_schema_is_refused_on_open_and_by_init(memory, make_memory, database):
    database.execute("INSERT INTO schema_migrations (version, name) VALUES (99, 'future')")
    wanted = "at version 99, newer than this library's 1: upgrade convmemory"

    with pytest.raises(SchemaOutdated, match=wanted):
        await make_memory()
    with pytest.raises(SchemaOutdated, match=wanted):
        await memory.init_schema()


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
