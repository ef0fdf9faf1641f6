"""Ids: what may be one, and which row it means."""

import time
from uuid import RFC_4122, UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convmemory import InvalidArgument, NotOpen
from convmemory.ids import (
    checked_id,
    conversation_key,
    is_row_of_a_name,
    message_key,
    new_row_id,
    other_row_id,
    repeat_key,
    row_of_name,
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
    assert key.uuid.version == 8


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


@given(IDS, IDS, st.uuids())
def test_the_row_of_a_name_is_known_for_one_and_no_other_row_is(user, name, other):
    installation, elsewhere = str(SOME), str(uuid4())
    row = row_of_name(installation, user, name)

    assert (row.version, row.variant) == (8, RFC_4122)
    assert is_row_of_a_name(installation, row)
    assert not is_row_of_a_name(elsewhere, row)
    for near in (row.int + 1, row.int ^ (1 << 127)):
        assert not is_row_of_a_name(installation, UUID(int=near % (1 << 128)))
    for version in "14578":
        assert not is_row_of_a_name(installation, UUID(f"{other.hex[:12]}{version}{other.hex[13:]}"))


def test_the_row_of_a_name_given_as_a_uuid_is_made_under_its_name_alone():
    named = settled("vacation", "ana")
    given_as_uuid, of_no_name = settled(str(named.uuid), "eve"), settled(str(uuid4()), "eve")

    assert (named.named_only, given_as_uuid.named_only, of_no_name.named_only) == (False, True, False)
    assert given_as_uuid.uuid == named.uuid


def test_the_row_of_a_name_never_changes():
    assert settled("session-1", "ana").uuid == UUID("54510221-b745-8f45-83fb-def728cf6087")
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
