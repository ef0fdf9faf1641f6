"""Whether a client has what is there: entity tags of conversations (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import Depends, Header

from convmemory._async.user_memory import AsyncUserMemory
from convmemory.errors import ConversationChanged
from convmemory.models import Conversation

_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')


def tag_of(found: Conversation) -> str:
    """The entity tag of a conversation: another one with every change, and for one that is made anew under its name."""
    return f'"{found.created_at.timestamp():.6f}-{found.version}"'


def names(header: str, tag: str) -> bool:
    """Whether a list of tags, as ``If-Match`` and ``If-None-Match`` have it, has this one."""
    return header.strip() == "*" or tag in _TAG.findall(header)


def matching(caller: Callable[..., Any]) -> Callable[..., Any]:
    """A dependency that goes on only where ``If-Match`` allows it, and gives the version that may be changed.

    It looks just before the change; where the verb takes ``if_version``, the statement compares once more.
    """
    mine_of = Depends(caller)

    async def matched(
        conversation_id: str,
        if_match: Annotated[
            str | None, Header(description="only where the conversation has this tag")
        ] = None,
        mine: AsyncUserMemory = mine_of,
    ) -> int | None:
        if if_match is None:
            return None
        found = await mine.get_conversation(conversation_id)
        if not names(if_match, tag_of(found)):
            raise ConversationChanged(conversation_id, found.version)
        return found.version

    return matched
