"""The chat model of the examples: it answers by a rule, so that they run without a key and without a network.

The rule sees what a real model would see, the prompt and nothing else: what was said earlier helps it only if
the memory put it there. ``--model provider:name`` (such as ``openai:gpt-5-mini``) has a real one answer instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable

Rule = Callable[[Sequence[BaseMessage]], AIMessage]


class ScriptedModel(BaseChatModel):
    """A chat model whose answer is ``rule(prompt)``; its tokens are words, each of which takes ``pace`` seconds."""

    rule: Rule
    pace: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Nothing to tell it: the rule knows its tools."""
        del tools, kwargs
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del stop, run_manager, kwargs
        answer = self.rule(messages)
        usage = usage_of(messages, answer)
        time.sleep(self.pace * usage["total_tokens"])
        said = answer.model_copy(update={"usage_metadata": usage})
        return ChatResult(generations=[ChatGeneration(message=said)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        del stop, run_manager, kwargs
        answer = self.rule(messages)
        for number, word in enumerate(answer.text.split(" ")):
            time.sleep(self.pace)
            yield ChatGenerationChunk(message=AIMessageChunk(f" {word}" if number else word))
        end = AIMessageChunk("", tool_calls=answer.tool_calls, usage_metadata=usage_of(messages, answer))
        yield ChatGenerationChunk(message=end)


def usage_of(prompt: Sequence[BaseMessage], answer: AIMessage) -> UsageMetadata:
    """Count the words of the prompt and of the answer."""
    given, made = sum(len(message.text.split()) for message in prompt), len(answer.text.split())
    return UsageMetadata(input_tokens=given, output_tokens=made, total_tokens=given + made)


def example_model(name: str | None, rule: Rule, pace: float = 0.0) -> BaseChatModel:
    """The model of that LangChain name, which needs ``langchain`` and the provider's package; without one the rule."""
    if name is None:
        return ScriptedModel(rule=rule, pace=pace)
    from langchain.chat_models import init_chat_model  # noqa: PLC0415 - only where a real model is wanted

    return init_chat_model(name)
