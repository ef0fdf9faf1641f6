"""Chat memory for LangChain agents: PostgreSQL keeps every turn, Redis serves the last ones.

Names are loaded when they are first used: ``import convmemory`` itself loads no driver and no framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

__version__: Final = "0.1.0"

if TYPE_CHECKING:
    from convmemory._async.memory import AsyncConversationMemory as AsyncConversationMemory
    from convmemory._async.postgres_store import AsyncPostgresStore as AsyncPostgresStore
    from convmemory._async.redis_store import AsyncRedisStore as AsyncRedisStore
    from convmemory._async.user_memory import AsyncUserMemory as AsyncUserMemory
    from convmemory._sync.memory import ConversationMemory as ConversationMemory
    from convmemory._sync.postgres_store import PostgresStore as PostgresStore
    from convmemory._sync.redis_store import RedisStore as RedisStore
    from convmemory._sync.user_memory import UserMemory as UserMemory
    from convmemory.chains.run_config import thread_as_conversation as thread_as_conversation
    from convmemory.errors import AsyncOnly as AsyncOnly
    from convmemory.errors import ConfigurationError as ConfigurationError
    from convmemory.errors import ConversationChanged as ConversationChanged
    from convmemory.errors import ConversationExists as ConversationExists
    from convmemory.errors import ConversationNotFound as ConversationNotFound
    from convmemory.errors import ConvMemoryError as ConvMemoryError
    from convmemory.errors import InvalidArgument as InvalidArgument
    from convmemory.errors import MessageNotFound as MessageNotFound
    from convmemory.errors import MissingExtra as MissingExtra
    from convmemory.errors import NotOpen as NotOpen
    from convmemory.errors import SchemaOutdated as SchemaOutdated
    from convmemory.errors import StorageError as StorageError
    from convmemory.errors import StorageUnavailable as StorageUnavailable
    from convmemory.history import TieredChatMessageHistory as TieredChatMessageHistory
    from convmemory.models import Appended as Appended
    from convmemory.models import Check as Check
    from convmemory.models import Conversation as Conversation
    from convmemory.models import Draft as Draft
    from convmemory.models import Erased as Erased
    from convmemory.models import Message as Message
    from convmemory.models import Page as Page
    from convmemory.models import RetrievedContext as RetrievedContext
    from convmemory.models import Session as Session
    from convmemory.models import TierReport as TierReport
    from convmemory.recalling import recall_tool as recall_tool
    from convmemory.search_results import Recalled as Recalled
    from convmemory.search_results import Recollection as Recollection
    from convmemory.search_results import SearchHit as SearchHit
    from convmemory.settings import Settings as Settings

_HOMES: Final = {
    # the memory, in both colours
    "ConversationMemory": "convmemory._sync.memory",
    "AsyncConversationMemory": "convmemory._async.memory",
    "UserMemory": "convmemory._sync.user_memory",
    "AsyncUserMemory": "convmemory._async.user_memory",
    # LangChain's chat history, what names its conversation in a graph's config, and a tool for agents
    "TieredChatMessageHistory": "convmemory.history",
    "thread_as_conversation": "convmemory.chains.run_config",
    "recall_tool": "convmemory.recalling",
    # the two stores, in both colours, and what they are set to
    "PostgresStore": "convmemory._sync.postgres_store",
    "AsyncPostgresStore": "convmemory._async.postgres_store",
    "RedisStore": "convmemory._sync.redis_store",
    "AsyncRedisStore": "convmemory._async.redis_store",
    "Settings": "convmemory.settings",
    # values
    "Appended": "convmemory.models",
    "Check": "convmemory.models",
    "Conversation": "convmemory.models",
    "Draft": "convmemory.models",
    "Erased": "convmemory.models",
    "Message": "convmemory.models",
    "Page": "convmemory.models",
    "Recalled": "convmemory.search_results",
    "Recollection": "convmemory.search_results",
    "RetrievedContext": "convmemory.models",
    "SearchHit": "convmemory.search_results",
    "Session": "convmemory.models",
    "TierReport": "convmemory.models",
    # errors
    "AsyncOnly": "convmemory.errors",
    "ConfigurationError": "convmemory.errors",
    "ConvMemoryError": "convmemory.errors",
    "ConversationChanged": "convmemory.errors",
    "ConversationExists": "convmemory.errors",
    "ConversationNotFound": "convmemory.errors",
    "InvalidArgument": "convmemory.errors",
    "MessageNotFound": "convmemory.errors",
    "MissingExtra": "convmemory.errors",
    "NotOpen": "convmemory.errors",
    "SchemaOutdated": "convmemory.errors",
    "StorageError": "convmemory.errors",
    "StorageUnavailable": "convmemory.errors",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - the names are the table's keys


def __getattr__(name: str) -> Any:
    """Load a public name from its home at first use (PEP 562)."""
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'convmemory' has no attribute {name!r}") from None
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
