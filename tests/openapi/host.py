"""An application with every router, over a memory that is awaited (``asyncio``) or blocks: ``python host.py awaited PORT``."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Header, HTTPException
from langchain_core.language_models import FakeListChatModel

from convmemory import AsyncConversationMemory, ConversationMemory
from convmemory.api import create_chat_router, create_operator_router, create_router, create_viewer

PROTOCOLS = {"/ai": "ai-sdk", "/agui": "ag-ui"}
"""Beside the plain one: each an application of its own, whose document has the same names of operations."""


def current_user(x_user: str = Header(default="", include_in_schema=False)) -> str:
    """Whoever the header names; a stranger without one."""
    if not x_user:
        raise HTTPException(401, "log in first", {"WWW-Authenticate": "Bearer"})
    return x_user


def current_operator(x_user: str = Header(default="", include_in_schema=False)) -> str:
    """Nobody but root."""
    if x_user != "root":
        raise HTTPException(403, "for operators")
    return x_user


class Beside:
    """Applications under prefixes of their own, whatever characters a path has (a mount takes no line feed)."""

    def __init__(self, app: FastAPI, others: dict[str, FastAPI]) -> None:
        self.app, self.others = app, others

    async def __call__(self, scope, receive, send):
        for path, other in self.others.items():
            if scope.get("path", "").startswith(f"{path}/"):
                return await other({**scope, "root_path": path}, receive, send)
        return await self.app(scope, receive, send)


def host(colour: str) -> Beside:
    """The applications."""
    memory = AsyncConversationMemory.from_env() if colour == "awaited" else ConversationMemory.from_env()

    @asynccontextmanager
    async def lifespan(app):
        if colour == "awaited":
            async with memory:
                yield
        else:
            with memory:
                yield

    app = FastAPI(lifespan=lifespan)
    app.include_router(create_router(memory, current_user=current_user), prefix="/v1")
    model = FakeListChatModel(responses=["Yes.", "No."])
    app.include_router(create_chat_router(memory, model, current_user=current_user), prefix="/v1")
    app.include_router(create_operator_router(memory, current_operator=current_operator), prefix="/operators")
    others = {}
    for path, protocol in PROTOCOLS.items():
        others[path] = other = FastAPI()
        other.include_router(create_chat_router(memory, model, current_user=current_user, protocol=protocol))
    app.include_router(create_viewer(memory, current_user=current_user, api="/v1"), prefix="/viewer")
    return Beside(app, others)


if __name__ == "__main__":
    uvicorn.run(host(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
