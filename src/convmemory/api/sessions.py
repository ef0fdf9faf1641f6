"""Routes on sessions: a user's visits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, HTTPException

from convmemory._async.user_memory import AsyncUserMemory
from convmemory.api.bodies import NewSession, SessionChanges
from convmemory.api.problems import responses
from convmemory.models import Session

_GONE = "there is no such session: it has ended, or it never was"


def add_sessions(router: APIRouter, caller: Callable[..., Any]) -> None:
    """Add the routes to a router whose requests are the caller's."""
    mine_of = Depends(caller)

    @router.post("/sessions", status_code=201, responses=responses(401, 413, 422, 503))
    async def create_session(wanted: NewSession | None = None, mine: AsyncUserMemory = mine_of) -> Session:
        """Begin a session; it ends half an hour after its last use."""
        return await mine.create_session(**(wanted or NewSession()).model_dump())

    @router.get("/sessions", responses=responses(401, 503))
    async def list_sessions(mine: AsyncUserMemory = mine_of) -> list[Session]:
        """The user's live sessions, the newest first, each with a handle for an `id`: it can end it, and nothing else."""
        return await mine.list_user_sessions()

    @router.get("/sessions/{session_id}", responses=responses(401, 404, 503))
    async def get_session(session_id: str, mine: AsyncUserMemory = mine_of) -> Session:
        """A live session, its life begun anew."""
        return _there(await mine.get_session(session_id))

    @router.patch("/sessions/{session_id}", responses=responses(401, 404, 413, 422, 503))
    async def extend_session(
        session_id: str, changes: SessionChanges | None = None, mine: AsyncUserMemory = mine_of
    ) -> Session:
        """Keep a session alive, and note where the user is."""
        noted = (changes or SessionChanges()).model_dump()
        return _there(await mine.extend_session(session_id, **noted))

    @router.delete("/sessions/{session_id}", status_code=204, responses=responses(401, 404, 503))
    async def end_session(session_id: str, mine: AsyncUserMemory = mine_of) -> None:
        """End a session by its id or its handle; its conversation stays."""
        if not await mine.end_session(session_id):
            raise HTTPException(404, _GONE)


def _there(found: Session | None) -> Session:
    if found is None:
        raise HTTPException(404, _GONE)
    return found
