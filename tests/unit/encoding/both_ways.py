"""A message through both tiers, with a check that each can hold what it is given."""

from __future__ import annotations

import json

from langchain_core.messages import BaseMessage

from convmemory.encoding.codec import Encoded, decode, encode, pack, unpack


def columns(stored: Encoded) -> tuple[str, str]:
    return stored.body, stored.content


def both_ways(message: BaseMessage) -> list[BaseMessage]:
    """The message as PostgreSQL and as Redis would give it back."""
    stored = encode(message)
    for text in (stored.role, stored.content, stored.body, json.dumps(stored.facts, ensure_ascii=False)):
        assert "\0" not in text
        text.encode()
    assert "\n" not in stored.body
    json.dumps(stored.facts, allow_nan=False)
    return [decode(stored.body, stored.content), unpack(pack(stored))]
