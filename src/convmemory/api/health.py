"""Routes that probes ask: nothing of anybody's, so nobody need be known."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from convmemory._async.memory import AsyncConversationMemory


class TierFound(BaseModel):
    """How one tier does."""

    reachable: bool
    breaker: str


class Health(BaseModel):
    """How the memory does: ``degraded`` where only Redis is away, ``down`` where PostgreSQL is."""

    status: Literal["ok", "degraded", "down"]
    postgres: TierFound
    redis: TierFound | None


def add_health(router: APIRouter, memory: AsyncConversationMemory) -> None:
    """Add the routes to a router."""

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        """Whether the process answers; no server is asked."""
        return {"status": "ok"}

    @router.get("/health/ready", responses={503: {"model": Health, "description": "PostgreSQL is away"}})
    async def ready(response: Response) -> Health:
        """Whether conversations are served: also while only Redis is away."""
        found = await memory.check()
        response.status_code = 200 if found.ok else 503
        tiers = {
            name: None if tier is None else TierFound(reachable=tier.reachable, breaker=tier.breaker)
            for name, tier in (("postgres", found.postgres), ("redis", found.redis))
        }
        return Health.model_validate({"status": found.status, **tiers})
