"""Turns: so many at a time for each key, the others in the order they came, and none is lost."""

import asyncio
import threading
import time

import pytest

from convmemory.tiers.turns import AsyncTurns, Busy, Turns

SOON = 0.05


async def test_so_many_at_a_time_for_each_key_and_in_order():
    turns, inside, most, order = AsyncTurns(2, 5, "busy"), 0, 0, []

    async def work(number):
        nonlocal inside, most
        await turns.begin("key")
        inside += 1
        most = max(most, inside)
        order.append(number)
        await asyncio.sleep(0)
        inside -= 1
        turns.end("key")

    await turns.begin("another")
    await asyncio.gather(*(work(number) for number in range(20)))

    assert (most, order) == (2, list(range(20)))
    assert (turns._taken, turns._waiting) == ({"another": 1}, {})


async def test_who_waits_too_long_is_told_why_and_takes_no_turn():
    turns = AsyncTurns(1, SOON, "somebody else is at it")
    await turns.begin()

    with pytest.raises(Busy, match="somebody else is at it"):
        await turns.begin()
    turns.end()

    await turns.begin()
    assert (turns._taken, turns._waiting) == ({None: 1}, {})


@pytest.mark.parametrize("given", [False, True], ids=["before its turn", "as its turn comes"])
async def test_who_is_cancelled_hands_the_turn_on(given):
    turns = AsyncTurns(1, 5, "busy")
    await turns.begin()
    first, second = (asyncio.create_task(turns.begin()) for _ in range(2))
    await asyncio.sleep(0)
    if given:
        turns.end()
    first.cancel()
    if not given:
        turns.end()

    await asyncio.wait_for(second, 1)
    with pytest.raises(asyncio.CancelledError):
        await first
    turns.end()
    assert (turns._taken, turns._waiting) == ({}, {})


def test_threads_take_turns():
    turns, inside, most, done = Turns(3, 5, "busy"), 0, 0, 0
    count = threading.Lock()

    def work():
        nonlocal inside, most, done
        for _ in range(50):
            turns.begin("key")
            with count:
                inside += 1
                most = max(most, inside)
            time.sleep(0.0002)
            with count:
                inside -= 1
                done += 1
            turns.end("key")

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (most, done, turns._taken, turns._waiting) == (3, 600, {}, {})


def test_a_thread_that_waits_too_long_is_told_why_and_takes_no_turn():
    turns = Turns(1, SOON, "somebody else is at it")
    turns.begin()

    with pytest.raises(Busy, match="somebody else is at it"):
        turns.begin()
    turns.end()

    turns.begin()
    assert (turns._taken, turns._waiting) == ({None: 1}, {})


def test_a_turn_that_comes_as_a_thread_gives_up_is_handed_on(monkeypatch):
    turns = Turns(1, SOON, "busy")
    turns.begin()
    real = threading.Event.wait

    def late(event, timeout=None):
        real(event, timeout)
        turns.end()  # comes between the end of the wait and the look at what it brought
        return False

    monkeypatch.setattr(threading.Event, "wait", late)
    with pytest.raises(Busy):
        turns.begin()
    monkeypatch.undo()

    turns.begin()
    assert (turns._taken, turns._waiting) == ({None: 1}, {})
