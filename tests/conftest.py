"""What every test can ask for; the fixtures themselves are in the fix_*.py beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # tests are not a package: this is where plug-ins are found

pytest_plugins = [
    "fix_servers",
    "fix_schemas",
    "fix_memory",
    "fix_proxy",
    "fix_embedded",
    "fix_agents",
    "fix_chat",
]

LONGEST = [
    "test_torture_smoke.py",
    "test_real_protocol.py",
    "test_mutants.py",
    "test_replay.py",
    "test_examples.py",
    "test_without_langchain.py",
    "test_redis_kinds.py",
    "test_failover.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no worker is alone with it in the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


# How long an example takes says how busy the machine is; benchmarks measure.
settings.register_profile("convmemory", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("convmemory")
