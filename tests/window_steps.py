"""The steps of the window's protocol by hand: what PostgreSQL said, what was written, what Redis serves."""

from __future__ import annotations

from uuid import UUID, uuid4

from langchain_core.messages import HumanMessage

from convmemory import Draft
from convmemory.encoding.codec import encode, pack, unpack
from convmemory.ids import ConversationKey, conversation_key
from convmemory.windows.snapshots import Reply, Snapshot, Written
from convmemory.windows.trust import Standing
from fix_memory import texts

HARD, KEEP = 200, 12
KEY = conversation_key(UUID(int=7), "ana")
LIFE = 30 * 60_000


def packed(*said: str) -> list[bytes]:
    return [pack(encode(HumanMessage(text))) for text in said]


def snapshot(stamp: int, *said: str, last: int | None = None) -> Snapshot:
    """What PostgreSQL said: the newest messages of a conversation, which ends with them."""
    last = len(said) if last is None else last
    return Snapshot(str(stamp), last, last, packed(*said))


def written(
    stamp: int, first: int, *said: str, before: int | None = None, human: int | None = None
) -> Written:
    """What an append returned: these messages, the first of them at ``first``; usually after the stamp before this one."""
    newest = first + len(said) - 1 if human is None else human
    before = stamp - 1 if before is None else before
    return Written(str(stamp), str(before), first, newest, packed(*said))


async def standing(store, era: str = "e") -> Standing:
    """What a call goes by that means the server that is there."""
    caches = await store.caches()
    return Standing(
        tuple(cache.name for cache in caches),
        tuple(word for cache in caches for word in (cache.server, era)),
        known=True,
    )


async def publish(store, what: Written, era: str = "e", key: ConversationKey = KEY) -> str:
    said: str = await store.publish(key, what, await standing(store, era))
    return said


async def ask(store, key: ConversationKey = KEY, want: int = 6, hard: int = HARD, token: str = "") -> Reply:
    reply: Reply = await store.read_window(key, want, hard, token or uuid4().hex, await standing(store))
    return reply


async def lease(store, key: ConversationKey = KEY) -> Reply:
    """Take the lease; what a fill under it must show."""
    reply = await ask(store, key)
    assert reply.verdict == "lease"
    return reply


async def fill(store, found: Snapshot, keep: int = KEEP) -> Reply:
    leave = await lease(store)
    assert await store.fill(KEY, found, leave, keep) == "filled"
    return leave


async def served(store, want: int = 6, hard: int = HARD) -> list[str] | str:
    """What the window serves, or the verdict when it does not."""
    reply = await ask(store, want=want, hard=hard)
    return reply.verdict if reply.snapshot is None else texts(map(unpack, reply.snapshot.entries))


def say(*said: str) -> list[HumanMessage]:
    return [HumanMessage(text) for text in said]


def drafts(*said: str) -> list[Draft]:
    return [Draft(HumanMessage(text)) for text in said]
