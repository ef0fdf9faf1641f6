"""What a request's handler gets: the verbs of one user, who reaches nothing of anybody else's."""

from __future__ import annotations

from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import ConversationNotFound
from fix_memory import add, read

ANAS = [HumanMessage("the key is under the mat"), AIMessage("noted")]


@pytest.fixture
def ana(memory):
    return memory.for_user("ana")


@pytest.fixture
def eve(memory):
    return memory.for_user("eve")


async def test_a_conversation_from_its_making_to_its_end(ana, memory):
    made = await ana.create_conversation(dept_id="hr", metadata={"tone": "dry"})
    said = await ana.save_message(made, "user", "Hello", metadata={"page": 1})
    await ana.save_messages(made.id, [("ai", "Hi!")])

    assert (said.seq, said.role, said.content, said.conversation_id) == (1, "human", "Hello", made.id)
    assert [m.content for m in await ana.get_history(made.id, 6)] == ["Hello", "Hi!"]
    assert await ana.get_history(made, format="openai") == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi!"},
    ]
    assert [m.seq for m in await ana.get_messages(made, after=1)] == [2]
    whole = await ana.get_conversation(made, messages=True)
    assert whole.messages == tuple(await ana.get_messages(made.uuid))
    assert (whole.user_id, whole.title, whole.metadata) == ("ana", "Hello", {"tone": "dry"})
    assert [c.id for c in await ana.list_user_conversations()] == [made.id]
    assert (await ana.rename_conversation(made, "Greetings")).title == "Greetings"
    assert (await ana.update_conversation(made, dept_id=None)).dept_id is None
    await ana.clear(made)
    assert await ana.get_history(made) == []
    await ana.delete_conversation(made)
    with pytest.raises(ConversationNotFound):
        await ana.get_conversation(made)
    await add(ana.history("chain"), ANAS)
    assert await read(ana.history("chain")) == ANAS
    assert ana.run_config(conversation_id="chain") == memory.run_config(
        conversation_id="chain", user_id="ana"
    )


@pytest.mark.parametrize(
    "reach",
    [
        lambda eve, it: eve.get_conversation(it),
        lambda eve, it: eve.get_conversation(it, messages=True),
        lambda eve, it: eve.rename_conversation(it, "mine"),
        lambda eve, it: eve.update_conversation(it, metadata={"a": 1}),
        lambda eve, it: eve.update_conversation(it),
        lambda eve, it: eve.delete_conversation(it),
        lambda eve, it: eve.create_conversation(conversation_id=it, exists="update", title="mine"),
        lambda eve, it: eve.save_message(it, "user", "hi"),
        lambda eve, it: eve.save_messages(it, ["hi"]),
        lambda eve, it: eve.get_history(it),
        lambda eve, it: eve.get_messages(it),
        lambda eve, it: eve.clear(it),
        lambda eve, it: read(eve.history(it)),
        lambda eve, it: add(eve.history(it), ["hi"]),
    ],
)
async def test_a_strangers_conversation_is_not_there_even_as_a_value(ana, eve, reach):
    hers = await ana.create_conversation(title="secret")
    await ana.save_messages(hers, ANAS)
    before = await ana.get_conversation(hers, messages=True)
    for it in (hers, hers.id, hers.uuid):
        with pytest.raises(ConversationNotFound):
            await reach(eve, it)

    assert await ana.get_conversation(hers, messages=True) == before


async def test_a_named_conversation_of_somebody_else_is_not_ones_own_of_that_name(ana, eve):
    await ana.save_messages("diary", ANAS)
    hers = await ana.get_conversation("diary")
    await eve.save_message("diary", "user", "dear diary")

    with pytest.raises(ConversationNotFound):
        await eve.get_history(hers)
    assert [m.content for m in await eve.get_history("diary")] == ["dear diary"]


async def test_a_session_from_its_beginning_to_its_end(ana):
    session = await ana.create_session("hr", metadata={"device": "phone"})
    conversation = await ana.create_conversation()
    moved = await ana.extend_session(session, conversation_id=conversation)

    assert (session.user_id, session.dept_id) == ("ana", "hr")
    assert moved.conversation_id == conversation.id
    assert (await ana.get_session(session)).conversation_id == conversation.id
    assert (await ana.get_session(session.id)).metadata == {"device": "phone"}
    assert [s.user_id for s in await ana.list_user_sessions()] == ["ana"]
    assert await ana.end_session(session)
    assert await ana.get_session(session) is None
    assert not await ana.end_session(session)


async def test_a_strangers_session_is_neither_shown_nor_prolonged_nor_ended(ana, eve, keyspace):
    session = await ana.create_session(metadata={"device": "phone"})
    [key] = [name for name in keyspace.names() if b"session:" in name]
    keyspace.client.pexpire(key, 60_000)

    assert await eve.get_session(session) is None
    assert await eve.extend_session(session.id, metadata={"device": "mine"}) is None
    assert await eve.end_session(session) is False
    assert keyspace.client.pttl(key) <= 60_000
    assert (await ana.get_session(session)).metadata == {"device": "phone"}
    assert keyspace.client.pttl(key) > 60_000


async def test_what_names_no_conversation_says_what_would(ana):
    session = await ana.create_session()
    with pytest.raises(ValueError, match=r"^conversation_id: is a Session: pass its conversation_id"):
        await ana.get_history(session)
    with pytest.raises(ConversationNotFound):
        await ana.get_history(uuid4())
