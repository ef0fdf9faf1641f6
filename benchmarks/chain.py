"""The chain of W3: LangChain's history wrapper round a model that answers at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from adapter import WINDOW
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory
from texts import turns

from convmemory.chains import recorder


class InstantModel(BaseChatModel):
    """Answers 400 bytes in no time, so that only the chain and the memory cost any."""

    @property
    def _llm_type(self) -> str:
        return "instant"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(turns()[0].ai))])


def chain_over(history: Callable[[str], Any]) -> Runnable[Any, Any]:
    """A prompt with the newest messages of ``history``, and the model."""
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{input}")])
    recent = RunnablePassthrough.assign(history=lambda given: given["history"][-WINDOW:])
    with warnings.catch_warnings():
        # its removal in langchain-core 2.0 is announced at every construction
        warnings.simplefilter("ignore")
        return RunnableWithMessageHistory(
            recent | prompt | InstantModel(),
            history,
            input_messages_key="input",
            history_messages_key="history",
        )


def unheard() -> Context:
    """A context for everybody else's chains: what listens there for this library's histories must not slow them down."""
    context = copy_context()
    context.run(recorder._recorder.set, None)  # noqa: SLF001 - nobody but a benchmark wants this
    return context
