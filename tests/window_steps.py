"""The steps of the window's protocol by hand: what PostgreSQL said, what was written, what Redis serves."""

from __future__ import annotations

from uuid import UUID, uuid4

from langchain_core.messages import HumanMessage

from convmemory import Draft
from convmemory.encoding.codec import encode, pack, unpack
from convmemory.ids import ConversationKey, conversation_key
from convmemory.windows.snapshots import Snapshot, Written
from fix_memory import texts

HARD, KEEP = 200, 12
KEY = conversation_key(UUID(int=7), "ana")
LIFE = 30 * 60_000


def packed(*said: str) -> list[bytes]:
    return [pack(encode(HumanMessage(text))) for text in said]


def snapshot(version: int, *said: str, last: int | None = None, life: str = "1") -> Snapshot:
    """What PostgreSQL said: the newest messages of a conversation, which ends with them."""
    last = len(said) if last is None else last
    return Snapshot(life, version, last, last, packed(*said))


def written(version: int, first: int, *said: str, life: str = "1", human: int | None = None) -> Written:
    """What an append returned: these messages, the first of them at ``first``."""
    newest = first + len(said) - 1 if human is None else human
    return Written(life, version, first, newest, packed(*said))


async def lease(store, key: ConversationKey = KEY) -> str:
    """Take the lease; what a fill under it must show."""
    reply = await store.read_window(key, 6, HARD, uuid4().hex)
    assert reply.verdict == "lease"
    token: str = reply.token
    return token


async def fill(store, found: Snapshot, keep: int = KEEP) -> str:
    token = await lease(store)
    assert await store.fill(KEY, found, token, keep) == "filled"
    return token


async def served(store, want: int = 6, hard: int = HARD) -> list[str] | str:
    """What the window serves, or the verdict when it does not."""
    reply = await store.read_window(KEY, want, hard, uuid4().hex)
    return reply.verdict if reply.snapshot is None else texts(map(unpack, reply.snapshot.entries))


def say(*said: str) -> list[HumanMessage]:
    return [HumanMessage(text) for text in said]


def drafts(*said: str) -> list[Draft]:
    return [Draft(HumanMessage(text)) for text in said]
