"""What an acknowledgement promises, on servers of one's own: that the disk has it, or a replica; and what becomes of it where they do not."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from redis.exceptions import RedisError

from convmemory import ConfigurationError
from convmemory._sync.draining import Draining
from fix_memory import texts, until
from fix_servers import same_binaries
from torture.servers import READY, Hot, wait_for

pytestmark = pytest.mark.usefixtures("undrained")


@pytest.fixture
def undrained(monkeypatch):
    """Nobody drains behind the callers, so that a test says when."""
    for colour, name in (("_async", "Async"), ("_sync", "")):
        monkeypatch.setattr(f"convmemory.{colour}.draining.{name}Draining.wake", lambda _: None)
    assert Draining.wake(None) is None


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Iterator[tuple[Hot, Hot]]:
    """A server that writes all through, and one that follows it."""
    place = tmp_path_factory.mktemp("acks")
    with ExitStack() as stack, same_binaries():
        found = [Hot(place / name, "--appendonly", "yes", "--repl-timeout", "60") for name in ("one", "two")]
        for server in found:
            server.start()
            stack.callback(server.end)
        found[1].client.replicaof("127.0.0.1", str(found[0].port))
        wait_for(lambda: follows(found[1]), READY, "the replica does not follow")
        yield found[0], found[1]


def follows(server):
    try:
        return server.client.info("replication").get("master_link_status") == "up"
    except RedisError:
        return False


@pytest.fixture
def primary(pair):
    pair[0].client.config_set("appendfsync", "always")
    return pair[0]


@contextmanager
def configured(server, name, value):
    [before] = server.client.config_get(name).values()
    server.client.config_set(name, value)
    try:
        yield
    finally:
        server.client.config_set(name, before)


def plain(memory):
    return getattr(memory.redis, "blocking", memory.redis)


async def begun(make_memory, url, ack, **more):
    """A memory whose writes wait, with a conversation that has a window."""
    memory = await make_memory(redis=url, durability="journal", journal_ack=ack, **more)
    await memory.save_message("c", "user", "one", user_id="ana")
    await memory.get_history("c", user_id="ana")
    return memory


async def say(memory, text):
    return (await memory.save_message("c", "user", text, user_id="ana")).pending


async def forgets(memory):
    """The process that accepted ends, as far as what it remembers goes."""
    remembered = plain(memory).remembered
    for key in remembered.conversations():
        remembered.forget(key.uuid, [entry.id for entry in remembered.of(key.uuid)])


async def drained_by_another(make_memory, url):
    other = await make_memory(redis=url)
    await other.journals.drain()
    return texts(await other.get_messages("c", user_id="ana"))


async def test_always_outlives_its_process_and_a_kill_of_redis(schema, make_memory, primary):
    memory = await begun(make_memory, primary.url, "always")
    assert [await say(memory, str(n)) for n in range(20)] == [True] * 20
    primary.kill()
    await forgets(memory)
    await asyncio.to_thread(primary.start)

    assert await drained_by_another(make_memory, primary.url) == ["one", *map(str, range(20))]


@pytest.mark.parametrize(
    ("ack", "name", "value", "why"),
    [
        ("always", "appendfsync", "everysec", "appendfsync everysec.*needs always"),
        ("everysec", "appendfsync", "no", "appendfsync no.*needs everysec"),
        ("always", "appendonly", "no", "no append-only file"),
        ("replica", "appendonly", "no", "no append-only file"),
        ("replica", "maxmemory-policy", "allkeys-lru", "maxmemory-policy allkeys-lru"),
    ],
)
async def test_what_cannot_be_kept_is_refused_at_the_beginning_and_committed_later(
    schema, make_memory, primary, pair, caplog, ack, name, value, why
):
    await until(lambda: follows(pair[1]))
    memory = await begun(make_memory, primary.url, ack)
    assert await say(memory, "two")
    with configured(primary, name, value):
        with pytest.raises(ConfigurationError, match=why):
            await make_memory(redis=primary.url, durability="journal", journal_ack=ack)
        caplog.clear()
        plain(memory)._checked = float("-inf")  # ten seconds later
        assert not await say(memory, "three")
        assert caplog.text.count("no write waits in Redis any more") == 1
        assert (await memory.check()).redis.problem
    plain(memory)._checked = float("-inf")
    await memory.get_history("c", user_id="ana")
    assert await say(memory, "four")
    assert texts(await memory.get_messages("c", user_id="ana")) == ["one", "two", "three", "four"]


async def test_where_the_setting_may_not_be_asked_always_is_refused(schema, make_memory, primary):
    primary.client.execute_command("ACL", "SETUSER", "plain", "on", "nopass", "~*", "&*", "+@all", "-config")
    url = primary.url.replace("redis://", "redis://plain:x@")

    assert await say(await begun(make_memory, url, "everysec"), "two")
    with pytest.raises(ConfigurationError, match="does not say its appendfsync"):
        await make_memory(redis=url, durability="journal", journal_ack="always")


async def test_a_replica_has_what_was_acknowledged_and_is_promoted_with_it(
    schema, make_memory, primary, pair, tmp_path
):
    await until(lambda: follows(pair[1]))
    memory = await begun(make_memory, primary.url, "replica")
    with same_binaries():
        heir = Hot(tmp_path / "heir", "--appendonly", "yes")
    heir.start()
    try:
        heir.client.replicaof("127.0.0.1", str(primary.port))
        wait_for(lambda: follows(heir), READY, "the replica does not follow")
        with pair[1].stopped():  # so that the heir is the one that answers
            assert [await say(memory, str(n)) for n in range(20)] == [True] * 20
            heir.client.replicaof("NO", "ONE")
        await forgets(memory)
        primary.client.flushall()

        assert await drained_by_another(make_memory, heir.url) == ["one", *map(str, range(20))]
    finally:
        heir.end()


async def test_where_no_replica_answers_a_write_is_committed_and_only_the_first_waits(
    schema, make_memory, primary, pair, database, caplog
):
    await until(lambda: follows(pair[1]))
    memory = await begun(make_memory, primary.url, "replica", redis_timeout=2)
    assert await say(memory, "two")
    with pair[1].stopped():
        began = time.monotonic()
        assert not await say(memory, "three")
        waited = time.monotonic() - began
        for n in range(10):
            assert not await say(memory, str(n))
            await memory.get_history("c", user_id="ana")
        assert (await memory.check()).redis.problem == "no replica had the last write in time"
    assert waited > 0.9
    assert caplog.text.count("no replica had the last write in time") == 1
    assert memory.redis.remembered.figures()["declined"]["no replica had the last write in time"] == 10
    assert database.execute("SELECT array_agg(content ORDER BY seq) FROM messages").fetchone()[0] == [
        *("one", "two", "three"),
        *map(str, range(10)),
    ]
    await until(lambda: follows(pair[1]))
    plain(memory)._checked = float("-inf")
    assert await say(memory, "four")


async def test_a_redis_without_a_replica_is_refused_and_one_that_lost_it_accepts_nothing(
    schema, make_memory, primary, pair
):
    await until(lambda: follows(pair[1]))
    memory = await begun(make_memory, primary.url, "replica")
    pair[1].client.replicaof("NO", "ONE")
    try:
        wait_for(
            lambda: not primary.client.info("replication")["connected_slaves"], READY, "it still follows"
        )
        with pytest.raises(ConfigurationError, match="no replica follows this Redis"):
            await make_memory(redis=primary.url, durability="journal", journal_ack="replica")
        plain(memory)._checked = float("-inf")
        assert not await say(memory, "two")
        assert "no replica follows" in (await memory.check()).redis.problem
    finally:
        pair[1].client.replicaof("127.0.0.1", str(primary.port))
    await until(lambda: follows(pair[1]))
    plain(memory)._checked = float("-inf")
    await memory.get_history("c", user_id="ana")
    assert await say(memory, "three")
