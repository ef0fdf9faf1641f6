"""What every test can ask for; the fixtures themselves are in the fix_*.py beside it."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # tests are not a package: this is where plug-ins are found

pytest_plugins = ["fix_servers", "fix_memory", "fix_proxy", "fix_embedded", "fix_agents", "fix_chat"]

# How long an example takes says how busy the machine is; benchmarks measure.
settings.register_profile("convmemory", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("convmemory")
