"""Whether a client has what is there: entity tags made of a conversation's version (RFC 9110)."""

from __future__ import annotations

import re
from typing import Final

from convmemory.models import Conversation

_NEVER: Final = 2**61
"""A version that no conversation comes to."""
_TAG: Final = re.compile(r'(W/)?"([^"]*)"')


def tag_of(found: Conversation) -> str:
    """The entity tag of a conversation: another one with every change."""
    return f'"{found.uuid.hex[:8]}-{found.version}"'


def names(header: str | None, tag: str) -> bool:
    """Whether a list of tags, as ``If-Match`` and ``If-None-Match`` have it, has this one."""
    if header is None:
        return False
    return header.strip() == "*" or any(f'"{match[2]}"' == tag for match in _TAG.finditer(header))


def version_wanted(header: str | None) -> int | None:
    """The version that ``If-Match`` asks for, ``None`` where any will do; one that none has where the tag is not ours."""
    if header is None or header.strip() == "*":
        return None
    found = _TAG.search(header)
    version = found[2].rpartition("-")[2] if found else ""
    return min(int(version), _NEVER) if version.isdecimal() else _NEVER
