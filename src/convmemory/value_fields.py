"""What the fields of values may hold, and how wrong input is told: what all models have in common."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

from langchain_core.messages import BaseMessage, RemoveMessage
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)

from convmemory.dialects.message_likes import as_messages
from convmemory.encoding.codec import UNREADABLE_KEY, decode, encode
from convmemory.errors import InvalidArgument

_FIRST: Final = datetime(1, 1, 3, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 29, tzinfo=UTC)
_TIMES: Final = "must be a datetime with a time zone, of the years 1 to 9999"

set_at_once = object.__setattr__
"""How a frozen model is filled: its own refuses."""

_MOST: Final = 2**31 - 1  # a PostgreSQL integer
_A_COUNT: Final = f"must be a whole number from 0 to {_MOST:,}"
_WANTED: Final = {
    "dict": "must be a mapping",
    "string": "must be a string",
    **dict.fromkeys(("int", "greater", "less"), _A_COUNT),
    "float": "must be a number or None",
    **dict.fromkeys(("datetime", "timezone"), "must be a datetime with a time zone"),
    "model": "must be a RetrievedContext",
    "tuple": "must be a list",
}
"""What would be right, by the first word of what pydantic calls the error."""


class Value(BaseModel):
    """What all values have in common: frozen, quiet about what they hold, and told of wrong input in our words."""

    model_config = ConfigDict(
        frozen=True, hide_input_in_errors=True, ser_json_inf_nan="strings", arbitrary_types_allowed=True
    )

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            # pydantic's own text is left out on purpose: it is about this class, and callers gave an argument
            raise _first_problem(error) from None

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # for people: validation needs none of it

    @classmethod
    def built(cls, **fields: Any) -> Self:
        """Make one of fields that are right already, all of them: nothing is checked, copied or set to a default."""
        value = cls.__new__(cls)
        set_at_once(value, "__dict__", fields)
        set_at_once(value, "__pydantic_fields_set__", set(fields))
        set_at_once(value, "__pydantic_extra__", None)
        set_at_once(value, "__pydantic_private__", None)
        return value


def _first_problem(error: ValidationError) -> InvalidArgument:
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "value"
    kind = problem["type"].partition("_")[0]
    said = _WANTED.get(kind) or problem["msg"].removeprefix("Value error, ")
    return InvalidArgument(where, said[:1].lower() + said[1:])


def _plain_number(value: Any) -> Any:
    """Vector stores give scores of number types of their own."""
    if value is None or isinstance(value, (str, bytes)):
        return value
    try:
        return float(value)
    except Exception as error:  # a number type is the caller's code and may raise anything
        raise ValueError("must be a number or None") from error


def _json_number(value: float | None) -> float | str | None:
    """JSON has no word for NaN and infinity, so they are said as text, as pydantic does in ``model_dump_json``."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _whole_number(value: Any) -> int:
    """An int, or a number type that is one, as numpy has; ``True`` and ``"7"`` are none."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(_A_COUNT)
    return operator.index(value)


def _rounded(value: Any) -> Any:
    """Clocks give fractions, and nobody wants them here."""
    return round(value) if isinstance(value, float) and math.isfinite(value) else value


def _as_dict(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _as_message(value: Any) -> BaseMessage:
    if isinstance(value, BaseMessage) and not isinstance(value, RemoveMessage):
        return value
    if _is_stored(value):
        message = decode(value["body"], value["content"])
        if UNREADABLE_KEY in message.response_metadata:
            raise ValueError("has a body that is no stored message")
        return message
    try:
        messages = as_messages(value)
    except InvalidArgument as error:
        raise ValueError(str(error).removeprefix(f"{error.argument}: ")) from error
    if len(messages) != 1:
        raise ValueError(f"must be one message, not {len(messages)}")
    return messages[0]


def _is_stored(value: Any) -> bool:
    """Whether this is what ``_as_stored`` made, and no dict of somebody else's that has a ``body`` of its own."""
    return (
        isinstance(value, Mapping)
        and value.keys() == {"role", "content", "body"}
        and all(isinstance(part, str) for part in value.values())
    )


def _as_stored(message: BaseMessage) -> dict[str, str]:
    encoded = encode(message)
    return {"role": encoded.role, "content": encoded.content, "body": encoded.body}


def checked_metadata(value: object) -> dict[str, Any]:
    """A copy of metadata that a caller gave.

    Raises:
        InvalidArgument: It is not a mapping.
    """
    if not isinstance(value, Mapping):
        raise InvalidArgument("metadata", f"must be a mapping, not {type(value).__name__}")
    return dict(value)


Metadata = Annotated[dict[Any, Any], BeforeValidator(_as_dict)]
"""Anything JSON can hold, by name; what it cannot hold is stored as text."""


def _in_utc(value: datetime) -> datetime:
    """A time that every zone of the world has a date for: drivers write and read it in their own."""
    try:
        time = value.astimezone(UTC)
    except (OverflowError, ValueError) as error:
        raise ValueError(_TIMES) from error
    if not _FIRST <= time <= _LAST:
        raise ValueError(_TIMES)
    return time


def _no_bare_number(value: Any) -> Any:
    """A text that is but a number is no time: ``"2026"`` would be half an hour after 1970 began."""
    if not isinstance(value, (str, bytes)):
        return value
    try:
        float(value)
    except ValueError:
        return value
    raise ValueError(_TIMES)


Moment = Annotated[AwareDatetime, BeforeValidator(_no_bare_number), AfterValidator(_in_utc)]
"""A time with a zone, kept in UTC."""

Count = Annotated[int, BeforeValidator(_whole_number), Field(ge=0, le=_MOST)]
"""A whole number that fits a PostgreSQL integer."""

Milliseconds = Annotated[Count, BeforeValidator(_rounded)]
"""A duration; a fraction of a millisecond is rounded."""

AnyMessage = Annotated[
    BaseMessage,
    PlainValidator(_as_message),
    PlainSerializer(_as_stored),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "properties": {"role": {"type": "string"}, "content": {}}},
            ]
        },
        mode="validation",
    ),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("role", "content", "body")},
            "required": ["role", "content", "body"],
        },
        mode="serialization",
    ),
]
"""A LangChain message, or anything ``save_message`` takes for one; as JSON and as a dict it is the stored form, which loses nothing."""

Score = Annotated[
    float | None,
    BeforeValidator(_plain_number),
    PlainSerializer(_json_number, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]}),
]
"""A retriever's figure, of any number type; NaN and infinity are kept."""
