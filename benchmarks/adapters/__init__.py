"""The adapters, in the order they are opened; those whose library is not installed are left out."""

from __future__ import annotations

import sys
from importlib import import_module

from adapter import Adapter
from timing import finish

KNOWN = {
    "floor": ["InMemory"],
    "limits": ["PostgresOnly", "Tiered", "TieredAsync"],
    "ours": ["ConvMemory", "ConvMemoryAsync", "ConvMemoryPostgresOnly"],
    "langchain_postgres_peer": ["LangChainPostgres"],
    "langchain_community_peers": ["CommunitySQL", "CommunityRedis"],
    "openai_agents_peers": ["AgentsSQLAlchemy", "AgentsRedis"],
}


def opened(only: list[str], *, exactly: bool = False) -> list[Adapter]:
    """Open every adapter whose name contains one of ``only``, or is one of them ``exactly`` (all of them when empty)."""
    found: list[Adapter] = []
    for module, names in KNOWN.items():
        try:
            kinds = [getattr(import_module(f"adapters.{module}"), name) for name in names]
        except ImportError as error:
            print(f"left out {module}: {error}", file=sys.stderr)
            continue
        wanted = [
            kind
            for kind in kinds
            if not only
            or kind.name in only
            or (not exactly and any(part.lower() in kind.name.lower() for part in only))
        ]
        found += [kind() for kind in wanted]
    for adapter in found:
        finish(adapter.open())
    return found
