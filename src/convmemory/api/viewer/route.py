"""The viewer's router: its page, the files of it, and messages as the page shows them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from convmemory._async.user_memory import AsyncUserMemory
from convmemory.api.bodies import written
from convmemory.api.callers import CurrentUser, Memory, Served, caller, checked_login
from convmemory.api.problems import ProblemRoute, responses
from convmemory.api.queries import Pages
from convmemory.api.viewer.files import GUARDS, OWN, Files
from convmemory.api.viewer.shown import MessagesShown, message_shown
from convmemory.errors import InvalidArgument


class PagesShown(Pages):
    """Which page of messages; each is made HTML of."""

    limit: int = Field(default=50, ge=1, le=200)


class GuardedRoute(ProblemRoute):
    """A route whose every answer is under the page's policy."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the headers on whatever it answers."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            answer = await handle(request)
            answer.headers.update(GUARDS)
            return answer

        return guarded


def create_viewer(
    memory: Memory,
    *,
    current_user: CurrentUser,
    api: str,
    chat: str | None = None,
    login: str | None = None,
    title: str = "Conversations",
    templates: Path | str | None = None,
) -> APIRouter:
    """A page for reading and leading one's conversations, to be included in an application of FastAPI under a prefix.

    Args:
        memory: The application's memory, awaited or blocking.
        current_user: The application's own dependency, as for ``create_router``; a browser must come with it by itself, so
            it is a cookie that it reads.
        api: Where the application has the routes of ``create_router``: ``"/v1"``.
        chat: Where it has the plain route of ``create_chat_router``: ``"/v1/chat"``. Without one the page has no chat box.
        login: Where a browser goes that nobody knows.
        title: What the page is called.
        templates: A folder with files in the place of the page's own, such as ``banner.html`` or ``viewer.css``.

    Raises:
        InvalidArgument: ``current_user``, an address or the folder cannot be used.
    """
    checked_login(current_user)
    for name, address in (("api", api), ("chat", chat), ("login", login)):
        if address is not None and (not address.startswith("/") or address.startswith("//")):
            raise InvalidArgument(
                name, f"must be a path of this application, such as '/v1', not {address!r:.80}"
            )
    served = Served.of(memory)
    files = Files(*([] if templates is None else [Path(templates)]), OWN)
    router = APIRouter(route_class=GuardedRoute, generate_unique_id_function=lambda route: route.name)
    searches = "yes" if memory.settings.search_configurations else ""
    words = {"title": title, "search": searches}
    _add_page(router, files, words, {"api": api, "chat": chat, "login": login})
    _add_messages(router, caller(served, current_user))
    return router


def _add_page(
    router: APIRouter, files: Files, words: dict[str, str], addresses: dict[str, str | None]
) -> None:
    @router.get("/", include_in_schema=False)
    async def viewer(request: Request) -> Response:
        """The page."""
        root = request.scope.get("root_path", "").rstrip("/")
        known = {name: root + path.rstrip("/") if path else "" for name, path in addresses.items()}
        return files.page("page.html", {**words, **known, "base": request.url.path.rstrip("/")})

    @router.get("/files/{name}", include_in_schema=False)
    async def viewer_file(name: str, request: Request) -> Response:
        """A file of it."""
        return files.answer(name, request)


def _add_messages(router: APIRouter, mine: Callable[..., Any]) -> None:
    mine_of = Depends(mine)

    @router.get(
        "/conversations/{conversation_id}/shown",
        response_model=MessagesShown,
        responses=responses(401, 404, 422, 503),
        openapi_extra=PagesShown.described(),
    )
    async def show_messages(
        conversation_id: str, request: Request, mine: AsyncUserMemory = mine_of
    ) -> Response:
        """A page of messages as the viewer shows them, oldest first, with Markdown as harmless HTML."""
        found = await mine.get_messages(conversation_id, **PagesShown.of(request).model_dump())
        shown = await run_in_threadpool(lambda: [message_shown(one) for one in found])
        return written({"items": shown}, {"Cache-Control": "no-store"})
