"""The route that finds what the caller said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel

from convmemory._async.user_memory import AsyncUserMemory
from convmemory.api.filters import FLAGS, Whether
from convmemory.api.problems import responses
from convmemory.errors import ConfigurationError
from convmemory.search_results import SearchHit
from convmemory.storage.search_queries import LONGEST_QUERY


class Hits(BaseModel):
    """A page of what was found."""

    items: list[SearchHit]
    next_cursor: str | None = None


def add_search(router: APIRouter, caller: Callable[..., Any]) -> None:
    """Add the route to a router whose requests are the caller's."""
    mine_of = Depends(caller)

    @router.get("/search", responses=responses(401, 422, 501, 503))
    async def search_messages(
        *,
        mine: AsyncUserMemory = mine_of,
        q: Annotated[
            str,
            Query(
                max_length=LONGEST_QUERY,
                description='words, phrases "in quotes", `-` before what must not be there; the last word may go on',
            ),
        ] = "",
        match: Annotated[
            Literal["all", "any"], Query(description="how many of the words must be there")
        ] = "all",
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        cursor: Annotated[str | None, Query(description="the `next_cursor` of the page before")] = None,
        role: Annotated[
            list[str] | None, Query(description="only messages of these roles, and no titles")
        ] = None,
        dept_id: Annotated[str | None, Query(description="only conversations of this department")] = None,
        archived: Annotated[
            Whether, Query(description="only conversations put away, those that are not, or all")
        ] = "all",
        since: Annotated[datetime | None, Query(description="with a time zone")] = None,
        until: Annotated[datetime | None, Query(description="with a time zone")] = None,
        conversation_id: Annotated[str | None, Query(description="only this one")] = None,
    ) -> Hits:
        """Messages of the user's conversations, and titles that they or a model gave, that have the words; best first, then newest."""
        try:
            page = await mine.search.messages(
                q,
                limit=limit,
                cursor=cursor,
                match=match,
                roles=role,
                dept_id=dept_id,
                archived=FLAGS[archived],
                since=since,
                until=until,
                conversation_id=conversation_id,
            )
        except ConfigurationError:
            raise HTTPException(501, "search is off here") from None
        return Hits(items=list(page), next_cursor=page.next_cursor)
