"""What PostgreSQL is asked where a model makes titles."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from langchain_core.messages import BaseMessage

from convmemory._async.statements import AsyncStatements
from convmemory.encoding.codec import decode
from convmemory.ids import ConversationKey
from convmemory.storage.titles import title_from


@dataclass(frozen=True, slots=True)
class FirstTurn:
    """The first turn of a conversation, as it was in that life of it, at that version."""

    life: UUID
    version: int
    titled: bool
    messages: list[BaseMessage]

    def automatic(self) -> str | None:
        """The automatic title, where the conversation has none."""
        said = (title_from(one) for one in self.messages if one.type == "human")
        return None if self.titled else next(said, None)


class AsyncTitleStatements(AsyncStatements):
    """Titles that are made; the store of PostgreSQL has them beside conversations, messages and caches."""

    async def first_turn(self, key: ConversationKey) -> FirstTurn | None:
        """The first turn of a conversation without a title but an automatic one; ``None`` once the second has begun."""
        found = await self._run("first_turn", {"conversation": key.uuid, "user_id": key.user_id})
        if not found:
            return None
        messages = [decode(body, content) for *_, content, body in found]
        life, version, source, *_ = found[0]
        return FirstTurn(life, version, source == "auto", messages)

    async def entitle(self, key: ConversationKey, title: str, source: str, turn: FirstTurn) -> bool:
        """Give a conversation a title if it still is as this turn was read, and nobody named it; whether that was done."""
        where = {
            "conversation": key.uuid,
            "user_id": key.user_id,
            "life": turn.life,
            "version": turn.version,
        }
        return bool(await self._run("entitle_conversation", {**where, "title": title, "source": source}))
