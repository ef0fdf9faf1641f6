"""Answers on their way, handed on through Redis: what is sent twice is there once, and nobody writes into another's run."""

from datetime import timedelta
from uuid import uuid4

import pytest

pytest.importorskip("fastapi", reason="not installed beside the package alone")

from convmemory import StorageUnavailable
from convmemory.api.callers import Served
from fix_memory import Awaited


def of(memory):
    return Served.of(memory.blocking if isinstance(memory, Awaited) else memory).relay


async def test_a_frame_that_is_sent_twice_is_there_once(memory):
    relay, place, row = of(memory), uuid4(), uuid4()
    for _ in "once", "again":
        assert await relay.begin(place, "r1", "k") is None
        assert await relay.write(place, "r1", 1, [b"a", b"b"], question=None, state="") == "kept"
    assert await relay.write(place, "r1", 3, [b"c"], question=row, state="") == "kept"
    found = await relay.read(place, 1)
    assert (found.run, found.key, found.question, found.state) == ("r1", "k", row, "")
    assert (found.last, found.frames) == (3, (b"b", b"c"))


async def test_a_conversation_is_one_runs_until_that_is_over(memory):
    relay, place = of(memory), uuid4()
    await relay.begin(place, "r1", "k")
    assert await relay.begin(place, "r2", "other") == ("k", "")
    assert await relay.write(place, "r2", 1, [b"x"], question=None, state="") == "lost"
    assert await relay.stop(place)
    assert await relay.write(place, "r1", 1, [b"a"], question=None, state="stopped") == "stop"
    assert not await relay.stop(place)
    assert await relay.begin(place, "r2", "k") == ("k", "stopped")  # the same request: it has its answer
    assert (await relay.read(place)).frames == (b"a",)
    assert await relay.begin(place, "r2", "k", over=True) is None
    assert (await relay.read(place)).frames == ()
    await relay.write(place, "r2", 1, [], question=None, state="failed")
    assert await relay.begin(place, "r3", "k") is None


async def test_nothing_is_there_of_a_conversation_without_a_run(memory):
    relay = of(memory)
    assert await relay.read(uuid4()) is None
    assert not await relay.stop(uuid4())
    assert await relay.write(uuid4(), "r", 1, [b"a"], question=None, state="") == "lost"


async def test_without_redis_it_says_so(schema, make_memory):
    with pytest.raises(StorageUnavailable, match="has no Redis tier"):
        await of(await make_memory(redis=None)).begin(uuid4(), "r", "k")


@pytest.mark.parametrize("by", ["erased", "deleted"])
async def test_what_is_deleted_leaves_no_answer_on_its_way(memory, keyspace, by):
    made = await memory.create_conversation("ana", conversation_id="c")
    relay = of(memory)
    await relay.begin(made.uuid, "r1", "k")
    await relay.write(made.uuid, "r1", 1, [b"what she asked"], question=None, state="")
    assert keyspace.names()

    if by == "erased":
        await memory.retention.erase_user("ana")
    else:
        await memory.delete_conversation("c", user_id="ana")
    assert [name for name in keyspace.names() if b":run:" in name] == []
    assert await relay.write(made.uuid, "r1", 2, [b"and more"], question=None, state="") == "lost"
    assert [name for name in keyspace.names() if b":run:" in name] == []


async def test_an_answer_goes_on_where_somebody_speaks_before_it_is_pruned(memory, monkeypatch):
    made = await memory.create_conversation("ana", conversation_id="c")
    relay = of(memory)
    await relay.begin(made.uuid, "r1", "k")

    def stays(*_, **__):
        return None

    async def stays_awaited(*_, **__):
        return None

    blocking = isinstance(memory, Awaited)
    postgres = memory.blocking.postgres if blocking else memory.postgres
    monkeypatch.setattr(postgres, "erase_conversation", stays if blocking else stays_awaited)
    assert (await memory.retention.prune(older_than=timedelta(0))).rows["conversations"] == 0

    assert await relay.write(made.uuid, "r1", 1, [b"a"], question=None, state="") == "kept"
