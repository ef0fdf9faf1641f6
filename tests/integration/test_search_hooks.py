"""What a host may do with a search: more that a message is found by, a question in other words, another order of what was found."""

from inspect import signature

import pytest
from langchain_core.messages import HumanMessage

from convmemory import ConversationNotFound, InvalidArgument, MessageNotFound, recall_tool
from convmemory._async.search import AsyncUserSearch
from convmemory._sync.search import UserSearch
from convmemory.recall_options import OPTIONS

SAID = ["Rex ate my shoes", "Oh dear", "He did it again", "The garden is lovely", "It rains", "Good night"]


@pytest.fixture
async def memory(make_memory, schema):
    made = await make_memory(search="english")
    await made.save_messages("a", SAID, user_id="ana")
    return made


async def remembered(memory, query, **more):
    return [one.seq for one in await memory.search.recall(query, user_id="ana", **more)]


async def test_a_message_is_found_by_its_keys_as_well_and_shows_none_of_them(memory, database):
    [message] = await memory.get_messages("a", user_id="ana", limit=1, after=0)
    before = await memory.get_conversation("a", user_id="ana")
    await memory.search.set_keys("a", message, ["Ana has a dog, called Rex", "", "dog: bad"], user_id="ana")

    [hit] = await memory.search.messages("dog", user_id="ana")
    assert (hit.seq, hit.snippet, hit.highlights) == (1, SAID[0], ())
    assert (await remembered(memory, "which dog does Ana have?"))[0] == 1
    assert (await remembered(memory, "Rex"))[0] == 1, "its own words are found as before"
    assert [m.content for m in await memory.get_history("a", user_id="ana")] == SAID
    after = await memory.get_conversation("a", user_id="ana")
    assert (after.version, after.updated_at) == (before.version + 1, before.updated_at)

    await memory.for_user("ana").search.set_keys("a", message.id, "cat")
    assert await remembered(memory, "dog") == []
    assert (await remembered(memory, "cat"))[0] == 1
    await memory.search.set_keys("a", message, None, user_id="ana")
    assert await remembered(memory, "cat") == []
    assert database.execute("SELECT count(keys) FROM messages").fetchone() == (0,)


async def test_other_words_take_the_keys_away(memory, database):
    [message] = await memory.get_messages("a", user_id="ana", limit=1, after=0)
    await memory.search.set_keys("a", message, "dog", user_id="ana")
    await memory.replace_message("a", message, HumanMessage("nothing"), user_id="ana")

    assert await remembered(memory, "dog") == []
    assert database.execute("SELECT count(keys) FROM messages").fetchone() == (0,)


async def test_keys_of_nobodys_message_or_that_are_none_are_refused(memory):
    [message] = await memory.get_messages("a", user_id="ana", limit=1, after=0)
    with pytest.raises(ConversationNotFound):
        await memory.search.set_keys("a", message, "dog", user_id="eve")
    await memory.truncate("a", user_id="ana", after=0)
    with pytest.raises(MessageNotFound):
        await memory.search.set_keys("a", message, "dog", user_id="ana")
    for wrong in (7, ["a", 7], "x" * 5_001, b"dog"):
        with pytest.raises(InvalidArgument, match="keys"):
            await memory.search.set_keys("a", message, wrong, user_id="ana")


async def test_a_question_is_looked_for_in_other_words(memory, colour):
    asked = []

    def rewrite(question):
        asked.append(question)
        return "garden"

    async def rewrite_later(question):
        return rewrite(question)

    assert (await remembered(memory, "outside?", rewrite=rewrite))[0] == 4
    if colour == "awaited":
        assert (await remembered(memory, "outside?", rewrite=rewrite_later))[0] == 4
    assert set(asked) == {"outside?"}
    for wrong in ([], None):
        with pytest.raises(InvalidArgument, match=r"^rewrite: must return a text"):
            await remembered(memory, "outside?", rewrite=lambda *_, wrong=wrong: wrong)
    with pytest.raises(InvalidArgument, match=r"^query: must be a text"):
        await remembered(memory, None)


async def test_what_was_found_is_put_into_another_order(memory, colour):
    seen = []

    def backwards(question, found):
        seen.append((question, [one.seq for one in found]))
        return reversed(found)

    async def backwards_later(question, found):
        return backwards(question, found)

    plain = await remembered(memory, "Rex shoes")
    assert await remembered(memory, "Rex shoes", rerank=backwards) == plain[::-1]
    assert await remembered(memory, "Rex shoes", k=1, rerank=backwards) == plain[-1:]
    assert seen == [("Rex shoes", plain)] * 2, "it is given more than is asked for"
    if colour == "awaited":
        assert await remembered(memory, "Rex shoes", rerank=backwards_later) == plain[::-1]


async def test_a_rerank_may_leave_out_and_neighbours_and_budgets_come_after_it(memory):
    def only_the_last(question, found):
        return [found[-1], found[-1]]

    recalled = await memory.search.recall("Rex shoes", user_id="ana", rerank=only_the_last, neighbours=1)
    assert [(one.seq, [m.seq for m in one.beside]) for one in recalled] == [(3, [2, 4])]
    few = await memory.search.recall(
        "Rex shoes", user_id="ana", rerank=only_the_last, neighbours=1, max_tokens=2, token_counter=len
    )
    assert [(one.seq, [m.seq for m in one.beside]) for one in few] == [(3, [2])]
    none = await memory.search.recall("Rex quantum physics", user_id="ana", rerank=lambda *_: [], floor=0.2)
    assert none.items == ()
    assert (await memory.search.recall("quantum", user_id="ana", rerank=only_the_last_of_none)).items == ()


def only_the_last_of_none(question, found):
    return found[-1:]


async def test_a_rerank_that_gives_what_was_not_found_is_told(memory):
    other = await memory.search.recall("rains", user_id="ana")
    for wrong in (lambda *_: other.items, lambda *_: [7], lambda *_: None, lambda *_: 7, lambda *_: "x"):
        with pytest.raises(InvalidArgument, match="rerank"):
            await memory.search.recall("Rex", user_id="ana", k=1, rerank=wrong)


async def test_an_option_that_recall_does_not_have_is_told_at_once(memory, colour):
    mine = (memory.blocking if colour == "blocking" else memory).for_user("ana")
    for make in (mine.search.as_retriever, lambda **options: recall_tool(mine, **options)):
        for wrong in ("neighbors", "user_id", "query"):
            with pytest.raises(InvalidArgument, match=f"^{wrong}: no such option of recall"):
                make(**{wrong: 1})
        for name, wrong in (
            ("floor", 7),
            ("neighbours", 99),
            ("half_life", 3),
            ("rerank", "x"),
            ("roles", "ai"),
        ):
            with pytest.raises(InvalidArgument, match=f"^{name}: "):
                make(**{name: wrong})


async def test_the_options_are_those_of_recall():
    for recall in (UserSearch.recall, AsyncUserSearch.recall):
        assert set(signature(recall).parameters) - {"self", "query", "k"} == set(OPTIONS)


async def test_a_retriever_and_a_tool_take_the_hooks_along(memory, colour):
    mine = (memory.blocking if colour == "blocking" else memory).for_user("ana")

    [document] = await mine.search.as_retriever(k=1, rewrite=lambda _: "garden").ainvoke("outside?")

    assert document.metadata["seq"] == 4
