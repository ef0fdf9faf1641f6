"""The application of ``run.py rest``: the router's routes, one with nothing in it, and the calls under them, timed in here.

    python benchmarks/rest_app.py asyncio|uvloop h11|httptools SCHEMA

It prints its port, and serves until its stdin ends.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from fastapi import FastAPI, Header, Response

from convmemory import AsyncConversationMemory
from convmemory.api import create_router

PATHS = {"list": "/v1/conversations?limit=20", "page": "/v1/conversations/talk/messages?limit=50"}


async def current_user(authorization: str = Header(default="")) -> str:
    """A login that costs nothing: the token is the name."""
    return authorization.removeprefix("Bearer ")


def application(memory: AsyncConversationMemory) -> FastAPI:
    app = FastAPI()
    router = create_router(memory, current_user=current_user)
    app.include_router(router, prefix="/v1")

    @app.get("/nothing")
    async def nothing() -> Response:
        return Response(b"{}", media_type="application/json")

    async def measured(way: str, what: str, user: str) -> Response:
        """How long a call takes here, in this process and on this loop, while nobody else is served."""
        call = _call(app, memory, way, what, user)
        began = time.perf_counter()
        await call()
        return Response(f"{time.perf_counter() - began:.9f}", media_type="text/plain")

    app.add_api_route("/measured/{way}/{what}/{user}", measured)
    return app


def _call(
    app: FastAPI, memory: AsyncConversationMemory, way: str, what: str, user: str
) -> Callable[[], Awaitable[Any]]:
    mine = memory.for_user(user)
    if way == "library":
        if what == "list":
            return lambda: mine.list_user_conversations(20)
        return lambda: mine.get_messages("talk", limit=50)
    path = "/nothing" if way == "nothing" else PATHS[what]
    return lambda: _asked(app, path, user)


async def _asked(app: FastAPI, address: str, user: str) -> None:
    """A request to the application without a server in between."""
    path, _, query = address.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
        "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {user}".encode())],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: Any) -> None:
        assert event.get("status", 200) == 200, event

    await app(scope, receive, send)


async def serve(loop: str, http: str, schema: str) -> None:
    urls = os.environ["DATABASE_URL"], os.environ["REDIS_URL"]
    async with AsyncConversationMemory.from_url(*urls, db_schema=schema) as memory:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does for its own alone
            print(listening.getsockname()[1], flush=True)
            options: dict[str, Any] = {"loop": loop, "http": http, "access_log": False, "log_level": "error"}
            server = uvicorn.Server(uvicorn.Config(application(memory), **options))
            watch = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
            watch.add_done_callback(lambda _: setattr(server, "should_exit", True))
            await server.serve([listening])


if __name__ == "__main__":
    named = sys.argv[1]
    if named == "uvloop":
        import uvloop

        uvloop.run(serve(*sys.argv[1:]))
    else:
        asyncio.run(serve(*sys.argv[1:]))
