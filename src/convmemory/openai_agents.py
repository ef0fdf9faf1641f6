"""The OpenAI Agents SDK's ``Session`` over a memory: ``pip install 'langchain-convmemory[openai-agents]'``.

    session = ConversationSession(memory, "vacation", user_id="ada")
    await Runner.run(agent, "How many days are left?", session=session)

The SDK's items lie in the conversation as messages, so that it can be listed, titled and read like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

from convmemory._async.memory import AsyncConversationMemory
from convmemory._async.tiered import AsyncTieredStore
from convmemory._async.user_memory import AsyncUserMemory
from convmemory.arguments import checked_limit, optional_id
from convmemory.dialects.openai_responses import items_of, read_item
from convmemory.encoding.codec import unpack
from convmemory.errors import InvalidArgument, MissingExtra
from convmemory.ids import conversation_key
from convmemory.models import Draft
from convmemory.recall_options import checked_options
from convmemory.recalled_block import WHEN_TO_RECALL, block_of

try:
    from agents import FunctionTool, function_tool
    from agents.memory import SessionSettings
except ImportError as error:
    raise MissingExtra("convmemory.openai_agents", "openai-agents") from error

if TYPE_CHECKING:
    from agents.items import TResponseInputItem

__all__ = ["ConversationSession", "recall_function"]


def recall_function(
    mine: AsyncUserMemory,
    *,
    k: int = 5,
    name: str = "recall",
    description: str = WHEN_TO_RECALL,
    **options: Any,
) -> FunctionTool:
    """A function tool that recalls what was said in a user's past conversations, and answers in a marked text.

    Args:
        mine: ``memory.for_user(user_id)`` of an ``AsyncConversationMemory``: the model cannot name another user.
        k: How many messages.
        name: What the model calls it.
        description: What the model is told of it.
        options: Others of ``search.recall``, such as ``neighbours=1``.

    Raises:
        InvalidArgument: ``mine`` is not the memory of one user.
    """
    checked_limit("k", k, 1_000)
    options = checked_options(options)
    if not isinstance(mine, AsyncUserMemory):
        raise InvalidArgument(
            "mine",
            f"must be memory.for_user(...) of an AsyncConversationMemory, not of type {type(mine).__name__}",
        )

    async def recall(query: str) -> str:
        return block_of(await mine.search.recall(query, k, **options))

    return function_tool(
        recall, name_override=name, description_override=description, failure_error_function=None
    )


class ConversationSession:
    """One user's conversation as the ``Session`` of the OpenAI Agents SDK; a cheap value, made anew for every run.

    Args:
        memory: An open ``AsyncConversationMemory``.
        conversation_id: A UUID, or any string of 1 to 255 characters, which is then scoped to the user. The
            conversation is made by the first write.
        user_id: Whose conversation it is; somebody else's raises ``ConversationNotFound``.
        dept_id: The department a new conversation belongs to.
        session_settings: The SDK's own, or a dict of them; ``{"limit": 20}`` gives the model the newest 20 items, which
            Redis serves.
    """

    def __init__(
        self,
        memory: AsyncConversationMemory,
        conversation_id: object,
        *,
        user_id: str,
        dept_id: str | None = None,
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(memory, AsyncConversationMemory):
            raise InvalidArgument(
                "memory",
                "must be an AsyncConversationMemory (the SDK awaits), as AsyncConversationMemory.from_url(...) makes one, "
                f"not of type {type(memory).__name__}",
            )
        self._key = conversation_key(conversation_id, user_id)
        self._dept_id = optional_id("dept_id", dept_id)
        self._store = AsyncTieredStore(memory.postgres, memory.redis)
        self._hard = memory.settings.hard_max_messages
        self._there = False  # as far as this session knows
        self.session_id: str = self._key.name
        self._settings = _checked_settings(session_settings)

    def __repr__(self) -> str:
        return f"ConversationSession({self.session_id!r}, user_id={self._key.user_id!r})"

    @property
    def session_settings(self) -> SessionSettings | None:
        """How much of the conversation a run is shown, where it does not say so itself."""
        return self._settings

    @session_settings.setter
    def session_settings(self, value: SessionSettings | Mapping[str, Any] | None) -> None:
        self._settings = _checked_settings(value)

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The conversation's items, oldest first: the newest ``limit``, or all (``session_settings`` may limit them).

        Messages that came another way, from a LangChain chain or ``save_messages``, are items as well.

        Raises:
            InvalidArgument: ``limit`` is negative.
            ConversationNotFound: The conversation is somebody else's. One that does not exist is empty.
        """
        most = _checked(self._settings.limit if limit is None else limit)
        if most == 0:
            self._there = False
            return []
        snapshot = await self._store.read(self._key, most, max(self._hard, most or 1))
        self._there = snapshot.there
        items = [item for entry in snapshot.entries for item in items_of(unpack(entry))]
        return cast("list[TResponseInputItem]", items[-most:] if most else items)

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Store items in order, in one commit.

        Raises:
            InvalidArgument: Something among them is no item, or would not come back equal; nothing was stored.
            ConversationNotFound: The conversation is somebody else's, or was deleted since this session last read it or
                wrote to it: a run that is going on does not bring it back.
            StorageUnavailable: PostgreSQL is out of reach; nothing was half-written, and all of it may be stored.
        """
        given: Any = items
        if isinstance(given, (str, bytes, dict)) or not isinstance(given, Iterable):
            raise InvalidArgument("items", f"must be a list of items, not {type(given).__name__}")
        drafts = [Draft(read_item(item)) for item in given]
        if drafts:
            await self._store.append(self._key, drafts, dept_id=self._dept_id, must_exist=self._there)
            self._there = True

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove and return the newest item, ``None`` when there is none.

        A message that came another way and reads as several items, a reply with tool calls, goes whole; what
        is returned is the last of them.
        """
        while popped := await self._store.pop_if_there(self._key):
            if items := items_of(popped.message):
                return cast("TResponseInputItem", items[-1])
        return None

    async def clear_session(self) -> None:
        """Remove all items, and a title made of them; the conversation stays, with a title its user gave it."""
        await self._store.clear_if_there(self._key)


def _checked_settings(value: Any) -> SessionSettings:
    """The settings, given as such or as a dict of them, which every session of the SDK takes."""
    if value is None or isinstance(value, SessionSettings):
        return value or SessionSettings()
    known = sorted(field.name for field in fields(SessionSettings))
    if not isinstance(value, Mapping) or not set(value) <= set(known):
        wanted = f"must be SessionSettings or a dict of {', '.join(known)}"
        raise InvalidArgument("session_settings", f"{wanted}, not {_named(value)}")
    try:
        settings = SessionSettings(**value)
    except (TypeError, ValueError) as error:
        raise InvalidArgument("session_settings", f"{type(error).__name__} in {_named(value)}") from error
    _checked(settings.limit)
    return settings


def _named(value: Any) -> str:
    return (
        f"one of {', '.join(sorted(map(str, value)))}" if isinstance(value, Mapping) else type(value).__name__
    )


def _checked(limit: Any) -> int | None:
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise InvalidArgument(
            "limit", f"must be a whole number from 0, or None for all items, not {limit!r:.40}"
        )
    return limit
