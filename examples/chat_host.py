r"""A whole application: a login of its own, conversations and a chat over HTTP, a page to look at, an agent that looks things up.

    python examples/chat_host.py              on servers of its own, http://127.0.0.1:8000
    python examples/chat_host.py --env        on DATABASE_URL and REDIS_URL; also: uvicorn chat_host:app

Open the address, say who you are, and talk. What is written by hand here is the login and the agent: the routes, the stream
that ``useChat`` reads (``chat_front_end.mjs``) and the page come with the library. Needs ``langchain-convmemory[agents,serve]``.
CHAT_MODEL names a real model; without it a scripted one plays a clerk.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from secrets import token_urlsafe
from typing import Annotated
from urllib.parse import parse_qs

import uvicorn
from example_model import example_model
from example_servers import example_servers
from fastapi import Cookie, FastAPI, Header, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from tool_agent import find_order

from convmemory import AsyncConversationMemory
from convmemory.api import create_chat_router, create_router, create_viewer
from convmemory.middleware import ConversationMemoryMiddleware

HANDBOOK = {
    "returns.md": "Returns: thirty days from delivery. The label is free of charge.",
    "delivery.md": "Delivery: two working days, three to the islands.",
    "warranty.md": "Warranty: two years on everything with a plug.",
}
VISITS: dict[str, str] = {}
"""Whose visit it is. A stand-in for your authentication: it believes every name, and forgets with the process."""
LOGIN = """<!doctype html><html lang="en"><title>Log in</title><main><h1>Who are you?</h1>
<form method="post"><label>Name <input name="user" required maxlength="255"></label> <button>Log in</button></form></main></html>"""


class Handbook(BaseRetriever):
    """The pages of the handbook that share words with a question; yours asks a vector store."""

    def _get_relevant_documents(self, query: str, **_: object) -> list[Document]:
        asked = set(re.findall(r"[a-z]{4,}", query.lower()))
        found = [
            Document(text, id=page, metadata={"score": round(len(shared) / len(asked), 2)})
            for page, text in HANDBOOK.items()
            if (shared := asked & set(re.findall(r"[a-z]{4,}", text.lower())))
        ]
        return sorted(found, key=lambda one: -one.metadata["score"])[:2]


handbook = Handbook()


@tool
async def search_handbook(question: str) -> str:
    """Look up what the rules are for returns, delivery and warranty."""
    found = await handbook.ainvoke(question)
    return "\n".join(one.page_content for one in found) or "nothing"


def clerk(prompt: Sequence[BaseMessage]) -> AIMessage:
    """The rule of the scripted model: look up an order or a rule, then tell what was found."""
    newest = prompt[-1]
    if isinstance(newest, ToolMessage):
        return AIMessage(f"I looked it up:\n\n> {newest.text}")
    number = re.search(r"\b\d{4}\b", newest.text)
    name, given = (
        (find_order.name, {"number": number[0]})
        if number
        else (search_handbook.name, {"question": newest.text})
    )
    return AIMessage("", tool_calls=[{"name": name, "args": given, "id": f"call-{len(prompt)}"}])


memory = AsyncConversationMemory.from_env()
agent = create_agent(
    example_model(os.environ.get("CHAT_MODEL"), clerk, pace=0.03),
    [find_order, search_handbook],
    middleware=[ConversationMemoryMiddleware(memory, save_partial=True)],
)


def current_user(
    request: Request, visit: Annotated[str, Cookie()] = "", origin: Annotated[str | None, Header()] = None
) -> str:
    """Whoever the visit was given to; a change that a page of somebody else's asks for is refused."""
    if visit not in VISITS:
        raise HTTPException(401, "log in first")
    if origin is not None and origin != str(request.base_url).rstrip("/"):
        raise HTTPException(403, "this page may not do that")
    return VISITS[visit]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Connect once, when the process starts, and close when it ends."""
    del app
    async with memory:
        await memory.init_schema()
        yield


app = FastAPI(title="A shop's chat", lifespan=lifespan)
app.include_router(create_router(memory, current_user=current_user), prefix="/v1")
app.include_router(create_chat_router(memory, agent, current_user=current_user), prefix="/v1")
app.include_router(
    create_chat_router(memory, agent, current_user=current_user, protocol="ai-sdk"),
    prefix="/api",
    include_in_schema=False,
)
app.include_router(
    create_viewer(
        memory, current_user=current_user, api="/v1", chat="/v1/chat", login="/login", title="The shop's chat"
    ),
    prefix="/chats",
)


@app.get("/", include_in_schema=False)
async def home() -> RedirectResponse:
    """The page."""
    return RedirectResponse("/chats/")


@app.get("/login", include_in_schema=False)
async def who() -> HTMLResponse:
    """Ask who is there; here your authentication takes over."""
    return HTMLResponse(LOGIN)


@app.post("/login", include_in_schema=False)
async def login(request: Request) -> RedirectResponse:
    """Give a visit to any name, as no real service would."""
    given = parse_qs((await request.body())[:4_000].decode())
    visit = token_urlsafe(32)
    VISITS[visit] = given.get("user", ["somebody"])[0][:255]
    answer = RedirectResponse("/chats/", 303)
    answer.set_cookie("visit", visit, httponly=True, samesite="strict")
    return answer


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    parser.add_argument("--env", action="store_true", help="the servers that the environment names")
    options = parser.parse_args()
    with example_servers(env=options.env):
        uvicorn.run("chat_host:app", host="127.0.0.1", port=options.port, log_level="info")


if __name__ == "__main__":
    main()
