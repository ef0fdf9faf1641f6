"""The stand-in for Redis where no server binary fits serves windows and sessions as a server does."""

from __future__ import annotations

from convmemory import AsyncConversationMemory, ConversationMemory
from convmemory.embedded.fake import async_client, client, fake_server

TURN = [("human", "What is the vacation policy?"), ("ai", "20 days.")]


def test_a_blocking_memory_hits_its_window(database_url, schema_name):
    with ConversationMemory.from_url(database_url, client(fake_server()), db_schema=schema_name) as memory:
        memory.init_schema()
        memory.save_messages("c", TURN, user_id="ada")
        windows = [memory.get_history("c", user_id="ada") for _ in range(3)]
        session = memory.create_session("ada", conversation_id="c")
        figures = memory.check().redis.figures

        assert [m.content for m in windows[-1]] == ["What is the vacation policy?", "20 days."]
        assert figures["hits"] == 2
        assert figures["version"].startswith("fakeredis")
        assert memory.get_session(session.session_id).conversation_id == "c"


async def test_an_awaited_memory_hits_its_window_and_sees_its_writes(database_url, schema_name):
    async with AsyncConversationMemory.from_url(
        database_url, async_client(fake_server()), db_schema=schema_name
    ) as memory:
        await memory.init_schema()
        history = memory.history("c", user_id="ada")
        for _ in range(3):
            await history.aget_messages()
            await history.aadd_messages(TURN)

        assert len(await history.aget_messages()) == 6
        hits = (await memory.check()).redis.figures["hits"]
        assert hits == 2  # of the reads after the first write and its refill


def test_clients_of_one_pair_of_servers_share_their_data(servers):
    servers.fake_redis().set("key", "value")

    assert servers.fake_redis().get("key") == b"value"
