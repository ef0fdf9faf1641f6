"""A tier's breaker, step by step."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from convmemory.tiers.breaker import FAILURES_TO_OPEN, TierHealth

ERROR = TimeoutError("secret details")


@pytest.fixture
def health():
    return TierHealth("Redis")


def test_the_breaker_opens_at_the_third_failure_in_a_row(health):
    assert [health.failed(ERROR) for _ in range(5)] == [False, False, True, False, False]
    assert (health.open, health.breaker) == (True, "open")
    assert health.counters.failures == 5
    assert datetime.now(UTC) - health.last_failure < timedelta(seconds=5)


def test_a_success_in_between_begins_the_row_anew(health):
    for _ in range(10):
        health.failed(ERROR)
        health.failed(ERROR)
        health.succeeded()

    assert (health.open, health.breaker) == (False, "closed")


def test_a_success_closes_the_breaker(health):
    for _ in range(FAILURES_TO_OPEN):
        health.failed(ERROR)
    health.succeeded()

    assert not health.open
    assert [health.failed(ERROR) for _ in range(3)] == [False, False, True]


def test_each_change_is_one_log_line_without_the_error_text(health, caplog):
    with caplog.at_level(logging.DEBUG):
        for _ in range(10):
            health.failed(ERROR)
        health.succeeded()
        health.succeeded()

    assert [record.getMessage() for record in caplog.records] == [
        "Redis is out of reach (TimeoutError); it is left alone and asked again",
        "Redis is back",
    ]


def test_of_many_threads_one_opens_it(health):
    barrier = threading.Barrier(8)

    def fail():
        barrier.wait()
        return [health.failed(ERROR) for _ in range(100)]

    with ThreadPoolExecutor(8) as threads:
        opened = [answer for work in [threads.submit(fail) for _ in range(8)] for answer in work.result()]

    assert sum(opened) == 1
    assert health.counters.failures == 800


def test_figures_are_the_counters_by_name(health):
    health.counters.hits += 2

    assert health.figures() == {
        "hits": 2,
        "misses": 0,
        "failures": 0,
        "failed_writes": 0,
        "dirty_marks": 0,
        "drained": 0,
        "accepted": 0,
        "stored": 0,
        "refused": 0,
    }
