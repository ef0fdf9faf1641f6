"""The plain protocol: JSON in, and JSON or server-sent events out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from pydantic import BaseModel, Field

from convmemory.api.bodies import Body, ConversationFound, MessageFound
from convmemory.api.chat.events import Answered, Called, Event, Over, PartGrew
from convmemory.api.chat.places import Asked
from convmemory.api.chat.protocols import BROKE_OFF, Protocol, Speaker, Unanswerable
from convmemory.models import Conversation, Message

_SAYS: Final = "what the user says"


class Said(Body):
    """What the user says, and where: in that conversation, else where the session left off, else in a new one."""

    message: str | None = Field(
        default=None, min_length=1, description=_SAYS, examples=["Where is my order?"]
    )
    conversation_id: str | None = Field(default=None, min_length=1, max_length=255)
    session_id: str | None = Field(default=None, min_length=1, max_length=255)
    message_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="a stored message: with `message` its question is asked in other words, without it is answered "
        "anew; what was said since is cut off",
    )


class Reply(BaseModel):
    """An answer, once it is stored."""

    conversation_id: str
    session_id: str | None
    question_id: str
    reply: str = Field(description="the text of the answer's last message", examples=["It left on Monday."])
    stopped: bool = Field(description="whether it was stopped before its end")
    tokens_used: int | None
    latency_ms: int | None = Field(description="milliseconds")
    messages: list[MessageFound] = Field(description="the turn as it is stored, the question first")

    @classmethod
    def of(cls, over: Over) -> Reply:
        """The answer of a turn that is over."""
        texts = [one.content for one in over.answers if one.role == "ai"]
        return cls(
            **{name: value for name, value in over.figures.items() if name != "message_ids"},
            reply=texts[-1] if texts else "",
            stopped=over.stopped,
            messages=[MessageFound.of(one) for one in over.stored],
        )


class PlainSpeaker(Speaker):
    """Events ``begin``, ``text``, ``reasoning``, ``tool_call``, ``tool_result``, then ``end`` or ``error``."""

    def begin(self) -> str:
        """Where the turn is."""
        begun = self.begun
        return _event(
            "begin",
            {
                "conversation_id": begun.conversation_id,
                "session_id": begun.session_id,
                "question_id": str(begun.question),
            },
        )

    def say(self, event: Event) -> str:
        """A piece of text, a call that is whole, a result."""
        match event:
            case PartGrew(kind=kind, text=text):
                return _event(kind, {"text": text})
            case Called(call=call, tool=tool, arguments=arguments):
                return _event("tool_call", {"id": call, "name": tool, "arguments": arguments})
            case Answered():
                told = asdict(event)
                return _event("tool_result", {"id": told.pop("call"), **_named(told)})
        return ""

    def finish(self, over: Over) -> str:
        """The turn as it is stored."""
        return _event("end", Reply.of(over).model_dump(mode="json"))


class Plain(Protocol):
    """JSON, or server-sent events where the request accepts them."""

    body = Said

    def asked(self, body: Said) -> Asked:
        """What a request wants."""
        if body.message is None and body.message_id is None:
            raise Unanswerable(
                "message: say something, or name the message_id of what is to be answered anew"
            )
        return Asked(
            wish="say" if body.message_id is None else "edit" if body.message else "regenerate",
            text=body.message,
            message_id=body.message_id,
            conversation_id=body.conversation_id,
            session_id=body.session_id,
            wants_session=True,
        )

    def speaker(self, begun: Any) -> Speaker:
        """Who tells a turn."""
        return PlainSpeaker(begun)

    def broke_off(self) -> str:
        """What a client is told where an answer broke off."""
        return _event("error", {"title": "Internal Server Error", "status": 500, "detail": BROKE_OFF})

    def shown(self, conversation: Conversation, stored: Sequence[Message]) -> Any:
        """As the REST router shows it."""
        return ConversationFound.of(conversation.model_copy(update={"messages": tuple(stored)}))

    def streams(self, accept: str) -> bool:
        """Only for who asks for a stream."""
        return "text/event-stream" in accept


def _named(told: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": told["tool"], "content": told["content"], "failed": told["failed"]}


def _event(kind: str, data: Mapping[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False, default=str)}\n\n"
