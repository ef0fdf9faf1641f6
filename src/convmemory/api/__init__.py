"""Conversations, messages and sessions over HTTP, as a router of FastAPI: ``pip install 'langchain-convmemory[api]'``.

    app.include_router(create_router(memory, current_user=user_of))

Every route acts for the user that the application's own dependency names, and reaches nobody else's.
"""

from typing import TYPE_CHECKING, Any

from convmemory.errors import MissingExtra

try:
    import fastapi as _fastapi  # noqa: F401 - said once, and in words
except ImportError as error:
    raise MissingExtra("convmemory.api", "api") from error

from convmemory.api.chat.route import create_chat_router
from convmemory.api.chat.runnables import ChatTurn
from convmemory.api.everybodys import create_operator_router
from convmemory.api.router import create_router

if TYPE_CHECKING:
    from convmemory.api.viewer.route import create_viewer

__all__ = ["ChatTurn", "create_chat_router", "create_operator_router", "create_router", "create_viewer"]


def __getattr__(name: str) -> Any:
    """The viewer, which needs another extra, when it is asked for."""
    if name != "create_viewer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from convmemory.api.viewer.route import create_viewer  # noqa: PLC0415 - see above
    except ImportError as error:
        raise MissingExtra("convmemory.api.create_viewer", "viewer") from error
    return create_viewer
