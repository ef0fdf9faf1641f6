"""What there is to see in ``convmemory serve --demo``: conversations of the last days, and somebody who answers from a handbook."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata

from convmemory.ids import new_uuid
from convmemory.models import Draft, RetrievedContext

if TYPE_CHECKING:
    from convmemory._sync.user_memory import UserMemory
    from convmemory.api import ChatTurn

HANDBOOK: Final = {
    "vacation": (
        "vacation.md",
        "Vacation: 30 days a year. Request it in the staff portal under Time Off, two weeks ahead. The team lead approves it.",
        (
            "Everyone has **30 days** of vacation a year.\n\n"
            "1. Open the staff portal and choose *Time Off*.\n2. Pick the days, **two weeks ahead** or more.\n"
            "3. Your team lead approves it, usually within a day."
        ),
    ),
    "park": (
        "parking.md",
        "Parking: a space costs 20 a month. Request it by mail to the front desk, which approves it.",
        "A space costs **20 a month**. Write to the front desk; they approve it.",
    ),
    "laptop": (
        "laptops.md",
        "Laptops: a new one every 3 years. Request it in the help desk. IT approves it.",
        (
            "There is a new laptop every **3 years**.\n\n| model | memory | weight |\n|---|---:|---:|\n"
            "| Light 13 | 16 GB | 1.1 kg |\n| Work 14 | 32 GB | 1.4 kg |\n| Build 16 | 64 GB | 2.1 kg |\n\n"
            "Ask for it in the help desk:\n\n```sh\nhelpdesk request laptop --model work-14\n```"
        ),
    ),
}
_ELSE: Final = "I play a part and know three pages of a handbook: ask me about **vacation**, **parking** or a **laptop**."
_PACE: Final = 0.03
"""Seconds a word."""
_TURNS: Final = 600
"""Of the long conversation."""


async def answer(turn: ChatTurn) -> AsyncIterator[Any]:
    """Look into the handbook, and tell what is there, word by word."""
    topic = _topic(turn.messages)
    if topic is None:
        told = _ELSE
    else:
        call, result, document = _looked_up(topic, turn.text)
        yield call
        await asyncio.sleep(10 * _PACE)
        yield result
        yield document
        told = HANDBOOK[topic][2]
    for word in re.findall(r"\S+\s*", told):
        yield AIMessageChunk(content=word)
        await asyncio.sleep(_PACE)
    yield AIMessageChunk(content="", usage_metadata=_usage(turn.messages, told))


def _topic(messages: list[BaseMessage]) -> str | None:
    """What it is about: "it" is what was spoken of last."""
    for message in reversed(messages):
        found = next((topic for topic in HANDBOOK if topic in str(message.text).lower()), None)
        if found and (message is messages[-1] or message.type == "human"):
            return found
    return None


def _looked_up(topic: str, question: str) -> tuple[AIMessage, ToolMessage, Document]:
    page, text, _ = HANDBOOK[topic]
    name = f"call-{new_uuid().hex[-8:]}"
    call = {"name": "search_handbook", "args": {"query": question[:200]}, "id": name}
    found = Document(text, id=page, metadata={"score": 0.93, "title": "Staff handbook", "page": 12})
    return (
        AIMessage("", tool_calls=[call]),
        ToolMessage(text, tool_call_id=name, name="search_handbook"),
        found,
    )


def _usage(given: list[BaseMessage], told: str) -> UsageMetadata:
    """Its tokens are words."""
    read, said = sum(len(str(one.text).split()) for one in given), len(told.split())
    return UsageMetadata(input_tokens=read, output_tokens=said, total_tokens=read + said)


def seed(mine: UserMemory) -> None:
    """Store some conversations of the last days, one of them long, one pinned and one archived."""
    now = datetime.now(UTC)
    talks: list[tuple[int, str | None, tuple[str, ...], dict[str, Any]]] = [
        (90, "Parking, before the move", ("Where can I park?",), {"archived": True}),
        (30, "A year of questions", ("",), {}),
        (6, None, ("Where can I park?",), {"pinned": True}),
        (2, None, ("I need a new laptop. Which are there?",), {}),
        (0, None, ("What is our vacation policy?", "How do I request it?"), {}),
    ]
    for days, title, questions, marks in talks:
        begun = now - timedelta(days=days, hours=1)
        drafts = _long(begun) if questions == ("",) else _turns(questions, begun)
        made = mine.create_conversation(title=title)
        mine.save_messages(made, list(drafts))
        mine.update_conversation(made, **marks)


def _turns(questions: tuple[str, ...], begun: datetime) -> Iterator[Draft]:
    said: list[BaseMessage] = []
    for number, question in enumerate(questions):
        at = begun + timedelta(minutes=3 * number)
        said.append(HumanMessage(question))
        topic = _topic(said) or "vacation"
        call, result, document = _looked_up(topic, question)
        reply = AIMessage(HANDBOOK[topic][2], usage_metadata=_usage(said, HANDBOOK[topic][2]))
        yield Draft(said[-1], created_at=at)
        yield Draft(call, created_at=at + timedelta(seconds=1))
        yield Draft(result, created_at=at + timedelta(seconds=2))
        contexts = [RetrievedContext.of_document(document)]
        yield Draft(reply, latency_ms=840, contexts=contexts, created_at=at + timedelta(seconds=3))
        said.append(reply)


def _long(begun: datetime) -> Iterator[Draft]:
    for number in range(1, _TURNS + 1):
        at = begun + timedelta(minutes=number)
        yield Draft(HumanMessage(f"Question {number:,}: is there anything new?"), created_at=at)
        reply = f"Answer {number:,}: nothing since the last time, and that is *good* news."
        yield Draft(AIMessage(reply), tokens_used=12, latency_ms=100 + number, created_at=at)
