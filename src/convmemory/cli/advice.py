"""What whoever reads an error at a terminal can do about it."""

from __future__ import annotations

import re
from typing import Final

from convmemory.errors import ConversationNotFound, ConvMemoryError, StorageUnavailable
from convmemory.tiers.driver_errors import POSTGRES, REDIS

_ADDRESS: Final = (
    " (is it running, and at that address? See --database-url and --redis-url; --embedded DIR needs neither)"
)
_ANSWERED: Final = {
    r"password authentication failed|no password supplied": (
        "is the password right? It is read from DATABASE_URL, where it is percent-encoded, or from POSTGRES_PASSWORD"
    ),
    r'database ".*" does not exist': (
        "make the database first, with createdb or CREATE DATABASE; `convmemory init` makes the tables in it"
    ),
    r'role ".*" does not exist': "is the user right? It is read from DATABASE_URL or POSTGRES_USER",
    r"pg_hba\.conf": "its pg_hba.conf does not let this user in from here, or not without TLS",
}
"""What a PostgreSQL says that is there and lets nobody in. It may speak another language; then there is no advice."""
_AWAY: Final = re.compile(
    r"refused|No such file|timed? ?out|No route|unreachable|resolve|translate host|reset by peer|closed the connection"
    r"|no answer within|no connection (?:became free|could be made)",
    re.IGNORECASE,
)


def advice(error: ConvMemoryError) -> str:
    """A hint to put behind the text of an error, or nothing."""
    if isinstance(error, ConversationNotFound):
        return ": `convmemory list --user USER` shows those there are"
    if not isinstance(error, StorageUnavailable) or error.tier not in {POSTGRES, REDIS}:
        return ""
    text = str(error)
    for pattern, hint in _ANSWERED.items():
        if re.search(pattern, text):
            return f" (the server is there: {hint})"
    return _ADDRESS if _AWAY.search(text) else ""
