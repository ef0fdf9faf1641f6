"""The UI message stream of the AI SDK, as ``useChat`` reads it: the chunks that its majors 5, 6 and 7 all know."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

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
from convmemory.api.chat.places import Asked, answer_id, wire_id
from convmemory.api.chat.protocols import BROKE_OFF, SSE, Protocol, Speaker, Unanswerable
from convmemory.encoding.storable_text import clean_json
from convmemory.models import Conversation, Message

Chunk = dict[str, Any]

_DONE: Final = "data: [DONE]\n\n"
_URLS: Final = ("url", "source", "link")
_NAMES: Final = ("title", "name", "filename", "source")
_EXCERPT: Final = 1_000
"""Characters of a retrieved document that go along with its source."""


class UIMessage(BaseModel):
    """A message as ``useChat`` has it; of all but the last, only the ``id`` is looked at."""

    model_config = ConfigDict(extra="ignore")

    id: str = Field(min_length=1, max_length=255)
    role: Literal["user", "assistant", "system"]
    parts: list[dict[str, Any]] = Field(default_factory=list)


class UIRequest(BaseModel):
    """What ``useChat`` sends; whatever an application adds to it is not looked at."""

    model_config = ConfigDict(extra="ignore")

    id: str | None = Field(default=None, min_length=1, max_length=255, description="the conversation")
    messages: list[UIMessage] = Field(default_factory=list, max_length=10_000)
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    messageId: str | None = Field(default=None, min_length=1, max_length=255)  # noqa: N815 - the protocol's
    session_id: str | None = Field(
        default=None, min_length=1, max_length=255, description="`null` begins a session"
    )


class UISpeaker(Speaker):
    """Tells a turn as one message of the assistant's, in steps."""

    def __init__(self, begun: Begun) -> None:
        super().__init__(begun)
        self._told = UIChunks()

    def begin(self) -> str:
        """The message has its id, and says where it is."""
        begun = self.begun
        known = {"conversation_id": begun.conversation_id, "session_id": begun.session_id}
        metadata = {**known, "question_id": str(begun.question)}
        return _framed(
            [{"type": "start", "messageId": answer_id(begun.question), "messageMetadata": metadata}]
        )

    def say(self, event: Event) -> str:
        """A chunk or two."""
        return _framed(self._told.of(event))

    def finish(self, over: Over) -> str:
        """What it leaned on, what it cost, and the end."""
        last = [{"type": "abort"}] if over.stopped else [{"type": "finish", "messageMetadata": over.figures}]
        about = [{"type": "message-metadata", "messageMetadata": over.figures}] if over.stopped else []
        return _framed([*sources_of(over.answers), *self._told.done(), *about, *last]) + _DONE


class UIChunks:
    """Events as chunks."""

    def __init__(self) -> None:
        self._in_step = False

    def of(self, event: Event) -> Iterator[Chunk]:
        """The chunks of an event."""
        match event:
            case MessageBegan(after_results=after):
                yield from self._step(after=after)
            case PartBegan(part=part, kind=kind):
                yield {"type": f"{kind}-start", "id": part}
            case PartGrew(part=part, kind=kind, text=text):
                yield {"type": f"{kind}-delta", "id": part, "delta": text}
            case PartEnded(part=part, kind=kind):
                yield {"type": f"{kind}-end", "id": part}
            case CallBegan(call=call, tool=tool):
                yield {"type": "tool-input-start", "toolCallId": call, "toolName": tool}
            case CallGrew(call=call, text=text):
                yield {"type": "tool-input-delta", "toolCallId": call, "inputTextDelta": text}
            case Called():
                yield _called(event)
            case Answered():
                yield _answered(event)

    def done(self) -> Iterator[Chunk]:
        """The last step is over."""
        if self._in_step:
            self._in_step = False
            yield {"type": "finish-step"}

    def _step(self, *, after: bool) -> Iterator[Chunk]:
        if after:
            yield from self.done()
        if not self._in_step:
            self._in_step = True
            yield {"type": "start-step"}


class AISDK(Protocol):
    """The protocol of ``useChat``."""

    headers: ClassVar[Mapping[str, str]] = {**SSE, "x-vercel-ai-ui-message-stream": "v1"}
    body = UIRequest

    def asked(self, body: UIRequest) -> Asked:
        """What a request wants: the last message is the user's, those before it only tell where it goes."""
        anew = body.trigger == "regenerate-message"
        if not body.messages and not (anew and body.messageId):
            raise Unanswerable("messages: the last of them is what the user says, and there is none")
        last = body.messages[-1] if body.messages else None
        about: dict[str, Any] = {
            "conversation_id": body.id,
            "session_id": body.session_id,
            "wants_session": "session_id" in body.model_fields_set,
            "earlier": [one.id for one in body.messages[:-1]],
        }
        if last is None or last.role != "user":
            if not anew:
                raise Unanswerable(
                    f"messages: the last of them must be the user's, not the {last and last.role}'s"
                )
            return Asked(wish="regenerate", message_id=body.messageId or (last.id if last else None), **about)
        edits = not anew and body.messageId == last.id
        return Asked(
            wish="regenerate" if anew else "edit" if edits else "say",
            text=_said(last.parts),
            message_id=last.id,
            again=not edits and not anew,
            **about,
        )

    def speaker(self, begun: Begun) -> Speaker:
        """Who tells a turn."""
        return UISpeaker(begun)

    def broke_off(self) -> str:
        """What a client is told where an answer broke off."""
        return _framed([{"type": "error", "errorText": BROKE_OFF}]) + _DONE

    def shown(self, conversation: Conversation, stored: Sequence[Message]) -> Any:
        """The conversation as ``useChat`` begins with it: ``messages`` are what its stream would have made of it."""
        return {"id": conversation.id, "messages": list(ui_messages(stored))}


def ui_messages(stored: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """Stored messages as a front end has them: all that answers a question is one message."""
    question: Message | None = None
    answers: list[Message] = []
    for one in stored:
        if one.role not in {"human", "system"}:
            answers.append(one)
            continue
        yield from _answer(question, answers)
        question, answers = one if one.role == "human" else None, []
        role = "user" if one.role == "human" else "system"
        yield {
            "id": wire_id(one),
            "role": role,
            "metadata": {"id": str(one.id)},
            "parts": [{"type": "text", "text": one.content}],
        }
    yield from _answer(question, answers)


def _answer(question: Message | None, answers: Sequence[Message]) -> Iterator[dict[str, Any]]:
    if not answers:
        return
    hearing, told, parts = Hearing(), UIChunks(), UIParts()
    for one in answers:
        for event in hearing.hear(one.message):
            parts.take(told.of(event))
    for event in hearing.done():
        parts.take(told.of(event))
    parts.take(sources_of(answers))
    metadata = {
        "message_ids": [str(one.id) for one in answers],
        "tokens_used": sum(one.tokens_used or 0 for one in answers) or None,
        "latency_ms": sum(one.latency_ms or 0 for one in answers) or None,
    }
    named = str(answers[0].id) if question is None else answer_id(question)
    yield {"id": named, "role": "assistant", "metadata": metadata, "parts": parts.parts}


class UIParts:
    """What a front end makes of chunks."""

    def __init__(self) -> None:
        self.parts: list[Chunk] = []
        self._calls: dict[str, Chunk] = {}

    def take(self, chunks: Iterable[Chunk]) -> None:
        """Take chunks in."""
        for chunk in chunks:
            self._take(chunk, chunk["type"])

    def _take(self, chunk: Chunk, kind: str) -> None:
        if kind == "start-step":
            self.parts.append({"type": "step-start"})
        elif kind in {"text-start", "reasoning-start"}:
            self.parts.append({"type": kind.removesuffix("-start"), "text": "", "state": "done"})
        elif kind in {"text-delta", "reasoning-delta"}:
            self.parts[-1]["text"] += chunk["delta"]
        elif kind.startswith("tool-input-"):
            self._called(chunk, kind)
        elif kind.startswith("tool-output-"):
            part = self._calls[chunk["toolCallId"]]
            part["state"] = kind.removeprefix("tool-")
            part |= {name: chunk[name] for name in ("output", "errorText") if name in chunk}
        elif kind.startswith("source-"):
            self.parts.append(chunk)

    def _called(self, chunk: Chunk, kind: str) -> None:
        if kind == "tool-input-start":
            name = chunk["toolName"]
            part = {"type": f"tool-{name}", "toolCallId": chunk["toolCallId"], "state": "input-streaming"}
            self._calls[chunk["toolCallId"]] = part
            self.parts.append(part)
        elif kind == "tool-input-available":
            self._calls[chunk["toolCallId"]] |= {"state": "input-available", "input": chunk["input"]}
        elif kind == "tool-input-error":
            broken = {"state": "output-error", "rawInput": chunk["input"], "errorText": chunk["errorText"]}
            self._calls[chunk["toolCallId"]] |= broken


def sources_of(answers: Iterable[Message]) -> Iterator[Chunk]:
    """What answers leaned on: pages by their address, all else as documents."""
    for answer in answers:
        for place, found in enumerate(answer.contexts):
            told = {
                "content": found.content[:_EXCERPT],
                "doc_id": found.doc_id,
                "score": _number(found.score),
            }
            about = {"sourceId": f"{answer.id}-{place}", "providerMetadata": {"convmemory": told}}
            title = _text(found.metadata, _NAMES)
            address = next(
                (
                    url
                    for url in [_text(found.metadata, _URLS)]
                    if url and url.startswith(("http://", "https://"))
                ),
                None,
            )
            if address:
                yield {"type": "source-url", "url": address, **about, **({"title": title} if title else {})}
            else:
                named = title or found.doc_id or "document"
                yield {"type": "source-document", "mediaType": "text/plain", "title": named, **about}


def _text(metadata: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next(
        (metadata[name] for name in names if isinstance(metadata.get(name), str) and metadata[name]), None
    )


def _number(score: Any) -> float | None:
    return score if isinstance(score, float) and math.isfinite(score) else None


def _called(event: Called) -> Chunk:
    about = {"toolCallId": event.call, "toolName": event.tool, "input": event.arguments}
    if event.why_not is None:
        return {"type": "tool-input-available", **about}
    return {"type": "tool-input-error", **about, "errorText": event.why_not}


def _answered(event: Answered) -> Chunk:
    if event.failed:
        return {"type": "tool-output-error", "toolCallId": event.call, "errorText": event.content}
    return {"type": "tool-output-available", "toolCallId": event.call, "output": output_of(event.content)}


def output_of(content: str) -> Any:
    """What a tool answered: an object or a list where it is the JSON of one, as every front end can read it (without NaN)."""
    if content[:1] in {"{", "["}:
        with suppress(ValueError, RecursionError):
            told = json.loads(content)
            return told if clean_json(told) == told else content
    return content


def _said(parts: Sequence[Mapping[str, Any]]) -> str:
    """What the user says: the text of a message that has nothing else."""
    other = [str(part.get("type"))[:40] for part in parts if part.get("type") != "text"]
    if other:
        raise Unanswerable(f"messages: the last of them may have text alone, not {other[0]!r}")
    text = "\n".join(str(part.get("text") or "") for part in parts)
    if not text:
        raise Unanswerable("messages: the last of them says nothing")
    return text


def _framed(chunks: Iterable[Chunk]) -> str:
    return "".join(f"data: {json.dumps(chunk, ensure_ascii=False, allow_nan=False)}\n\n" for chunk in chunks)
