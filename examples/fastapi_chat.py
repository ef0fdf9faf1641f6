r"""A chat service that streams its answers and remembers every user's conversations.

    python examples/fastapi_chat.py              on servers of its own, http://127.0.0.1:8000
    python examples/fastapi_chat.py --env        on DATABASE_URL and REDIS_URL; also: uvicorn fastapi_chat:app

    curl -N -H 'X-User-Id: ada' -H 'Content-Type: application/json' \
        -d '{"conversation_id": "hello", "message": "My name is Ada"}' http://127.0.0.1:8000/chat
    curl -H 'X-User-Id: ada' http://127.0.0.1:8000/conversations
    curl -H 'X-User-Id: ada' http://127.0.0.1:8000/conversations/hello/messages

One memory serves the whole process, from its start to its end; a history is made for each request. Needs fastapi and
uvicorn. Who the user is says a header here: in your service, your authentication says it. CHAT_MODEL names a real model.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from example_model import example_model
from example_servers import example_servers
from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse, StreamingResponse
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory
from pydantic import BaseModel

from convmemory import AsyncConversationMemory, ConversationNotFound, InvalidArgument, StorageUnavailable

PROMPT = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{message}")])
STATUS = {ConversationNotFound: 404, InvalidArgument: 422, StorageUnavailable: 503}


class Said(BaseModel):
    """What the user says, and in which conversation: a name of their own, or a UUID from the list."""

    conversation_id: str
    message: str


def recall(prompt: Sequence[BaseMessage]) -> AIMessage:
    """The rule of the scripted model: it knows the user's name if the prompt has it."""
    said = " ".join(message.text for message in prompt if message.type == "human")
    names = re.findall(r"[Mm]y name is (\w+)", said)
    return AIMessage(f"Your name is {names[-1]}." if names else "You have not told me your name yet.")


def chat_chain(memory: AsyncConversationMemory) -> RunnableWithMessageHistory:
    """The chain behind POST /chat: text in, text out, the turn stored when the last word is out."""
    return RunnableWithMessageHistory(
        PROMPT | example_model(os.environ.get("CHAT_MODEL"), recall) | StrOutputParser(),
        memory.history_factory,
        history_factory_config=memory.history_factory_config,
        input_messages_key="message",
        history_messages_key="history",
    )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Connect once, when the process starts, and close when it ends."""
    async with AsyncConversationMemory.from_env() as memory:
        await memory.init_schema()
        app.state.memory, app.state.chain = memory, chat_chain(memory)
        yield


def memory_of(request: Request) -> AsyncConversationMemory:
    """The memory of this process."""
    memory: AsyncConversationMemory = request.app.state.memory
    return memory


app = FastAPI(title="A chat with memory", lifespan=lifespan)
Memory = Annotated[AsyncConversationMemory, Depends(memory_of)]
UserId = Annotated[str, Header(alias="X-User-Id")]


@app.post("/chat")
async def chat(said: Said, request: Request, memory: Memory, user_id: UserId) -> StreamingResponse:
    """Stream the answer; what goes wrong before its first word still has a status of its own."""
    config = memory.run_config(conversation_id=said.conversation_id, user_id=user_id)
    words = request.app.state.chain.astream({"message": said.message}, config)
    first = await anext(words, "")

    async def answer() -> AsyncIterator[str]:
        yield first
        async for word in words:
            yield word

    return StreamingResponse(answer(), media_type="text/plain")


@app.get("/conversations")
async def conversations(memory: Memory, user_id: UserId, cursor: str | None = None) -> dict[str, Any]:
    """The user's conversations, the one changed last first, 20 a page."""
    page = await memory.list_user_conversations(user_id, cursor=cursor)
    shown = [{"id": c.conversation_id, "title": c.title, "messages": c.message_count} for c in page]
    return {"conversations": shown, "next_cursor": page.next_cursor}


@app.get("/conversations/{conversation_id}/messages")
async def messages(
    conversation_id: str, memory: Memory, user_id: UserId, before: int | None = None
) -> list[dict[str, Any]]:
    """The newest 50 messages of a conversation, oldest first; ``before`` the first ``seq`` of the page one has."""
    page = await memory.get_messages(conversation_id, user_id=user_id, before=before)
    fields = ("seq", "role", "content", "tokens_used", "latency_ms", "created_at")
    return [{name: getattr(stored, name) for name in fields} for stored in page]


@app.exception_handler(ConversationNotFound)
@app.exception_handler(InvalidArgument)
@app.exception_handler(StorageUnavailable)
async def refused(request: Request, error: Exception) -> JSONResponse:
    """Somebody else's conversation and one that is not there are both 404."""
    del request
    return JSONResponse({"detail": str(error)}, STATUS[type(error)])


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
