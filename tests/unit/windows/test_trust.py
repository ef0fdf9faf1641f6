"""When a cache may be trusted: every step by hand, no clock but the one passed in."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from convmemory.tiers.breaker import COOLDOWN
from convmemory.windows.trust import LOOK_EVERY, Trust


@pytest.fixture
def trust():
    return Trust()


def test_nothing_is_trusted_before_the_first_drain(trust):
    ticket = trust.begin(100.0)

    assert (ticket, trust.trusted) == (0, False)
    trust.drained(ticket, 100.0)
    assert trust.trusted


def test_one_caller_drains_at_a_time(trust):
    ticket = trust.begin(100.0)

    assert trust.begin(100.0) is None
    trust.drained(ticket, 100.0)
    assert trust.begin(100.1) is None  # nor is it due again


def test_a_look_is_due_once_a_second(trust):
    trust.drained(trust.begin(100.0), 100.0)

    assert trust.begin(100.0 + LOOK_EVERY - 0.001) is None
    assert trust.begin(100.0 + LOOK_EVERY) is not None
    assert trust.serves(100.0 + LOOK_EVERY)  # windows are served while one caller looks


def test_a_look_counts_from_where_it_began(trust):
    ticket = trust.begin(100.0)
    trust.drained(ticket, 100.0)  # however long it took: a mark made at 100.1 may have been missed

    assert trust.begin(100.0 + LOOK_EVERY) is not None


def test_others_are_not_served_for_as_long_as_a_look_takes(trust):
    trust.drained(trust.begin(100.0), 100.0)
    ticket = trust.begin(100.0 + LOOK_EVERY)

    assert trust.serves(100.0 + 2 * LOOK_EVERY - 0.001)
    assert not trust.serves(100.0 + 2 * LOOK_EVERY)
    trust.drained(ticket, 100.0 + LOOK_EVERY)
    assert trust.serves(100.0 + 2 * LOOK_EVERY)


def test_after_a_long_silence_nobody_is_served_before_a_look(trust):
    trust.drained(trust.begin(100.0), 100.0)
    ticket = trust.begin(500.0)

    assert trust.begin(500.0) is None
    assert not trust.serves(500.0)
    trust.drained(ticket, 500.0)
    assert trust.serves(500.0)


def test_a_loss_ends_the_trust_and_makes_a_drain_due_at_once(trust):
    trust.drained(trust.begin(100.0), 100.0)
    trust.lost()

    assert not trust.trusted
    assert trust.begin(100.0) is not None


def test_a_loss_during_the_drain_makes_it_worthless(trust):
    ticket = trust.begin(100.0)
    trust.lost()
    trust.drained(ticket, 100.0)

    assert not trust.trusted
    trust.drained(trust.begin(100.0), 100.0)
    assert trust.trusted


def test_a_drain_that_gave_up_is_tried_again_at_once_where_something_was_lost(trust):
    trust.begin(100.0)
    trust.gave_up(100.0)

    assert not trust.trusted
    assert trust.begin(100.0) is not None


def test_a_look_that_gave_up_waits_its_turn_where_nothing_was_lost(trust):
    trust.drained(trust.begin(100.0), 100.0)
    trust.begin(101.0)
    trust.gave_up(101.0)

    assert trust.begin(101.5) is None
    assert trust.begin(102.0) is not None


def test_a_look_that_gave_up_stops_nobody_where_nothing_was_lost(trust):
    trust.drained(trust.begin(100.0), 100.0)
    for now in (500.0, 501.5, 503.0):  # PostgreSQL is away
        trust.begin(now - 0.5)
        trust.gave_up(now)

        assert trust.serves(now)
        assert trust.serves(now + LOOK_EVERY)  # also while the next look waits for PostgreSQL


def test_a_look_that_was_cancelled_counts_for_nothing(trust):
    trust.drained(trust.begin(100.0), 100.0)
    trust.begin(500.0)
    trust.left()

    assert not trust.serves(500.0)
    assert trust.begin(500.0) is not None  # and nobody waits for one that is gone


def test_of_many_threads_one_draws_the_ticket(trust):
    barrier = threading.Barrier(8)

    def begin():
        barrier.wait()
        return trust.begin(100.0)

    with ThreadPoolExecutor(8) as threads:
        tickets = [work.result() for work in [threads.submit(begin) for _ in range(8)]]

    assert sorted(tickets, key=str) == [0, *[None] * 7]


def test_a_dead_tier_is_asked_often_enough_to_be_missed_briefly():
    assert 0 < COOLDOWN <= LOOK_EVERY <= 1
