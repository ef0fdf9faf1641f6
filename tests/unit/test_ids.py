"""Ids: what may be one, and which row it means."""

import time
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convmemory import InvalidArgument
from convmemory.ids import checked_id, conversation_key, message_key, new_row_id

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


def test_a_uuid_is_the_rows_own_key_however_it_is_written():
    name = uuid4()
    for written in (name, str(name), str(name).upper()):
        key = conversation_key(written, "ana")
        assert (key.uuid, key.external_id, key.name, key.user_id) == (name, None, str(name), "ana")


SOME = UUID("0c7d3f1e-6f0b-4b8e-9d55-3a1c2b4d5e6f")


@pytest.mark.parametrize("near", [SOME.hex, f"{{{SOME}}}", f"urn:uuid:{SOME}", f"{SOME} ", "x"])
def test_what_only_looks_like_a_uuid_is_a_name(near):
    key = conversation_key(near, "ana")

    assert (key.external_id, key.name) == (near, near)
    assert key.uuid.version == 5


@given(IDS, IDS, IDS, IDS)
def test_a_name_means_one_conversation_of_one_user(user, name, other_user, other_name):
    first, second = conversation_key(name, user), conversation_key(other_name, other_user)

    assert first == conversation_key(name, user)
    if first.external_id and second.external_id:
        assert (first.uuid == second.uuid) == ((user, name) == (other_user, other_name))


def test_the_row_of_a_name_never_changes():
    assert conversation_key("session-1", "ana").uuid == UUID("89943047-4b0c-53f4-8581-4f7082865b90")
    assert message_key(UUID(int=1), "run-1") == UUID("219a98c0-7191-5ee6-96d1-fcd60970793e")


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
