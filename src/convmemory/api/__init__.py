"""Conversations, messages and sessions over HTTP, as a router of FastAPI: ``pip install 'langchain-convmemory[api]'``.

    app.include_router(create_router(memory, current_user=user_of))

Every route acts for the user that the application's own dependency names, and reaches nobody else's.
"""

from convmemory.errors import MissingExtra

try:
    import fastapi as _fastapi  # noqa: F401 - said once, and in words
except ImportError as error:
    raise MissingExtra("convmemory.api", "api") from error

from convmemory.api.chat.route import create_chat_router
from convmemory.api.chat.runnables import ChatTurn
from convmemory.api.router import create_router

__all__ = ["ChatTurn", "create_chat_router", "create_router"]
