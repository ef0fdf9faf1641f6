"""Servers that are not there, do not let us in, or do not answer: an error in time, and never a secret in it."""

import asyncio
import time
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from redis import Redis

from convmemory import (
    ConfigurationError,
    ConvMemoryError,
    NotOpen,
    PostgresStore,
    Settings,
    StorageError,
    StorageUnavailable,
)
from convmemory.embedded import EmbeddedServers
from convmemory.embedded.plan import POSTGRES_DATA
from convmemory.tiers.breaker import FAILURES_TO_OPEN
from fix_memory import add, read, texts, until

SECRET = "s3cr3t/?#@:%"


# Servers that are not there, or do not let us in


async def test_a_database_or_role_that_does_not_exist_is_told_on_open(make_memory, database_url):
    parts = psycopg.conninfo.conninfo_to_dict(database_url)
    for wrong in ({"dbname": "no_such_database"}, {"user": "no_such_role"}):
        with pytest.raises(StorageUnavailable, match=r"PostgreSQL failed to connect: .*no_such") as caught:
            await make_memory(psycopg.conninfo.make_conninfo(**(parts | wrong)))
        assert isinstance(caught.value.__cause__, psycopg.OperationalError)


@pytest.fixture(scope="session")
def locked_servers(tmp_path_factory):
    """A PostgreSQL and a Redis of the tests' own that want a password."""
    with EmbeddedServers.start(tmp_path_factory.mktemp("locked"), durable=False) as pair:
        with psycopg.connect(pair.database_url, autocommit=True) as admin:
            admin.execute("SET password_encryption = 'scram-sha-256'")
            admin.execute(f"CREATE ROLE app LOGIN PASSWORD '{SECRET}'")
            admin.execute("GRANT CREATE ON DATABASE convmemory TO app")
            rules = Path(pair.directory, POSTGRES_DATA, "pg_hba.conf")
            rules.write_text("local all app scram-sha-256\nlocal all postgres trust\n")
            admin.execute("SELECT pg_reload_conf()")
        with Redis.from_url(pair.redis_url) as client:
            client.config_set("requirepass", SECRET)
        yield pair


def locked(pair: EmbeddedServers, password: str) -> tuple[str, str]:
    """The URLs of both servers with this password in them."""
    from urllib.parse import quote

    secret = quote(password, safe="")
    return (
        pair.database_url.replace("//postgres@", f"//app:{secret}@"),
        pair.redis_url.replace("unix://", f"unix://:{secret}@"),
    )


async def test_the_right_password_opens_and_stays_secret(make_memory, locked_servers, schema_name):
    memory = await make_memory(*locked(locked_servers, SECRET))
    await memory.init_schema()
    await memory.save_message("c", "x", user_id="ana")
    await memory.create_session("ana")

    report = await memory.check()
    assert report.ok
    owner = getattr(memory, "blocking", memory)
    history = memory.history("c", user_id="ana")
    for thing in (owner, owner.settings, owner.postgres, owner.redis, history, report, memory.run_config):
        for said in (repr(thing), str(thing)):
            assert SECRET not in said
            assert "s3cr3t" not in said


async def test_the_wrong_password_is_told_without_being_repeated(make_memory, locked_servers, caplog):
    wrong = "wr0ng-" + SECRET
    database, redis = locked(locked_servers, wrong)
    right, _ = locked(locked_servers, SECRET)
    with pytest.raises(StorageUnavailable, match="password authentication failed") as caught:
        await make_memory(database, redis)
    said = everything_said_by(caught.value)
    memory = await make_memory(right, redis)
    await memory.init_schema()
    with pytest.raises(StorageUnavailable) as caught:
        await memory.create_session("ana")
    said += everything_said_by(caught.value) + repr(await memory.check()) + caplog.text

    assert "s3cr3t" not in said
    assert "wr0ng" not in said
    await memory.init_schema()
    assert (await memory.save_message("c", "x", user_id="ana")).content == "x"  # Redis is missed, and no more
    assert texts(await memory.get_history("c", user_id="ana")) == ["x"]


def everything_said_by(error: BaseException | None) -> str:
    said = ""
    while error is not None:
        said += f"{error!s} {error!r} {error.args!r} {getattr(error, '__notes__', '')}\n"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return said


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{SECRET}@127.0.0.1:1/x",  # not quoted, as people paste them
        "postgresql://app:s3cr3t@more@127.0.0.1:1/x",
        "postgresql://app:s3cr3t/more@127.0.0.1:1/x",
        "postgresql://app:s3cr3t#more@127.0.0.1:1/x",
        "postgresql://app:s3cr3t?more@127.0.0.1:1/x",
        "postgresql://app:12/s3cr3t@127.0.0.1:1/x",
        "postgresql://app:s3cr3t%@127.0.0.1:1/x",
        "postgresql:/app:s3cr3t@127.0.0.1/x",
        "mysql://app:s3cr3t@127.0.0.1/x",
        "host=127.0.0.1 port=1 password='s3cr3t",
        "password=s3cr3t nonsense=1",
        "s3cr3t",
    ],
)
async def test_no_part_of_a_malformed_url_is_repeated(make_memory, url):
    with pytest.raises((ConfigurationError, StorageUnavailable)) as caught:
        await make_memory(url, None, connect_timeout=2)

    assert "s3cr3t" not in everything_said_by(caught.value)
    assert "more" not in everything_said_by(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "s3cr3t",
        "http://:s3cr3t@localhost",
        "redis://:s3cr3t@localhost:port",
        "redis://:s3cr3t/x@localhost",
    ],
)
async def test_a_malformed_redis_url_is_told_without_being_repeated(make_memory, database_url, url):
    with pytest.raises(ConfigurationError, match=r"^REDIS_URL: not a Redis URL") as caught:
        await make_memory(database_url, url)

    assert "s3cr3t" not in everything_said_by(caught.value)


async def test_before_open_and_after_close_the_error_says_so(memory, database_url):
    never = PostgresStore(database_url, Settings())
    with pytest.raises(NotOpen, match=r"call open\(\) first"):
        never.look([])
    session, mine = await memory.create_session("ana"), {"user_id": "ana"}
    conversation = await memory.create_conversation("ana")
    for name in ("c", conversation):
        await memory.save_message(name, "x", **mine)
        for _ in range(2):
            await memory.get_history(name, **mine)  # from now on Redis alone could answer
    history = memory.history("c", **mine)
    assert memory.redis.health.counters.hits > 0

    await memory.close()
    for verb in (
        lambda: memory.get_history("c", **mine),
        lambda: memory.get_history(conversation, **mine),
        lambda: memory.get_history("c", limit=None, **mine),
        lambda: memory.get_messages("c", **mine),
        lambda: memory.save_message("c", "y", **mine),
        lambda: memory.clear("c", **mine),
        lambda: memory.delete_conversation("c", **mine),
        lambda: memory.create_conversation("ana"),
        lambda: memory.list_user_conversations("ana"),
        lambda: memory.create_session("ana"),
        lambda: memory.get_session(session),
        lambda: memory.extend_session(session),
        lambda: memory.list_user_sessions("ana"),
        lambda: memory.end_session(session),
        lambda: read(history),
        lambda: add(history, [HumanMessage("y")]),
        memory.check,
    ):
        with pytest.raises(NotOpen, match=r"after close\(\)"):
            await verb()
    await memory.open()
    assert texts(await memory.get_history("c", **mine)) == ["x"]
    assert await memory.get_session(session) is not None


# Servers that do not answer


async def until_it_answers(call):
    """Try again as an application would, for as long as the error says that this is safe."""
    while True:
        try:
            return await call()
        except StorageUnavailable:
            await asyncio.sleep(0.05)


async def test_a_postgresql_that_swallows_everything_is_given_up_in_time(schema, make_memory, postgres_proxy):
    limits = {"statement_timeout": 0.5, "pool_timeout": 0.5, "connect_timeout": 2}
    memory = await make_memory(postgres_proxy.url, None, **limits)
    await memory.save_message("c", "x", user_id="ana")
    postgres_proxy.mode = "blackhole"

    begun = time.monotonic()
    with pytest.raises(StorageUnavailable, match="PostgreSQL failed to save messages"):
        await memory.save_message("c", "y", user_id="ana")
    assert 0.4 < time.monotonic() - begun < 5  # by default it would be ten seconds

    begun = time.monotonic()
    with pytest.raises(StorageUnavailable, match="PostgreSQL failed to connect"):
        await make_memory(postgres_proxy.url, None, **limits)
    assert 1.5 < time.monotonic() - begun < 10  # left to itself libpq waits for minutes

    postgres_proxy.mode = "pass"
    postgres_proxy.reset_all()
    assert (await until_it_answers(lambda: memory.save_message("c", "z", user_id="ana"))).content == "z"


async def test_a_postgresql_that_is_gone_is_left_alone_until_it_is_back(
    schema, make_memory, postgres_proxy, redis_proxy
):
    memory = await make_memory(postgres_proxy.url, redis_proxy.url, pool_timeout=0.2)
    await memory.save_message("c", "x", user_id="ana")
    await memory.get_history("c", user_id="ana")
    postgres_proxy.mode = "refuse"
    postgres_proxy.reset_all()
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await memory.save_message("c", "y", user_id="ana")

    assert memory.postgres.health.breaker == "open"
    begun = time.monotonic()
    for _ in range(50):
        with pytest.raises(StorageUnavailable, match="left alone until it does"):
            await memory.save_message("c", "y", user_id="ana")
        assert texts(await memory.get_history("c", user_id="ana")) == ["x"]  # the window is valid still
    assert time.monotonic() - begun < 50 * 0.2 / 2, "nobody waited for a connection"

    postgres_proxy.mode = "pass"
    await until(lambda: not memory.postgres.health.open)
    assert (await memory.save_message("c", "z", user_id="ana")).content == "z"


async def test_who_wants_more_than_the_window_holds_takes_it_from_nobody(schema, make_memory, postgres_proxy):
    memory = await make_memory(postgres_proxy.url, pool_timeout=0.2)
    for n in range(20):
        await memory.save_message("c", "user", str(n), user_id="ana")
    for _ in range(3):  # the first read of a process looks for marks, and the next fills
        await memory.get_history("c", user_id="ana")
    assert memory.redis.health.counters.hits
    postgres_proxy.mode = "refuse"
    postgres_proxy.reset_all()
    with pytest.raises(StorageUnavailable):
        await memory.get_history("c", user_id="ana", limit=18)

    assert len(await memory.get_history("c", user_id="ana")) == 6
    postgres_proxy.mode = "pass"
    assert len(await until_it_answers(lambda: memory.get_history("c", user_id="ana", limit=18))) == 18
    hits = memory.redis.health.counters.hits
    assert len(await memory.get_history("c", user_id="ana", limit=18)) == 18
    assert memory.redis.health.counters.hits == hits + 1, "it grew"


async def test_a_read_waits_once_for_a_postgresql_that_is_away(schema, make_memory, postgres_proxy):
    memory = await make_memory(postgres_proxy.url, pool_timeout=0.3)
    postgres_proxy.mode = "refuse"
    postgres_proxy.reset_all()
    with pytest.raises(StorageUnavailable):
        await memory.get_history("c", user_id="ana")

    assert memory.postgres.health.counters.failures == 1


async def test_a_call_waits_once_for_a_postgresql_that_went_away_since_it_was_looked_at(
    schema, make_memory, postgres_proxy
):
    memory = await make_memory(postgres_proxy.url, pool_timeout=0.3)
    await memory.save_message("c", "x", user_id="ana")
    for _ in range(2):
        await memory.get_history("c", user_id="ana")
    postgres_proxy.mode = "refuse"
    postgres_proxy.reset_all()
    for call in (
        lambda: memory.get_history("another", user_id="ana"),
        lambda: memory.save_message("c", "y", user_id="ana"),
    ):
        memory.redis.trust._began -= 100  # a look is due
        memory.postgres.health.begin_at_nothing()
        with pytest.raises(StorageUnavailable):
            await call()

        assert memory.postgres.health.counters.failures == 1
    memory.redis.trust._began -= 100
    assert texts(await memory.get_history("c", user_id="ana")) == ["x"]


@pytest.mark.parametrize(
    "held",
    [
        "SELECT FROM marks FOR UPDATE",
        "UPDATE caches SET seen_at = seen_at",
    ],
)
async def test_a_look_that_another_transaction_keeps_waiting_fails_no_call(memory, database, held):
    await memory.save_message("c", "x", user_id="ana")
    await memory.get_history("c", user_id="ana")
    database.execute("UPDATE caches SET seen_at = now() - interval '10 minutes'")
    database.execute(
        "INSERT INTO marks (cache, conversation, registered_by) SELECT name, gen_random_uuid(), registered_by FROM caches"
    )
    with database.transaction():
        database.execute(held)
        memory.redis.trust.lost()
        assert texts(await memory.get_history("c", user_id="ana")) == ["x"]
        memory.redis.trust.lost()
        assert (await memory.save_message("c", "y", user_id="ana")).content == "y"
        assert texts(await memory.get_history("c", user_id="ana")) == ["x", "y"]

    assert memory.postgres.health.breaker == "closed"
    memory.redis.trust._not_before = 0  # what it would wait before it tries again
    await memory.get_history("c", user_id="ana")
    hits = memory.redis.health.counters.hits
    assert texts(await memory.get_history("c", user_id="ana")) == ["x", "y"]
    assert memory.redis.health.counters.hits == hits + 1


async def test_a_busy_pool_is_no_dead_server(schema, make_memory, database):
    memory = await make_memory(redis=None, pool_max=1, pool_timeout=0.1)
    await memory.save_message("held", "x", user_id="ana")
    with database.transaction():
        database.execute("SELECT FROM conversations FOR UPDATE")
        waiting = asyncio.create_task(
            memory.history("held", user_id="ana").aadd_messages([HumanMessage("y")])
        )
        await asyncio.sleep(0.01)
        await until(lambda: memory.postgres._pool.get_stats()["pool_available"] == 0)
        for _ in range(5):
            with pytest.raises(StorageUnavailable, match="no connection became free in time"):
                await memory.save_message("other", "z", user_id="ana")
        assert memory.postgres.health.breaker == "closed"
    await waiting

    assert texts(await memory.get_history("held", user_id="ana")) == ["x", "y"]


async def test_a_redis_lost_between_lease_and_fill_costs_nothing(
    schema, make_memory, postgres_proxy, redis_proxy, keyspace
):
    memory = await make_memory(postgres_proxy.url, redis_proxy.url, redis_timeout=0.3)
    await memory.save_message("c", "x", user_id="ana")
    postgres_proxy.latency, postgres_proxy.mode = 0.5, "latency"
    history = memory.history("c", user_id="ana")
    reading = asyncio.create_task(history.aget_messages())  # in a thread where the stores are blocking
    await until(lambda: bool(keyspace.names()))
    redis_proxy.mode = "blackhole"

    assert texts(await reading) == ["x"]
    redis_proxy.mode = postgres_proxy.mode = "pass"
    redis_proxy.reset_all()
    await memory.save_message("c", "y", user_id="ana")
    assert texts(await history.aget_messages()) == ["x", "y"]


async def test_a_redis_that_swallows_everything_costs_time_thrice_and_never_an_error(
    schema, make_memory, redis_proxy
):
    memory = await make_memory(redis=redis_proxy.url, redis_timeout=0.3)
    await memory.save_message("c", "x", user_id="ana")
    await memory.get_history("c", user_id="ana")
    redis_proxy.mode = "blackhole"

    begun = time.monotonic()
    for number in range(20):
        await memory.save_message("c", str(number), user_id="ana")
        assert texts(await memory.get_history("c", user_id="ana"))[-1] == str(number)
    assert time.monotonic() - begun < 40 * 0.3 / 2, "three calls waited, and not all forty"
    report = await memory.check()
    assert (report.ok, report.postgres.reachable, report.redis.reachable) == (True, True, False)
    assert report.redis.breaker == "open"
    assert report.redis.last_failure is not None

    redis_proxy.mode = "pass"
    redis_proxy.reset_all()
    await until(lambda: not memory.redis.health.open)  # somebody asks in the background
    assert texts(await memory.get_history("c", user_id="ana"))[-1] == "19"
    assert (await memory.check()).postgres.figures["dirty_windows"] == 0


async def test_a_redis_lost_before_a_read_costs_one_timeout_and_the_read_is_right(
    schema, make_memory, redis_proxy
):
    memory = await make_memory(redis=redis_proxy.url, redis_timeout=0.2)
    await memory.save_message("c", "x", user_id="ana")
    assert texts(await memory.get_history("c", user_id="ana")) == ["x"]
    redis_proxy.mode = "blackhole"

    assert texts(await memory.get_history("c", user_id="ana")) == ["x"]
    assert memory.redis.health.counters.failures >= 1
    assert not memory.redis.trust.trusted


async def test_a_redis_that_refuses_is_missed_and_no_more(schema, make_memory, redis_proxy):
    redis_proxy.mode = "refuse"
    memory = await make_memory(redis=redis_proxy.url)
    await memory.save_messages("c", [HumanMessage("x"), AIMessage("y")], user_id="ana")

    assert texts(await memory.get_history("c", user_id="ana")) == ["x", "y"]
    with pytest.raises(StorageUnavailable, match="Redis failed to"):
        await memory.create_session("ana")


async def test_every_verb_says_in_words_what_it_could_not_do(
    schema, make_memory, postgres_proxy, redis_proxy
):
    memory = await make_memory(postgres_proxy.url, redis_proxy.url, pool_timeout=0.2)
    session = (await memory.create_session("ana")).session_id
    mine = {"user_id": "ana"}
    await memory.save_message("c", "x", **mine)
    for proxy in (postgres_proxy, redis_proxy):
        proxy.mode = "refuse"
        proxy.reset_all()

    async def looking():
        memory.redis.trust.lost()  # and PostgreSQL must be looked at before a window is served
        await memory.get_history("c", **mine)

    words = {
        "save messages": lambda: memory.save_message("c", "x", **mine),
        "read messages": lambda: memory.get_messages("c", **mine),
        "create the conversation": lambda: memory.create_conversation("ana"),
        "read the conversation": lambda: memory.get_conversation("c", **mine),
        "list conversations": lambda: memory.list_user_conversations("ana"),
        "change the conversation": lambda: memory.rename_conversation("c", "x", **mine),
        "clear the conversation": lambda: memory.clear("c", **mine),
        "delete the conversation": lambda: memory.delete_conversation("c", **mine),
        "check the cached windows": looking,
        "keep the session": lambda: memory.get_session(session),
        "end the session": lambda: memory.end_session(session),
        "list sessions": lambda: memory.list_user_sessions("ana"),
    }
    for operation, verb in words.items():
        with pytest.raises(
            StorageUnavailable, match=rf"^(PostgreSQL|Redis) failed to {operation}: "
        ) as caught:
            await verb()
        assert caught.value.operation == operation
    report = await memory.check()
    for tier in (report.postgres, report.redis):
        assert tier.problem.startswith(f"{tier.tier} failed to give a sign of life: ")


async def test_a_value_of_somebody_elses_making_where_a_window_belongs_is_no_obstacle(memory, keyspace):
    name = uuid4()
    await memory.save_message(name, "x", user_id="ana")
    keyspace.client.unlink(keyspace.window(name))
    keyspace.client.rpush(keyspace.window(name), "not a window")

    for _ in range(5):
        assert texts(await memory.get_history(name, user_id="ana")) == ["x"]
    assert memory.redis.health.counters.hits >= 3
    assert memory.redis.health.counters.failures == 0


async def test_a_value_of_somebody_elses_making_where_sessions_are_listed_is_told_and_is_no_outage(
    memory, keyspace
):
    keyspace.client.set(keyspace.keys.user_sessions("ana"), "not a list of sessions")

    for verb in (memory.create_session, memory.list_user_sessions):
        for _ in range(FAILURES_TO_OPEN):
            with pytest.raises(StorageError, match="does another application use the same key prefix"):
                await verb("ana")
    report = (await memory.check()).redis
    assert (report.reachable, report.breaker, report.figures["failures"]) == (True, "closed", 0)
    assert keyspace.client.get(keyspace.keys.user_sessions("ana")) == b"not a list of sessions"


async def test_every_error_has_the_one_root(memory):
    for verb in (
        lambda: memory.get_history("unknown", user_id="ana"),
        lambda: memory.get_history("", user_id="ana"),
        lambda: memory.list_user_conversations("ana", cursor="x"),
    ):
        with pytest.raises(ConvMemoryError):
            await verb()
