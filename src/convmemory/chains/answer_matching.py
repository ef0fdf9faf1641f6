"""Which stored message came from which answer of a model, and which documents it leaned on.

Values are captured from LangChain's runs (``recorder.py``) and joined here with the messages about to be
stored. They go into the columns beside a message, never into the message: what comes back equals what was said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.outputs import Generation, LLMResult

from convmemory.encoding.token_counts import MOST, Tokens, tokens_of
from convmemory.models import Draft, RetrievedContext, Telemetry

EXCERPT: Final = 200
"""Characters of a document that an excerpt has at most."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What one retriever returned; ``order`` is its place among everything the process saw."""

    order: int
    documents: Sequence[Document]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call of a model said and cost.

    ``order`` is the place of its beginning among everything the process saw, so that what was retrieved
    before it is known. Times are in whole milliseconds.
    """

    order: int
    message_id: str | None
    text: str
    latency_ms: int
    first_token_ms: int | None
    model: str | None
    tokens: Tokens

    def figures(self) -> dict[str, Any]:
        """What has no column of its own and goes into a message's facts."""
        known = {"first_token_ms": self.first_token_ms, "model": self.model}
        known |= {"input_tokens": self.tokens.input_tokens, "output_tokens": self.tokens.output_tokens}
        return {name: value for name, value in known.items() if value is not None}


Event = Answer | Retrieval


def answer_of(
    result: LLMResult, order: int, *, latency_ms: int, first_token_ms: int | None, model: str | None
) -> Answer:
    """Read a model's result: a chat model's message, or the text of a plain language model."""
    generation = (
        result.generations[0][0] if result.generations and result.generations[0] else Generation(text="")
    )
    message = getattr(generation, "message", None)
    return Answer(
        order,
        getattr(message, "id", None),
        generation.text,
        latency_ms,
        first_token_ms,
        _model(message, result.llm_output or {}) or model,
        tokens_of(message, result.llm_output or {}),
    )


def with_telemetry(
    drafts: Sequence[Draft], events: Sequence[Event], telemetry: Telemetry = "whole"
) -> list[Draft]:
    """Give each assistant message the figures of the call that made it, and the documents retrieved for it.

    The message's id says which call that was; where the chain dropped it (``StrOutputParser`` keeps only the
    text), the same text does; else the last message is the last call's. Documents go to the first message
    whose call began after they were retrieved, what is left to the last one. So do the tokens of calls that
    made no message, such as one that rewrote the question: a turn's messages add up to what it cost.
    """
    answers = [event for event in events if isinstance(event, Answer)]
    made_by = _makers(drafts, list(answers))
    unseen = [answer for answer in answers if not any(answer is made for made in made_by.values())]
    found = [event for event in events if isinstance(event, Retrieval)]
    said = [at for at, draft in enumerate(drafts) if isinstance(draft.message, AIMessage)]
    told = list(drafts)
    for at in said:
        answer = made_by.get(at)
        ripe = found if at == said[-1] else [one for one in found if answer and one.order < answer.order]
        found = [one for one in found if one not in ripe]
        helped = unseen if at == said[-1] else [one for one in unseen if answer and one.order < answer.order]
        unseen = [one for one in unseen if one not in helped]
        told[at] = _told(drafts[at], _with_help(answer, helped), ripe, telemetry)
    return told


def _with_help(answer: Answer | None, helped: Sequence[Answer]) -> Answer | None:
    """An answer that cost what it and the calls before it cost; its time is its own."""
    if answer is None or not helped:
        return answer
    every = [answer.tokens, *(one.tokens for one in helped)]
    figures = ("input_tokens", "output_tokens", "total_tokens")
    known = {name: [n for one in every if (n := getattr(one, name)) is not None] for name in figures}
    sums = {name: min(sum(found), MOST) if found else None for name, found in known.items()}
    return replace(answer, tokens=Tokens(**sums))


def _makers(drafts: Sequence[Draft], answers: list[Answer]) -> dict[int, Answer]:
    """Which answer each draft came from, by the draft's place."""
    made_by: dict[int, Answer] = {}
    open_places = []
    for at, draft in reversed(list(enumerate(drafts))):
        if isinstance(draft.message, AIMessage) and not _claim(made_by, at, answers, draft.message.id):
            open_places.append(at)
    for at in open_places:
        text = drafts[at].message.text
        same = [answer for answer in answers if answer.text == text]
        last = answers if at == len(drafts) - 1 else []
        for answer in (same or last)[-1:]:
            made_by[at] = answer
            answers.remove(answer)
    return made_by


def _claim(made_by: dict[int, Answer], at: int, answers: list[Answer], message_id: str | None) -> bool:
    for answer in answers:
        if message_id and answer.message_id == message_id:
            made_by[at] = answer
            answers.remove(answer)
            return True
    return False


def _told(draft: Draft, answer: Answer | None, retrieved: Sequence[Retrieval], telemetry: Telemetry) -> Draft:
    contexts = tuple(_kept(document, telemetry) for one in retrieved for document in one.documents)
    if answer is None:
        return draft.model_copy(update={"contexts": contexts})
    latency, figures = min(answer.latency_ms, MOST), answer.figures() or None
    return draft.model_copy(
        update={
            "tokens_used": answer.tokens.total_tokens,
            "latency_ms": latency,
            "contexts": contexts,
            "facts": figures,
        }
    )


def _kept(document: Document, telemetry: Telemetry) -> RetrievedContext:
    """As much of a retrieved document as is to be kept."""
    whole = RetrievedContext.of_document(document)
    if telemetry not in ("ids", "excerpt"):
        return whole
    text = whole.content if len(whole.content) <= EXCERPT else f"{whole.content[: EXCERPT - 1]}…"
    content = text if telemetry == "excerpt" else ""
    return whole.model_copy(update={"content": content, "metadata": {}})


def _model(message: Any, output: Mapping[str, Any]) -> str | None:
    response = getattr(message, "response_metadata", None) or {}
    found = response.get("model_name") or response.get("model") or output.get("model_name")
    return str(found) if found else None
