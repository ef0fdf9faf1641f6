"""How long sessions live, with time standing still between the steps: no server, no waiting."""

from datetime import UTC, datetime, timedelta

import fakeredis
import pytest
import time_machine

from convmemory import AsyncRedisStore, RedisStore, Settings
from fix_memory import Awaited

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield lambda minutes: traveller.shift(timedelta(minutes=minutes))


@pytest.fixture
def server():
    return fakeredis.FakeServer()


@pytest.fixture
async def sessions(colour, server, clock):
    """A store of sessions of 30 minutes, in this test's colour."""
    if colour == "blocking":
        with fakeredis.FakeRedis(server=server) as client:
            yield Awaited(RedisStore(client, Settings()))
    else:
        async with fakeredis.FakeAsyncRedis(server=server) as client:
            yield AsyncRedisStore(client, Settings())


@pytest.fixture
def keys(server, clock):
    with fakeredis.FakeRedis(server=server) as client:
        yield client


async def test_a_session_is_alive_after_29_minutes_and_gone_after_31(sessions, clock):
    kept, left = [await sessions.create_session("ana") for _ in range(2)]
    clock(29)
    assert (await sessions.get_session(kept.session_id)).user_id == "ana"
    clock(2)
    assert await sessions.get_session(left.session_id) is None
    assert await sessions.extend_session(left.session_id, conversation_id="c") is None


@pytest.mark.parametrize("verb", ["get_session", "extend_session"])
async def test_every_use_begins_the_life_anew(sessions, clock, verb):
    session = await sessions.create_session("ana")
    for _ in range(10):
        clock(29)
        used = await getattr(sessions, verb)(session.session_id)
        assert used.last_active == datetime.now(UTC)
        assert used.created_at == NOW
    clock(31)
    assert await sessions.get_session(session.session_id) is None


async def test_looking_at_the_list_prolongs_nothing(sessions, clock):
    session = await sessions.create_session("ana")
    for _ in range(3):
        clock(9)
        assert [s.handle for s in await sessions.list_user_sessions("ana")] == [session.handle]
    clock(4)
    assert await sessions.get_session(session.session_id) is None


async def test_the_list_forgets_what_expired_and_has_the_newest_first(sessions, clock, keys):
    old = await sessions.create_session("ana")
    clock(10)
    middle = await sessions.create_session("ana")
    clock(10)
    new = await sessions.create_session("ana")
    await sessions.create_session("eve")

    assert [s.handle for s in await sessions.list_user_sessions("ana")] == [
        new.handle,
        middle.handle,
        old.handle,
    ]
    clock(11)
    assert [s.handle for s in await sessions.list_user_sessions("ana")] == [
        new.handle,
        middle.handle,
    ]
    assert keys.zcard("convmemory:1:user:{ana}:sessions") == 2


@pytest.mark.parametrize("pause", [1, 14, 16, 29])
async def test_the_list_outlives_a_session_that_is_kept_alive(sessions, clock, keys, pause):
    session = await sessions.create_session("ana")
    for _ in range(120 // pause):
        clock(pause)
        assert await sessions.get_session(session.session_id)
        assert keys.pttl("convmemory:1:user:{ana}:sessions") > keys.pttl(
            f"convmemory:1:session:{{{session.handle}}}"
        )
    assert [s.handle for s in await sessions.list_user_sessions("ana")] == [session.handle]


async def test_a_list_has_room_for_so_many_and_keeps_those_used_last(sessions, clock, monkeypatch):
    monkeypatch.setattr("convmemory._async.redis_store.MOST_LISTED", 3)
    monkeypatch.setattr("convmemory._sync.redis_store.MOST_LISTED", 3)
    first = await sessions.create_session("ana", metadata={"n": 0})
    for number in range(1, 4):
        clock(5)
        await sessions.create_session("ana", metadata={"n": number})
    clock(1)
    assert await sessions.get_session(first.session_id)

    assert [s.metadata["n"] for s in await sessions.list_user_sessions("ana")] == [3, 2, 0]


async def test_the_list_goes_away_with_the_last_session(sessions, clock, keys):
    await sessions.create_session("ana")
    clock(61)

    assert keys.keys() == []


async def test_no_verb_leaves_a_key_without_an_end(sessions, clock, keys):
    async def steps():
        session = await sessions.create_session("ana", dept_id="d", conversation_id="c", metadata={"a": 1})
        yield
        await sessions.get_session(session.session_id)
        yield
        clock(16)  # the list is due
        await sessions.extend_session(session.session_id, conversation_id="d", metadata={})
        yield
        await sessions.list_user_sessions("ana")
        yield
        other = await sessions.create_session("ana")
        await sessions.end_session(other.session_id)
        yield
        await sessions.list_user_sessions("ana")  # drops the ended one
        yield
        await sessions.get_session("never was")
        await sessions.extend_session("never was", metadata={"b": 2})
        yield
        clock(31)
        await sessions.get_session(session.session_id)
        yield

    async for _ in steps():
        lives = {name: keys.pttl(name) for name in keys.scan_iter()}
        assert all(0 < life <= 60 * 60_000 for life in lives.values()), lives


async def test_a_session_that_ended_while_it_was_used_is_not_brought_back(sessions, keys):
    session = await sessions.create_session("ana")
    await sessions.end_session(session.session_id)

    assert await sessions.extend_session(session.session_id, metadata={"a": 1}) is None
    assert keys.keys() == [b"convmemory:1:user:{ana}:sessions"]


async def test_ids_cannot_be_guessed_and_are_never_the_same(sessions):
    made = {(await sessions.create_session("ana")).session_id for _ in range(50)}

    assert len(made) == 50
    assert {len(session_id) for session_id in made} == {43}


async def test_what_a_list_hands_out_ends_a_session_and_does_nothing_else(sessions, keys):
    mine, other = [await sessions.create_session("ana", metadata={"n": n}) for n in range(2)]
    listed = {
        session.metadata["n"]: session.session_id for session in await sessions.list_user_sessions("ana")
    }

    assert listed == {0: mine.handle, 1: other.handle}
    assert await sessions.get_session(other.handle) is None
    assert await sessions.extend_session(other.handle, metadata={}) is None
    assert (await sessions.get_session(other.session_id)).metadata == {"n": 1}
    assert [await sessions.end_session(other.handle) for _ in range(2)] == [True, False]
    assert await sessions.get_session(other.session_id) is None
    assert await sessions.get_session(mine.session_id)
    held = [*keys.keys(), *keys.zrange("convmemory:1:user:{ana}:sessions", 0, -1)]
    held += [
        value for name in keys.keys("*session:{*") for pair in keys.hgetall(name).items() for value in pair
    ]
    assert not any(mine.session_id.encode() in text for text in held), "Redis holds no id to act with"


async def test_the_list_of_a_busy_user_does_not_grow_for_ever(sessions, clock, keys):
    for number in range(40):
        await sessions.create_session("ana", metadata={"n": number})
        clock(11)

    alive = await sessions.list_user_sessions("ana")
    assert [session.metadata["n"] for session in alive] == [39, 38]
    for _ in range(10):
        await sessions.create_session("ana")
        clock(11)
        assert keys.zcard("convmemory:1:user:{ana}:sessions") <= 7, "sessions of two lives, and no more"


@pytest.mark.parametrize(
    "odd", ["a:b", "a}{b", "ä/é", "line\nbreak", "user:{eve}:sessions", "%7B", "x" * 255]
)
async def test_odd_ids_reach_no_other_key(sessions, keys, odd):
    hers = await sessions.create_session("eve")
    mine = await sessions.create_session(odd, dept_id=odd, conversation_id=odd, metadata={odd: odd})

    assert [s.handle for s in await sessions.list_user_sessions("eve")] == [hers.handle]
    [found] = await sessions.list_user_sessions(odd)
    assert (found.user_id, found.dept_id, found.conversation_id) == (odd, odd, odd)
    assert found.metadata == mine.metadata == {odd: odd}
    assert await sessions.get_session(odd) is None
    assert len(keys.keys()) == 4


def test_the_life_of_a_session_is_a_setting(server, clock):
    settings = Settings(session_ttl_minutes=0.5)
    with fakeredis.FakeRedis(server=server) as client:
        store = RedisStore(client, settings)
        session = store.create_session("ana")
        clock(0.4)
        assert store.get_session(session.session_id)
        clock(0.6)
        assert store.get_session(session.session_id) is None
