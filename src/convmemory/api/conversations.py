"""Routes on conversations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from convmemory._async.user_memory import AsyncUserMemory
from convmemory.api.bodies import (
    Changes,
    ConversationFound,
    Conversations,
    NewConversation,
    conversation_found,
    written,
)
from convmemory.api.etags import matching, names, tag_of
from convmemory.api.filters import Listed
from convmemory.api.problems import responses


def add_list(router: APIRouter, caller: Callable[..., Any]) -> None:
    """Add the list to a router whose requests are the caller's."""
    mine_of = Depends(caller)

    @router.get(
        "/conversations",
        response_model=Conversations,
        responses=responses(401, 422, 503),
        openapi_extra=Listed.described(),
    )
    async def list_conversations(request: Request, mine: AsyncUserMemory = mine_of) -> Response:
        """The user's conversations, the one spoken in last first; those put away only where they are asked for."""
        asked = Listed.of(request)
        where = asked.where()
        page = await mine.list_user_conversations(**asked.page(), **where)
        return written(
            {
                "items": [conversation_found(one) for one in page],
                "next_cursor": page.next_cursor,
                "count": await mine.count_conversations(**where) if asked.count else None,
            }
        )


def add_conversations(router: APIRouter, caller: Callable[..., Any]) -> None:
    """Add the other routes to a router whose requests are the caller's."""
    mine_of = Depends(caller)

    @router.post("/conversations", status_code=201, responses=responses(401, 404, 409, 413, 422, 503))
    async def create_conversation(
        response: Response, wanted: NewConversation | None = None, mine: AsyncUserMemory = mine_of
    ) -> ConversationFound:
        """Make a conversation, or answer with the one of that id that is there."""
        asked = (wanted or NewConversation()).model_dump(exclude={"id"})
        found = await mine.create_conversation(conversation_id=wanted.id if wanted else None, **asked)
        response.headers["ETag"] = tag_of(found)
        return ConversationFound.of(found)

    @router.get(
        "/conversations/{conversation_id}",
        response_model=ConversationFound,
        responses=responses(401, 404, 422, 503) | {304: {"description": "the client has it"}},
    )
    async def get_conversation(
        conversation_id: str,
        mine: AsyncUserMemory = mine_of,
        messages: Annotated[
            int,
            Query(ge=0, le=10_000, description="the newest so many; earlier ones are pages of `/messages`"),
        ] = 1_000,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """One conversation with its messages, oldest first."""
        if if_none_match is not None:
            tag = tag_of(await mine.get_conversation(conversation_id))
            if names(if_none_match, tag):
                return Response(status_code=304, headers={"ETag": tag})
        found = await mine.get_conversation(conversation_id, messages=messages or False)
        return written(conversation_found(found), {"ETag": tag_of(found)})

    _add_changes(router, mine_of, Depends(matching(caller)))


def _add_changes(router: APIRouter, mine_of: Any, unchanged: Any) -> None:
    @router.patch("/conversations/{conversation_id}", responses=responses(401, 404, 412, 413, 422, 503))
    async def update_conversation(
        conversation_id: str,
        changes: Changes,
        response: Response,
        mine: AsyncUserMemory = mine_of,
        version: int | None = unchanged,
    ) -> ConversationFound:
        """Change a conversation's title, department, marks or metadata; its place in the list stays."""
        found = await mine.update_conversation(conversation_id, **changes.given(), if_version=version)
        response.headers["ETag"] = tag_of(found)
        return ConversationFound.of(found)

    @router.delete(
        "/conversations/{conversation_id}",
        status_code=204,
        dependencies=[unchanged],
        responses=responses(401, 404, 412, 503),
    )
    async def delete_conversation(conversation_id: str, mine: AsyncUserMemory = mine_of) -> None:
        """Delete a conversation with everything in it."""
        await mine.delete_conversation(conversation_id)

    @router.post(
        "/conversations/{conversation_id}/clear",
        status_code=204,
        dependencies=[unchanged],
        responses=responses(401, 404, 412, 503),
    )
    async def clear_conversation(conversation_id: str, mine: AsyncUserMemory = mine_of) -> None:
        """Delete a conversation's messages, and a title made of them; the conversation stays."""
        await mine.clear(conversation_id)
