"""Processes forked from one whose memory is open: each has connections of its own, and the first notices nothing."""

import asyncio
import gc
import json
import os
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import pytest

from convmemory import AsyncConversationMemory, ConversationMemory, StorageUnavailable
from fix_memory import texts

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
USERS = ("ada", "bob", "eve")
PATIENCE = 120
"""Seconds after which a child that waits for what never comes is ended; the machine may be busy."""


class Child:
    """A forked process that does one thing and tells what came of it."""

    def __init__(self, work) -> None:
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point
            self.pid = os.fork()
        if self.pid == 0:
            signal.alarm(PATIENCE)
            try:
                said = ["came back with", work()]
            except BaseException:
                said = ["failed", traceback.format_exc()]
            os.write(writer, json.dumps(said).encode())
            os._exit(0)
        os.close(writer)
        self._reader = reader

    def result(self):
        with os.fdopen(self._reader, "rb") as pipe:
            said = pipe.read()
        os.waitpid(self.pid, 0)
        how, what = json.loads(said or '["failed", "it never came back"]')
        assert how == "came back with", what
        return what


def sessions_of(database) -> set[int]:
    rows = database.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'convmemory' AND datname = current_database()"
    )
    return {pid for (pid,) in rows}


@pytest.fixture
def urls(database_url, redis_url, schema, key_prefix):
    """What a memory over this test's schema and keys is made from."""
    return (database_url, redis_url), {"db_schema": schema, "key_prefix": key_prefix}


def foreign(messages, user: str) -> list[str]:
    return [said for said in texts(messages) if not said.startswith(user)]


@pytest.mark.parametrize("warm", [1, 6])
def test_forked_processes_read_their_own_users_messages_and_the_parent_goes_on(urls, database, warm):
    places, settings = urls
    with ConversationMemory.from_url(*places, **settings, pool_min=warm) as memory:
        for user in USERS:
            memory.save_messages("c", [f"{user} {number}" for number in range(8)], user_id=user)
            memory.get_history("c", user_id=user)
        before = sessions_of(database)

        def read(user):
            found = []
            for number in range(60):
                found += foreign(memory.get_messages("c", user_id=user), user)
                found += foreign(memory.get_history("c", user_id=user), user)
                memory.save_message(f"{user} {number}", f"{user} {number}", user_id=user)
            return found

        children = [Child(lambda user=user: read(user)) for user in USERS]
        ours = [foreign(memory.get_messages("c", user_id=user), user) for user in USERS for _ in range(60)]

        assert [child.result() for child in children] == [[]] * 3
        assert ours == [[]] * 180
        assert before <= sessions_of(database)  # no child hung up on the parent's behalf
        assert memory.postgres.health.counters.failures == 0


def test_a_child_that_ends_as_programs_do_leaves_the_parents_connections_alone(urls, database):
    places, settings = urls
    with ConversationMemory.from_url(*places, **settings, pool_min=3) as memory:
        memory.save_message("c", "one", user_id="ada")
        before = sessions_of(database)

        def end():
            memory.close()
            gc.collect()

        Child(end).result()
        Child(gc.collect).result()
        time.sleep(0.1)

        assert before <= sessions_of(database)
        assert texts(memory.get_messages("c", user_id="ada")) == ["one"]


def test_a_memory_can_be_closed_and_opened_in_a_child(urls):
    places, settings = urls
    with ConversationMemory.from_url(*places, **settings) as memory:

        def work():
            memory.open()
            memory.save_message("c", "one", user_id="ada")
            memory.close()
            with memory:
                memory.save_message("c", "two", user_id="ada")
                return texts(memory.get_history("c", user_id="ada"))

        assert Child(work).result() == ["one", "two"]
        assert texts(memory.get_messages("c", user_id="ada")) == ["one", "two"]


def test_a_breaker_that_was_open_in_the_parent_is_closed_in_the_child(urls, postgres_proxy, redis_proxy):
    _, settings = urls
    limits = {"pool_timeout": 0.2, "redis_timeout": 0.2}
    with ConversationMemory.from_url(postgres_proxy.url, redis_proxy.url, **settings, **limits) as memory:
        memory.save_message("c", "one", user_id="ada")
        for proxy in (postgres_proxy, redis_proxy):
            proxy.mode = "refuse"
            proxy.reset_all()
        for _ in range(5):
            for verb in (memory.create_session, memory.list_user_conversations):
                with pytest.raises(StorageUnavailable):
                    verb("ada")
        assert (memory.postgres.health.open, memory.redis.health.open) == (True, True)
        gate, opened = os.pipe()

        def work():
            os.read(gate, 1)
            while True:  # until the alarm: a busy machine may need longer than 0.2 s to connect
                try:
                    memory.create_session("ada")
                    return texts(memory.get_messages("c", user_id="ada"))
                except StorageUnavailable as error:
                    if "left alone" in str(error):  # that was the parent's breaker
                        raise
                    time.sleep(0.02)

        child = Child(work)
        for proxy in (postgres_proxy, redis_proxy):
            proxy.mode = "pass"
        os.write(opened, b"!")
        assert child.result() == ["one"]


def test_locks_that_were_held_as_the_process_forked_bind_nobody_in_the_child(urls):
    places, settings = urls
    with ConversationMemory.from_url(*places, **settings) as memory:
        memory.save_message("c", "one", user_id="ada")
        locks = [
            memory.postgres.health._lock,
            memory.redis.health._lock,
            memory.redis.trust._lock,
            memory.postgres._homes._lock,
            memory.redis._homes._lock,
            memory.postgres._pool._lock,
        ]
        for lock in locks:
            lock.acquire()
        child = Child(lambda: texts(memory.get_history("c", user_id="ada")))
        for lock in locks:
            lock.release()

        assert child.result() == ["one"]


def test_an_awaited_memory_serves_the_loops_of_forked_processes(urls, database):
    places, settings = urls
    memory = AsyncConversationMemory.from_url(*places, **settings)

    async def turns(user):
        found = []
        for number in range(30):
            await memory.save_message("c", f"{user} {number}", user_id=user)
            found += foreign(await memory.get_history("c", user_id=user), user)
        return found

    async def parent():
        async with memory:
            await turns("ada")
            before = sessions_of(database)
            children = [Child(lambda user=user: asyncio.run(turns(user))) for user in USERS[1:]]
            mine = await turns("ada")
            found = [await asyncio.to_thread(child.result) for child in children]
            return mine, found, before <= sessions_of(database)

    assert asyncio.run(parent()) == ([], [[], []], True)


def test_a_coroutine_that_goes_on_in_a_child_is_told_to_begin_a_loop(urls):
    places, settings = urls

    async def parent():
        async with AsyncConversationMemory.from_url(*places, **settings) as memory:

            def step():
                try:
                    memory.list_user_conversations("ada").send(None)
                except Exception as error:
                    return f"{type(error).__name__}: {error}"
                return "it waits for the parent's loop"

            return await asyncio.to_thread(Child(step).result)

    said = asyncio.run(parent())
    assert said.startswith(
        "NotOpen: no event loop of asyncio runs here in this process: call the memory from an asyncio.run()"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_child_holds_none_of_the_parents_postgresql_sockets(urls):
    places, settings = urls
    with ConversationMemory.from_url(*places, **settings, pool_min=4) as memory:
        memory.save_message("c", "one", user_id="ada")
        numbers = [conn.pgconn.socket for conn in memory.postgres._homes.here().kind.made]
        held = [str(Path(f"/proc/self/fd/{number}").readlink()) for number in numbers]

        def sockets():
            memory.list_user_conversations("ada")
            return [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]

        assert len(held) >= 4
        assert not set(held) & set(Child(sockets).result())
