"""A chat model and a retriever that answer by rule, and every way LangChain has to run a chain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from langchain_core.runnables.history import RunnableWithMessageHistory

PROMPT = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])


def reply_to(said: str) -> str:
    return f"you said {said}"


def usage(messages: Sequence[BaseMessage], text: str) -> dict[str, int]:
    """What a reply costs: a token a message in, a token a word out."""
    spent, made = len(messages), len(text.split())
    return {"input_tokens": spent, "output_tokens": made, "total_tokens": spent + made}


class Echo(BaseChatModel):
    """Says what the last human message said, word by word where it is streamed; ``pause`` seconds before it begins."""

    pause: float = 0.0
    pace: float = 0.0
    "Seconds before each word of a streamed reply."
    model_name: str = "echo-1"

    @property
    def _llm_type(self) -> str:
        return "echo"

    def _reply(self, messages: list[BaseMessage]) -> tuple[str, dict[str, int]]:
        text = reply_to([m for m in messages if isinstance(m, HumanMessage)][-1].text)
        return text, usage(messages, text)

    def _result(self, messages: list[BaseMessage]) -> ChatResult:
        text, spent = self._reply(messages)
        said = AIMessage(text, usage_metadata=spent, response_metadata={"model_name": self.model_name})
        return ChatResult(generations=[ChatGeneration(message=said)])

    def _chunks(self, messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
        text, spent = self._reply(messages)
        words = text.split(" ")
        for at, word in enumerate(words):
            yield ChatGenerationChunk(message=AIMessageChunk(word if at == 0 else f" {word}"))
        last = AIMessageChunk("", usage_metadata=spent, response_metadata={"model_name": self.model_name})
        yield ChatGenerationChunk(message=last)

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        time.sleep(self.pause)
        return self._result(messages)

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        await asyncio.sleep(self.pause)
        return self._result(messages)

    def _stream(self, messages: list[BaseMessage], *_: Any, **told: Any) -> Iterator[ChatGenerationChunk]:
        time.sleep(self.pause)
        for chunk in self._chunks(messages):
            time.sleep(self.pace)
            if told.get("run_manager"):
                told["run_manager"].on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **told: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        await asyncio.sleep(self.pause)
        for chunk in self._chunks(messages):
            await asyncio.sleep(self.pace)
            if told.get("run_manager"):
                await told["run_manager"].on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


class Shelf(BaseRetriever):
    """Two documents about whatever is asked, each with a score; ``pause`` seconds to find them."""

    pause: float = 0.0

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        time.sleep(self.pause)
        return [
            Document(f"{query} {n}", id=f"{query}-{n}", metadata={"score": n / 4, "page": n}) for n in (1, 2)
        ]


def keyed(
    model: Runnable[Any, Any], factory: Callable[..., Any], **fields: Any
) -> RunnableWithMessageHistory:
    """A prompt with a place for the history: the shape LangChain's documentation shows."""
    return RunnableWithMessageHistory(
        PROMPT | model, factory, input_messages_key="question", history_messages_key="history", **fields
    )


def bare(model: Runnable[Any, Any], factory: Callable[..., Any], **fields: Any) -> RunnableWithMessageHistory:
    """Messages in, messages out: LangChain reads twice a turn and counts."""
    return RunnableWithMessageHistory(model, factory, **fields)


SHAPES: dict[str, tuple[Callable[..., RunnableWithMessageHistory], Callable[[str], Any]]] = {
    "keyed": (keyed, lambda said: {"question": said}),
    "bare": (bare, lambda said: [HumanMessage(said)]),
}
"""How a chain is built around a model, and what its input looks like."""


async def _invoke(chain: Runnable[Any, Any], given: Any, config: Any) -> Any:
    return chain.invoke(given, config)


async def _stream(chain: Runnable[Any, Any], given: Any, config: Any) -> Any:
    return list(chain.stream(given, config))


async def _batch(chain: Runnable[Any, Any], given: Any, config: Any) -> Any:
    return chain.batch([given], [config])


async def _ainvoke(chain: Runnable[Any, Any], given: Any, config: Any) -> Any:
    return await chain.ainvoke(given, config)


async def _astream(chain: Runnable[Any, Any], given: Any, config: Any) -> Any:
    return [chunk async for chunk in chain.astream(given, config)]


async def _abatch(chain: Runnable[Any, Any], given: Any, config: Any) -> Any:
    return await chain.abatch([given], [config])


Drive = Callable[[Runnable[Any, Any], Any, Any], Awaitable[Any]]
BLOCKING: dict[str, Drive] = {"invoke": _invoke, "stream": _stream, "batch": _batch}
AWAITED: dict[str, Drive] = {"ainvoke": _ainvoke, "astream": _astream, "abatch": _abatch}
DRIVES = BLOCKING | AWAITED


def session(name: str) -> dict[str, Any]:
    """The config of a chain whose factory takes one session id."""
    return {"configurable": {"session_id": name}}
