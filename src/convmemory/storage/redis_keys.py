"""The keys a memory has in Redis, how ids are written in them, and what a server calls itself."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote
from uuid import UUID

FORMAT: Final = 1
"""Of what lies under the keys: two releases that write different things do not read each other's."""
_REPLICATION_ID: Final = re.compile("[0-9a-f]{40}")


class Keys:
    """Key names under one prefix; user-supplied parts are percent-encoded, so no id reaches another's key.

    ``installation`` names the database they belong to, so that two on one Redis never read each other's.
    """

    def __init__(self, prefix: str, installation: str = "") -> None:
        self._prefix = f"{prefix}{FORMAT}:{installation}:" if installation else f"{prefix}{FORMAT}:"

    def window(self, conversation: UUID) -> str:
        """The recent window; the braces are its hash tag on a cluster."""
        return f"{self._prefix}history:{{{conversation}}}:recent"

    def journal(self, conversation: UUID) -> str:
        """What waits for PostgreSQL, in the same slot as the window."""
        return f"{self._prefix}history:{{{conversation}}}:journal"

    def journals(self) -> str:
        """What the names of all journals match, and no others."""
        escaped = re.sub(r"([*?\[\]\\^-])", r"\\\1", self._prefix)
        return f"{escaped}history:{{*}}:journal"

    def journaled(self, name: bytes) -> UUID:
        """The conversation of a journal, by its name."""
        return UUID(name[-45:-9].decode())

    def sweep(self) -> str:
        """Who looks for journals whose writer is gone."""
        return f"{self._prefix}sweep"

    def session(self, handle: str) -> str:
        """One session, by its handle: its id is nowhere."""
        return f"{self._prefix}session:{{{quote(handle, safe='')}}}"

    def user_sessions(self, user_id: str) -> str:
        """The handles of a user's sessions."""
        return f"{self._prefix}user:{{{quote(user_id, safe='')}}}:sessions"

    def run(self, conversation: UUID) -> str:
        """What an answer that is on its way has sent so far."""
        return f"{self._prefix}run:{{{conversation}}}"

    def probe(self) -> str:
        """What is written to see whether anything can be."""
        return f"{self._prefix}probe"


def server_named(replication: object) -> str | None:
    """What a server calls itself, by its ``INFO replication``; ``None`` where it does not say.

    A server draws a new replication id when it starts and when it becomes the primary, and keeps it over everything else.
    """
    said = replication.get("master_replid") if isinstance(replication, dict) else None
    name = said.decode() if isinstance(said, bytes) else str(said)
    return name if _REPLICATION_ID.fullmatch(name) and name.strip("0") else None
