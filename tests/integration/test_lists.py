"""Lists that can be worked with: put away, pinned, filtered, counted, in either order; and an operator's, of everybody's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from convmemory import ConversationMemory, ConversationNotFound, Draft, InvalidArgument
from convmemory._async import operators as awaited_operators
from convmemory._sync import operators as blocking_operators
from fix_memory import every

THEN = datetime(2024, 5, 6, tzinfo=UTC)


@pytest.fixture
def ana(memory):
    return memory.for_user("ana")


async def said(mine, *names, **known):
    for name in names:
        await mine.create_conversation(conversation_id=name, **known)
        await mine.save_message(name, "user", f"about {name}")


async def dated(mine, name, day):
    await mine.save_messages(name, [Draft("hi", created_at=THEN + timedelta(days=day))])


def ids(page):
    return [one.id for one in page]


async def pages(listed, **where):
    found, cursor = [], None
    while True:
        page = await listed(cursor=cursor, **where)
        found += ids(page)
        if (cursor := page.next_cursor) is None:
            return found


# Put away and pinned


async def test_what_is_put_away_is_out_of_lists_and_else_as_it_was(ana):
    await said(ana, "a", "b", "c")
    before = await ana.get_conversation("b")

    away = await ana.archive_conversation("b")
    assert (away.archived, away.pinned, away.version) == (True, False, before.version + 1)
    assert away.updated_at == before.updated_at, "its place is kept"
    assert ids(await ana.list_user_conversations()) == ["c", "a"]
    assert ids(await ana.list_user_conversations(archived=True)) == ["b"]
    assert ids(await ana.list_user_conversations(archived=None)) == ["c", "b", "a"]
    assert ids(await every(ana.iter_conversations())) == ["a", "b", "c"], "an export has all"
    assert ids(await every(ana.iter_conversations(archived=False))) == ["a", "c"]
    assert [m.content for m in await ana.get_history("b")] == ["about b"]
    await ana.save_message("b", "user", "more")
    assert (await ana.get_conversation("b")).archived, "what is said in it takes nothing back"
    assert not (await ana.unarchive_conversation("b")).archived
    assert ids(await ana.list_user_conversations()) == ["b", "c", "a"]


async def test_what_is_pinned_is_a_list_of_its_own(ana):
    await said(ana, "a", "b", "c")
    assert (await ana.pin_conversation("a")).pinned
    assert (await ana.pin_conversation("a")).pinned, "twice is as good as once"

    assert ids(await ana.list_user_conversations(pinned=True)) == ["a"]
    assert ids(await ana.list_user_conversations(pinned=False)) == ["c", "b"]
    assert ids(await ana.list_user_conversations()) == ["c", "b", "a"]
    assert not (await ana.unpin_conversation("a")).pinned
    both = await ana.update_conversation("c", archived=True, pinned=True, title="mine")
    assert (both.archived, both.pinned, both.title) == (True, True, "mine")
    assert (await ana.update_conversation("c", title="yours")).pinned, "only what is given is changed"
    assert await ana.list_user_conversations(pinned=True) == []


async def test_one_that_is_made_anew_is_neither(ana):
    await ana.save_messages("c", ["hi"] * 2_001)
    await ana.update_conversation("c", archived=True, pinned=True)
    await ana.delete_conversation("c")

    await said(ana, "c")
    found = await ana.get_conversation("c")
    assert (found.archived, found.pinned) == (False, False)


@pytest.mark.parametrize("verb", ["archive", "unarchive", "pin", "unpin"])
async def test_what_is_not_there_is_neither(ana, verb):
    with pytest.raises(ConversationNotFound):
        await getattr(ana, f"{verb}_conversation")("none")


# Filters, orders, counts


async def test_filters_go_together(ana):
    await said(ana, "a", "b", dept_id="hr", metadata={"ticket": {"id": 7, "tags": ["x", "y"]}, "open": True})
    await said(ana, "c", dept_id="hr", metadata={"ticket": {"id": 8}})
    await said(ana, "d")
    await ana.pin_conversation("b")

    async def found(**where):
        listed = ids(await ana.list_user_conversations(**where))
        assert len(listed) == await ana.count_conversations(**where)
        assert sorted(listed) == sorted(ids(await every(ana.iter_conversations(**where))))
        assert sorted(listed) == sorted(ids(await ana.list_user_conversations(order="created", **where)))
        return listed

    assert await found(dept_id="hr") == ["c", "b", "a"]
    assert await found(metadata={"ticket": {"id": 7}}) == ["b", "a"]
    assert await found(metadata={"ticket": {"tags": ["y"]}, "open": True}, pinned=True) == ["b"]
    assert await found(metadata={"ticket": {"id": 7}}, dept_id="sales") == []
    assert await found(metadata={}) == ["d", "c", "b", "a"]
    assert await found(metadata={"nul\0": "x"}) == []


async def test_time_is_that_of_the_last_change(ana):
    for day, name in enumerate("abcd"):
        await dated(ana, name, day)

    where = {"since": THEN + timedelta(days=1), "until": THEN + timedelta(days=3)}
    assert ids(await ana.list_user_conversations(**where)) == ["c", "b"]
    assert ids(await every(ana.iter_conversations(**where))) == ["b", "c"]
    assert ids(await ana.list_user_conversations(order="created", **where)) == ["c", "b"]
    assert await ana.count_conversations(**where) == 2
    assert await pages(ana.list_user_conversations, limit=1, **where) == ["c", "b"]
    assert await ana.list_user_conversations(since=timedelta(days=1)) == []
    assert await ana.count_conversations(until=timedelta(days=1)) == 4


async def test_in_the_order_in_which_they_were_begun(ana):
    for day, name in ((2, "b"), (1, "a"), (3, "c")):
        await dated(ana, name, day)
    await dated(ana, "a", 9)

    assert ids(await ana.list_user_conversations()) == ["a", "c", "b"]
    assert ids(await ana.list_user_conversations(order="created")) == ["c", "b", "a"]
    assert await pages(ana.list_user_conversations, order="created", limit=1) == ["c", "b", "a"]
    first = await ana.list_user_conversations(1)
    with pytest.raises(
        InvalidArgument, match=r"^cursor: must be the next_cursor of a page in the same order"
    ):
        await ana.list_user_conversations(1, order="created", cursor=first.next_cursor)


@pytest.mark.parametrize("order", ["updated", "created"])
def test_what_is_written_between_pages_moves_no_other_from_its_place(
    blocking_memory: ConversationMemory, order
):
    ana = blocking_memory.for_user("ana")
    for n in range(30):
        ana.save_message(f"c{n:02}", "user", "hi")
    expected = ids(ana.list_user_conversations(100, order=order))
    found, cursor, spoken = [], None, []
    while True:
        page = ana.list_user_conversations(4, cursor=cursor, order=order)
        found += ids(page)
        if (cursor := page.next_cursor) is None:
            break
        spoken += [f"c{len(spoken):02}", f"new{len(spoken)}"]
        for name in spoken[-2:]:
            ana.save_message(name, "user", "still talking")
        ana.delete_conversation(found[0]) if len(found) == 4 else None

    assert len(found) == len(set(found)), "none twice"
    assert [one for one in expected if one not in spoken] == [one for one in found if one not in spoken]
    if order == "created":
        assert found == expected, "not even what was spoken in"


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [
        ("archived", 1),
        ("pinned", "yes"),
        ("dept_id", ""),
        ("since", "yesterday"),
        ("until", datetime(2024, 5, 6)),  # noqa: DTZ001 - without a zone, which is wrong
        ("metadata", [1]),
        ("order", "newest"),
    ],
)
async def test_a_wrong_filter_is_named(memory, ana, argument, wrong):
    with pytest.raises(InvalidArgument, match=f"^{argument}: "):
        await ana.list_user_conversations(**{argument: wrong})
    with pytest.raises(InvalidArgument, match=f"^{argument}: "):
        await memory.operator.list_conversations(**{argument: wrong})
    if argument in {"archived", "pinned"}:
        with pytest.raises(InvalidArgument, match=f"^{argument}: must be True or False"):
            await ana.update_conversation("c", **{argument: wrong})


# An operator's view


@pytest.fixture(params=[2, 5_000])
def stretch(request, monkeypatch):
    """How many conversations one statement looks at."""
    for one in (awaited_operators, blocking_operators):
        monkeypatch.setattr(one, "_STRETCH", request.param)
    return request.param


@pytest.mark.usefixtures("stretch")
async def test_an_operator_lists_everybodys(memory):
    for day, who in enumerate(["ana", "bob", "eve", "ana", "bob"]):
        await dated(memory.for_user(who), f"c{day}", day)
    await memory.create_conversation("bob", conversation_id="hrs", dept_id="hr", metadata={"case": 7})
    await memory.archive_conversation("c1", user_id="bob")
    operator = memory.operator

    everything = await operator.list_conversations()
    assert [(c.id, c.user_id) for c in everything] == [
        ("hrs", "bob"),
        *((f"c{n}", who) for n, who in [(4, "bob"), (3, "ana"), (2, "eve"), (1, "bob"), (0, "ana")]),
    ]
    for order in ("updated", "created"):
        assert await pages(operator.list_conversations, limit=2, order=order) == ids(everything)
    assert sorted(ids(await every(operator.iter_conversations()))) == sorted(ids(everything))
    assert await operator.count_conversations() == 6
    assert ids(await operator.list_conversations(dept_id="hr")) == ["hrs"]
    assert ids(await operator.list_conversations(metadata={"case": 7}, user_id="bob")) == ["hrs"]
    assert ids(await operator.list_conversations(user_id="bob", limit=2)) == ["hrs", "c4"]
    assert ids(await operator.list_conversations(archived=True)) == ["c1"]
    assert ids(await operator.list_conversations(until=THEN + timedelta(days=2))) == ["c1", "c0"]
    assert await operator.count_conversations(until=THEN + timedelta(days=2), archived=False) == 1
    assert await operator.count_conversations(user_id="ana") == 2
    assert ids(await every(operator.iter_conversations(user_id="ana"))) == ["c0", "c3"]
    assert ids(await every(operator.iter_conversations(dept_id="hr"))) == ["hrs"]


async def test_an_operator_finds_whose_a_uuid_is(memory):
    made = await memory.create_conversation("ana", conversation_id="plans", title="Plans")
    await memory.save_message("plans", "user", "where to?", user_id="ana")

    found = await memory.operator.find_conversation(str(made.uuid))
    assert (found.id, found.user_id) == ("plans", "ana")
    assert [m.content for m in await memory.get_messages(found, user_id=found.user_id)] == ["where to?"]
    assert await memory.operator.find_conversation(found) == found
    assert await memory.operator.find_conversation(uuid4()) is None
    with pytest.raises(InvalidArgument, match=r"^conversation_id: must be the UUID"):
        await memory.operator.find_conversation("plans")


async def test_an_operator_does_not_see_what_waits_to_be_taken_away(memory, database):
    made = await memory.create_conversation("ana", conversation_id="c")
    database.execute("UPDATE conversations SET user_id = ''")  # as the delete of a large one leaves it

    assert await memory.operator.list_conversations() == []
    assert await memory.operator.count_conversations() == 0
    assert await memory.operator.find_conversation(made.uuid) is None
