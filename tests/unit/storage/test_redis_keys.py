"""Key names in Redis: no id reaches another's key, or a slot of its own making."""

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from convmemory.storage.redis_keys import Keys

IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=255)


def test_keys_are_named_as_documented():
    keys, name = Keys(""), uuid4()

    assert keys.window(name) == f"history:{{{name}}}:recent"
    assert keys.session("abc") == "session:{abc}"
    assert keys.user_sessions("ana") == "user:{ana}:sessions"
    assert Keys("app:").session("abc") == "app:session:{abc}"


@given(IDS, IDS, st.sampled_from(["", "app:", "convmemory:"]))
def test_no_two_ids_share_a_key_and_each_has_one_slot(one, other, prefix):
    keys = Keys(prefix)
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
