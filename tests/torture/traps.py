"""What the mutants do differently: scripts with other lines, and stores that do things in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any
from uuid import uuid4

from psycopg import sql

from convmemory._sync.tiered import TieredStore
from convmemory.encoding.codec import pack
from convmemory.ids import ConversationKey
from convmemory.models import Draft
from convmemory.storage import postgres_rows
from convmemory.storage.postgres_rows import StoredBatch
from convmemory.storage.redis_keys import Keys
from convmemory.windows.snapshots import Snapshot, Written

READ, PUBLISH, FILL = "window_read", "window_publish", "window_fill"
Changes = Mapping[str, Sequence[tuple[str, str]]]
"""By script or statement: the text that is replaced, and by what."""

PARTIAL: Changes = {
    PUBLISH: [
        (
            "if not held[1] then\n  return 'absent'\nend",
            """if not held[1] then
  if said > #ARGV or not era or era == '' then return 'absent' end
  redis.call('HSET', key, 'owner', ARGV[1], 'era', era, 'stamp', ARGV[2], 'first', ARGV[7],
    'last', ARGV[7] + #ARGV - said, 'human', ARGV[8], 'gaps', 0,
    'keep', 12, 'bytes', 0)
  for i = said, #ARGV do
    redis.call('HSET', key, ARGV[7] + i - said, ARGV[i])
  end
  redis.call('PEXPIRE', key, ARGV[4])
  return 'extended'
end""",
        )
    ],
    READ: [("if first <= from then", "from = math.max(first, from)\n  if true then")],
}

UNLEASED = "if longer or held[3] == ARGV[4] and held[1] == ARGV[1] then"
DOUBLE: Changes = {
    READ: [
        (
            "local clock = redis.call('TIME')",
            "if true then return {'lease', token, era} end\nlocal clock = redis.call('TIME')",
        )
    ],
    FILL: [
        (
            "if not held[1] then",
            """if #ARGV > 11 then
  local place = redis.call('HMGET', key, 'first', 'last')
  local last = tonumber(place[2] or ARGV[8] - 1)
  for i = 12, #ARGV do
    last = last + 1
    redis.call('HSET', key, last, ARGV[i])
  end
  redis.call('HSET', key, 'owner', ARGV[1], 'era', ARGV[5], 'stamp', ARGV[2],
    'first', place[1] or ARGV[8], 'last', last, 'human', ARGV[10], 'gaps', ARGV[11],
    'keep', ARGV[6], 'bytes', ARGV[7])
  redis.call('PEXPIRE', key, ARGV[3])
  return 'filled'
end
if not held[1] then""",
        )
    ],
}

_NAME = "string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')"
ANY_SERVER: Changes = {READ: [(_NAME, "ARGV[7]")], PUBLISH: [(_NAME, "ARGV[10]")]}
ANY_HISTORY: Changes = {"look": [("AND c.history = (SELECT {schema}.history_v1())", "")]}

LATE_FILL: Changes = {
    FILL: [
        ("if not held[1] then", "if false then"),
        (UNLEASED, "if true then"),
    ]
}


def two_keys(*, slide: bool) -> Changes:
    """The window's messages in a key of their own, beside the one that says what they are."""
    lives = {argument: f"redis.call('PEXPIRE', key, ARGV[{argument}])" for argument in (3, 4)}
    sliding, filling = (
        [(lives[at], f"{lives[at]}\nredis.call('PEXPIRE', key .. ':m', ARGV[{at}])")] if slide else []
        for at in (4, 3)
    )
    served = (
        "redis.call('HMGET', key, unpack(places))) do\n        reply[#reply + 1] = message",
        "redis.call('HMGET', key .. ':m', unpack(places))) do\n        if message then reply[#reply + 1] = message end",
    )
    dropped = ("redis.call('DEL', key)", "redis.call('DEL', key, key .. ':m')")
    put = "redis.call('HSET', key .. ':m', "
    return {
        READ: [dropped, served, *sliding],
        PUBLISH: [
            dropped,
            ("redis.call('HSET', key, last, ", put + "last, "),
            ("redis.call('HSTRLEN', key, ", "redis.call('HSTRLEN', key .. ':m', "),
            ("redis.call('HDEL', key, ", "redis.call('HDEL', key .. ':m', "),
            *sliding,
        ],
        FILL: [
            dropped,
            ("redis.call('HSET', key, ARGV[8] + i - 12, ", put + "ARGV[8] + i - 12, "),
            *filling,
            *(
                []
                if slide
                else [("return 'filled'", "redis.call('PEXPIRE', key .. ':m', ARGV[3])\n  return 'filled'")]
            ),
        ],
    }


def untagged(keys: Keys, conversation: Any) -> str:
    return f"{keys._prefix}history:{conversation}:recent"


class HotFirst(TieredStore):
    """Tells the window before it asks PostgreSQL, which may refuse, or give the messages another place."""

    __slots__ = ()

    def append(self, key: ConversationKey, drafts: Sequence[Draft], **more: Any) -> StoredBatch:
        self.postgres.settle(key)
        name = self.redis.keys.window(key.uuid)
        stamp, last = self.redis._client.hmget(name, "stamp", "last")
        if stamp:
            encoded, first = postgres_rows.prepare(key, drafts).encoded, int(last) + 1
            human = max((first + at for at, one in enumerate(encoded) if one.role == "human"), default=0)
            entries = [pack(one) for one in encoded]
            ahead = Written(str(uuid4()), stamp.decode(), first, human, entries)
            self.redis.publish(key, ahead, self.redis.trust.standing)
        return self.postgres.append(key, drafts, **more)[0]


class Resurrecting(TieredStore):
    """Drops the window before the delete is committed, and lets whoever had begun to fill go on."""

    __slots__ = ()

    def clear(self, key: ConversationKey) -> None:
        self.postgres.settle(key)
        self.redis.drop([key.uuid])
        self.postgres.clear_conversation(key)

    def delete(self, key: ConversationKey) -> None:
        self.postgres.settle(key)
        self.redis.drop([key.uuid])
        self.postgres.delete_conversation(key)


class WritingBack(TieredStore):
    """Flushes the window to PostgreSQL now and then: what is not in it is gone."""

    __slots__ = ()
    _count = count()
    _FLUSH = sql.SQL("DELETE FROM {} WHERE conversation_id = %s AND NOT seq BETWEEN %s AND %s")

    def append(self, key: ConversationKey, drafts: Sequence[Draft], **more: Any) -> StoredBatch:
        batch = super().append(key, drafts, **more)
        place = self.redis._client.hmget(self.redis.keys.window(key.uuid), "first", "last")
        if next(self._count) % 20 == 0 and all(place):
            table = sql.Identifier(self.postgres.settings.db_schema, "messages")
            with self.postgres._pool.connection() as conn:
                conn.execute(self._FLUSH.format(table), [key.uuid, *map(int, place)])
        return batch


class Forgetful(TieredStore):
    """Takes a Redis that is away for a conversation without messages."""

    __slots__ = ()

    def read(self, key: ConversationKey, want: int | None, hard: int, turns: int | None = None) -> Snapshot:
        if self.redis.health.open:
            return Snapshot()
        return super().read(key, want, hard, turns)
