"""Ids: what may be one, and which row it means."""

import time
from uuid import UUID, uuid4, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convmemory import InvalidArgument, NotOpen
from convmemory.ids import (
    ConversationKey,
    checked_id,
    conversation_key,
    message_key,
    new_row_id,
    other_row_id,
    repeat_key,
)

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=255)


@given(IDS)
def test_any_text_of_1_to_255_characters_is_an_id(text):
    assert checked_id("user_id", text) == text


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (None, "must be a string of 1 to 255 characters, not NoneType"),
        (7, "must be a string of 1 to 255 characters, not int"),
        ("", "must have 1 to 255 characters, has 0"),
        ("x" * 256, "must have 1 to 255 characters, has 256"),
        ("a\0b", "must not hold NUL characters or lone surrogates"),
        ("ä\ud800", "must not hold NUL characters or lone surrogates"),
    ],
)
def test_what_is_wrong_with_an_id_is_said(bad, why):
    with pytest.raises(InvalidArgument) as caught:
        checked_id("user_id", bad)

    assert str(caught.value) == f"user_id: {why}"
    assert isinstance(caught.value, ValueError)


SOME = UUID("0c7d3f1e-6f0b-4b8e-9d55-3a1c2b4d5e6f")


def settled(name, user, installation=SOME):
    key = conversation_key(name, user)
    key.settle(str(installation))
    return key


def test_a_uuid_is_the_rows_own_key_however_it_is_written():
    name = uuid4()
    for written in (name, str(name), str(name).upper(), name.hex, name.hex.upper()):
        key = settled(written, "ana")
        assert (key.uuid, key.external_id, key.name, key.user_id) == (name, None, str(name), "ana")


@pytest.mark.parametrize(
    "near", [f"{{{SOME}}}", f"urn:uuid:{SOME}", f"{SOME} ", SOME.hex[:-1], f"{SOME}"[:-1], "x"]
)
def test_what_only_looks_like_a_uuid_is_a_name(near):
    key = settled(near, "ana")

    assert (key.external_id, key.name) == (near, near)
    assert key.uuid.version == 5


@given(IDS, IDS, IDS, IDS)
def test_a_name_means_one_conversation_of_one_user(user, name, other_user, other_name):
    first, second = settled(name, user), settled(other_name, other_user)

    assert first == settled(name, user)
    if first.external_id and second.external_id:
        assert (first.uuid == second.uuid) == ((user, name) == (other_user, other_name))


def test_which_row_a_name_means_only_the_installation_tells():
    key = conversation_key("vacation", "ana")
    with pytest.raises(NotOpen):
        key.uuid  # noqa: B018 - it is looked up there

    rows = [settled("vacation", "ana", uuid4()).uuid for _ in range(2)]
    assert rows[0] != rows[1]
    key.settle(str(SOME))
    assert key.uuid not in rows
    assert conversation_key(key.uuid, "ana").uuid == key.uuid
    found = ConversationKey(SOME, "ana", "vacation")  # as a Conversation brings its own
    found.settle(str(uuid4()))
    assert found.uuid == SOME


def test_the_row_of_a_name_never_changes():
    assert settled("session-1", "ana").uuid == uuid5(SOME, "3:anasession-1")
    assert message_key(UUID(int=1), "run-1") == UUID("00000000-0001-5ee6-96d1-fcd60970793e")


def test_ids_made_of_something_come_before_every_new_one_and_lie_together_in_a_conversation():
    here, there = uuid4(), uuid4()
    made = sorted(
        make(where, f"run-{n}")
        for where in (here, there)
        for make in (message_key, lambda where, name: repeat_key(where, name, 0))
        for n in range(50)
    )
    other = other_row_id(made[0].hex, None, "human", "x", "{}")

    assert other[:12] == made[0].hex[:12]
    assert made[-1].hex < new_row_id()
    assert len({row.hex[:12] for row in made[:100]}) == len({row.hex[:12] for row in made[100:]}) == 1


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_message_id_is_one_row_in_its_conversation(one, other):
    here, there = UUID(int=1), UUID(int=2)

    assert (message_key(here, one) == message_key(here, other)) == (one == other)
    assert message_key(here, one) != message_key(there, one)


def test_new_row_ids_are_version_7_in_the_order_of_time():
    before = time.time_ns() // 1_000_000
    made = [UUID(new_row_id()) for _ in range(1000)]
    after = time.time_ns() // 1_000_000

    assert len(set(made)) == 1000
    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}
    times = [one.int >> 80 for one in made]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= after
