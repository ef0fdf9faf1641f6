"""The application that is served: the routers, the page, and a login for whoever has the token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel, Field

import convmemory
from convmemory.api import create_chat_router, create_router, create_viewer
from convmemory.api.viewer.files import OWN, Files
from convmemory.api.viewer.route import GuardedRoute
from convmemory.cli.serve.access import AccessLog
from convmemory.cli.serve.door import Door

PAGE: Final = Path(__file__).parent / "page"
TITLE: Final = "Conversations"


class Entering(BaseModel):
    """What is shown at the door."""

    token: str = Field(max_length=1_000)


def application(
    memory: convmemory.AsyncConversationMemory,
    door: Door,
    answers: Any,
    *,
    viewer: bool,
    drain: float,
    max_runs: int,
) -> FastAPI:
    """The application over a memory, which it opens and closes; without ``answers`` it has no chat."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001 - Starlette's
        async with memory:
            yield

    # the pages /docs and /redoc would fetch scripts from elsewhere
    app = FastAPI(
        title="convmemory", version=convmemory.__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.include_router(create_router(memory, current_user=door.current_user), prefix="/v1")
    if answers is not None:
        for prefix, protocol in ("/v1", "plain"), ("/ai-sdk", "ai-sdk"):
            chat = create_chat_router(
                memory,
                answers,
                current_user=door.current_user,
                protocol=protocol,  # type: ignore[arg-type]  # each is one of them
                max_runs=max_runs,
                drain_seconds=drain,
            )
            app.include_router(chat, prefix=prefix, include_in_schema=protocol == "plain")
    if viewer:
        chat_at = None if answers is None else "/v1/chat"
        page = create_viewer(
            memory,
            current_user=door.current_user,
            api="/v1",
            chat=chat_at,
            login="/login",
            title=TITLE,
            templates=PAGE,
        )
        app.include_router(_login(door))
        app.include_router(page)
    app.add_middleware(AccessLog)
    return app


def _login(door: Door) -> APIRouter:
    router = APIRouter(route_class=GuardedRoute, include_in_schema=False)
    files = Files(PAGE, OWN)

    @router.get("/login")
    async def login_page(request: Request) -> Response:
        """Where the token is shown; behind the ``#`` of the address it is shown by itself."""
        base = request.scope.get("root_path", "").rstrip("/")
        return files.page("login.html", {"title": TITLE, "base": base})

    @router.post("/login")
    async def enter(given: Entering) -> Response:
        """Come in."""
        return door.enter(given.token)

    return router
