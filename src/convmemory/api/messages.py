"""Routes on the messages of a conversation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query

from convmemory._async.user_memory import AsyncUserMemory
from convmemory.api.bodies import MessageFound, Messages, NewMessage
from convmemory.api.problems import responses

Place = Annotated[int | None, Query(ge=0, le=2**63 - 1)]


def add_messages(router: APIRouter, caller: Callable[..., Any]) -> None:
    """Add the routes to a router whose requests are the caller's."""
    mine_of = Depends(caller)

    @router.get("/conversations/{conversation_id}/messages", responses=responses(401, 404, 422, 503))
    async def list_messages(
        conversation_id: str,
        mine: AsyncUserMemory = mine_of,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 50,
        before: Place = None,
        after: Place = None,
    ) -> Messages:
        """A page of messages, oldest first: the newest ones, those `before` a `seq`, or those `after` one."""
        found = await mine.get_messages(conversation_id, limit=limit, before=before, after=after)
        return Messages(items=[MessageFound.of(message) for message in found])

    @router.post(
        "/conversations/{conversation_id}/messages", status_code=201, responses=responses(401, 404, 422, 503)
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
        known = said.model_dump(exclude={"role", "content", "contexts"})
        stored = await mine.save_message(
            conversation_id,
            said.role,
            said.content,
            contexts=said.contexts,
            idempotency_key=idempotency_key,
            **known,
        )
        return MessageFound.of(stored)
