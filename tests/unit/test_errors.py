"""Errors: one root, texts that say what would be right, drivers' errors as causes and nothing they quote."""

import asyncio
import pickle
import re
import socket
from importlib import resources
from pathlib import Path

import psycopg
import pytest
import redis.asyncio
import redis.exceptions
from psycopg import errors as pg
from psycopg_pool import PoolClosed, PoolTimeout

import convmemory
from convmemory import ConversationMemory, errors
from convmemory.errors import (
    ConfigurationError,
    ConversationNotFound,
    ConvMemoryError,
    InvalidArgument,
    MissingExtra,
    NotOpen,
    SchemaOutdated,
    StorageError,
    StorageUnavailable,
)
from convmemory.tiers.driver_errors import connection_lost, describe, out_of_reach, translated
from convmemory.tiers.redis_states import in_short
from convmemory.tiers.socket_checks import DeadlineExceeded, within

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
EXAMPLES = [
    InvalidArgument("limit", "must be more"),
    ConversationNotFound("c"),
    MissingExtra("The part", "cli"),
    StorageUnavailable("Redis", "read", "gone"),
    SchemaOutdated("convmemory", 1, 2),
    NotOpen("open it"),
]


def test_every_error_has_the_one_root_and_is_found_where_people_import_it():
    for kind in ALL:
        assert issubclass(kind, ConvMemoryError)
        if kind is not ConvMemoryError:
            assert kind.__module__ == "convmemory"
        assert getattr(convmemory, kind.__name__) is kind
        assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ConfigurationError, ValueError),
        (InvalidArgument, ValueError),
        (ConversationNotFound, LookupError),
        (NotOpen, RuntimeError),
        (errors.AsyncOnly, RuntimeError),
        (MissingExtra, ImportError),
        (SchemaOutdated, StorageError),
        (StorageUnavailable, StorageError),
    ],
)
def test_errors_are_also_what_python_calls_them(kind, builtin):
    assert issubclass(kind, builtin)


def test_errors_say_what_would_be_right():
    assert str(EXAMPLES[0]) == "limit: must be more"
    assert str(EXAMPLES[1]) == "no conversation 'c' for this user"
    assert str(EXAMPLES[2]) == "The part needs an extra: pip install 'langchain-convmemory[cli]'"
    assert str(EXAMPLES[3]) == "Redis failed to read: gone"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "schema 'chat' is not there: run `convmemory init` (or memory.init_schema())"),
        (1, "schema 'chat' is at version 1 of 2: run `convmemory init`"),
        (3, "schema 'chat' is at version 3, newer than this library's 2: upgrade convmemory"),
    ],
)
def test_a_schema_that_does_not_fit_says_what_mends_it(found, said):
    error = SchemaOutdated("chat", found, 2)

    assert str(error) == f"PostgreSQL: {said}"
    assert (error.found, error.wanted, error.tier) == (found, 2, "PostgreSQL")


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_travel_between_processes(error):
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


# Drivers' errors


@pytest.mark.parametrize(
    ("driver", "ours"),
    [
        (psycopg.OperationalError("gone"), StorageUnavailable),
        (psycopg.InterfaceError("closed"), StorageUnavailable),
        (DeadlineExceeded("late"), StorageUnavailable),
        (PoolTimeout("busy"), StorageUnavailable),
        (pg.AdminShutdown("bye"), StorageUnavailable),
        (pg.ReadOnlySqlTransaction("replica"), StorageUnavailable),
        (pg.QueryCanceled("late"), StorageUnavailable),
        (PoolClosed("closed"), NotOpen),
        (pg.UndefinedTable("none"), SchemaOutdated),
        (pg.InvalidSchemaName("none"), SchemaOutdated),
        (pg.UndefinedFunction("none"), SchemaOutdated),
        (pg.UndefinedColumn("none"), SchemaOutdated),
        (pg.UniqueViolation("twice"), StorageError),
        (pg.InsufficientPrivilege("no"), StorageError),
        (redis.exceptions.ConnectionError("gone"), StorageUnavailable),
        (redis.exceptions.TimeoutError("late"), StorageUnavailable),
        (redis.exceptions.BusyLoadingError("soon"), StorageUnavailable),
        (redis.exceptions.ReadOnlyError("replica"), StorageUnavailable),
        (redis.exceptions.OutOfMemoryError("full"), StorageUnavailable),
        (redis.exceptions.ClusterDownError("down"), StorageUnavailable),
        (redis.exceptions.ResponseError("MISCONF Redis is configured to save"), StorageUnavailable),
        (redis.exceptions.ResponseError("NOREPLICAS Not enough good replicas"), StorageUnavailable),
        (redis.exceptions.ResponseError("WRONGTYPE"), StorageError),
        (redis.exceptions.AuthenticationError("no"), StorageUnavailable),
        (ConnectionResetError("gone"), StorageUnavailable),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_drivers_error_becomes_ours_with_it_as_the_cause(driver, ours):
    with pytest.raises(ours) as caught, translated("Tier", "work", lambda: ("convmemory", 1)):
        raise driver

    assert type(caught.value) is ours
    assert caught.value.__cause__ is driver


@pytest.mark.parametrize(
    "error",
    [asyncio.CancelledError(), KeyboardInterrupt(), ValueError("not a driver's"), ConversationNotFound("c")],
)
def test_everything_else_passes_untouched(error):
    with pytest.raises(type(error)) as caught, translated("Tier", "work"):
        raise error

    assert caught.value is error
    assert error.__cause__ is None


async def test_a_connection_closed_under_a_command_is_a_redis_out_of_reach():
    with pytest.raises(StorageUnavailable) as caught, translated("Redis", "work"):
        await redis.asyncio.Connection()._send_packed_command([b"PING"])

    assert str(caught.value) == "Redis failed to work: AttributeError"
    assert isinstance(caught.value.__cause__, AttributeError)


@pytest.mark.parametrize("error", [RuntimeError("closed"), ValueError("closed"), KeyError("what not")])
async def test_whatever_redis_py_trips_over_is_a_lost_connection(error):
    class Closed:  # as a transport of another event loop, or a socket of ssl, which are no part of redis-py
        def writelines(self, _: object) -> None:
            raise error

    connection = redis.asyncio.Connection()
    connection._writer = Closed()
    with pytest.raises(StorageUnavailable) as caught, translated("Redis", "work"):
        await connection._send_packed_command([b"PING"])

    assert caught.value.__cause__ is error


def test_why_redis_was_not_reached_is_told_without_its_address():
    with pytest.raises(StorageUnavailable) as caught, translated("Redis", "work"):
        redis.Redis(port=1, host="127.0.0.1").ping()

    assert str(caught.value) == "Redis failed to work: ConnectionError: Connection refused"


async def test_text_that_no_driver_can_send_is_no_failure_of_redis():
    with pytest.raises(UnicodeEncodeError), translated("Redis", "work"):
        redis.asyncio.Connection().pack_command("GET", "\ud800")


@pytest.mark.parametrize("error", [AttributeError("a mistake of ours"), TypeError("a mistake of ours")])
def test_a_mistake_outside_the_driver_passes_untouched(error):
    with pytest.raises(type(error)) as caught, translated("Redis", "work"):
        raise error

    assert caught.value is error


async def test_a_cancelled_call_is_no_failure_of_redis():
    asyncio.current_task().cancel()

    with pytest.raises(asyncio.CancelledError), translated("Redis", "work"):
        await asyncio.Queue().get()


def test_values_that_a_driver_quotes_are_left_out(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TEMPORARY TABLE quoted (said text PRIMARY KEY)")
        connection.execute("INSERT INTO quoted VALUES ('private')")
        with pytest.raises(pg.UniqueViolation) as caught:
            connection.execute("INSERT INTO quoted VALUES ('private')")

    assert "private" in str(caught.value)
    assert describe(caught.value) == 'duplicate key value violates unique constraint "quoted_pkey"'
    assert describe(redis.exceptions.ResponseError("quotes private things")) == "ResponseError"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("in\n two   lines", "in two lines"),
        (
            "connection failed: Connection refused\n\tIs the server running on that host?",
            "connection failed: Connection refused. Is the server running on that host?",
        ),
        (
            "server closed the connection unexpectedly\n\tThis probably means the server terminated\n\tbefore or while",
            "server closed the connection unexpectedly. This probably means the server terminated before or while",
        ),
        (
            "All failures were:\n- host: 'a': refused\n- host: 'b': refused\n",
            "All failures were: - host: 'a': refused. - host: 'b': refused",
        ),
        ("", ""),
    ],
)
def test_lines_of_libpq_become_sentences(text, line):
    assert describe(psycopg.OperationalError(text)) == line


# A pooler that the driver knows nothing of


def behind_the_drivers_back(memory, command):
    """Do on the server's side of the memory's connections what a pooler in transaction mode does."""
    with memory.postgres._pool.connection() as connection:
        connection.pgconn.exec_(command)


@pytest.mark.parametrize(
    "command", [b"DEALLOCATE ALL", b"DEALLOCATE ALL; PREPARE _pg3_0 AS SELECT $1::text, $2::text, $3::text"]
)
def test_a_plan_that_is_another_sessions_names_the_setting(schema, database_url, command):
    with ConversationMemory.from_url(database_url, db_schema=schema, pool_max=1) as memory:
        for _ in range(3):
            memory.list_user_conversations("ana")
        behind_the_drivers_back(memory, command)
        for _ in range(5):
            with pytest.raises(
                StorageError,
                match=r"prepared statement .*; behind PgBouncer .*PREPARE_THRESHOLD=none .*; 0 prepares",
            ):
                memory.list_user_conversations("ana")
        assert memory.postgres.health.breaker == "closed"  # the server is there

    with ConversationMemory.from_url(database_url, db_schema=schema, pool_max=1) as memory:
        behind_the_drivers_back(memory, b"PREPARE _pg3_0 AS SELECT 1")
        memory.list_user_conversations("ana")
        with pytest.raises(StorageError, match=r'"_pg3_0" already exists; behind PgBouncer'):
            memory.list_user_conversations("ana")


def test_a_pooler_that_cannot_reach_its_server_is_an_outage():
    refused = pg.ProtocolViolation("server login has been failing")

    assert out_of_reach(refused)
    with (
        pytest.raises(StorageUnavailable, match=r"^PostgreSQL failed to save messages: (?!.*PgBouncer)"),
        translated("PostgreSQL", "append"),
    ):
        raise refused


# What a tier was to do


FILES = resources.files("convmemory")
SET_UP = {
    "bootstrap",
    "frame",
    "is_of_0_1",
    "lift_limits",
    "limit_locks",
    "note_migration",
    "schema_version",
    "session_settings",
    "shared_settings",
}  # no caller of a verb waits for these


@pytest.mark.parametrize(
    "name",
    sorted(
        {
            Path(str(one)).stem
            for folder in ("sql", "lua")
            for one in (FILES / folder).iterdir()
            if one.is_file()
        }
        - SET_UP
    ),
)
def test_no_error_names_a_statement_or_a_script(name):
    error = StorageUnavailable("PostgreSQL", name, "gone")

    assert name not in str(error)
    assert str(error) == f"PostgreSQL failed to {error.operation}: gone"
    assert name in errors._WORDS, "words for it belong into errors.py"
    assert re.fullmatch(r"[a-z]+( [a-z]+)+", error.operation)
    assert not {"dirty", "lua", "sql", "publish"} & set(error.operation.split())


def test_an_operation_without_words_of_its_own_still_shows_no_name_of_ours():
    assert StorageError("Redis", "some_new_call", "gone").operation == "some new call"


@pytest.mark.parametrize(
    ("error", "reach", "lost"),
    [
        (psycopg.OperationalError("server closed the connection"), True, True),
        (pg.AdminShutdown(), True, True),
        (pg.CannotConnectNow(), True, True),
        (pg.TooManyConnections(), True, True),
        (pg.ConnectionFailure(), True, True),
        (DeadlineExceeded(), True, False),
        (PoolTimeout(), True, False),
        (pg.ConnectionTimeout(), True, False),
        (pg.QueryCanceled(), False, False),
        (pg.DiskFull(), False, False),
        (pg.LockNotAvailable(), False, False),
        (pg.UniqueViolation(), False, False),
        (ValueError(), False, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_a_broken_connection_is_worth_sending_again(error, reach, lost):
    assert (out_of_reach(error), connection_lost(error)) == (reach, lost)


# Deadlines


def waiting(answers: int):
    """A driver's generator that wants its socket looked at so many times."""
    heard = []
    while len(heard) < answers:
        heard.append((yield "state"))
    return heard


@pytest.fixture
def ends():
    """A socket and what its other end says."""
    mine, theirs = socket.socketpair()
    with mine, theirs:
        yield mine, theirs


def test_a_generator_that_is_answered_in_time_passes_through(ends):
    bounded = within(waiting(3), 60, ends[0].fileno())
    states = [next(bounded), bounded.send("ready"), bounded.send("ready")]
    with pytest.raises(StopIteration) as end:
        bounded.send("ready")

    assert states == ["state"] * 3
    assert end.value.value == ["ready"] * 3


@pytest.mark.parametrize("said", [None, "ready"], ids=["honest", "as older drivers say"])
def test_a_generator_that_waits_too_long_is_given_up(ends, said):
    bounded = within(waiting(3), -1, ends[0].fileno())
    next(bounded)
    with pytest.raises(DeadlineExceeded, match="no answer within -1 s"):
        bounded.send(said)


def test_an_answer_that_is_there_is_taken_even_after_the_deadline(ends):
    bounded = within(waiting(2), -1, ends[0].fileno())
    next(bounded)
    ends[1].send(b"an answer")

    assert bounded.send("ready") == "state"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("MISCONF Valkey is configured to save RDB snapshots, but it is unable to persist to disk", "disk"),
        ("MISCONF Errors writing to the AOF file: No space left on device", "disk"),
        ("Error running script: @user_script:1: -OOM command not allowed", "maxmemory"),
        ("Error running script: @user_script:1: -READONLY You can't write", "replica"),
        ("NOREPLICAS Not enough good replicas to write.", "min-replicas-to-write"),
    ],
)
def test_what_redis_says_of_itself_is_told_in_words(said, words):
    assert words in describe(redis.exceptions.ResponseError(said))
    assert words in in_short(redis.exceptions.ResponseError(said))


def test_the_kind_of_an_error_quotes_nothing():
    assert in_short(redis.exceptions.ResponseError("ERR no such thing as OOM private")) == "ResponseError"
    assert in_short(psycopg.OperationalError("private")) == "OperationalError"
    assert "maxmemory" in in_short(redis.exceptions.OutOfMemoryError("private"))
