"""What ``check()`` and the log say of the tiers, in good times, through an outage and after it."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from convmemory import StorageUnavailable
from convmemory.tiers.breaker import FAILURES_TO_OPEN
from fix_memory import texts, until

CALLS = 10
COUNTERS = {"hits", "misses", "failures", "failed_writes", "dirty_marks", "drained"}
POOL = {"pool_min", "pool_max", "pool_size", "pool_available", "requests_waiting", "requests_num"}


@pytest.fixture
def said(caplog):
    """The lines of ``convmemory.tiers.breaker`` so far."""
    caplog.set_level(logging.DEBUG, "convmemory.tiers.breaker")
    return lambda: [
        record.getMessage() for record in caplog.records if record.name == "convmemory.tiers.breaker"
    ]


async def test_both_tiers_report_their_state_their_breaker_and_their_figures(memory, said):
    await memory.save_message("c", "x", user_id="ana")
    await memory.get_history("c", user_id="ana")
    await memory.get_history("c", user_id="ana")
    found = await memory.check()

    assert found.ok
    for tier, name in ((found.postgres, "PostgreSQL"), (found.redis, "Redis")):
        assert (tier.tier, tier.reachable, tier.breaker) == (name, True, "closed")
        assert (tier.problem, tier.last_failure) == (None, None)
        assert tier.figures.keys() >= COUNTERS
    assert found.postgres.figures.keys() >= POOL
    assert (found.postgres.figures["dirty_windows"], found.postgres.figures["failed_writes"]) == (0, 0)
    assert found.postgres.figures["pool_max"] == memory.settings.pool_max
    assert found.redis.figures["hits"] >= 1
    assert said() == []


async def test_a_postgresql_that_goes_and_comes_is_counted_by_call_and_told_by_change(
    schema, make_memory, postgres_proxy, said
):
    memory = await make_memory(postgres_proxy.url, pool_timeout=0.2)
    await memory.save_message("c", "x", user_id="ana")
    postgres_proxy.mode = "refuse"
    postgres_proxy.reset_all()
    told = []
    for _ in range(CALLS):
        with pytest.raises(StorageUnavailable) as caught:
            await memory.save_message("c", "y", user_id="ana")
        told.append(str(caught.value))
    assert "no connection could be made: " in told[0]
    assert not [line for line in told if "busy" in line], "a server that is away is not called a busy pool"
    found = await memory.check()

    assert (found.status, found.ok, found.degraded) == ("down", False, False)
    assert (found.redis.reachable, found.redis.breaker) == (True, "closed")
    assert (found.postgres.reachable, found.postgres.breaker) == (False, "open")
    assert "PostgreSQL" in found.postgres.problem
    assert found.postgres.figures["failed_writes"] == CALLS
    assert found.postgres.figures["failures"] >= FAILURES_TO_OPEN
    assert found.postgres.figures.keys() >= POOL  # what the process knows itself is told all the same
    assert found.postgres.figures["requests_errors"] > 0
    assert "dirty_windows" not in found.postgres.figures
    assert datetime.now(UTC) - found.postgres.last_failure < timedelta(seconds=30)
    [gone] = said()
    assert gone.startswith("PostgreSQL is out of reach")

    postgres_proxy.mode = "pass"
    await until(lambda: not memory.postgres.health.open)
    found = await memory.check()
    assert (found.ok, found.postgres.breaker, found.postgres.problem) == (True, "closed", None)
    assert found.postgres.last_failure is not None  # when it was, is worth knowing afterwards
    assert said() == [gone, "PostgreSQL is back"]


async def test_a_redis_that_goes_and_comes_is_counted_by_window_and_told_by_change(
    schema, make_memory, redis_proxy, said
):
    memory = await make_memory(redis=redis_proxy.url)
    await memory.save_message("c", "x", user_id="ana")
    redis_proxy.mode = "refuse"
    redis_proxy.reset_all()
    for number in range(CALLS):
        await memory.save_message(f"c{number}", "y", user_id="ana")
        assert texts(await memory.get_history("c", user_id="ana")) == ["x"]
    found = await memory.check()

    # conversations are served: no reason to keep users away
    assert (found.status, found.ok, found.degraded) == ("degraded", True, True)
    assert (found.postgres.reachable, found.postgres.breaker) == (True, "closed")
    assert (found.redis.reachable, found.redis.breaker) == (False, "open")
    assert found.redis.figures["windows_trusted"] is False
    assert found.postgres.figures["dirty_windows"] == found.redis.figures["dirty_marks"] == CALLS
    assert found.postgres.figures["failed_writes"] == 0
    assert datetime.now(UTC) - found.redis.last_failure < timedelta(seconds=30)
    [gone] = said()
    assert gone.startswith("Redis is out of reach")

    redis_proxy.mode = "pass"
    await until(lambda: not memory.redis.health.open)
    assert texts(await memory.get_history("c", user_id="ana")) == ["x"]
    found = await memory.check()
    assert (found.ok, found.redis.breaker) == (True, "closed")
    assert (found.postgres.figures["dirty_windows"], found.redis.figures["drained"]) == (0, CALLS)
    assert said() == [gone, "Redis is back"]
