"""Routes for operators: everybody's conversations, in a router that an application has to include by its own will."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from convmemory.api.bodies import (
    ConversationOwned,
    EverybodysConversations,
    Messages,
    message_found,
    owned_found,
    written,
)
from convmemory.api.callers import CurrentUser, Memory, Served
from convmemory.api.filters import ListedOfAll
from convmemory.api.problems import ProblemRoute, responses
from convmemory.api.queries import Pages
from convmemory.errors import ConversationNotFound, InvalidArgument
from convmemory.models import Conversation


def create_operator_router(memory: Memory, *, current_operator: CurrentUser) -> APIRouter:
    """Routes that list everybody's conversations and show what was said in them, to be included under a prefix of their own.

    ``create_router`` has none of them: whoever includes this one says that those whom ``current_operator`` lets in may read
    what all users said. They change nothing.

    Args:
        memory: The application's memory, awaited or blocking; the application opens and closes it.
        current_operator: The application's own dependency: gives the id of the operator who is asking, and raises an
            ``HTTPException`` for everybody else, logged in or not. Who looked at what is the application's to note.

    Raises:
        InvalidArgument: There is no ``current_operator``: the routes would be everybody's.
    """
    if not callable(current_operator):
        raise InvalidArgument(
            "current_operator",
            "must be a dependency that gives the id of an operator, and refuses everybody else",
        )
    served = Served.of(memory)
    router = APIRouter(
        route_class=ProblemRoute,
        generate_unique_id_function=lambda route: route.name,
        dependencies=[Depends(_known(current_operator))],
    )

    @router.get(
        "/conversations",
        response_model=EverybodysConversations,
        responses=responses(401, 403, 422, 503),
        openapi_extra=ListedOfAll.described(),
    )
    async def list_everybodys_conversations(request: Request) -> Response:
        """Everybody's conversations, the one changed last first."""
        operator, asked = served.memory.operator, ListedOfAll.of(request)
        where = asked.where()
        page = await operator.list_conversations(**asked.page(), **where)
        return written(
            {
                "items": [owned_found(one) for one in page],
                "next_cursor": page.next_cursor,
                "count": await operator.count_conversations(**where) if asked.count else None,
            }
        )

    @router.get(
        "/conversations/{conversation_id}",
        response_model=ConversationOwned,
        responses=responses(401, 403, 404, 422, 503),
    )
    async def get_anybodys_conversation(conversation_id: UUID) -> Response:
        """The conversation of a `uuid`, whoever's it is."""
        return written(owned_found(await _found(served, conversation_id)))

    @router.get(
        "/conversations/{conversation_id}/messages",
        response_model=Messages,
        responses=responses(401, 403, 404, 422, 503),
        openapi_extra=Pages.described(),
    )
    async def list_anybodys_messages(conversation_id: UUID, request: Request) -> Response:
        """A page of its messages, oldest first: the newest ones, those `before` a `seq`, or those `after` one."""
        asked = Pages.of(request)
        found = await _found(served, conversation_id)
        mine = served.for_user(found.user_id)
        stored = await mine.get_messages(found, **asked.model_dump())
        return written({"items": [message_found(message) for message in stored]})

    return router


def _known(current_operator: CurrentUser) -> Any:
    async def known(operator: Any = Depends(current_operator)) -> None:  # noqa: B008 - how FastAPI is told
        if not isinstance(operator, str) or not operator:
            raise HTTPException(401, "who is asking is not known", {"WWW-Authenticate": "Bearer"})

    return known


async def _found(served: Served, conversation: UUID) -> Conversation:
    found = await served.memory.operator.find_conversation(conversation)
    if found is None:
        raise ConversationNotFound(conversation)
    return found
