"""What PostgreSQL is asked where a model makes titles."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_core.messages import BaseMessage

from convmemory._async.statements import AsyncStatements
from convmemory.encoding.codec import decode
from convmemory.ids import ConversationKey
from convmemory.storage.titles import title_from


@dataclass(frozen=True, slots=True)
class FirstTurn:
    """The first turn of a conversation, as it was at that version."""

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
        messages = [decode(body, content) for _, _, _, content, body in found]
        return FirstTurn(found[0][0], found[0][1] == "auto", messages)

    async def entitle(self, key: ConversationKey, title: str, source: str, version: int) -> bool:
        """Give a conversation a title if it is at that version, and nobody named it; whether that was done."""
        where = {"conversation": key.uuid, "user_id": key.user_id, "version": version}
        return bool(await self._run("entitle_conversation", {**where, "title": title, "source": source}))
