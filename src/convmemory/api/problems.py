"""What went wrong, as ``application/problem+json`` (RFC 9457): nothing of internals, and nothing the client did not send."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http.client import responses as PHRASES  # noqa: N812 - `responses` is what FastAPI calls something else
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import Message as Event
from starlette.types import Receive

from convmemory.arguments import checked_limit
from convmemory.errors import (
    ConversationChanged,
    ConversationExists,
    ConversationNotFound,
    ConvMemoryError,
    InvalidArgument,
    MessageNotFound,
    NotOpen,
    StorageUnavailable,
)

logger = logging.getLogger("convmemory.api")

MEDIA_TYPE: Final = "application/problem+json"
_AGAIN: Final = {"Retry-After": "1"}
_ANSWERS: Final = (
    (ConversationNotFound, 404, "there is no such conversation"),
    (MessageNotFound, 404, "there is no such message"),
    (ConversationExists, 409, "there is a conversation of that id already"),
    (ConversationChanged, 412, "the conversation is another one by now: read it again"),
)


class Problem(BaseModel):
    """Why a request was not answered as it wished."""

    type: str = Field(default="about:blank", examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str | None = Field(default=None, examples=["no conversation 'c-1'"])
    reason: str | None = Field(
        default=None, description="one word for programs, where a status has several", examples=["stale"]
    )
    argument: str | None = Field(default=None, description="which argument it is about", examples=["limit"])
    errors: list[dict[str, Any]] | None = Field(
        default=None,
        description="of a request that is not of the form described: where, and what was expected",
    )


def problem(
    status: int,
    detail: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """A response that says what went wrong."""
    found = Problem(title=PHRASES.get(status, "Error"), status=status, detail=detail, **more)
    return JSONResponse(
        found.model_dump(exclude_none=True), status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer with besides what it is for, as OpenAPI has it.

    The first brings the model, by which the document has its schema: FastAPI builds one for each that does, and says of it that it
    comes as plain JSON as well.
    """
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    told: dict[int | str, dict[str, Any]] = {
        status: {"description": PHRASES[status], "content": content} for status in statuses
    }
    told[statuses[0]]["model"] = Problem
    return told


class Refused(HTTPException):
    """A request that cannot be met now, and why, in a word for programs beside those for people."""

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, *, reason: str
    ) -> None:
        super().__init__(status, detail, headers)
        self.reason = reason


class TooLarge(Exception):
    """The body of a request is longer than is allowed."""


class ProblemRoute(APIRoute):
    """A route whose errors are problems, and whose requests are no longer than ``most`` bytes."""

    most = 1_000_000

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, with what it raises told as a problem."""
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handle(Request(request.scope, _bounded(request, self.most)))
            except Exception as error:
                answer = answer_to(error, self.most)
                if answer is None:
                    raise
                return answer

        return told


def route_of_at_most(max_body: int) -> type[ProblemRoute]:
    """The kind of a router's routes, whose requests have so many bytes at most.

    Raises:
        InvalidArgument: It is no number of bytes.
    """
    return type("BoundedRoute", (ProblemRoute,), {"most": checked_limit("max_body", max_body, 2**31)})


def _bounded(request: Request, most: int) -> Receive:
    """What the request receives, to so many bytes."""
    taken = 0

    async def receive() -> Event:
        nonlocal taken
        event = await request.receive()
        taken += len(event.get("body", b""))
        if taken > most:
            raise TooLarge
        return event

    return receive


def answer_to(error: Exception, most: int) -> JSONResponse | None:
    """The response to an error; ``None`` for one that is not the client's business, nor ours."""
    if isinstance(error, TooLarge) or isinstance(error.__cause__, TooLarge):
        return problem(413, f"a request may have {most:,} bytes")
    if isinstance(error, RequestValidationError):
        return problem(422, "the request is not of the form described", errors=_places(error.errors()))
    if isinstance(error, HTTPException) and isinstance(error.__cause__, ValueError):  # bytes that are no text
        return problem(422, "the request is not of the form described")
    if isinstance(error, HTTPException):
        reason = error.reason if isinstance(error, Refused) else None
        return problem(error.status_code, str(error.detail), error.headers, reason=reason)
    return _ours(error) if isinstance(error, ConvMemoryError) else None


def _ours(error: ConvMemoryError) -> JSONResponse:
    if isinstance(error, InvalidArgument):
        return problem(422, str(error), argument=error.argument)
    for kind, status, detail in _ANSWERS:
        if isinstance(error, kind):
            return problem(status, detail)
    logger.warning("a request was not answered: %s", error)
    away = isinstance(error, (NotOpen, StorageUnavailable))
    return problem(503 if away else 500, "try again" if away else None, _AGAIN if away else None)


def _places(errors: Sequence[Any]) -> list[dict[str, Any]]:
    """What is wrong and where, without what was sent."""
    return [{"loc": list(error["loc"]), "msg": error["msg"], "type": error["type"]} for error in errors]
