"""A chat over HTTP: an application with the chat route, and a client of it; in the process, or of a real server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from convmemory import AsyncConversationMemory, ConversationMemory

OPTIONS = {"pool_timeout": 5.0, "redis_timeout": 2.0}


@pytest.fixture
async def open_memory(schema, colour, database_url, redis_url, key_prefix):
    """A function that opens another memory of this colour, as another process would; closed in the end."""
    async with AsyncExitStack() as stack:

        async def opened(redis: Any = redis_url, postgres: str = database_url, **settings: Any) -> Any:
            told = {"db_schema": schema, "key_prefix": key_prefix, **OPTIONS, **settings}
            if colour == "awaited":
                return await stack.enter_async_context(
                    AsyncConversationMemory.from_url(postgres, redis, **told)
                )
            return stack.enter_context(ConversationMemory.from_url(postgres, redis, **told))

        yield opened


@pytest.fixture
async def make_chat(open_memory):
    """A function that makes an application with the chat route over a memory, and a client of it as ada."""
    import httpx
    from fastapi import FastAPI, Header, HTTPException

    from convmemory.api import create_chat_router, create_router

    def current_user(x_user: str = Header(default="")) -> str:
        if not x_user:
            raise HTTPException(401, "log in first")
        return x_user

    async def made(runnable: Any, *, memory: Any = None, **options: Any) -> Any:
        found = await open_memory() if memory is None else memory
        made_of = runnable(found) if getattr(runnable, "of_memory", False) else runnable
        app = FastAPI()
        app.include_router(create_chat_router(found, made_of, current_user=current_user, **options))
        app.include_router(create_router(found, current_user=current_user))
        transport = httpx.ASGITransport(app)
        client = httpx.AsyncClient(transport=transport, base_url="http://chat", headers={"x-user": "ada"})
        client.app, client.memory = app, found  # what a test may want beside it
        # which ends with the answers on their way
        await stack.enter_async_context(app.router.lifespan_context(app))
        return client

    async with AsyncExitStack() as stack:
        yield made


@asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncIterator[str]:
    """A real server of an application, in this event loop: its address."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            app, port=0, log_level="warning", timeout_graceful_shutdown=5, timeout_keep_alive=60, **options
        )
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has nothing else to wait for
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


def events_of(text: str) -> list[tuple[str, Any]]:
    """Server-sent events with names, and the JSON they bring."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines.get("event", "message"), json.loads(lines["data"])))
    return found


FRONT_ENDS = Path(
    os.environ.get("CONVMEMORY_TEST_FRONT_ENDS") or Path(__file__).parents[1] / ".matrix" / "front-ends"
)


def front_ends_missing() -> str | None:
    """Why no front end can read our streams here."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (FRONT_ENDS / "node_modules").is_dir():
        return "the front ends are not fetched: scripts/front-ends"
    return None


class FrontEnd:
    """A front end of its own, in a process of Node's: takes commands, and shows what it made of them."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def do(self, what: str, **how: Any) -> dict[str, Any]:
        """One command, and the state of the front end after it."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"do": what, **how}).encode() + b"\n")
        line = await asyncio.wait_for(self.process.stdout.readline(), 60)
        assert line, "the front end ended"
        found: dict[str, Any] = json.loads(line)
        return found


@pytest.fixture
async def front_end(tmp_path):
    """A function that starts a front end: a script of ``tests/front_ends`` with its arguments."""
    if why := front_ends_missing():
        pytest.skip(why)
    started: list[asyncio.subprocess.Process] = []
    scripts = Path(__file__).parent / "front_ends"
    for script in scripts.glob("*.mjs"):
        shutil.copy(script, tmp_path)
    (tmp_path / "node_modules").symlink_to((FRONT_ENDS / "node_modules").resolve())

    async def start(script: str, *arguments: str) -> FrontEnd:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(tmp_path / script),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        started.append(process)
        return FrontEnd(process)

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()
