"""Whether a client has what is there: entity tags of conversations (RFC 9110)."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Header

from convmemory._async.user_memory import AsyncUserMemory
from convmemory.errors import ConversationChanged
from convmemory.models import Conversation

_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')

IfMatch = Annotated[str | None, Header(description="only where the conversation has this entity tag")]


def tag_of(found: Conversation) -> str:
    """The entity tag of a conversation: another one with every change, and for one that is made anew under its name."""
    return f'"{found.created_at.timestamp():.6f}-{found.version}"'


def names(header: str, tag: str) -> bool:
    """Whether a list of tags, as ``If-Match`` and ``If-None-Match`` have it, has this one."""
    return header.strip() == "*" or tag in _TAG.findall(header)


async def matched(mine: AsyncUserMemory, conversation_id: str, if_match: str | None) -> int | None:
    """The version that may be changed, ``None`` where any may be.

    Raises:
        ConversationChanged: The conversation has another tag than ``If-Match`` asks for.
    """
    if if_match is None:
        return None
    found = await mine.get_conversation(conversation_id)
    if not names(if_match, tag_of(found)):
        raise ConversationChanged(conversation_id, found.version)
    return found.version
