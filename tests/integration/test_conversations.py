"""What is known of a conversation beside its messages: made, found, changed, and as old as what was said in it."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from convmemory import ConversationExists, ConversationNotFound, Draft, InvalidArgument, RetrievedContext

THEN = datetime(2023, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.fixture
def ana(memory):
    return memory.for_user("ana")


# A saved message is the stored one


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage("plain"),
        HumanMessage("known", id="h1", name="Ana"),
        AIMessage("", tool_calls=[{"name": "f", "args": {"n": 1.0, "deep": [None, {"k": "v"}]}, "id": "t"}]),
        ToolMessage("r", tool_call_id="t", artifact={1, 2}, status="error"),
        AIMessage([{"type": "text", "text": "block\0s"}], usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
    ],
)  # fmt: skip
async def test_what_save_message_returns_is_what_is_found(ana, message):
    facts = {"metadata": {"a": 1.0, "when": THEN, "nan": float("nan"), "n": 10**20}, "latency_ms": 7}
    documents = [
        RetrievedContext("page\0", score=float("inf"), metadata={"k": (1, 2)}),
        RetrievedContext("p2"),
    ]
    saved = await ana.save_message("c", message, **facts, contexts=documents)

    assert [saved] == await ana.get_messages("c")
    assert saved.message == message
    assert (await ana.save_messages("d", [message, message])).messages == tuple(await ana.get_messages("d"))[
        : 1 if message.id else 2
    ] * (2 if message.id else 1)


async def test_a_message_saved_again_is_the_one_that_was_stored_then(ana):
    first = await ana.save_message("c", HumanMessage("first", id="h"), metadata={"a": 1})
    again = await ana.save_message("c", HumanMessage("first", id="h"), metadata={"a": 2})

    assert again == first
    both = await ana.save_messages("c", [HumanMessage("first", id="h"), AIMessage("new")])
    assert (both.stored, both.seqs, both.messages[0]) == (1, (1, 2), first)
    other = await ana.save_message("c", HumanMessage("other words", id="h"))
    assert (other.seq, other.content, other.message.id) == (3, "other words", "h")


async def test_a_role_goes_with_its_content(ana):
    roles = ["user", "human", "assistant", "ai", "system", "developer"]
    said = [await ana.save_message("c", role, "x") for role in roles]

    assert [m.role for m in said] == ["human", "human", "ai", "ai", "system", "system"]
    blocks = await ana.save_message("c", "user", [{"type": "text", "text": "in blocks"}])
    assert (blocks.content, blocks.message.content) == ("in blocks", [{"type": "text", "text": "in blocks"}])
    with pytest.raises(InvalidArgument, match=r"^content: goes with a role"):
        await ana.save_message("c", HumanMessage("x"), "y")
    with pytest.raises(InvalidArgument, match=r"^content: is None"):
        await ana.save_message("c", "assistant", None)
    assert (await ana.save_message("c", "assistant")).role == "human"  # a text of the user's
    with pytest.raises(InvalidArgument, match=r"^message: is a list: pass it to save_messages"):
        await ana.save_message("c", [HumanMessage("x")])


# Making one


async def test_one_that_is_there_is_returned_updated_or_refused(ana):
    made = await ana.create_conversation(conversation_id="c", title="first", metadata={"a": 1, "b": 1})

    same = await ana.create_conversation(conversation_id="c", title="second", metadata={"a": 2})
    assert same == made
    changed = await ana.create_conversation(
        conversation_id="c", metadata={"a": 2}, dept_id="hr", exists="update"
    )
    assert (changed.title, changed.dept_id, changed.metadata) == ("first", "hr", {"a": 2, "b": 1})
    assert changed.version > made.version
    assert await ana.create_conversation(conversation_id="c", exists="update") == changed
    with pytest.raises(ConversationExists, match="'c'"):
        await ana.create_conversation(conversation_id="c", exists="error")
    assert (await ana.create_conversation(conversation_id="d", exists="error")).id == "d"
    with pytest.raises(InvalidArgument, match=r"^exists: "):
        await ana.create_conversation(conversation_id="e", exists="replace")


async def test_one_that_a_lost_reply_made_was_not_there_before(make_memory, schema, postgres_proxy):
    memory = await make_memory(postgres_proxy.url, pool_max=1)
    for name in ("a", "b", "c"):  # by now the statement is prepared
        await memory.create_conversation("ana", conversation_id=name, exists="error")
    postgres_proxy.mode = "cut_reply"

    assert (await memory.create_conversation("ana", conversation_id="d", exists="error")).id == "d"


# Changing one


async def test_only_what_is_given_is_changed(ana):
    made = await ana.create_conversation(title="mine", dept_id="hr", metadata={"a": 1, "b": {"c": 2}})

    found = await ana.update_conversation(made, metadata={"a": None, "d": [4]})
    assert (found.title, found.dept_id, found.metadata) == ("mine", "hr", {"b": {"c": 2}, "d": [4]})
    found = await ana.update_conversation(made, title=" two\n lines ")
    assert (found.title, found.title_source, found.dept_id) == ("two lines", "user", "hr")
    found = await ana.update_conversation(made, dept_id=None)
    assert (found.title, found.dept_id, found.metadata) == ("two lines", None, {"b": {"c": 2}, "d": [4]})
    assert found.version == made.version + 3
    assert await ana.update_conversation(made) == found == await ana.get_conversation(made)
    for wrong in ({"title": ""}, {"dept_id": 5}, {"metadata": ["x"]}, {"metadata": None}):
        with pytest.raises(InvalidArgument, match=rf"^{next(iter(wrong))}: "):
            await ana.update_conversation(made, **wrong)
    with pytest.raises(ConversationNotFound):
        await ana.update_conversation("nobody's", title="x")


async def test_a_title_given_back_is_the_next_human_messages(ana):
    await ana.save_message("c", "user", "The first question")
    await ana.rename_conversation("c", "mine")
    assert (await ana.update_conversation("c", title=None)).title is None
    await ana.save_message("c", "user", "Another question")

    assert (await ana.get_conversation("c")).title == "Another question"


async def test_a_title_made_of_messages_goes_with_them_and_a_given_one_stays(ana):
    await ana.save_message("c", "user", "My diagnosis is X.")
    await ana.save_message("d", "user", "My diagnosis is X.")
    await ana.rename_conversation("d", "Doctor")
    for name in "cd":
        await ana.clear(name)

    assert [(await ana.get_conversation(name)).title for name in "cd"] == [None, "Doctor"]


# With its messages


async def test_messages_come_with_a_conversation_where_asked_for(ana):
    await ana.save_messages("c", [HumanMessage(str(n)) for n in range(5)])
    empty = await ana.create_conversation()

    assert (await ana.get_conversation("c")).messages is None
    assert [m.content for m in (await ana.get_conversation("c", messages=True)).messages] == list("01234")
    assert [m.content for m in (await ana.get_conversation("c", messages=2)).messages] == ["3", "4"]
    assert (await ana.get_conversation(empty, messages=True)).messages == ()
    with pytest.raises(InvalidArgument, match=r"^messages: "):
        await ana.get_conversation("c", messages=0)


# As old as its messages


async def test_a_conversation_moved_in_is_as_old_as_its_messages(ana):
    said = [Draft(HumanMessage(str(n)), created_at=THEN + timedelta(days=n)) for n in range(3)]
    await ana.save_messages("old", said)
    await ana.save_message("new", "user", "today")
    found = await ana.get_conversation("old")

    assert (found.created_at, found.updated_at) == (THEN, THEN + timedelta(days=2))
    assert [c.id for c in await ana.list_user_conversations()] == ["new", "old"]


async def test_a_date_to_come_puts_nothing_before_what_is_newest(ana):
    await ana.save_message("c", "user", "in a while", created_at=datetime.now(UTC) + timedelta(days=300))
    [message] = await ana.get_messages("c")
    found = await ana.get_conversation("c")

    assert message.created_at > datetime.now(UTC)
    assert found.created_at <= found.updated_at <= datetime.now(UTC) + timedelta(seconds=5)


async def test_a_conversation_is_as_old_as_what_is_new_in_a_transcript_that_is_sent_again(memory):
    old = datetime(2020, 1, 1, tzinfo=UTC)
    said = [HumanMessage("now", id="1"), Draft(HumanMessage("then", id="2"), created_at=old)]
    await memory.save_messages("c", said[:1], user_id="ana")
    await memory.save_messages("c", said, user_id="ana")

    assert (await memory.get_conversation("c", user_id="ana")).created_at == old


async def test_a_message_among_dated_ones_that_has_no_date_is_of_now(ana):
    await ana.save_messages("c", [Draft(HumanMessage("then"), created_at=THEN), HumanMessage("now")])
    found = await ana.get_conversation("c")

    assert found.created_at == THEN
    assert datetime.now(UTC) - found.updated_at < timedelta(seconds=30)


async def test_the_tuples_that_values_have_are_stored_as_they_are(ana):
    told = {"metadata": {"a": 1}, "tokens_used": 3, "latency_ms": 5, "created_at": THEN}
    await ana.save_message("c", "user", "how long?", **told)
    await ana.save_message("c", "ai", "a week", contexts=[RetrievedContext("A")], **told)
    whole = await ana.get_conversation("c", messages=True)
    assert type(whole.messages) is tuple

    for n, (messages, texts) in enumerate(
        [
            (whole.messages, ["how long?", "a week"]),
            (whole.messages[:1], ["how long?"]),
            ((Draft("one"), ("ai", "two")), ["one", "two"]),
            (("user", "one"), ["one"]),
        ]
    ):
        copied = await ana.save_messages(f"copy {n}", messages)
        assert [m.content for m in copied.messages] == texts
    [first, second] = await ana.get_messages("copy 0")
    for one in (first, second):
        assert (one.metadata, one.tokens_used, one.latency_ms, one.created_at) == tuple(told.values())
    assert second.contexts == (RetrievedContext("A"),)


async def test_windows_are_served_on_after_a_change_that_is_none_of_theirs(ana, memory):
    counters = memory.redis.health.counters
    await ana.save_message("c", "user", "hi")
    await ana.get_history("c")
    assert [m.content for m in await ana.get_history("c")] == ["hi"]
    assert counters.hits == 1
    await ana.rename_conversation("c", "mine")
    await ana.save_message("c", "assistant", "ho")

    assert [m.content for m in await ana.get_history("c")] == ["hi", "ho"]
    assert counters.hits == 2


async def test_a_page_of_a_list_travels(ana):
    for name in "abc":
        await ana.create_conversation(conversation_id=name)
    page = await ana.list_user_conversations(2)

    again = pickle.loads(pickle.dumps(page))  # noqa: S301 - our own
    assert again == page == copy.deepcopy(page)
    assert [c.id for c in await ana.list_user_conversations(2, cursor=again.next_cursor)] == ["a"]


# What the world does to it


@pytest.fixture
def new_yorker(database, database_url, schema):
    """A URL that connects as a role whose time zone is New York's."""
    name = f"r_{uuid4().hex[:12]}"
    database.execute(f"CREATE ROLE {name} LOGIN SUPERUSER")
    database.execute(f"ALTER ROLE {name} SET TimeZone = 'America/New_York'")
    url = (
        urlsplit(database_url)
        ._replace(netloc=f"{name}@{urlsplit(database_url).netloc.rpartition('@')[2]}")
        .geturl()
    )
    with psycopg.connect(url) as there:
        assert there.execute("SHOW TimeZone").fetchone() == ("America/New_York",)
    yield url
    database.execute(f"DROP ROLE {name}")


FAR = [
    datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
    datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, tzinfo=UTC),
]


@pytest.mark.parametrize("when", FAR, ids=str)
async def test_a_time_that_some_zone_has_no_date_for_is_refused(ana, when):
    with pytest.raises(InvalidArgument, match=r"^created_at: must be a datetime .* of the years 1 to 9999"):
        await ana.save_message("c", "user", "x", created_at=when)
    assert await ana.list_user_conversations() == []


@pytest.mark.parametrize("when", [datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)], ids=str)
async def test_any_other_time_is_kept_wherever_the_server_stands(schema, make_memory, when, new_yorker):
    ana = (await make_memory(new_yorker)).for_user("ana")

    saved = await ana.save_message("c", "user", "x", created_at=when)
    assert saved.created_at == (await ana.get_messages("c"))[0].created_at == when
    assert len(await ana.list_user_conversations()) == 1


async def test_a_conversation_of_another_user_is_none_also_when_it_is_gone(ana, memory):
    bobs = await memory.create_conversation("bob", conversation_id="session-1")
    await memory.delete_conversation(bobs, user_id="bob")
    with pytest.raises(ConversationNotFound):
        await ana.save_message(bobs, "user", "x")
    assert (await memory.save_message("session-1", "user", "hi", user_id="bob")).seq == 1


async def test_a_value_that_was_tampered_with_means_what_its_id_does(ana):
    mine = await ana.create_conversation(conversation_id="mine")
    other = mine.model_copy(update={"uuid": uuid4()})
    await ana.save_message(other, "user", "x")

    assert (await ana.get_conversation("mine")).message_count == 1
    assert len(await ana.list_user_conversations()) == 1


async def test_a_repeat_beside_a_clear_is_no_other_message(ana, memory, monkeypatch):
    sent = HumanMessage("mine", id="1")
    await ana.save_message("c", sent)
    store = getattr(memory, "blocking", memory).postgres
    read = store.read_messages_by_id

    if hasattr(memory, "blocking"):

        def late(*asked):
            memory.blocking.clear("c", user_id="ana")
            memory.blocking.save_message("c", "user", "other words", user_id="ana")
            return read(*asked)
    else:

        async def late(*asked):
            await memory.clear("c", user_id="ana")
            await memory.save_message("c", "user", "other words", user_id="ana")
            return await read(*asked)

    monkeypatch.setattr(store, "read_messages_by_id", late)
    assert (await ana.save_message("c", sent)).content == "mine"


async def test_a_repeat_adds_no_documents_to_what_is_stored(ana):
    first = await ana.save_message("c", AIMessage("one", id="i"), contexts=[RetrievedContext("A")])
    again = await ana.save_message(
        "c", AIMessage("one", id="i"), contexts=[RetrievedContext("B"), RetrievedContext("C")]
    )

    assert again == first == (await ana.get_messages("c"))[0]


async def test_the_date_of_a_repeat_ages_nothing(ana):
    await ana.save_message("c", HumanMessage("x", id="1"))
    await ana.save_messages("c", [Draft(HumanMessage("x", id="1"), created_at=THEN), "new"])

    assert (await ana.get_conversation("c")).created_at.year > THEN.year


async def test_one_made_and_then_moved_into_stands_where_its_messages_do(ana):
    made = await ana.create_conversation(title="Old chat")
    await ana.save_messages(made, [Draft("hi", created_at=THEN)])
    found = await ana.get_conversation(made)

    assert (found.created_at, found.updated_at) == (THEN, THEN)


async def test_messages_are_moved_to_another_conversation_with_all_that_is_known(ana):
    await ana.save_message("src", "user", "hi", {"a": 1}, created_at=THEN, contexts=[RetrievedContext("A")])
    await ana.save_messages("dst", await ana.get_messages("src"))
    [there], [here] = await ana.get_messages("src"), await ana.get_messages("dst")

    assert here.model_dump(exclude={"id", "conversation_id"}) == there.model_dump(
        exclude={"id", "conversation_id"}
    )
    with pytest.raises(InvalidArgument, match=r"^message: is a Message, .* save_messages"):
        await ana.save_message("dst", there)


async def test_the_callers_metadata_is_the_callers_and_what_we_note_lies_beside_it(ana):
    message = AIMessage("x", name="bot", response_metadata={"model_name": "gpt"})
    saved = await ana.save_message("c", message, metadata={"model": "mine", "lossy": "ha"})

    assert saved.metadata == {"model": "mine", "lossy": "ha"}
    assert saved.facts == {"model": "gpt", "name": "bot"}
    assert saved == (await ana.get_messages("c"))[0]
    assert not saved.lossy


@pytest.mark.parametrize("number", [1e25, 1.5e300, 12345678901234567890.0, 1e-7, 0.1, -1e22, 5e-324])
async def test_a_number_comes_back_as_it_is_returned(ana, number):
    saved = await ana.save_message("c", "user", "x", {"n": number, "deep": [{"n": number}]})

    assert saved == (await ana.get_messages("c"))[0]
    assert float(saved.metadata["n"]) == number


async def test_names_to_take_out_are_written_as_the_stored_ones_are(ana):
    odd = {"half\ud800": 1, "nul\0": 1, 1: 1, ("a", 2): 1, "stays": 1}
    made = await ana.create_conversation(metadata=odd)
    found = await ana.update_conversation(made, metadata={**dict.fromkeys(odd), "stays": 2, "new": 3})

    assert len(made.metadata) == 5
    assert found.metadata == {"stays": 2, "new": 3}


async def test_a_session_is_returned_as_it_is_stored(ana):
    metadata = {"deep": {"b": 1}, "bytes": b"\xff", "half": "\ud800", "tuple": (1, 2)}
    session = await ana.create_session(metadata=metadata)
    metadata["deep"]["b"] = 2

    assert session.metadata == (await ana.get_session(session)).metadata
    assert session.metadata["deep"] == {"b": 1}
    assert session.model_dump_json()


async def test_one_deleted_while_it_is_updated_is_made_after_all(ana, memory, monkeypatch):
    await ana.create_conversation(conversation_id="e")
    store = getattr(memory, "blocking", memory).postgres
    update, times = store.update_conversation, []

    if hasattr(memory, "blocking"):

        def late(*asked):
            times.append(1)
            memory.blocking.delete_conversation("e", user_id="ana")
            return update(*asked)
    else:

        async def late(*asked):
            times.append(1)
            await memory.delete_conversation("e", user_id="ana")
            return await update(*asked)

    monkeypatch.setattr(store, "update_conversation", late)
    found = await ana.create_conversation(conversation_id="e", title="t", exists="update")
    assert (found.title, found.message_count, len(times)) == ("t", 0, 1)


async def test_a_new_title_or_metadata_moves_nothing_in_the_list(ana):
    for name in "ab":
        await ana.save_message(name, "user", "hi")
    before = await ana.get_conversation("a")
    await ana.rename_conversation("a", "mine")
    after = await ana.update_conversation("a", metadata={"pinned": True})

    assert (after.updated_at, after.version) == (before.updated_at, before.version + 2)
    assert [c.id for c in await ana.list_user_conversations()] == ["b", "a"]


async def test_a_duration_is_rounded_to_milliseconds(ana):
    assert (await ana.save_message("c", "assistant", "x", latency_ms=12.6)).latency_ms == 13
