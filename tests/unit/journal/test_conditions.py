"""What a Redis must be set to before writes may wait in it."""

import pytest

from convmemory.journal.conditions import too_full, unkept

KEEPS, EVICTS = {"maxmemory_policy": "noeviction"}, {"maxmemory_policy": "allkeys-lru"}
FILE, NONE = {"aof_enabled": 1}, {"aof_enabled": 0}


@pytest.mark.parametrize(
    ("ack", "memory", "persistence", "fsync"),
    [
        ("memory", [KEEPS], [], None),
        ("memory", [{"maxmemory_policy": "volatile-ttl"}], [], None),
        ("everysec", [KEEPS, KEEPS], [FILE, FILE], "everysec"),
        ("everysec", [KEEPS], [FILE], None),  # CONFIG may be forbidden
        ("everysec", [KEEPS], [FILE], "always"),
        ("always", [KEEPS], [FILE], "always"),
        ("replica", [KEEPS], [FILE], "everysec"),
    ],
)
def test_these_keep_what_they_are_given(ack, memory, persistence, fsync):
    assert unkept(ack, memory, persistence, fsync, [{"slave0": {"state": "online"}}]) is None


@pytest.mark.parametrize(
    "told",
    [[], [None], [{"connected_slaves": 0}], [{"slave0": {"state": "wait_bgsave"}}], [{"slave_x": "online"}]],
)
def test_a_server_that_no_replica_follows_does_not(told):
    assert "no replica follows" in unkept("replica", [KEEPS], [FILE], "everysec", told)


@pytest.mark.parametrize(
    ("ack", "memory", "persistence", "fsync", "why"),
    [
        ("memory", [KEEPS, EVICTS], [], None, "allkeys-lru"),
        ("memory", [None], [], None, "INFO memory"),
        ("everysec", [KEEPS, KEEPS], [FILE, NONE], "everysec", "appendonly yes"),
        ("everysec", [KEEPS], [None], None, "append-only file"),
        ("everysec", [KEEPS], [FILE], "no", "appendfsync no"),
        ("always", [KEEPS], [FILE], "everysec", "needs always"),
        ("always", [KEEPS], [FILE], None, "CONFIG GET"),
        ("replica", [KEEPS], [NONE], None, "append-only file"),
    ],
)
def test_these_do_not_and_the_reason_says_what_would(ack, memory, persistence, fsync, why):
    assert why in unkept(ack, memory, persistence, fsync)


def test_a_server_is_full_at_four_fifths():
    assert too_full([{"maxmemory": 1000, "used_memory": 801}])
    assert not too_full(
        [{"maxmemory": 1000, "used_memory": 799}, {"maxmemory": 0, "used_memory": 10**9}, None]
    )
