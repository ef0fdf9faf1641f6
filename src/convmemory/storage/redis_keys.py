"""The keys a memory has in Redis, and how ids are written in them."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID


class Keys:
    """Key names under one prefix; user-supplied parts are percent-encoded, so no id reaches another's key."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def window(self, conversation: UUID) -> str:
        """The recent window; the braces are its hash tag on a cluster."""
        return f"{self._prefix}history:{{{conversation}}}:recent"

    def session(self, session_id: str) -> str:
        """One session."""
        return f"{self._prefix}session:{{{quote(session_id, safe='')}}}"

    def user_sessions(self, user_id: str) -> str:
        """The ids of a user's sessions."""
        return f"{self._prefix}user:{{{quote(user_id, safe='')}}}:sessions"

    def probe(self) -> str:
        """What is written to see whether anything can be."""
        return f"{self._prefix}probe"
