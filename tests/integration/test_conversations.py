"""What is known of a conversation beside its messages: made, found, changed, and as old as what was said in it."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from convmemory import ConversationExists, ConversationNotFound, Draft, InvalidArgument, RetrievedContext
from fix_memory import until

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
    again = await ana.save_message("c", HumanMessage("other words", id="h"), metadata={"a": 2})

    assert again == first
    both = await ana.save_messages("c", [HumanMessage("third", id="h"), AIMessage("new")])
    assert (both.stored, both.seqs, both.messages[0]) == (1, (1, 2), first)


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


async def test_one_made_first_and_moved_into_later_is_no_younger_than_its_messages(ana):
    made = await ana.create_conversation(conversation_id="c")
    await ana.save_message("c", "user", "then", created_at=THEN)
    found = await ana.get_conversation("c")

    assert (found.created_at, found.updated_at) == (THEN, made.updated_at)


async def test_a_date_to_come_puts_nothing_before_what_is_newest(ana):
    await ana.save_message("c", "user", "in a while", created_at=datetime.now(UTC) + timedelta(days=300))
    [message] = await ana.get_messages("c")
    found = await ana.get_conversation("c")

    assert message.created_at > datetime.now(UTC)
    assert found.created_at <= found.updated_at <= datetime.now(UTC) + timedelta(seconds=5)


async def test_a_message_among_dated_ones_that_has_no_date_is_of_now(ana):
    await ana.save_messages("c", [Draft(HumanMessage("then"), created_at=THEN), HumanMessage("now")])
    found = await ana.get_conversation("c")

    assert found.created_at == THEN
    assert datetime.now(UTC) - found.updated_at < timedelta(seconds=30)


async def test_windows_are_served_on_after_a_change_that_is_none_of_theirs(ana, memory):
    await ana.save_message("c", "user", "hi")
    await ana.get_history("c")
    await ana.rename_conversation("c", "mine")
    await ana.save_message("c", "assistant", "ho")
    for _ in range(2):
        assert [m.content for m in await ana.get_history("c")] == ["hi", "ho"]
    await until(lambda: memory.redis.health.counters.hits > 0)


async def test_a_page_of_a_list_travels(ana):
    for name in "abc":
        await ana.create_conversation(conversation_id=name)
    page = await ana.list_user_conversations(2)

    again = pickle.loads(pickle.dumps(page))  # noqa: S301 - our own
    assert again == page == copy.deepcopy(page)
    assert [c.id for c in await ana.list_user_conversations(2, cursor=again.next_cursor)] == ["a"]
