"""What was asked for, a line each: which route, how it was answered and how long that took, and nothing of what was said."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger: Final = logging.getLogger("convmemory.access")


class AccessLog:
    """Logs every request by its route: addresses have the names of conversations in them, and those may tell."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it when it has been answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, told)
        finally:
            took = (time.perf_counter() - began) * 1000
            logger.info("%s %s %s %.1f ms", scope["method"], route_of(scope), status or "broken off", took)


def route_of(scope: Scope) -> str:
    """The path with the names of its places in the place of what stood there."""
    if scope.get("route") is None:
        return "(no route)"
    places: dict[str, Any] = {str(value): name for name, value in scope.get("path_params", {}).items()}
    steps = scope["path"].split("/")
    return "/".join(f"{{{places[step]}}}" if step in places else step for step in steps)
