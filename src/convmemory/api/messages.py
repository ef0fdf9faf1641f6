"""Routes on the messages of a conversation."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, HTTPException, Request, Response

from convmemory._async.user_memory import AsyncUserMemory
from convmemory.api.bodies import (
    LastPlace,
    MessageFound,
    Messages,
    NewMessage,
    Notes,
    Removed,
    message_found,
    written,
)
from convmemory.api.etags import matching
from convmemory.api.problems import responses
from convmemory.api.queries import Pages
from convmemory.drafts import draft_of
from convmemory.errors import MessageNotFound


def add_pages(router: APIRouter, caller: Callable[..., Any]) -> None:
    """Add the pages to a router whose requests are the caller's."""
    mine_of = Depends(caller)

    @router.get(
        "/conversations/{conversation_id}/messages",
        response_model=Messages,
        responses=responses(401, 404, 422, 503),
        openapi_extra=Pages.described(),
    )
    async def list_messages(
        conversation_id: str, request: Request, mine: AsyncUserMemory = mine_of
    ) -> Response:
        """A page of messages, oldest first: the newest ones, those `before` a `seq`, or those `after` one."""
        found = await mine.get_messages(conversation_id, **Pages.of(request).model_dump())
        return written({"items": [message_found(message) for message in found]})


def add_messages(router: APIRouter, caller: Callable[..., Any], roles: Collection[str]) -> None:
    """Add the other routes to a router whose requests are the caller's, who may write in these roles."""
    mine_of = Depends(caller)

    @router.post(
        "/conversations/{conversation_id}/messages",
        status_code=201,
        responses=responses(401, 403, 404, 413, 422, 503),
    )
    async def save_message(
        conversation_id: str,
        said: NewMessage,
        mine: AsyncUserMemory = mine_of,
        idempotency_key: Annotated[
            str | None,
            Header(min_length=1, max_length=255, description="the same again stores nothing twice"),
        ] = None,
    ) -> MessageFound:
        """Store a message; makes the conversation if need be."""
        _allow(said, roles)
        stored = await mine.save_message(
            conversation_id, said.role, said.content, idempotency_key=idempotency_key, **said.known()
        )
        return MessageFound.of(stored)

    _add_changes(router, mine_of, Depends(matching(caller)), roles)


def _add_changes(router: APIRouter, mine_of: Any, unchanged: Any, roles: Collection[str]) -> None:
    @router.put(
        "/conversations/{conversation_id}/messages/{message_id}",
        dependencies=[unchanged],
        responses=responses(401, 403, 404, 412, 413, 422, 503),
    )
    async def replace_message(
        conversation_id: str,
        message_id: UUID,
        said: NewMessage,
        mine: AsyncUserMemory = mine_of,
    ) -> MessageFound:
        """Put another message in the place of a stored one; its `id` and `seq` stay."""
        _allow(said, roles)
        message = draft_of(said.role, said.content, said.known())
        return MessageFound.of(await mine.replace_message(conversation_id, message_id, message))

    @router.patch(
        "/conversations/{conversation_id}/messages/{message_id}",
        dependencies=[unchanged],
        responses=responses(401, 404, 412, 413, 422, 503),
    )
    async def annotate_message(
        conversation_id: str,
        message_id: UUID,
        noted: Notes,
        mine: AsyncUserMemory = mine_of,
    ) -> MessageFound:
        """Note something of a message, such as feedback."""
        return MessageFound.of(await mine.annotate_message(conversation_id, message_id, noted.metadata))

    @router.delete(
        "/conversations/{conversation_id}/messages/{message_id}",
        status_code=204,
        dependencies=[unchanged],
        responses=responses(401, 404, 412, 422, 503),
    )
    async def delete_message(conversation_id: str, message_id: UUID, mine: AsyncUserMemory = mine_of) -> None:
        """Delete a message with what it leaned on."""
        if not await mine.delete_messages(conversation_id, ids=[message_id]):
            raise MessageNotFound(message_id)

    @router.post(
        "/conversations/{conversation_id}/truncate",
        dependencies=[unchanged],
        responses=responses(401, 404, 412, 413, 422, 503),
    )
    async def truncate_conversation(
        conversation_id: str, place: LastPlace, mine: AsyncUserMemory = mine_of
    ) -> Removed:
        """Delete all messages behind a place: before an answer is made anew, or a question is asked otherwise."""
        return Removed(removed=await mine.truncate(conversation_id, after=place.after))


def _allow(said: NewMessage, roles: Collection[str]) -> None:
    """Refuse words that a client would put into somebody else's mouth."""
    if said.role not in roles:
        raise HTTPException(403, f"messages in the role of {said.role} are not a client's to write")
