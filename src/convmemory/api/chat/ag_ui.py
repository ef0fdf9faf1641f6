"""AG-UI 1.0, by its own package: ``pip install 'langchain-convmemory[api,ag-ui]'``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from convmemory.api.chat.events import (
    Answered,
    Begun,
    CallBegan,
    Called,
    CallGrew,
    Event,
    MessageBegan,
    Over,
    PartBegan,
    PartEnded,
    PartGrew,
)
from convmemory.api.chat.hearing import Hearing
from convmemory.api.chat.places import Asked, wire_id
from convmemory.api.chat.protocols import BROKE_OFF, Protocol, Speaker, Unanswerable
from convmemory.errors import MissingExtra
from convmemory.ids import ID_LENGTH, message_key
from convmemory.models import Conversation, Message

try:
    from ag_ui import core
    from ag_ui.encoder import EventEncoder
except ImportError as error:
    raise MissingExtra("convmemory.api.chat.ag_ui", "ag-ui") from error

_ENCODER: Final = EventEncoder()
_PLACED: Final = frozenset({"user", "assistant", "tool"})
"""Whose messages are stored, and tell where a turn goes."""
_VERSION: Final = "1.0"


class AGUISpeaker(Speaker):
    """Tells a turn as one run, each message under the id of its row."""

    def __init__(self, begun: Begun) -> None:
        super().__init__(begun)
        self._message = ""
        self._open = False
        self._named: list[str] = []

    def hearing(self) -> Hearing:
        """Who hears the turn: a thread's calls are in one list, so that each has the turn's mark."""
        return Hearing(_mark(self.begun.question))

    def begin(self) -> str:
        """The run has started."""
        return _framed([core.RunStartedEvent(**_run_of(self.begun), protocol_version=_VERSION)])

    def say(self, event: Event) -> str:
        """An event or two."""
        return _framed(self._events(event))

    def wants_everything(self, over: Over) -> bool:
        """Where what is stored has other ids than were told: a provider named its message late, or a hook changed it."""
        stored = {str(one.id) for one in over.answers}
        return any(name not in stored for name in self._named)

    def finish(self, over: Over) -> str:
        """What it leaned on and what it cost, and the end."""
        told: list[core.BaseEvent] = [*self._closed()]
        if over.everything is not None:
            told.append(core.MessagesSnapshotEvent(messages=list(messages_of(over.everything))))
        if found := sources_of(over.answers):
            told.append(core.CustomEvent(name="sources", value=found))
        cancelled = core.RunFinishedCancelledOutcome() if over.stopped else None
        told.append(
            core.RunFinishedEvent(
                **_run_of(self.begun), result=over.figures, outcome=cancelled, usage=_usage(over.answers)
            )
        )
        return _framed(told)

    def _events(self, event: Event) -> Iterator[core.BaseEvent]:
        match event:
            case MessageBegan(name=name):
                yield from self._closed()
                self._message = self._row(name)
            case PartBegan(kind="text"):
                if not self._open:
                    self._open = True
                    self._tell(self._message)
                    yield core.TextMessageStartEvent(message_id=self._message, role="assistant")
            case PartGrew(kind="text", text=text):
                yield core.TextMessageContentEvent(message_id=self._message, delta=text)
            case PartBegan() | PartGrew() | PartEnded(kind="reasoning"):
                yield from self._reasoned(event)
            case CallBegan() | CallGrew() | Called() | Answered():
                yield from self._called(event)

    def _called(self, event: CallBegan | CallGrew | Called | Answered) -> Iterator[core.BaseEvent]:
        match event:
            case CallBegan(call=call, tool=tool):
                yield from self._closed()
                self._tell(self._message)
                yield core.ToolCallStartEvent(
                    tool_call_id=call, tool_call_name=tool, parent_message_id=self._message
                )
            case CallGrew(call=call, text=text):
                yield core.ToolCallArgsEvent(tool_call_id=call, delta=text)
            case Called():
                if not event.told:
                    yield core.ToolCallArgsEvent(tool_call_id=event.call, delta=_written(event.arguments))
                yield core.ToolCallEndEvent(tool_call_id=event.call)
            case Answered(name=name):
                yield from self._closed()
                row = self._row(name)
                self._tell(row)
                yield core.ToolCallResultEvent(
                    message_id=row, tool_call_id=event.call, content=event.content, role="tool"
                )

    def _reasoned(self, event: PartBegan | PartGrew | PartEnded) -> Iterator[core.BaseEvent]:
        name = f"{self._message}-{event.part}"
        if isinstance(event, PartBegan):
            yield from self._closed()
            yield core.ReasoningStartEvent(message_id=name)
            yield core.ReasoningMessageStartEvent(message_id=name, role="reasoning")
        elif isinstance(event, PartGrew):
            yield core.ReasoningMessageContentEvent(message_id=name, delta=event.text)
        else:
            yield core.ReasoningMessageEndEvent(message_id=name)
            yield core.ReasoningEndEvent(message_id=name)

    def _closed(self) -> Iterator[core.BaseEvent]:
        if self._open:
            self._open = False
            yield core.TextMessageEndEvent(message_id=self._message)

    def _row(self, name: str | None) -> str:
        """The id of the row that a message of this name is stored as."""
        return str(message_key(self.begun.conversation, name or ""))

    def _tell(self, name: str) -> None:
        if name not in self._named[-1:]:
            self._named.append(name)


class AGUI(Protocol):
    """The protocol of AG-UI's clients."""

    body = core.RunAgentInput

    def asked(self, body: core.RunAgentInput) -> Asked:
        """What a request wants: to say what the last message says, or, where that is not the user's, to look."""
        props = body.forwarded_props if isinstance(body.forwarded_props, dict) else {}
        session = props.get("session_id")
        if not (session is None or (isinstance(session, str) and 0 < len(session) <= ID_LENGTH)):
            raise Unanswerable("forwardedProps.session_id: must be the id of a session")
        if any(len(name) > ID_LENGTH for name in (body.run_id, *(one.id for one in body.messages))):
            raise Unanswerable(f"runId, messages.id: may have {ID_LENGTH} characters")
        last = body.messages[-1] if body.messages else None
        asks = last is not None and last.role == "user"
        return Asked(
            wish="say" if asks else "look",
            text=_said(last) if asks else None,
            message_id=last.id if last is not None and asks else None,
            earlier=[one.id for one in body.messages[:-1] if one.role in _PLACED],
            conversation_id=body.thread_id,
            session_id=session,
            wants_session="session_id" in props,
            key=body.run_id,
            client_run=body.run_id,
        )

    def speaker(self, begun: Begun) -> Speaker:
        """Who tells a turn."""
        return AGUISpeaker(begun)

    def broke_off(self) -> str:
        """What a client is told where an answer broke off."""
        return _framed([core.RunErrorEvent(message=BROKE_OFF, code="broke_off")])

    def shown(self, conversation: Conversation, stored: Sequence[Message]) -> Any:
        """The conversation as a client begins with it."""
        told = [one.model_dump(mode="json", by_alias=True) for one in messages_of(stored)]
        return {"threadId": conversation.id, "messages": told}

    def snapshot(self, asked: Asked, stored: Sequence[Message]) -> str:
        """A run in which nothing happens but that the messages are told."""
        run: dict[str, Any] = {"thread_id": asked.conversation_id or "", "run_id": asked.client_run or ""}
        return _framed(
            [
                core.RunStartedEvent(**run, protocol_version=_VERSION),
                core.MessagesSnapshotEvent(messages=list(messages_of(stored))),
                core.RunFinishedEvent(**run),
            ]
        )


def messages_of(stored: Sequence[Message]) -> Iterator[Any]:
    """Stored messages as AG-UI has them, each under the id of its row, the user's own under the ids they came with."""
    hearing = Hearing()
    for one in stored:
        if one.role == "human":
            hearing = Hearing(_mark(one.id))
            yield core.UserMessage(id=wire_id(one), content=one.content)
        elif one.role == "system":
            yield core.SystemMessage(id=str(one.id), content=one.content)
        else:
            yield from _heard(one, [*hearing.hear(one.message), *hearing.done()])


def _heard(stored: Message, events: Iterable[Event]) -> Iterator[Any]:
    row, text, calls = str(stored.id), "", []
    thoughts: dict[str, str] = {}
    for event in events:
        match event:
            case PartGrew(kind="text", text=piece):
                text += piece
            case PartGrew(part=part, text=piece):
                thoughts[part] = thoughts.get(part, "") + piece
            case Called():
                function = core.FunctionCall(name=event.tool, arguments=_written(event.arguments))
                calls.append(core.ToolCall(id=event.call, function=function))
            case Answered():
                failed = event.content if event.failed else None
                yield core.ToolMessage(id=row, tool_call_id=event.call, content=event.content, error=failed)
    for part, thought in thoughts.items():
        yield core.ReasoningMessage(id=f"{row}-{part}", content=thought)
    if text or calls:
        figures = {"tokens_used": stored.tokens_used, "latency_ms": stored.latency_ms}
        known = {name: value for name, value in figures.items() if value is not None}
        yield core.AssistantMessage(
            id=row, content=text or None, tool_calls=calls or None, metadata=known or None
        )


def sources_of(answers: Iterable[Message]) -> list[dict[str, Any]]:
    """What answers leaned on."""
    return [
        {**found.model_dump(mode="json"), "message_id": str(one.id)}
        for one in answers
        for found in one.contexts
    ]


def _mark(question: UUID) -> str:
    return f"-{question.hex[-8:]}"


def _usage(answers: Iterable[Message]) -> list[core.TokenUsage] | None:
    used: dict[str | None, int] = {}
    for one in answers:
        if one.tokens_used is not None:
            model = one.facts.get("model")
            used[model] = used.get(model, 0) + one.tokens_used
    return [core.TokenUsage(model=model, total_tokens=tokens) for model, tokens in used.items()] or None


def _said(message: Any) -> str:
    parts = [message.content] if isinstance(message.content, str) else message.content
    if any(not isinstance(part, str) and part.type != "text" for part in parts):
        raise Unanswerable("messages: the last of them may have text alone")
    text = "\n".join(part if isinstance(part, str) else part.text for part in parts)
    if not text:
        raise Unanswerable("messages: the last of them says nothing")
    return text


def _written(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _run_of(begun: Begun) -> dict[str, Any]:
    return {"thread_id": begun.conversation_id, "run_id": begun.client_run or begun.run_id}


def _framed(events: Iterable[core.BaseEvent]) -> str:
    return "".join(map(_ENCODER.encode, events))
