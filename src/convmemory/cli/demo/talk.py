"""One model in one prompt, with and without a memory around it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

import convmemory
from convmemory.cli.demo.models import choose_model, speaking
from convmemory.cli.demo.script import CONVERSATION, HANDBOOK, USER

_RULES: Final = (
    "You answer questions about the staff handbook in one short sentence. Never guess what a question is about:"
    " where it refers to something that was not said before, ask. The handbook:\n"
)
_PROMPT: Final = ChatPromptTemplate(
    [
        SystemMessage(_RULES + "\n".join(HANDBOOK.values())),
        MessagesPlaceholder("history", optional=True),
        ("human", "{question}"),
    ]
)
_FRAME: Final = 2  # messages of every prompt: the rules and the question


class Talk:
    """A model asked within a prompt; ``reached`` counts the earlier messages that the last prompt held.

    Args:
        model: ``provider:name`` of a real model, ``None`` for the scripted one.

    Raises:
        ConfigurationError: The model cannot be used; says why, then or at any answer.
    """

    def __init__(self, model: str | None) -> None:
        self.model = model
        self.reached = 0
        self._chain: Runnable[Any, Any] = _PROMPT | RunnableLambda(self._look) | choose_model(model)

    def _look(self, prompt: PromptValue) -> PromptValue:
        self.reached = len(prompt.to_messages()) - _FRAME
        return prompt

    def ask(self, question: str, history: Sequence[BaseMessage] = ()) -> AIMessage:
        """Ask with just this history."""
        with speaking(self.model):
            answer: AIMessage = self._chain.invoke({"question": question, "history": list(history)})
        return answer

    def ask_within(self, memory: convmemory.ConversationMemory, question: str) -> AIMessage:
        """Ask as an application does: ``RunnableWithMessageHistory`` reads the memory and writes to it."""
        with warnings.catch_warnings():  # it announces its end in langchain-core 2.0 each time it is made
            warnings.filterwarnings("ignore", "RunnableWithMessageHistory is deprecated", DeprecationWarning)
            chain: Runnable[Any, Any] = RunnableWithMessageHistory(
                self._chain,
                memory.history_factory,
                input_messages_key="question",
                history_messages_key="history",
                history_factory_config=memory.history_factory_config,
            )
        config = memory.run_config(conversation_id=CONVERSATION, user_id=USER)
        with speaking(self.model):
            answer: AIMessage = chain.invoke({"question": question}, config)
        return answer
