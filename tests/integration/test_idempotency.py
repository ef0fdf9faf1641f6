"""Calls that are made again: under one key they store once, and return what is stored."""

from contextlib import suppress

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import InvalidArgument, StorageUnavailable
from fix_memory import texts


async def stored(memory, conversation="c", user="ana"):
    return texts(await memory.get_messages(conversation, user_id=user, limit=1_000))


async def test_a_message_is_stored_once_under_its_key(memory):
    first = await memory.save_message("c", "user", "Pay 100", user_id="ana", idempotency_key="job 1")
    again = await memory.save_message("c", "user", "Pay 100", user_id="ana", idempotency_key="job 1")
    other = await memory.save_message("c", "user", "Pay 100", user_id="ana", idempotency_key="job 2")

    assert again == first
    assert other.id != first.id
    assert await stored(memory) == ["Pay 100", "Pay 100"]


async def test_what_a_second_call_says_otherwise_changes_nothing(memory):
    await memory.save_message("c", "user", "Pay 100", user_id="ana", idempotency_key="job")
    again = await memory.save_message("c", "user", "Pay 200", user_id="ana", idempotency_key="job")

    assert again.content == "Pay 100"
    assert await stored(memory) == ["Pay 100"]
    assert texts(await memory.get_history("c", user_id="ana")) == ["Pay 100"]


async def test_a_batch_goes_by_place_and_messages_with_ids_by_theirs(memory):
    batch = [HumanMessage("same"), HumanMessage("same"), AIMessage("with an id", id="x")]
    first = await memory.save_messages("c", batch, user_id="ana", idempotency_key="job")
    again = await memory.save_messages("c", batch, user_id="ana", idempotency_key="job")
    moved = await memory.save_messages("c", batch[::-1], user_id="ana", idempotency_key="other")

    assert (first.stored, again.stored, again.seqs, moved.stored) == (3, 0, first.seqs, 2)
    assert await stored(memory) == ["same", "same", "with an id", "same", "same"]


async def test_a_key_belongs_to_its_conversation(memory):
    for conversation, user in (("c", "ana"), ("d", "ana"), ("c", "eve")):
        await memory.save_message(conversation, "user", "x", user_id=user, idempotency_key="job")

    assert await stored(memory) == await stored(memory, "d") == await stored(memory, "c", "eve") == ["x"]


async def test_a_users_memory_takes_a_key_as_well(memory):
    mine = memory.for_user("ana") if not hasattr(memory, "blocking") else memory.blocking.for_user("ana")
    for _ in range(2):
        saved = mine.save_message("c", "user", "x", idempotency_key="job")
        batch = mine.save_messages("c", ["y"], idempotency_key="other job")
        if not hasattr(memory, "blocking"):
            await saved
            await batch

    assert await stored(memory) == ["x", "y"]


async def test_what_was_cleared_is_stored_anew(memory):
    await memory.save_message("c", "user", "x", user_id="ana", idempotency_key="job")
    await memory.clear("c", user_id="ana")
    await memory.save_message("c", "user", "x", user_id="ana", idempotency_key="job")

    assert await stored(memory) == ["x"]


@pytest.mark.parametrize("bad", ["", "x" * 256, 7, "\0"])
async def test_a_key_that_is_none_is_refused(memory, bad):
    with pytest.raises(InvalidArgument, match=r"^idempotency_key"):
        await memory.save_message("c", "user", "x", user_id="ana", idempotency_key=bad)


async def test_an_answer_that_was_lost_is_no_reason_to_store_twice(schema, make_memory, postgres_proxy):
    limits = {"statement_timeout": 1.5, "pool_timeout": 1.5, "pool_max": 1}  # the machine may be busy
    memory = await make_memory(postgres_proxy.url, None, **limits)
    for said in ("one", "two", "three"):  # by now the statement is prepared: it is sent whole
        await memory.save_message("c", "user", said, user_id="ana")
    postgres_proxy.mode = "drop_replies"
    with pytest.raises(StorageUnavailable):
        await memory.save_message("c", "user", "Pay 100", user_id="ana", idempotency_key="job")
    postgres_proxy.mode = "pass"
    postgres_proxy.reset_all()
    saved = None
    while saved is None:
        with suppress(StorageUnavailable):
            saved = await memory.save_message("c", "user", "Pay 100", user_id="ana", idempotency_key="job")

    assert saved.seq == 4
    assert await stored(memory) == ["one", "two", "three", "Pay 100"]


CALL = {"name": "look", "args": {"a": 1, "b": [1, {"c": 2, "d": 3}]}, "id": "t", "type": "tool_call"}


def in_another_order(value):
    if isinstance(value, dict):
        return {name: in_another_order(value[name]) for name in reversed(value)}
    return [in_another_order(one) for one in value] if isinstance(value, list) else value


PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
SAID_AGAIN = {
    "calls": (AIMessage("", id="m", tool_calls=[CALL]), AIMessage("", id="m", tool_calls=[in_another_order(CALL)])),
    "pictures": (HumanMessage([PICTURE], id="m"), HumanMessage([in_another_order(PICTURE)], id="m")),
    "words for text": (
        AIMessage([{"type": "output_text", "text": "hi"}, PICTURE], id="m"),
        AIMessage([{"type": "text", "text": "hi"}, PICTURE], id="m"),
    ),
    "blocks for text": (HumanMessage("hi", id="m"), HumanMessage([{"type": "input_text", "text": "hi"}], id="m")),
    "other pictures": (HumanMessage([PICTURE], id="m"), HumanMessage([PICTURE | {"image_url": {"url": "b"}}], id="m")),
    "other calls": (
        AIMessage("", id="m", tool_calls=[CALL]),
        AIMessage("", id="m", tool_calls=[CALL | {"args": {"a": "1"}}]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID_AGAIN)
async def test_the_same_in_other_writing_is_the_same(memory, case):
    """Whether it comes in one batch, where Python compares, or later, where PostgreSQL does."""
    first, again = SAID_AGAIN[case]
    stored = 2 if case.startswith("other") else 1
    assert (await memory.save_messages("one", [first, again], user_id="ana")).stored == stored
    await memory.save_messages("two", [first], user_id="ana")
    assert (await memory.save_messages("two", [again], user_id="ana")).stored == stored - 1
