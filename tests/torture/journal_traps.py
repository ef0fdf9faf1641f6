"""What the mutants of the journal do differently: scripts and functions with other lines, and stores that forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convmemory._sync.tiered import TieredStore
from convmemory.ids import ConversationKey
from torture.traps import Changes

BY_COUNT: Changes = {
    "journal_settle": [
        (
            "for i = 1, #ARGV do\n  local size = redis.call('HSTRLEN', key, ARGV[i])",
            """local oldest = {}
local held = redis.call('HGETALL', key)
for i = 1, #held, 2 do
  if #held[i] > 1 then oldest[#oldest + 1] = {tonumber(string.match(held[i + 1], '%d+')), held[i]} end
end
table.sort(oldest, function(a, b) return a[1] < b[1] end)
local count = #ARGV
ARGV = {}
for i = 1, math.min(count, #oldest) do
  ARGV[i] = oldest[i][2]
end
for i = 1, #ARGV do
  local size = redis.call('HSTRLEN', key, ARGV[i])""",
        )
    ]
}
TOLD_LATER: Changes = {
    "journal_settle": [("local said = window_publish({KEYS[1]}, told)", "local said = 'kept'")],
}
NOT_SHOWN: Changes = {
    "journal_read": [("journal = redis.call('HGETALL', KEYS[2])\n  if #journal == 0", "if false")]
}
ANY_LIFE: Changes = {
    "store_v1": [("IF c.life::text = split_part(one ->> 'l', ':', 1) AND", "IF")],
}
NO_ROW_IDS: Changes = {
    "store_entry_v1": [
        (
            "p.ids, p.roles, p.contents",
            "ARRAY(SELECT gen_random_uuid() FROM unnest(p.ids)), p.roles, p.contents",
        ),
        ("p.facts, p.ids,", "p.facts, '{{}}'::uuid[],"),
    ]
}


class TrimsFirst(TieredStore):
    """Takes entries out of the journal, and then has PostgreSQL store them."""

    __slots__ = ()

    def _stored(self, redis: Any, key: ConversationKey, entries: Sequence[Any], standing: Any) -> Any:
        waiting = [entry.id for entry in entries if entry.life]
        if waiting:
            redis._client.hdel(redis.keys.journal(key.uuid), *waiting)
        return super()._stored(redis, key, entries, standing)


class CommitForgets(TieredStore):
    """A write to PostgreSQL takes no notice of what waits."""

    __slots__ = ()

    def _before(self, redis: Any, key: ConversationKey, said: Any = None) -> Any:
        standing, pending = super()._before(redis, key, said)
        return standing, pending if said is None else []


class MissForgets(TieredStore):
    """A miss reads PostgreSQL and fills the window without what waits."""

    __slots__ = ()

    def waits_nothing(self, *_: Any) -> bool:
        return True


class NothingRemembered(TieredStore):
    """What a process had accepted, it leaves to Redis."""

    __slots__ = ()

    def __init__(self, postgres: Any, redis: Any = None) -> None:
        super().__init__(postgres, redis)
        if redis is not None:
            redis.remembered.add = lambda *_: None
