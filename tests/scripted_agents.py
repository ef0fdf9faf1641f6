"""Agents that play a script: a model that says its lines, and tools that answer as they did when it was recorded."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import Field

from pairing import pairing_errors
from scripted import reply_to

Line = BaseMessage | Exception


class Player(BaseChatModel):
    """Says its lines one after the other, and raises those that are errors; without lines it echoes.

    Every prompt is kept in ``prompts``, and what a provider would reject in one in ``invalid``.
    """

    lines: list[Any] = Field(default_factory=list)
    prompts: list[list[BaseMessage]] = Field(default_factory=list)
    invalid: list[str] = Field(default_factory=list)
    pause: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "player"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=[tool.name for tool in tools], **kwargs)

    def _say(self, messages: list[BaseMessage]) -> ChatResult:
        self.prompts.append(messages)
        self.invalid += pairing_errors(messages)
        line = self.lines.pop(0) if self.lines else AIMessage(reply_to(messages[-1].text))
        if isinstance(line, Exception):
            raise line
        return ChatResult(generations=[ChatGeneration(message=line)])

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        time.sleep(self.pause)
        return self._say(messages)

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        await asyncio.sleep(self.pause)
        return self._say(messages)


def recorded(run: Iterable[dict[str, Any]]) -> list[BaseMessage]:
    """A recorded run, in the Chat Completions format, as messages without ids; its system prompt is left out."""
    return [_recorded(told) for told in run if told["role"] != "system"]


def _recorded(told: dict[str, Any]) -> BaseMessage:
    if told["role"] == "user":
        return HumanMessage(told["content"])
    if told["role"] == "tool":
        return ToolMessage(told["content"], tool_call_id=told["tool_call_id"], name=told["name"])
    calls = [
        {"name": c["function"]["name"], "args": json.loads(c["function"]["arguments"]), "id": c["id"]}
        for c in told.get("tool_calls") or ()
    ]
    return AIMessage(told["content"] or "", tool_calls=calls)


def tools_of(run: Sequence[BaseMessage]) -> list[BaseTool]:
    """Tools of the names a run calls, each of which answers a call as it was answered then.

    Calls of one message run side by side, so an answer is found by what was asked; the same again in turn.
    """
    asked: dict[str, tuple[str, str]] = {}
    answers: dict[str, dict[str, list[str]]] = {}
    for message in run:
        for call in message.tool_calls if isinstance(message, AIMessage) else ():
            asked[str(call["id"])] = call["name"], _written(call["args"])
        if isinstance(message, ToolMessage):  # an id may be used again later
            name, args = asked[message.tool_call_id]
            answers.setdefault(name, {}).setdefault(args, []).append(message.text)
    return [_tool(name, given) for name, given in answers.items()]


def _written(args: dict[str, Any]) -> str:
    return json.dumps(args, sort_keys=True)


def _tool(name: str, answers: dict[str, list[str]]) -> BaseTool:
    def answer(**args: Any) -> str:
        return answers[_written(args)].pop(0)

    async def aanswer(**args: Any) -> str:
        return answer(**args)

    schema = {"type": "object", "properties": {}, "additionalProperties": True}
    return StructuredTool(name=name, description=name, func=answer, coroutine=aanswer, args_schema=schema)


def turns_of(run: Sequence[BaseMessage]) -> list[list[BaseMessage]]:
    """A run's turns, each a human message and what follows it; a call that was never answered ends its run before it."""
    starts = [at for at, message in enumerate(run) if isinstance(message, HumanMessage)]
    turns = [list(run[at:end]) for at, end in zip(starts, [*starts[1:], len(run)], strict=True)]
    return [turn for turn in turns if isinstance(turn[-1], AIMessage) and not turn[-1].tool_calls]
