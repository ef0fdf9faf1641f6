"""A model that streams what a script says, piece by piece, and agents over it: for the chat route."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import BaseTool, ToolException, tool
from pydantic import Field


class Reader(BaseChatModel):
    """Streams its lines, one a call: each a list of texts, of chunks, of seconds or events to wait for, of errors to raise.

    Without lines it says how many messages it was shown. Every prompt is kept in ``prompts``.
    """

    lines: list[Any] = Field(default_factory=list)
    prompts: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "reader"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=[one.name for one in tools], **kwargs)

    def _next(self, messages: list[BaseMessage]) -> list[Any]:
        self.prompts.append(messages)
        return list(self.lines.pop(0)) if self.lines else [f"{len(messages)} ", "shown"]

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **told: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for piece in self._next(messages):
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            elif isinstance(piece, float):
                await asyncio.sleep(piece)
            elif isinstance(piece, BaseException):
                raise piece
            else:
                yield await self._heard(piece, told.get("run_manager"))

    async def _heard(self, piece: Any, manager: Any) -> ChatGenerationChunk:
        chunk = ChatGenerationChunk(
            message=piece if isinstance(piece, AIMessageChunk) else AIMessageChunk(piece)
        )
        if manager:
            await manager.on_llm_new_token(chunk.text, chunk=chunk)
        return chunk

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        whole = "".join(piece for piece in self._next(messages) if isinstance(piece, str))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(whole))])


def calling(*calls: tuple[str, str, str]) -> list[AIMessageChunk]:
    """Chunks that call tools side by side: (id, name, arguments as JSON), the arguments in two pieces."""
    pieces = []
    for index, (call_id, name, arguments) in enumerate(calls):
        half = len(arguments) // 2
        parts = (
            {"id": call_id, "name": name, "args": "", "index": index},
            {"id": None, "name": None, "args": arguments[:half], "index": index},
            {"id": None, "name": None, "args": arguments[half:], "index": index},
        )
        pieces += [
            AIMessageChunk("", tool_call_chunks=[{**part, "type": "tool_call_chunk"}]) for part in parts
        ]
    return pieces


def thinking(text: str) -> AIMessageChunk:
    """A piece of reasoning."""
    return AIMessageChunk([{"type": "reasoning", "reasoning": text, "index": 0}])


@tool
async def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@tool
async def fail(why: str) -> str:
    """Fail."""
    raise ToolException(why)


fail.handle_tool_error = True
TOOLS: list[BaseTool] = [add, fail]
