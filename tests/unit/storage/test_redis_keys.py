"""Key names in Redis: no id reaches another's key, or a slot of its own making."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from convmemory.storage.redis_keys import Keys, server_named

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=255)


def test_keys_are_named_as_documented():
    keys, name = Keys("", "i"), uuid4()

    assert keys.window(name) == f"1:i:history:{{{name}}}:recent"
    assert keys.run(name) == f"1:i:run:{{{name}}}"
    assert keys.session("abc") == "1:i:session:{abc}"
    assert keys.user_sessions("ana") == "1:i:user:{ana}:sessions"
    assert Keys("app:", "i").session("abc") == "app:1:i:session:{abc}"
    assert Keys("app:").session("abc") == "app:1:session:{abc}"


def test_a_server_is_called_what_it_calls_itself():
    name = "3f" * 20

    assert server_named({"role": "master", "master_replid": name}) == name
    assert server_named({"master_replid": name.encode()}) == name


@pytest.mark.parametrize(
    "said",
    [{}, None, {"master_replid": "0" * 40}, {"master_replid": ""}, {"master_replid": "?"}, "# Replication"],
)
def test_one_that_does_not_say_who_it_is_has_no_name(said):
    assert server_named(said) is None


@given(IDS, IDS, st.sampled_from(["", "app:", "convmemory:"]))
def test_no_two_ids_share_a_key_and_each_has_one_slot(one, other, prefix):
    keys = Keys(prefix, "i")
    for kind in (keys.session, keys.user_sessions):
        assert (kind(one) == kind(other)) == (one == other)
    assert len(
        {keys.session(one), keys.user_sessions(one), keys.session(other), keys.user_sessions(other)}
    ) in (2, 4)
    name = keys.user_sessions(one)
    tag = name[name.index("{") + 1 : name.index("}")]
    assert tag
    assert "{" not in tag
    assert key_slot(name.encode()) == key_slot(tag.encode())
