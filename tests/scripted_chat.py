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


def agent_of(model, tools=None, **options):
    """An agent that has the memory itself, made when there is one."""
    from langchain.agents import create_agent

    from convmemory.middleware import ConversationMemoryMiddleware

    def made(memory):
        return create_agent(
            model,
            TOOLS if tools is None else tools,
            middleware=[ConversationMemoryMiddleware(memory, **options)],
        )

    made.of_memory = True
    return made


def fuzzed(random_):
    """An agent's run: what it thinks, says and calls, in as many steps and pieces as chance has it; ids used again."""

    def text():
        return "".join(random_.choice('aß\n\t "\\\u2028😀{}:') for _ in range(random_.randint(1, 12)))

    lines = []
    for step in range(random_.randint(1, 4)):
        line = [thinking(text()) for _ in range(random_.choice([0, 0, 1, 3]))]
        if line:  # as providers that think do: all of it in blocks
            line += [
                AIMessageChunk([{"type": "text", "text": text(), "index": 1}])
                for _ in range(random_.randint(0, 3))
            ]
        else:
            line += [text() for _ in range(random_.randint(0, 5))]
        calls = [
            (f"c{random_.choice([n, step * 10 + n])}", random_.choice(["add", "fail"]), None)
            for n in range(random_.choice([0, 1, 3]))
        ]
        line += calling(
            *(
                (name, tool, '{"a": 1, "b": 2}' if tool == "add" else '{"why": "{\\"x\\": 1}"}')
                for name, tool, _ in calls
            )
        )
        lines.append(line or [""])
        if not calls:
            break
    lines.append(["the end"])
    return lines
