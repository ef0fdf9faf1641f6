"""One awaited memory in many event loops, loops that end without a word, and programs that do."""

import asyncio
import gc
import subprocess
import sys
import threading
import time

import pytest
import redis.asyncio

from convmemory import AsyncConversationMemory, ConfigurationError, NotOpen, StorageUnavailable
from fix_memory import texts, until

LIMITS = {"pool_timeout": 0.3, "redis_timeout": 0.2}


@pytest.fixture
def make(database_url, redis_url, schema, key_prefix):
    """A function that makes a memory over this test's schema and keys; none of them is closed."""

    def made(postgres=database_url, hot=redis_url, **settings):
        settings = {"db_schema": schema, "key_prefix": key_prefix} | settings
        return AsyncConversationMemory.from_url(postgres, hot, **settings)

    return made


async def turn(memory, said: str, conversation="c") -> bool:
    """Whether what is said is what is remembered."""
    await memory.save_message(conversation, said, user_id="ada")
    return texts(await memory.get_history(conversation, user_id="ada"))[-1] == said


class Backends:
    """The connections to this database since the test began."""

    def __init__(self, database) -> None:
        self._database = database
        self._before: set[int] = set()
        self._before = self.now()

    def now(self) -> set[int]:
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'convmemory' AND datname = current_database()"
        return {pid for (pid,) in self._database.execute(query)} - self._before

    def come_to(self, most: int) -> bool:
        deadline = time.monotonic() + 10
        while (left := len(self.now())) > most and time.monotonic() < deadline:
            time.sleep(0.01)
        return left <= most


@pytest.fixture
def backends(database) -> Backends:
    return Backends(database)


def test_every_asyncio_run_is_served_and_takes_its_connections_along(make, backends):
    memory = make()
    asyncio.run(memory.open())
    for number in range(4):
        assert asyncio.run(turn(memory, f"{number}"))
        assert backends.come_to(0)  # though nobody closed anything

    assert memory.redis.health.counters.hits >= 3
    assert (memory.redis.health.counters.failures, memory.postgres.health.counters.failures) == (0, 0)
    asyncio.run(memory.close())
    with pytest.raises(NotOpen):
        asyncio.run(turn(memory, "closed"))


def test_connections_the_server_dropped_are_replaced_in_a_later_loop(make, database):
    memory = make(pool_max=3)
    asyncio.run(memory.open())

    async def later():
        await turn(memory, "before")
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'convmemory'"
            " AND datname = current_database()"
        )
        return await asyncio.gather(*(turn(memory, f"{n}", f"c{n}") for n in range(10)))

    assert all(asyncio.run(later()))


def test_what_was_accepted_as_its_loop_ended_is_stored_by_who_reads_in_another(make, database):
    memory = make(durability="journal", journal_ack="memory")

    async def begin():
        await memory.open()
        await memory.save_message("c", "user", "one", user_id="ada")
        await memory.get_history("c", user_id="ada")

    async def accept():
        assert (await memory.save_message("c", "user", "two", user_id="ada")).pending

    def stored() -> bool:
        return database.execute("SELECT FROM messages WHERE content = 'two'").fetchone() is not None

    async def bob():
        await memory.save_message("d", "user", "hello", user_id="bob")
        memory.redis.trust._began -= 1.0  # a second later
        await memory.get_history("d", user_id="bob")
        await until(stored)

    asyncio.run(begin())
    asyncio.run(accept())
    assert not stored()
    asyncio.run(bob())
    asyncio.run(memory.close())


def test_threads_with_loops_of_their_own_share_one_memory(make):
    memory, served = make(), []

    async def work(number):
        async with memory:  # each opens and closes for itself, and for nobody else
            turns = [turn(memory, f"{number} {n}", f"{number} {n}") for n in range(8)]
            served.append(await asyncio.gather(*turns))

    threads = [threading.Thread(target=asyncio.run, args=[work(number)]) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert served == [[True] * 8] * 5
    assert not memory.postgres._homes._homes


def test_a_close_in_one_loop_leaves_nobody_behind_who_did_not_open(make, backends):
    memory, opened, closed = make(), threading.Event(), threading.Event()

    async def guest():
        assert await turn(memory, "one")
        opened.set()
        await asyncio.to_thread(closed.wait)
        with pytest.raises(NotOpen):
            await turn(memory, "two")

    async def host():
        async with memory:
            thread = threading.Thread(target=asyncio.run, args=[guest()])
            thread.start()
            await asyncio.to_thread(opened.wait)
        closed.set()
        await asyncio.to_thread(thread.join)

    asyncio.run(host())
    assert backends.come_to(0)


@pytest.mark.parametrize(
    "call",
    [
        lambda memory: memory.open(),
        lambda memory: memory.save_message("c", "user", "hello", user_id="ana"),
        lambda memory: memory.history("c", user_id="ana").aget_messages(),
        lambda memory: memory.check(),
        lambda memory: memory.close(),
    ],
    ids=["open", "save", "history", "check", "close"],
)
def test_an_event_loop_that_is_not_asyncios_is_told_what_to_use(make, call):
    memory = make()
    asyncio.run(memory.open())

    with pytest.raises(NotOpen, match=r"asyncio.* under trio use a ConversationMemory, in a thread"):
        call(memory).send(None)  # as trio begins a coroutine: no loop of asyncio's runs

    asyncio.run(memory.close())


def test_asgiref_may_call_it_from_blocking_code(make):
    pytest.importorskip("asgiref", reason="not installed beside the package alone")
    from asgiref.sync import async_to_sync, sync_to_async

    memory = make()
    async_to_sync(memory.open)()
    assert [async_to_sync(turn)(memory, f"{n}") for n in range(3)] == [True] * 3

    async def view():
        inner = sync_to_async(lambda: async_to_sync(turn)(memory, "inner"))
        return await turn(memory, "outer"), await inner(), await turn(memory, "after")

    assert asyncio.run(view()) == (True, True, True)
    async_to_sync(memory.close)()


@pytest.mark.parametrize("closes", [True, False])
def test_loops_that_are_run_to_completion_and_thrown_away(make, backends, closes, caplog):
    memory, loops = make(), []
    for number in range(20):
        loops.append(asyncio.new_event_loop())
        loops[-1].run_until_complete(memory.open())
        assert loops[-1].run_until_complete(turn(memory, f"{number}"))
        if closes:
            loops[-1].close()
    assert backends.come_to(2 if closes else 18)  # a loop that may run again keeps its own, to a limit
    if not closes:
        assert loops[0].run_until_complete(turn(memory, "once more"))
        assert memory.postgres.health.counters.failures == 0
    asyncio.run(memory.close())
    assert backends.come_to(0)
    for loop in loops:
        loop.close()
    loops.clear()
    gc.collect()

    assert "Task was destroyed" not in caplog.text


def test_breakers_that_opened_in_one_loop_close_in_another(make, postgres_proxy, redis_proxy):
    memory = make(postgres_proxy.url, redis_proxy.url, **LIMITS)

    async def outage():
        await memory.open()
        await turn(memory, "before")
        for proxy in (postgres_proxy, redis_proxy):
            proxy.mode = "refuse"
            proxy.reset_all()
        for _ in range(5):
            for verb in (memory.create_session, memory.list_user_conversations):
                with pytest.raises(StorageUnavailable):
                    await verb("ada")
        assert (memory.postgres.health.open, memory.redis.health.open) == (True, True)

    async def tries() -> int:
        failed = 0
        for verb in (memory.create_session, memory.list_user_conversations):
            try:
                await verb("ada")
            except StorageUnavailable:
                failed += 1
        return failed

    asyncio.run(outage())
    postgres_proxy.mode = redis_proxy.mode = "pass"
    deadline = time.monotonic() + 10
    while asyncio.run(tries()):  # a loop for each call: no prober lives long enough to be of use
        assert time.monotonic() < deadline
        time.sleep(0.02)
    asyncio.run(memory.close())


def test_opening_closes_the_breakers(make, redis_proxy):
    memory = make(hot=redis_proxy.url, **LIMITS)

    async def first():
        async with memory:
            redis_proxy.mode = "refuse"
            redis_proxy.reset_all()
            for _ in range(5):
                with pytest.raises(StorageUnavailable):
                    await memory.create_session("ada")
            assert memory.redis.health.open

    async def second():
        async with memory:
            return await memory.create_session("ada")

    asyncio.run(first())
    redis_proxy.mode = "pass"
    assert asyncio.run(second()).user_id == "ada"


@pytest.mark.parametrize("pool", [redis.asyncio.ConnectionPool, redis.asyncio.BlockingConnectionPool])
def test_a_client_of_the_callers_is_stood_in_for_in_another_loop(make, redis_url, pool):
    client = redis.asyncio.Redis(connection_pool=pool.from_url(redis_url))
    memory = make(hot=client)

    async def first():
        await memory.open()
        assert await turn(memory, "one")
        await client.connection_pool.disconnect()

    asyncio.run(first())
    assert asyncio.run(turn(memory, "two"))
    assert asyncio.run(turn(memory, "three"))
    assert (memory.redis.health.counters.hits, memory.redis.health.counters.failures) == (2, 0)
    asyncio.run(memory.close())


def test_a_client_that_cannot_be_stood_in_for_is_named_at_once(make, redis_url):
    class Pool(redis.asyncio.ConnectionPool):
        """A pool of the caller's own making."""

    client = redis.asyncio.Redis(connection_pool=Pool.from_url(redis_url))
    memory = make(hot=client)

    async def first():
        await memory.open()
        await memory.create_session("ada")
        await client.connection_pool.disconnect()

    asyncio.run(first())
    with pytest.raises(ConfigurationError, match=r"belongs to another event loop .* give the memory a URL"):
        asyncio.run(memory.create_session("ada"))
    asyncio.run(memory.close())


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="nest_asyncio hides tasks from asyncio itself there")
def test_nested_loops_share_the_connections_of_theirs(database_url, redis_url, schema, key_prefix):
    """In a process of its own: nest_asyncio patches asyncio for good, down to the classes of its loops."""
    pytest.importorskip("nest_asyncio", reason="not installed beside the package alone")
    command = [sys.executable, "-c", HEAD + AWAITED + NESTED, database_url, redis_url, schema, key_prefix]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout, done.stderr) == ("['inner'] ['inner', 'outer'] 1\n", "")


def test_no_awaited_call_makes_the_loop_wait(database_url, redis_url, schema, key_prefix):
    """Nor the first of each kind, in a process that has read nothing yet."""
    pytest.importorskip("blockbuster", reason="not installed beside the package alone")
    program = HEAD + AWAITED + BUSY
    command = [sys.executable, "-c", program, database_url, redis_url, schema, key_prefix]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout, done.stderr) == ("served\n", "")


# Programs that end without a word

HEAD = """
import asyncio, sys
from convmemory import AsyncConversationMemory, ConversationMemory
places, settings = sys.argv[1:3], dict(db_schema=sys.argv[3], key_prefix=sys.argv[4], pool_min=4)
"""
AWAITED = "memory = AsyncConversationMemory.from_url(*places, **settings)\n"
NESTED = """
import nest_asyncio
nest_asyncio.apply(asyncio.new_event_loop())

async def turn(said):
    await memory.save_message('c', said, user_id='ada')
    return [message.text for message in await memory.get_history('c', user_id='ada')]

async def cell():
    await memory.open()
    print(asyncio.run(turn('inner')), await turn('outer'), len(memory.postgres._homes._homes))
    await memory.close()

asyncio.run(cell())
"""
BUSY = """
from blockbuster import blockbuster_ctx

async def main():
    with blockbuster_ctx():
        await memory.init_schema()
        await memory.open()
        session = await memory.create_session('ada')
        await memory.save_message('c', 'one', user_id='ada')
        await memory.get_history('c', user_id='ada')
        await memory.get_messages('c', user_id='ada')
        await memory.history('c', user_id='ada').aget_messages()
        await memory.list_user_sessions('ada')
        await memory.list_user_conversations('ada')
        await memory.check()
        await memory.end_session(session.session_id)
        await memory.delete_conversation('c', user_id='ada')
        await memory.close()
    print('served')

asyncio.run(main())
"""
PROGRAMS = {
    "opens": AWAITED + "asyncio.run(memory.open())",
    "opens and raises": AWAITED
    + "async def main():\n    await memory.open()\n    raise SystemExit('my mistake')\nasyncio.run(main())",
    "opens and is cancelled": AWAITED
    + "async def main():\n    await memory.open()\n    asyncio.current_task().cancel()\n    await asyncio.sleep(1)\n"
    "try:\n    asyncio.run(main())\nexcept asyncio.CancelledError:\n    pass",
    "writes many": AWAITED + "async def main():\n    await memory.open()\n"
    "    saves = (memory.save_message(f'c{n}', 'x', user_id='ada') for n in range(9))\n"
    "    await asyncio.gather(*saves)\nasyncio.run(main())",
    "leaves a call under way": AWAITED + "async def main():\n    await memory.open()\n"
    "    global task\n    task = asyncio.create_task(memory.get_messages('c', user_id='ada'))\n"
    "    await asyncio.sleep(0)\nasyncio.run(main())",
    "ends while its pool grows": AWAITED + "async def main():\n    await memory.open()\n    global tasks\n"
    "    tasks = [asyncio.create_task(memory.get_messages('c', user_id='ada')) for _ in range(9)]\n"
    "    while memory.postgres._pool.get_stats()['pool_size'] < 5:\n        await asyncio.sleep(0)\n"
    "asyncio.run(main())",
    "ends as its pool schedules something": AWAITED + "async def main():\n    await memory.open()\n"
    "    await memory.save_message('c', 'x', user_id='ada')\n    memory.postgres._pool._sched._event.set()\n"
    "asyncio.run(main())",
    "collects what is open": "import gc\nasync def request():\n"
    "    memory = await AsyncConversationMemory.from_url(*places, **settings).open()\n"
    "    await memory.save_message('c', 'x', user_id='ada')\n"
    "async def main():\n    for _ in range(3):\n        await request()\n        gc.collect()\n        await asyncio.sleep(0.1)\n"
    "asyncio.run(main())",
    "says a last word": AWAITED + "import atexit\nasync def last():\n    async with memory:\n"
    "        await memory.save_message('c', 'x', user_id='ada')\natexit.register(lambda: asyncio.run(last()))",
    "blocking": "ConversationMemory.from_url(*places, **settings).open().save_message('c', 'x', user_id='ada')",
    "blocking, and raises": "ConversationMemory.from_url(*places, **settings).open()\nraise SystemExit('my mistake')",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_closes_nothing_ends(name, database_url, redis_url, schema, key_prefix):
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", HEAD + PROGRAMS[name]]
    command += [database_url, redis_url, schema, key_prefix]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    said = [line for line in done.stderr.splitlines() if not line.startswith("discarding closed connection")]
    assert said == (["my mistake"] if "raises" in name else [])
    assert (done.stdout, done.returncode) == ("", len(said))
