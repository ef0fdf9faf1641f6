"""What a LangChain run is told of a conversation: the ids a history is made from, and the metadata traces carry."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import ConfigurableFieldSpec, RunnableConfig


def factory_fields() -> list[ConfigurableFieldSpec]:
    """``history_factory_config`` of ``RunnableWithMessageHistory`` for a factory ``(user_id, conversation_id)``."""
    return [
        ConfigurableFieldSpec(
            id=name, annotation=str, name=name.replace("_", " ").title(), description=why, is_shared=True
        )
        for name, why in (
            ("user_id", "Whose conversation it is."),
            ("conversation_id", "A UUID, or any name that is unique for the user."),
        )
    ]


def run_config(conversation_id: object, user_id: str) -> RunnableConfig:
    """The ``config`` of one run: who and which conversation, also as metadata of every trace.

    LangSmith groups runs into threads by ``thread_id``, ``session_id`` or ``conversation_id``.
    """
    name: Any = str(conversation_id)
    return {
        "configurable": {"user_id": user_id, "conversation_id": name},
        "metadata": {"conversation_id": name, "thread_id": name, "session_id": name, "user_id": user_id},
    }
