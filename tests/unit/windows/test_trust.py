"""When a cache may be trusted: every step by hand, no clock but the one passed in."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from convmemory.ids import FIRST
from convmemory.tiers.breaker import COOLDOWN
from convmemory.windows.trust import LOOK_EVERY, NOWHERE, OLDEST_LOOK, Cache, Trust

CACHE = Cache("server", "server/0/app:")
ERAS = {CACHE.name: "era"}


@pytest.fixture
def trust():
    """Of a process that knows what its server calls itself."""
    made = Trust()
    made.named([CACHE])
    return made


def look(trust: Trust, now: float) -> None:
    """A look that found nothing to drop."""
    trust.looked(trust.begin(now), ERAS)


def test_nothing_is_trusted_before_the_first_look(trust):
    ticket = trust.begin(100.0)

    assert not trust.trusted
    assert not trust.standing.known
    trust.looked(ticket, ERAS)
    assert trust.trusted
    assert trust.standing.known
    assert (trust.standing.names, trust.standing.eras) == ((CACHE.name,), ("server", "era"))


def test_one_caller_looks_at_a_time(trust):
    ticket = trust.begin(100.0)

    assert trust.begin(100.0) is None
    trust.looked(ticket, ERAS)
    assert trust.begin(100.1) is None  # nor is it due again


def test_a_look_is_due_before_the_last_one_is_a_second_old(trust):
    look(trust, 100.0)

    assert trust.begin(100.0 + LOOK_EVERY - 0.001) is None
    assert trust.begin(100.0 + LOOK_EVERY) is not None
    assert trust.serves(100.0 + LOOK_EVERY)  # windows are served while one caller looks


def test_a_look_counts_from_where_it_began(trust):
    ticket = trust.begin(100.0)
    trust.looked(ticket, ERAS)  # however long it took: a mark made at 100.1 may have been missed

    assert trust.begin(100.0 + LOOK_EVERY) is not None


def test_nobody_is_served_on_a_look_that_began_a_second_ago(trust):
    look(trust, 100.0)
    ticket = trust.begin(100.0 + LOOK_EVERY)

    assert trust.serves(100.0 + OLDEST_LOOK - 0.001)
    assert not trust.serves(100.0 + OLDEST_LOOK)
    trust.looked(ticket, ERAS)
    assert trust.serves(100.0 + OLDEST_LOOK)


def test_after_a_long_silence_nobody_is_served_before_a_look(trust):
    look(trust, 100.0)
    ticket = trust.begin(500.0)

    assert trust.begin(500.0) is None
    assert not trust.serves(500.0)
    trust.looked(ticket, ERAS)
    assert trust.serves(500.0)


def test_a_loss_ends_the_trust_and_forgets_the_era_and_makes_a_look_due_at_once(trust):
    look(trust, 100.0)
    trust.lost()

    assert not trust.trusted
    assert (trust.standing.names, trust.standing.eras) == ((CACHE.name,), ("server", ""))
    assert not trust.standing.known
    assert trust.begin(100.0) is not None


def test_what_a_call_goes_by_is_not_changed_under_its_hands(trust):
    look(trust, 100.0)
    begun = trust.standing
    trust.lost()
    trust.looked(trust.begin(100.0), {CACHE.name: "another era"})

    assert begun.eras == ("server", "era")
    assert trust.standing.eras == ("server", "another era")


def test_a_loss_during_the_look_makes_it_worthless(trust):
    ticket = trust.begin(100.0)
    trust.lost()
    trust.looked(ticket, ERAS)

    assert not trust.trusted
    look(trust, 100.0)
    assert trust.trusted


def test_a_look_that_gave_up_is_tried_again_at_once_where_something_was_lost(trust):
    trust.begin(100.0)
    trust.gave_up(100.0)

    assert not trust.trusted
    assert trust.begin(100.0) is not None


def test_a_look_that_gave_up_waits_its_turn_where_nothing_was_lost(trust):
    look(trust, 100.0)
    trust.begin(101.0)
    trust.gave_up(101.0)

    assert trust.begin(101.0 + LOOK_EVERY - 0.001) is None
    assert trust.begin(101.0 + LOOK_EVERY) is not None


def test_a_look_that_gave_up_stops_nobody_where_nothing_was_lost(trust):
    look(trust, 100.0)
    for now in (500.0, 501.5, 503.0):  # PostgreSQL is away
        trust.begin(now - 0.5)
        trust.gave_up(now)

        assert trust.serves(now)
        assert trust.serves(now + LOOK_EVERY)  # also while the next look waits for PostgreSQL


def test_a_look_that_was_cancelled_counts_for_nothing(trust):
    look(trust, 100.0)
    trust.begin(500.0)
    trust.left()

    assert not trust.serves(500.0)
    assert trust.begin(500.0) is not None  # and nobody waits for one that is gone


def test_a_look_that_stands_still_is_not_waited_for(trust):
    """As in an event loop that somebody stopped in the middle of it, and may go on with."""
    first = trust.begin(100.0)
    assert trust.begin(104.9) is None
    second = trust.begin(105.0)
    assert trust.begin(105.1) is None
    trust.looked(second, {CACHE.name: "a later era"})
    trust.looked(first, ERAS)  # what it found is older than what is known

    assert trust.standing.eras == ("server", "a later era")
    assert not trust.serves(105.0 + OLDEST_LOOK)
    assert trust.serves(105.0)


def test_of_many_threads_one_draws_the_ticket(trust):
    barrier = threading.Barrier(8)

    def begin():
        barrier.wait()
        return trust.begin(100.0)

    with ThreadPoolExecutor(8) as threads:
        tickets = [work.result() for work in [threads.submit(begin) for _ in range(8)]]

    assert sum(ticket is not None for ticket in tickets) == 1


# More marks than one caller should wait for


def test_the_next_caller_goes_on_where_the_last_one_left_off(trust):
    first = trust.begin(100.0)
    trust.paused(first, UUID(int=5))

    assert first.after == FIRST
    assert not trust.trusted
    second = trust.begin(100.5)
    assert (second.after, second.began) == (UUID(int=5), 100.0)
    trust.looked(second, ERAS)
    assert trust.serves(100.9)
    assert not trust.serves(101.0)  # it vouches for what was there when the first of them began


def test_a_loss_has_them_begin_anew(trust):
    trust.paused(trust.begin(100.0), UUID(int=5))
    trust.lost()

    assert trust.begin(100.5).after == FIRST


def test_a_process_that_serves_stops_to_while_marks_are_left(trust):
    look(trust, 100.0)
    trust.paused(trust.begin(100.5), UUID(int=5))

    assert not trust.serves(100.6)
    assert trust.begin(100.6).after == UUID(int=5)


# Servers and their names


def test_a_server_that_changed_its_name_is_asked_for_it_and_nothing_is_told_to_it(trust):
    look(trust, 100.0)
    trust.renamed(100.1)

    assert (trust.caches, trust.standing, trust.former) == (None, NOWHERE, (CACHE,))
    assert trust.begin(100.1).caches is None


def test_two_servers_in_turn_are_asked_once_a_second(trust):
    look(trust, 100.0)
    trust.renamed(100.1)
    trust.named([Cache("other", "other/0/app:")])
    trust.looked(trust.begin(100.2), {"other/0/app:": "e"})
    trust.renamed(100.3)

    assert trust.begin(100.4) is None
    assert trust.begin(101.0) is None
    assert trust.begin(100.1 + 1.0) is not None


def test_a_server_without_a_name_caches_nothing_and_that_is_said_once():
    trust = Trust()

    assert trust.named([])
    assert trust.off
    assert trust.begin(100.0) is None
    trust.lost()  # who comes back may be another
    assert not trust.off
    assert not trust.named([])
    assert not trust.named([CACHE])
    assert trust.named([])


def test_who_could_not_register_tries_less_and_less_often_but_never_gives_up(trust):
    now, waits = 100.0, []
    for _ in range(10):
        trust.begin(now)
        trust.refused(now)
        began = now
        while trust.begin(now) is None:
            now += 0.25
        trust.left()
        waits.append(now - began)

    assert waits == sorted(waits)
    assert waits[0] <= 1
    assert waits[-1] == 30
    look(trust, now)
    trust.lost()
    trust.begin(now)
    trust.refused(now)
    assert trust.begin(now + 1) is not None


def test_who_never_looked_or_looked_long_ago_is_told_so(trust):
    assert trust.older(100.0, 60)
    look(trust, 100.0)
    assert not trust.older(159.0, 60)
    assert trust.older(160.0, 60)
    trust.lost()
    assert trust.older(100.0, 60)


def test_a_dead_tier_is_asked_often_enough_to_be_missed_briefly():
    assert 0 < COOLDOWN <= LOOK_EVERY < OLDEST_LOOK <= 1
