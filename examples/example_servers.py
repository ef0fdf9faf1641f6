"""The servers an example runs on: scratch ones of its own, or with ``--env`` those the environment names.

Either way the example itself says ``ConversationMemory.from_env()``, as an application would.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from convmemory.embedded import EmbeddedServers


@contextmanager
def example_servers(*, env: bool) -> Iterator[str]:
    """Have the environment name the servers for as long as the block lasts; yields what they are.

    With ``env`` it names them already: ``DATABASE_URL`` and ``REDIS_URL`` as in the documentation.
    """
    if env:
        yield "the servers of the environment"
        return
    with EmbeddedServers.start() as pair:
        os.environ["DATABASE_URL"] = pair.database_url
        os.environ["REDIS_URL"] = pair.redis_url or ""
        if pair.redis_url is None:  # no Redis program on this machine: PostgreSQL alone remembers as well
            os.environ["REDIS_HOST"] = ""
        yield pair.describe()
