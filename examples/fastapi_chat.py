r"""A chat service: an agent with tools, streamed, that remembers every user's conversations and mixes up none.

    python examples/fastapi_chat.py              on servers of its own, http://127.0.0.1:8000
    python examples/fastapi_chat.py --env        on DATABASE_URL and REDIS_URL; also: uvicorn fastapi_chat:app

    curl -H 'Content-Type: application/json' -d '{"user": "ada"}' http://127.0.0.1:8000/login      # {"token": ...}
    curl -N -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
        -d '{"message": "Where is my order 1042?"}' http://127.0.0.1:8000/chat                     # a conversation_id first
    curl -N -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
        -d '{"message": "Send it back, please.", "conversation_id": "..."}' http://127.0.0.1:8000/chat
    curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8000/conversations

One memory serves the whole process, from its start to its end. A handler is given ``memory.for_user(user)``, from which
no other user's conversation can be reached. Needs fastapi, uvicorn and ``langchain-convmemory[agents]``. CHAT_MODEL
names a real model; without it a scripted one plays a clerk.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from secrets import token_urlsafe
from typing import Annotated, Any

import uvicorn
from example_model import example_model
from example_servers import example_servers
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import BaseModel, Field
from tool_agent import clerk, find_order, start_return

from convmemory import (
    AsyncConversationMemory,
    AsyncUserMemory,
    Conversation,
    ConversationNotFound,
    InvalidArgument,
    Message,
    Page,
    Session,
    StorageUnavailable,
)
from convmemory.middleware import ConversationMemoryMiddleware

logger = logging.getLogger("uvicorn.error")

TOKENS: dict[str, str] = {}
"""Whose token it is. A stand-in for your authentication: it believes every name, and forgets with the process."""
STATUS = {ConversationNotFound: 404, InvalidArgument: 422, StorageUnavailable: 503}
WINDOW = 20
"""Messages of earlier turns that the model sees: about five turns in which it calls a tool."""


class Login(BaseModel):
    """Who wants to come in."""

    user: str = Field(min_length=1, max_length=255)


class Said(BaseModel):
    """What the user says, and where: in that conversation, else where the session left off, else in a new one."""

    message: str = Field(min_length=1)
    conversation_id: str | None = None
    session_id: str | None = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Connect once, when the process starts, and close when it ends."""
    async with AsyncConversationMemory.from_env() as memory:
        await memory.init_schema()
        app.state.memory = memory
        app.state.agent = create_agent(
            example_model(os.environ.get("CHAT_MODEL"), clerk, pace=0.03),
            [find_order, start_return],
            middleware=[ConversationMemoryMiddleware(memory, max_messages=WINDOW)],
        )
        yield


app = FastAPI(title="A chat with memory", lifespan=lifespan)
bearer = HTTPBearer(auto_error=False)


def user_of(sent: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> str:
    """Whoever the token was given to; here your authentication takes over."""
    user = TOKENS.get(sent.credentials) if sent else None
    if user is None:
        raise HTTPException(401, "log in first", {"WWW-Authenticate": "Bearer"})
    return user


def mine_of(request: Request, user: Annotated[str, Depends(user_of)]) -> AsyncUserMemory:
    """The memory on behalf of that user: all of it that a handler ever gets."""
    memory: AsyncConversationMemory = request.app.state.memory
    return memory.for_user(user)


Mine = Annotated[AsyncUserMemory, Depends(mine_of)]


@app.post("/login")
async def login(who: Login) -> dict[str, str]:
    """Give a token for any name, as no real service would."""
    token = token_urlsafe(32)
    TOKENS[token] = who.user
    return {"token": token}


@app.post("/chat")
async def chat(said: Said, request: Request, mine: Mine) -> StreamingResponse:
    """Answer as server-sent events: ``begin``, then ``tool`` and ``text`` as they come, then ``end`` or ``error``.

    What goes wrong before the first of them still has a status of its own. ``end`` comes when the turn is stored.
    """
    visit = await visit_of(mine, said.session_id)
    conversation_id = await conversation_for(mine, said.conversation_id, visit)
    begin = {
        "conversation_id": conversation_id,
        "session_id": await visited(mine, visit, conversation_id),
    }
    config = mine.run_config(conversation_id=conversation_id)
    events = answer(request.app.state.agent, said.message, config, begin)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def answer(
    agent: Runnable[Any, Any], message: str, config: RunnableConfig, begin: dict[str, Any]
) -> AsyncIterator[str]:
    """One turn as events. The user's message is stored before the model is asked, the rest when the agent is done."""
    yield event("begin", begin)
    try:
        said = {"messages": [("human", message)]}
        async for piece, _ in agent.astream(said, config, stream_mode="messages"):
            if isinstance(piece, ToolMessage):
                yield event("tool", {"name": piece.name, "result": str(piece.text)})
            elif isinstance(piece, AIMessage) and piece.text:
                yield event("text", {"text": str(piece.text)})
    except Exception as error:  # the status has been sent: this is the only way left to say so
        logger.exception("a turn failed")
        yield event("error", {"detail": type(error).__name__})
    else:
        yield event("end", {})


def event(kind: str, data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


async def visit_of(mine: AsyncUserMemory, session_id: str | None) -> Session | None:
    """The user's session; ``None`` when it has expired, and while Redis is away: conversations go on without."""
    with suppress(StorageUnavailable):
        return await mine.get_session(session_id) if session_id else None
    return None


async def conversation_for(mine: AsyncUserMemory, named: str | None, visit: Session | None) -> str:
    """The conversation that is named, else the one of the session, else a new one."""
    if named is not None:
        return (await mine.get_conversation(named)).id
    if visit is not None and visit.conversation_id is not None:
        with suppress(ConversationNotFound):  # deleted since
            return (await mine.get_conversation(visit.conversation_id)).id
    return (await mine.create_conversation()).id


async def visited(mine: AsyncUserMemory, visit: Session | None, conversation_id: str) -> str | None:
    """Note in the session where the user is, in a new one if it has ended; its id, if there is a Redis to have it."""
    with suppress(StorageUnavailable):
        kept = await mine.extend_session(visit, conversation_id=conversation_id) if visit else None
        return (kept or await mine.create_session(conversation_id=conversation_id)).id
    return None


@app.get("/conversations")
async def conversations(mine: Mine, cursor: str | None = None) -> Page[Conversation]:
    """The user's conversations, the one changed last first, 20 a page."""
    return await mine.list_user_conversations(cursor=cursor)


@app.get("/conversations/{conversation_id}")
async def conversation(conversation_id: str, mine: Mine) -> Conversation:
    """One conversation with its newest 50 messages, oldest first."""
    return await mine.get_conversation(conversation_id, messages=50)


@app.get("/conversations/{conversation_id}/messages")
async def messages(conversation_id: str, mine: Mine, before: int | None = None) -> list[Message]:
    """50 messages, the newest or those ``before`` the first ``seq`` of the page one has, oldest first."""
    return await mine.get_messages(conversation_id, before=before)


@app.delete("/conversations/{conversation_id}", status_code=204)
async def delete(conversation_id: str, mine: Mine) -> None:
    """Delete a conversation with everything in it."""
    await mine.delete_conversation(conversation_id)


@app.delete("/sessions/{session_id}", status_code=204)
async def leave(session_id: str, mine: Mine) -> None:
    """End a session; the conversation stays."""
    await mine.end_session(session_id)


@app.get("/ready")
async def ready(request: Request, response: Response) -> dict[str, str]:
    """What a readiness probe asks: 503 without PostgreSQL, and 200 without Redis, since conversations are served."""
    memory: AsyncConversationMemory = request.app.state.memory
    found = await memory.check()
    response.status_code = 200 if found.ok else 503
    return {"status": found.status}


@app.exception_handler(ConversationNotFound)
@app.exception_handler(InvalidArgument)
@app.exception_handler(StorageUnavailable)
async def refused(request: Request, error: Exception) -> JSONResponse:
    """Somebody else's conversation and one that is not there are both 404; which server is away is no client's business."""
    del request
    detail = "try again" if isinstance(error, StorageUnavailable) else str(error)
    return JSONResponse({"detail": detail}, STATUS[type(error)])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    parser.add_argument("--env", action="store_true", help="the servers that the environment names")
    options = parser.parse_args()
    with example_servers(env=options.env):
        uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="info")


if __name__ == "__main__":
    main()
