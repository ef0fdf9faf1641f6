"""A signal whose handler raises in the middle of a call: a task's time limit, an alarm. It is for the caller, and no outage."""

import signal
from contextlib import contextmanager

import pytest
from redis import Redis

from convmemory import ConversationMemory
from fix_memory import texts

SOON = 0.1
"""Seconds until the signal comes; every time-out is longer."""


class TimeLimitExceeded(Exception):
    """As Celery's soft one."""


@contextmanager
def alarm(raises):
    def over(*_):
        raise raises("time is over")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, SOON)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["url", "client"])
def memory(request, schema, postgres_proxy, redis_proxy, key_prefix):
    """A memory that waits long for servers which do not answer."""
    client = Redis.from_url(redis_proxy.url, socket_timeout=20) if request.param == "client" else None
    with ConversationMemory.from_url(
        postgres_proxy.url,
        client or redis_proxy.url,
        db_schema=schema,
        key_prefix=key_prefix,
        redis_timeout=20,
        statement_timeout=20,
    ) as made:
        made.save_message("c", "one", user_id="ada")
        made.get_history("c", user_id="ada")
        yield made


CALLS = {
    "a write, which tells the window": lambda memory: memory.save_message("c", "two", user_id="ada"),
    "a window": lambda memory: memory.get_history("c", user_id="ada"),
    "a list of sessions": lambda memory: memory.list_user_sessions("ada"),
}


@pytest.mark.parametrize("raises", [TimeLimitExceeded, TimeoutError, KeyboardInterrupt])
@pytest.mark.parametrize("call", CALLS)
def test_what_a_signal_raises_while_redis_is_waited_for_reaches_the_caller(memory, redis_proxy, call, raises):
    redis_proxy.mode = "blackhole"
    with pytest.raises(raises, match="time is over"), alarm(raises):
        CALLS[call](memory)
    redis_proxy.mode = "pass"
    redis_proxy.reset_all()


def test_and_while_postgresql_is_waited_for(memory, postgres_proxy, caplog):
    postgres_proxy.mode = "blackhole"
    with pytest.raises(TimeLimitExceeded), alarm(TimeLimitExceeded):
        memory.save_message("c", "two", user_id="ada")
    postgres_proxy.mode = "pass"
    postgres_proxy.reset_all()

    assert texts(memory.get_messages("c", user_id="ada"))[0] == "one"
    assert "rollback" not in caplog.text  # the connection was given up, not asked for more


def test_what_was_stored_before_the_signal_is_marked_for_whoever_reads(memory, redis_proxy, database):
    memory.get_history("c", user_id="ada")
    redis_proxy.mode = "blackhole"
    with pytest.raises(TimeLimitExceeded), alarm(TimeLimitExceeded):
        memory.save_message("c", "two", user_id="ada")
    for work in memory.redis.here().behind:
        work.join()
    redis_proxy.mode = "pass"
    redis_proxy.reset_all()

    assert database.execute("SELECT count(*) FROM marks").fetchone() == (1,)
    assert texts(memory.get_history("c", user_id="ada")) == ["one", "two"]
