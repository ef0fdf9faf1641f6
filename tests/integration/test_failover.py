"""A standby takes over: what connected to a server that takes no writes any more lets go of it, and the same call is stored."""

import asyncio
import inspect
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest

from convmemory import ConvMemoryError, Settings, StorageUnavailable
from convmemory.embedded.runtime import runtime_directory
from fix_memory import texts
from fix_servers import same_binaries
from torture.servers import Postgres, Standby, wait_for

PATIENCE = 10.0
"""Seconds after the promotion within which writes are stored again. Two do where nobody else uses the machine; a session
that is not let go of would take no writes for ever."""


@pytest.fixture
def pair(tmp_path):
    """A primary and a standby that follows it."""
    place = tmp_path / "primary"
    place.mkdir(mode=0o711)
    with ExitStack() as stack, same_binaries():
        runtime = stack.enter_context(runtime_directory())
        primary = Postgres(place, runtime)
        if not Standby.possible(primary):
            pytest.skip("this PostgreSQL comes without pg_basebackup")
        primary.start()
        stack.callback(primary.end)
        other = tmp_path / "standby"
        other.mkdir()
        standby = Standby(primary, other, runtime)
        standby.start()
        stack.callback(standby.end)
        yield primary, standby


def followed(primary, standby):
    """Wait until the standby has all that the primary has."""
    with primary.connect() as one, standby.connect() as two:
        [end] = one.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        caught_up = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        wait_for(lambda: two.execute(caught_up, [end]).fetchone() == (True,), 10, "the standby lags")


def both(primary, standby, attributes="?target_session_attrs=read-write"):
    """A URL with two hosts, the standby first."""
    return f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/convmemory{attributes}"


async def test_writes_go_on_at_the_new_primary(pair, make_memory):
    primary, standby = pair
    memory = await make_memory(both(primary, standby), None, pool_min=3, pool_timeout=0.5)
    await memory.init_schema()
    await memory.save_message("c", "before", user_id="ana")
    followed(primary, standby)

    primary.kill()
    with pytest.raises(StorageUnavailable):
        await memory.save_message("c", "nobody there", user_id="ana")
    await asyncio.to_thread(standby.promote)
    promoted = time.monotonic()
    while True:
        try:
            await memory.save_message("c", "after", user_id="ana")
            break
        except ConvMemoryError:
            assert time.monotonic() - promoted < PATIENCE
            await asyncio.sleep(0.05)

    assert time.monotonic() - promoted < PATIENCE
    assert texts(await memory.get_messages("c", user_id="ana")) == ["before", "after"]
    assert (await memory.check()).ok


async def test_one_write_waits_out_the_fail_over(pair, make_memory):
    primary, standby = pair
    memory = await make_memory(both(primary, standby, ""), None, pool_min=3, pool_timeout=20)
    await memory.init_schema()
    await memory.save_message("c", "before", user_id="ana")
    followed(primary, standby)
    with pytest.raises(StorageUnavailable):  # a replica is no place for a memory, also where nothing says so
        await make_memory(standby.url, None)

    primary.end()
    with ThreadPoolExecutor(1) as beside:
        taking_over = beside.submit(standby.promote)
        await memory.save_message("c", "meanwhile", user_id="ana")
    taking_over.result()

    assert texts(await memory.get_messages("c", user_id="ana")) == ["before", "meanwhile"]


async def test_a_session_that_takes_no_writes_is_left_with_all_that_are_older(memory):
    await memory.save_message("c", "before", user_id="ana")
    pool = memory.postgres._pool
    await _done(pool.resize(4, 10))
    await _done(pool.wait())
    older = list(pool._pool)
    for connection in older:  # what they are connected to is a replica now
        await _done(connection.execute("SET default_transaction_read_only = on"))

    for number in range(3):
        await memory.save_message("c", f"{number}", user_id="ana")

    assert all(connection.closed for connection in older)
    assert texts(await memory.get_messages("c", user_id="ana")) == ["before", "0", "1", "2"]


async def test_a_server_that_takes_no_writes_at_all_is_told_as_unavailable(make_memory, schema, database_url):
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(
            "CREATE OR REPLACE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE 'cannot execute INSERT in a read-only transaction' USING ERRCODE = '25006'; END $$"
        )
        admin.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON {schema}.messages EXECUTE FUNCTION public.refuse()"
        )
    memory = await make_memory()

    for _ in range(5):
        with pytest.raises(StorageUnavailable, match="read-only transaction"):
            await memory.save_message("c", "hello", user_id="ana")

    assert (await memory.check()).postgres.breaker == "closed", "it answers"


async def _done(outcome):
    """The outcome of a driver's call in either colour."""
    return await outcome if inspect.iscoroutine(outcome) else outcome


def test_several_hosts_may_be_named_in_the_environment(monkeypatch):
    monkeypatch.setenv("POSTGRES_HOST", "one,two,::1")
    found = psycopg.conninfo.conninfo_to_dict(Settings.from_env().postgres_conninfo())

    assert (found["host"], found["port"]) == ("one,two,::1", "5432,5432,5432")
