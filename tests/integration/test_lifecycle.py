"""What an application does with a memory from the first visit to the last, in both colours."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from convmemory import ConversationNotFound, Draft, InvalidArgument, RetrievedContext, StorageUnavailable
from fix_memory import add, read, texts

LONG_AGO = datetime(2001, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)


def turn(number: int) -> list:
    return [HumanMessage(f"question {number}"), AIMessage(f"answer {number}")]


async def test_a_session_a_conversation_and_two_messages_come_back(memory):
    conversation = await memory.create_conversation("ana", dept_id="sales", metadata={"channel": "web"})
    session = await memory.create_session("ana", conversation_id=conversation.conversation_id)

    await memory.save_message(conversation.conversation_id, HumanMessage("Hello"), user_id="ana")
    await memory.save_message(conversation.conversation_id, AIMessage("Hi Ana"), user_id="ana")

    found = await memory.get_session(session.session_id)
    assert found.conversation_id == conversation.conversation_id
    assert await memory.get_history(conversation.conversation_id, user_id="ana") == [
        HumanMessage("Hello"),
        AIMessage("Hi Ana"),
    ]
    assert (conversation.dept_id, conversation.metadata) == ("sales", {"channel": "web"})
    assert conversation.uuid == UUID(conversation.conversation_id)


async def test_of_ten_messages_a_limit_of_six_gives_the_newest_six(memory):
    messages = [message for number in range(1, 6) for message in turn(number)]
    for message in messages:
        await memory.save_message("c", message, user_id="ana")

    assert await memory.get_history("c", user_id="ana", limit=6) == messages[-6:]
    assert await memory.get_history("c", user_id="ana") == messages[-6:]  # the default
    assert await memory.get_history("c", user_id="ana", limit=None) == messages
    assert await memory.get_history("c", user_id="ana", limit=50) == messages


async def test_a_conversation_goes_on_in_a_new_session_after_the_old_one_expired(memory, keyspace):
    first = await memory.create_session("ana", conversation_id="trip", dept_id="sales")
    await memory.save_messages("trip", turn(1), user_id="ana")
    keyspace.expire()

    assert await memory.get_session(first.session_id) is None
    second = await memory.create_session("ana", conversation_id="trip")
    await memory.save_messages("trip", turn(2), user_id="ana")

    assert second.session_id != first.session_id
    assert await memory.get_history("trip", user_id="ana") == turn(1) + turn(2)
    assert [s.handle for s in await memory.list_user_sessions("ana")] == [second.handle]


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("How do I reset my password? I lost it.", "How do I reset my password?"),
        ("word " * 30, "word " * 11 + "word…"),
        ("short", "short"),
    ],
)
async def test_the_first_human_message_gives_the_title(memory, said, title):
    await memory.save_messages("c", [SystemMessage("Be brief."), HumanMessage(said)], user_id="ana")

    found = await memory.get_conversation("c", user_id="ana")

    assert (found.title, found.title_source) == (title, "auto")


async def test_a_title_waits_for_the_first_human_message_with_text_and_then_stays(memory):
    await memory.save_message("c", AIMessage("Welcome!"), user_id="ana")
    untitled = await memory.get_conversation("c", user_id="ana")
    await memory.save_message("c", HumanMessage("First."), user_id="ana")
    await memory.save_message("c", HumanMessage("Second."), user_id="ana")

    found = await memory.get_conversation("c", user_id="ana")

    assert (untitled.title, untitled.title_source) == (None, "none")
    assert found.title == "First."


async def test_an_automatic_title_never_replaces_a_renamed_one(memory):
    await memory.save_message("c", HumanMessage("First."), user_id="ana")
    renamed = await memory.rename_conversation("c", "  My \n trip ", user_id="ana")
    await memory.clear("c", user_id="ana")
    await memory.save_message("c", HumanMessage("Something else."), user_id="ana")

    found = await memory.get_conversation("c", user_id="ana")

    assert (renamed.title, renamed.title_source) == ("My trip", "user")
    assert (found.title, found.title_source) == ("My trip", "user")


async def test_a_rename_before_the_first_message_is_kept(memory):
    await memory.create_conversation("ana", conversation_id="c")
    await memory.rename_conversation("c", "Mine", user_id="ana")
    await memory.save_message("c", HumanMessage("First."), user_id="ana")

    assert (await memory.get_conversation("c", user_id="ana")).title == "Mine"


async def test_a_title_given_at_creation_is_the_users(memory):
    made = await memory.create_conversation("ana", conversation_id="c", title="Given")
    await memory.save_message("c", HumanMessage("First."), user_id="ana")

    found = await memory.get_conversation("c", user_id="ana")

    assert (made.title, found.title, found.title_source) == ("Given", "Given", "user")


async def test_making_a_conversation_twice_gives_the_one_that_is_there(memory):
    first = await memory.create_conversation("ana", conversation_id="c", title="One", metadata={"n": 1})
    await memory.save_messages("c", turn(1), user_id="ana")
    again = await memory.create_conversation("ana", conversation_id="c", title="Two", metadata={"n": 2})

    assert (again.uuid, again.title, again.metadata) == (first.uuid, "One", {"n": 1})
    assert (again.message_count, again.conversation_id) == (2, "c")


async def test_a_conversation_can_be_made_after_somebody_looked_for_it_in_vain(memory):
    assert await read(memory.history("c", user_id="ana")) == []  # which may be remembered
    await memory.create_conversation("ana", conversation_id="c")

    assert await memory.get_history("c", user_id="ana") == []


async def test_the_conversation_spoken_in_last_is_listed_first(memory):
    for name in ("one", "two", "three"):
        await memory.save_message(name, HumanMessage(name), user_id="ana")
    await memory.save_message("one", AIMessage("again"), user_id="ana")
    await memory.rename_conversation("two", "renamed", user_id="ana")
    await memory.save_message("other", HumanMessage("hers"), user_id="eve")

    found = await memory.list_user_conversations("ana")

    assert [c.conversation_id for c in found] == ["one", "three", "two"]
    assert [c.updated_at for c in found] == sorted((c.updated_at for c in found), reverse=True)
    assert found[0].updated_at > found[0].created_at
    assert found.next_cursor is None


async def test_pages_show_25_conversations_once_each_while_others_change(memory):
    names = [f"c{number:02}" for number in range(25)]
    for name in names:
        await memory.create_conversation("ana", conversation_id=name)
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = await memory.list_user_conversations("ana", limit=7, cursor=cursor)
        seen += [c.conversation_id for c in page]
        cursor, pages = page.next_cursor, pages + 1
        await memory.save_message(seen[0], HumanMessage("one on an earlier page moves"), user_id="ana")
        await memory.create_conversation("ana", conversation_id=f"new {pages}")

    assert seen == names[::-1]
    assert pages == 4


async def test_pages_stay_whole_where_many_conversations_share_an_instant(memory, database):
    names = {str(uuid4()) for _ in range(11)}
    for name in names:
        await memory.create_conversation("ana", conversation_id=name)
    database.execute("UPDATE conversations SET updated_at = '2026-01-01 00:00:00.123456+02'")
    seen, cursor = [], None
    while not seen or cursor:
        page = await memory.list_user_conversations("ana", limit=3, cursor=cursor)
        seen, cursor = seen + [c.conversation_id for c in page], page.next_cursor

    assert len(seen) == 11
    assert set(seen) == names


async def test_a_page_that_ends_exactly_with_the_list_promises_no_other(memory):
    for name in "abcd":
        await memory.create_conversation("ana", conversation_id=name)
    page = await memory.list_user_conversations("ana", limit=4)

    assert (len(page), page.next_cursor) == (4, None)
    page = await memory.list_user_conversations("ana", limit=3)
    assert (len(page), page[:2], bool(page.next_cursor)) == (3, page.items[:2], True)
    page = await memory.list_user_conversations("ana", limit=3, cursor=page.next_cursor)
    assert (len(page), page.next_cursor) == (1, None)


async def test_clear_keeps_the_conversation_and_delete_does_not(memory, database):
    documents = [RetrievedContext("page 1", doc_id="d1")]
    await memory.save_message("c", HumanMessage("one"), user_id="ana", contexts=documents)
    await memory.clear("c", user_id="ana")
    cleared = await memory.get_conversation("c", user_id="ana")

    assert cleared.message_count == 0
    assert await memory.get_history("c", user_id="ana") == []
    assert await memory.get_messages("c", user_id="ana") == []

    await memory.save_message("c", HumanMessage("two"), user_id="ana", contexts=documents)
    await memory.delete_conversation("c", user_id="ana")

    with pytest.raises(ConversationNotFound, match="'c'"):
        await memory.get_conversation("c", user_id="ana")
    with pytest.raises(ConversationNotFound):
        await memory.get_history("c", user_id="ana")
    with pytest.raises(ConversationNotFound):
        await memory.get_messages("c", user_id="ana")
    for table in ("conversations", "messages", "message_contexts", "documents", "loose_documents"):
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


async def test_a_deleted_conversation_can_begin_again(memory):
    await memory.save_messages("c", turn(1), user_id="ana")
    await memory.get_history("c", user_id="ana")
    await memory.delete_conversation("c", user_id="ana")
    appended = await memory.save_messages("c", turn(2), user_id="ana")

    assert appended.seqs == (1, 2)
    assert await memory.get_history("c", user_id="ana") == turn(2)


async def test_messages_are_paged_backwards_and_forwards(memory):
    await memory.save_messages("c", [HumanMessage(str(seq)) for seq in range(1, 24)], user_id="ana")

    async def seqs(**place):
        return [m.seq for m in await memory.get_messages("c", user_id="ana", **place)]

    assert await seqs(limit=5) == [19, 20, 21, 22, 23]
    assert await seqs(limit=5, before=19) == [14, 15, 16, 17, 18]
    assert await seqs(limit=5, before=4) == [1, 2, 3]
    assert await seqs(limit=5, before=1) == []
    assert await seqs(limit=5, after=0) == [1, 2, 3, 4, 5]
    assert await seqs(limit=5, after=20) == [21, 22, 23]
    assert await seqs(limit=5, after=23) == []
    assert await seqs(after=3, before=6) == [4, 5]
    assert await seqs() == list(range(1, 24))


async def test_what_is_known_of_a_message_is_stored_with_it(memory):
    documents = [
        RetrievedContext("second page", doc_id="d2", score=0.25, metadata={"page": 2}),
        RetrievedContext("no id, no score"),
    ]
    await memory.save_message("c", HumanMessage("?"), user_id="ana")
    await memory.save_message(
        "c",
        AIMessage("!", name="bot"),
        user_id="ana",
        tokens_used=17,
        latency_ms=420,
        contexts=documents,
        metadata={"rating": "up"},
    )

    question, answer = await memory.get_messages("c", user_id="ana")

    assert (question.role, question.content, question.seq) == ("human", "?", 1)
    assert (question.tokens_used, question.latency_ms, question.contexts) == (None, None, ())
    assert question.metadata == {}
    assert (answer.role, answer.tokens_used, answer.latency_ms) == ("ai", 17, 420)
    assert answer.message == AIMessage("!", name="bot")
    assert answer.contexts == tuple(documents)
    assert (answer.metadata, answer.facts) == ({"rating": "up"}, {"name": "bot"})
    assert not answer.lossy
    assert datetime.now(UTC) - answer.created_at < timedelta(minutes=1)


async def test_tokens_default_to_what_the_model_reported(memory):
    usage = {"input_tokens": 30, "output_tokens": 12, "total_tokens": 42}
    said = AIMessage("!", usage_metadata=usage)
    await memory.save_messages("c", [said, Draft(said, tokens_used=7)], user_id="ana")

    assert [m.tokens_used for m in await memory.get_messages("c", user_id="ana")] == [42, 7]


async def test_drafts_bring_their_own_facts(memory):
    appended = await memory.save_messages(
        "c",
        [
            Draft(HumanMessage("?"), created_at=LONG_AGO),
            Draft(AIMessage("!"), 5, 6, [RetrievedContext("text", score=-1e-9)], {"k": [1, None]}),
            ("human", "a pair among drafts"),
        ],
        user_id="ana",
    )

    old, answer, pair = await memory.get_messages("c", user_id="ana")

    assert (appended.seqs, appended.stored, appended.conversation_id) == ((1, 2, 3), 3, "c")
    assert old.created_at == LONG_AGO
    assert (answer.tokens_used, answer.latency_ms, answer.metadata) == (5, 6, {"k": [1, None]})
    assert answer.contexts == (RetrievedContext("text", score=-1e-9),)
    assert (pair.message, pair.contexts) == (HumanMessage("a pair among drafts"), ())


async def test_messages_come_in_every_form_langchain_takes(memory):
    await memory.save_message("c", "just text", user_id="ana")
    await memory.save_message("c", ("ai", "a pair"), user_id="ana")
    await memory.save_messages(
        "c", [{"role": "user", "content": "a dict"}, ToolMessage("a result", tool_call_id="t")], user_id="ana"
    )

    assert [m.message for m in await memory.get_messages("c", user_id="ana")] == [
        HumanMessage("just text"),
        AIMessage("a pair"),
        HumanMessage("a dict"),
        ToolMessage("a result", tool_call_id="t"),
    ]


async def test_a_uuid_names_the_same_conversation_as_object_and_as_text(memory):
    name = uuid4()
    await memory.save_messages(name, turn(1), user_id="ana")

    assert await memory.get_history(str(name).upper(), user_id="ana") == turn(1)
    assert (await memory.get_conversation(str(name), user_id="ana")).uuid == name
    assert (await memory.list_user_conversations("ana"))[0].conversation_id == str(name)


async def test_two_users_conversations_of_one_name_are_two(memory):
    await memory.save_messages("session-1", turn(1), user_id="ana")
    await memory.save_messages("session-1", turn(2), user_id="eve")

    assert await memory.get_history("session-1", user_id="ana") == turn(1)
    assert await memory.get_history("session-1", user_id="eve") == turn(2)
    await memory.delete_conversation("session-1", user_id="eve")
    assert await memory.get_history("session-1", user_id="ana") == turn(1)


async def test_sessions_carry_metadata_and_move_between_conversations(memory):
    session = await memory.create_session("ana", dept_id="sales", metadata={"ip": "::1"})
    moved = await memory.extend_session(session.session_id, conversation_id="b", metadata={"ip": "::2"})
    found = await memory.get_session(session.session_id)

    assert (session.conversation_id, session.metadata) == (None, {"ip": "::1"})
    assert (moved.conversation_id, moved.metadata, moved.dept_id) == ("b", {"ip": "::2"}, "sales")
    assert (found.conversation_id, found.metadata) == ("b", {"ip": "::2"})
    assert found.created_at == session.created_at
    assert found.last_active >= moved.last_active > session.last_active


async def test_an_ended_session_is_gone_and_its_conversation_is_not(memory):
    session = await memory.create_session("ana", conversation_id="c")
    await memory.save_messages("c", turn(1), user_id="ana")

    assert await memory.end_session(session.session_id) is True
    assert await memory.end_session(session.session_id) is False
    assert await memory.get_session(session.session_id) is None
    assert await memory.extend_session(session.session_id, conversation_id="d") is None
    assert await memory.list_user_sessions("ana") == []
    assert await memory.get_history("c", user_id="ana") == turn(1)


async def test_without_redis_everything_but_sessions_works(schema, make_memory, keyspace):
    memory = await make_memory(redis=None)
    history = memory.history("c", user_id="ana")
    await add(history, turn(1))
    await memory.save_messages("c", turn(2), user_id="ana")

    assert texts(await read(history)) == ["question 1", "answer 1", "question 2", "answer 2"]
    assert await memory.get_history("c", user_id="ana", limit=2) == turn(2)
    await memory.clear("c", user_id="ana")
    await memory.delete_conversation("c", user_id="ana")
    with pytest.raises(StorageUnavailable, match="no Redis tier"):
        await memory.create_session("ana")
    assert (await memory.check()).redis is None
    assert (await memory.check()).ok
    assert keyspace.names() == []


async def test_the_setting_decides_how_much_is_remembered(schema, make_memory):
    memory = await make_memory(max_history_messages=2)
    await memory.save_messages("c", turn(1) + turn(2), user_id="ana")

    assert await memory.get_history("c", user_id="ana") == turn(2)
    assert await read(memory.history("c", user_id="ana")) == turn(2)
    assert await read(memory.history("c", user_id="ana", max_messages=None)) == turn(1) + turn(2)


async def test_a_setting_of_none_remembers_all(schema, make_memory):
    memory = await make_memory(max_history_messages=None)
    everything = [message for number in range(8) for message in turn(number)]
    await memory.save_messages("c", everything, user_id="ana")

    assert await memory.get_history("c", user_id="ana") == everything


async def test_a_cursor_of_another_making_is_refused(memory):
    for cursor in ("", "nonsense", "bm9uc2Vuc2U=", "é", 5):
        with pytest.raises(InvalidArgument, match="cursor"):
            await memory.list_user_conversations("ana", cursor=cursor)


async def test_opening_twice_and_closing_twice_do_no_harm(memory):
    await memory.open()
    await memory.close()
    await memory.close()
    await memory.open()

    assert (await memory.save_messages("c", turn(1), user_id="ana")).stored == 2
