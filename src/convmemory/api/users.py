"""The route on whoever is asking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends

from convmemory._async.retention import AsyncRetention
from convmemory._async.user_memory import AsyncUserMemory
from convmemory.api.problems import responses
from convmemory.models import Erased


def add_users(router: APIRouter, retention: AsyncRetention, caller: Callable[..., Any]) -> None:
    """Add the route to a router whose requests are the caller's."""
    mine_of = Depends(caller)

    @router.delete("/me", responses=responses(401, 503))
    async def erase_me(mine: AsyncUserMemory = mine_of) -> Erased:
        """Delete all that the user has, in both stores; the receipt counts it, and names nobody."""
        return await retention.erase_user(mine.user_id)
