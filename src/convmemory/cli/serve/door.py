"""Who may come in: whoever has the token, as a header or as the cookie that it is changed for."""

from __future__ import annotations

import os
from hashlib import sha256
from secrets import compare_digest, token_urlsafe
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import HTTPException, Request, Response

from convmemory.errors import ConfigurationError

VARIABLE: Final = "CONVMEMORY_SERVE_TOKEN"
_SHORTEST: Final = 16
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def token_of_environment() -> str | None:
    """The token that the environment names.

    Raises:
        ConfigurationError: It is too short, or could not be sent.
    """
    given = os.environ.get(VARIABLE)
    if not given:
        return None
    if len(given) < _SHORTEST or not given.isascii() or not given.isprintable() or " " in given:
        raise ConfigurationError(
            f"{VARIABLE}: must be {_SHORTEST} or more printable ASCII characters without a space, such as "
            "`python -c 'import secrets; print(secrets.token_urlsafe())'` makes"
        )
    return given


class Door:
    """Lets in whoever has the token, as one user.

    Args:
        token: The token; ``None`` makes one.
        user: Who comes in by it.
    """

    def __init__(self, token: str | None, user: str) -> None:
        self.token = token or token_urlsafe(24)
        self.user = user
        self._visit = token_urlsafe(24)
        # cookies are one host's, whatever the port: two of us side by side must not take each other's
        self._cookie = f"convmemory-{sha256(self._visit.encode()).hexdigest()[:12]}"

    def current_user(self, request: Request) -> str:
        """Who is asking; the dependency of all routes."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), self.token):
            return self.user
        visit = request.cookies.get(self._cookie)
        if visit is not None and _same(visit, self._visit):
            if request.method in _SAFE or _is_own(request):
                return self.user
            raise HTTPException(403, "this was asked by a page of somebody else's")
        raise HTTPException(
            401, "log in first: the token was printed at the start", {"WWW-Authenticate": "Bearer"}
        )

    def enter(self, token: Any) -> Response:
        """Change the token for a cookie, which no script can read and no other site can have sent."""
        if not isinstance(token, str) or not _same(token.strip(), self.token):
            raise HTTPException(401, "this is not the token that was printed at the start")
        answer = Response(status_code=204)
        answer.set_cookie(self._cookie, self._visit, httponly=True, samesite="strict", path="/")
        return answer


def _same(given: str, wanted: str) -> bool:
    return compare_digest(given.encode(), wanted.encode())


def _is_own(request: Request) -> bool:
    """Whether a change is asked for by a page of this very server, or by no page at all."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")
