"""What stands behind the ``?`` of an address."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError

Place = Annotated[int | None, Field(ge=0, le=2**63 - 1)]


class Query(BaseModel):
    """The names that a route knows behind the ``?``; others are not looked at, and of one that is there twice the last counts.

    One model looks at all of them, where a route is asked so often that it tells: FastAPI looks at each name by itself, and
    for a list that took as long as to find it.
    """

    @classmethod
    def of(cls, request: Request) -> Self:
        """What a request says there.

        Raises:
            RequestValidationError: It is not of the form described, told as FastAPI does.
        """
        try:
            return cls.model_validate(dict(request.query_params))
        except ValidationError as error:
            wrong = error.errors(include_url=False)
            raise RequestValidationError([{**one, "loc": ("query", *one["loc"])} for one in wrong]) from None

    @classmethod
    def described(cls) -> dict[str, Any]:
        """How OpenAPI tells of it: a route's ``openapi_extra``."""
        told = cls.model_json_schema()["properties"]
        return {"parameters": [_described(name, schema) for name, schema in told.items()]}


def _described(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("default", ...) is None:
        del schema["default"]
    about = {"description": schema["description"]} if "description" in schema else {}
    return {"name": name, "in": "query", "required": False, "schema": schema, **about}


class Pages(Query):
    """Which page of messages."""

    limit: int = Field(default=50, ge=1, le=1_000)
    before: Place = None
    after: Place = None
