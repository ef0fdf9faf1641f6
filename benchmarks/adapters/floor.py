"""The floor: LangChain's history in a dict, which stores nothing anywhere."""

from __future__ import annotations

from adapter import WINDOW, Adapter
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import BaseMessage
from texts import Turn


class InMemory(Adapter):
    name = "floor: in memory"

    def seed(self, conversation: str, messages: list[BaseMessage]) -> None:
        self._made[conversation] = InMemoryChatMessageHistory(messages=list(messages))

    def window(self, conversation: str) -> list[BaseMessage]:
        return self._made[conversation].messages[-WINDOW:]

    def append(self, conversation: str, turn: Turn) -> None:
        self._made[conversation].add_messages(turn.messages())

    def everything(self, conversation: str) -> list[BaseMessage]:
        return list(self._made[conversation].messages)

    def history(self, conversation: str) -> InMemoryChatMessageHistory:
        return self._made[conversation]

    def forget(self, conversation: str) -> None:
        """The object is the store."""
