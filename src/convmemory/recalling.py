"""A tool with which an agent looks into its user's past conversations.

agent = create_agent(model, [recall_tool(memory)])
agent.invoke({"messages": [("human", "what did I say about Lisbon?")]}, memory.run_config(conversation_id=..., user_id="ada"))
"""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import StructuredTool

from convmemory._async.memory import AsyncConversationMemory
from convmemory._async.search import AsyncUserSearch
from convmemory._async.user_memory import AsyncUserMemory
from convmemory._sync.memory import ConversationMemory
from convmemory._sync.search import UserSearch
from convmemory._sync.user_memory import UserMemory
from convmemory.arguments import checked_limit
from convmemory.chains.run_config import USER_MISSING
from convmemory.errors import ConfigurationError, InvalidArgument
from convmemory.recall_options import checked_options
from convmemory.recalled_block import WHEN_TO_RECALL, block_of


def recall_tool(
    memory: ConversationMemory | AsyncConversationMemory | UserMemory | AsyncUserMemory,
    *,
    k: int = 5,
    name: str = "recall",
    description: str = WHEN_TO_RECALL,
    **options: Any,
) -> StructuredTool:
    """A tool for ``create_agent`` that recalls what was said in past conversations, and answers in a marked text.

    The user is the run's, as ``memory.run_config`` names it, or that of ``memory.for_user(user_id)``; the model cannot name one.

    Args:
        memory: Of either colour; an awaited one is for agents that are awaited.
        k: How many messages.
        name: What the model calls it.
        description: What the model is told of it.
        options: Others of ``search.recall``, such as ``neighbours=1``.

    Raises:
        InvalidArgument: ``memory`` is none, or ``recall`` has no such option.
    """
    checked_limit("k", k, 1_000)
    options = checked_options(options)
    kinds = (ConversationMemory, AsyncConversationMemory, UserMemory, AsyncUserMemory)
    if not isinstance(memory, kinds):
        raise InvalidArgument(
            "memory", f"must be a memory, or that of one user, not of type {type(memory).__name__}"
        )

    def recall(query: str, config: RunnableConfig) -> str:
        return block_of(_blocking(memory, config).recall(query, k, **options))

    async def arecall(query: str, config: RunnableConfig) -> str:
        return block_of(await _awaited(memory, config).recall(query, k, **options))

    if isinstance(memory, AsyncConversationMemory | AsyncUserMemory):
        return StructuredTool.from_function(coroutine=arecall, name=name, description=description)
    return StructuredTool.from_function(recall, name=name, description=description)


def _blocking(memory: Any, config: RunnableConfig) -> UserSearch:
    found: UserSearch = _mine(memory, config).search
    return found


def _awaited(memory: Any, config: RunnableConfig) -> AsyncUserSearch:
    found: AsyncUserSearch = _mine(memory, config).search
    return found


def _mine(memory: Any, config: RunnableConfig) -> Any:
    if isinstance(memory, UserMemory | AsyncUserMemory):
        return memory
    user = (config.get("configurable") or {}).get("user_id")
    if user is None:
        raise ConfigurationError(USER_MISSING)
    return memory.for_user(user)
