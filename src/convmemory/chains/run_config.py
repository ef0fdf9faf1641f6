"""What a LangChain run is told of a conversation: the ids a history is made from, and the metadata traces carry."""

from __future__ import annotations

from collections.abc import Mapping
from types import EllipsisType
from typing import Any, Final
from uuid import UUID, uuid5

from langchain_core.runnables import ConfigurableFieldSpec, RunnableConfig

from convmemory.errors import ConfigurationError
from convmemory.ids import ConversationKey

_THREADS: Final = UUID("0f3b1c52-6a6e-5c0e-8a4f-1d5c7d6be9a2")
"""Names of threads in traces: the same for one user's conversation in every process, and no id of a row."""


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


def run_config(key: ConversationKey) -> RunnableConfig:
    """The ``config`` of one run: who and which conversation, also as metadata of every trace, and a thread for a checkpointer.

    A checkpointer knows no users, and LangSmith groups runs into threads by ``thread_id``, ``session_id`` or ``conversation_id``, whoever's they are, so
    these have an id that two users' conversations of one name do not share; ``conversation_name`` is the caller's.
    """
    thread = str(
        key.uuid
        if key.external_id is None
        else uuid5(_THREADS, f"{len(key.user_id)}:{key.user_id}{key.name}")
    )
    named = dict.fromkeys(("conversation_id", "thread_id", "session_id"), thread)
    return {
        "configurable": {"user_id": key.user_id, "conversation_id": key.name, "thread_id": thread},
        "metadata": {**named, "conversation_name": key.name, "user_id": key.user_id},
    }


def thread_as_conversation(config: RunnableConfig) -> RunnableConfig:
    """Let LangGraph's ``thread_id`` name the conversation of a chain's run where no ``conversation_id`` does.

    One of the ``config_factories`` of ``RunnableWithMessageHistory``, which by itself wants the very fields of its
    factory: ``RunnableWithMessageHistory(chain, memory.history_factory, history_factory_config=
    memory.history_factory_config, config_factories=[thread_as_conversation])``.

    Raises:
        ConfigurationError: The run names neither.
    """
    found = told_conversation(config.get("configurable"))
    if found is None:
        raise ConfigurationError(conversation_missing(config.get("configurable")))
    return {"configurable": {"conversation_id": found}}


def told_conversation(configurable: Mapping[str, Any] | None) -> Any:
    """The conversation a run's config names: by ``conversation_id``, else by ``thread_id``; or ``None``."""
    told = configurable or {}
    name = told.get("conversation_id")
    return told.get("thread_id") if name is None else name


def conversation_missing(configurable: Mapping[str, Any] | None) -> str:
    """What to tell whose run names no conversation."""
    instead = "config=memory.run_config(conversation_id=..., user_id=...), or a thread_id beside the user_id"
    if configurable and "session_id" in configurable:
        return (
            "conversation_id: the run's config has only a session_id, which is a visit here and no conversation; "
            f"name it conversation_id, or run with {instead}"
        )
    return f"conversation_id: the run does not say; run with {instead}"


USER_MISSING: Final = "user_id: the run does not say; run the agent with config=memory.run_config(conversation_id=..., user_id=...)"
"""What to tell whose agent's run names no user."""


def factory_conversation(told: str | EllipsisType) -> str:
    """The conversation a history factory is called with.

    Raises:
        ConfigurationError: It was called with one argument, as LangChain does where it is not told of two.
    """
    if isinstance(told, EllipsisType):
        raise ConfigurationError(
            "history_factory: was called with one id, and needs user_id and conversation_id; give "
            "RunnableWithMessageHistory history_factory_config=memory.history_factory_config as well, and run it with "
            "config=memory.run_config(conversation_id=..., user_id=...)"
        )
    return told
