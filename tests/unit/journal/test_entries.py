"""What waits: how it is written and read, in which order it is sent, and how it is shown behind a window."""

import json
from uuid import UUID, uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import Draft
from convmemory.encoding.codec import encode, pack, unpack
from convmemory.ids import ConversationKey
from convmemory.journal.entries import (
    Entry,
    Write,
    entries_in,
    in_order,
    joined,
    with_row,
    without_rows,
)
from convmemory.journal.remembered import SWEEP_EVERY, Remembered
from convmemory.storage.postgres_rows import prepare
from convmemory.windows.snapshots import Snapshot

KEY = ConversationKey(uuid4(), "ana")


def entry(*messages, life="1", since=None):
    drafts = [Draft(message) for message in messages]
    return Write(KEY, prepare(KEY, drafts, None, since), since, None, True).entry(life)


def lying(*entries, first=1):
    """A journal's fields and values."""
    fields = [(one.id.encode(), f"{n} {one.text}".encode()) for n, one in enumerate(entries, first)]
    return [word for pair in [*fields, (b"n", b"9"), (b"b", b"1"), (b"o", b"2")] for word in pair]


def window(*messages, last=None):
    packed = [with_row(pack(encode(message)), uuid4().hex) for message in messages]
    return Snapshot("s", last or len(messages), 1 if messages else 0, packed)


def texts(snapshot):
    return [unpack(one).content for one in snapshot.entries]


def test_an_entry_is_read_as_it_was_written_in_the_order_of_its_number():
    one, two = entry(HumanMessage("a\nb\0c")), entry(AIMessage("x", id="m"), HumanMessage("ü"), since=4)

    assert entries_in(lying(one, two)) == [one, two]
    assert entries_in(lying(two, one)[::1]) == [two, one]
    assert entries_in([]) == []
    said = json.loads(two.text)
    assert (said["l"], said["s"], said["u"], "make" in said) == ("1", 4, "ana", False)
    own = json.loads(entry(HumanMessage("x"), life="").text)
    assert ("l" in own, own["make"], own["sent"], "w" in own["rows"][0]) == (False, True, False, False)


def test_an_entry_of_another_format_is_left_where_it_is():
    later = entry(HumanMessage("x"))
    changed = Entry(later.id, "1", "ana", later.text.replace('"v": 1', '"v": 2'), later.rows)

    assert entries_in(lying(changed, later)) == [later]


@pytest.mark.parametrize(
    ("waiting", "mine", "sent"),
    [
        ("abc", "", "abc"),
        ("abc", "b", "abc"),
        ("bc", "ab", "abc"),
        ("b", "bc", "bc"),
        ("xc", "abc", "xabc"),
        ("", "ab", "ab"),
    ],
)
def test_what_redis_lost_goes_before_the_writers_next_that_is_there(waiting, mine, sent):
    named = {name: Entry(name, "1", "ana", "", ()) for name in "abcx"}

    found = in_order([named[name] for name in waiting], [named[name] for name in mine])
    assert "".join(one.id for one in found) == sent


def test_a_hit_is_the_window_and_what_waits_behind_it():
    seen = window(HumanMessage("1"), AIMessage("2"), last=10)
    found = joined(seen, [entry(HumanMessage("3")), entry(AIMessage("4"), AIMessage("5"))])

    assert texts(found) == ["1", "2", "3", "4", "5"]
    assert (found.last_seq, found.pending, found.since, found.human_seq) == (13, 3, 10, 11)
    assert texts(without_rows(seen)) == ["1", "2"]
    assert texts(found.newest(1, 1)) == ["5"]
    assert found.newest(1, 1).since == 10


def test_what_the_window_shows_is_not_shown_again():
    there, other = entry(HumanMessage("1")), entry(AIMessage("2", id="m"))
    rows = [there.rows[0], other.rows[0]]
    seen = Snapshot("s", 2, 1, [with_row(row.packed, row.id) for row in rows])

    assert texts(joined(seen, [there, other])) == ["1", "2"]
    assert texts(joined(seen, [entry(AIMessage("2", id="m"))])) == ["1", "2"]
    assert texts(joined(seen, [entry(AIMessage("other", id="m")), entry(AIMessage("other", id="m"))])) == [
        "1",
        "2",
        "other",
    ]
    derived = Snapshot("s", 1, 0, [with_row(rows[1].packed, rows[1].other)])
    assert texts(joined(derived, [other])) == ["2"]


@pytest.mark.parametrize(
    ("since", "gaps", "shown", "doubtful"),
    [
        # "7" may be there, and so may "new": the window does not reach back
        (None, 0, ["8", "9", "7", "new"], True),
        (3, 0, ["8", "9", "7", "new"], True),
        (7, 0, ["8", "9", "7", "new"], False),  # what comes before is none of it
        (8, 0, ["8", "9", "7", "8", "new"], False),  # nor is the one that the window shows
        (7, 2, ["8", "9", "7", "8", "new"], True),  # which may be the sixth
        (-1, 0, ["8", "9", "7", "new"], True),
    ],
)
def test_a_message_that_was_given_before_is_doubtful_where_the_window_does_not_reach_back(
    since, gaps, shown, doubtful
):
    eight, nine = entry(AIMessage("8", id="m8")).rows[0], entry(HumanMessage("9")).rows[0]
    seen = Snapshot("s", 9, 9, [with_row(row.packed, row.id) for row in (eight, nine)], gaps)
    said = entry(AIMessage("7", id="m7"), AIMessage("8", id="m8"), AIMessage("new", id="n"), since=since)

    found = joined(seen, [said])
    assert (texts(found), found.doubtful) == (shown, doubtful)
    assert not joined(seen, [entry(HumanMessage("7")), entry(AIMessage("8"))]).doubtful
    whole = Snapshot("s", 9, 9, seen.entries, 7)
    assert joined(whole, [said]).doubtful == (since in {3, 7})


def test_what_is_sent_again_under_one_key_is_the_same_whatever_it_says():
    row = entry(AIMessage("8", id="m8")).rows[0]
    seen = Snapshot("s", 1, 0, [with_row(row.packed, row.id)])

    assert texts(joined(seen, [entry(AIMessage("other", id="m8"), since=-1)])) == ["8"]
    assert texts(joined(seen, [entry(AIMessage("other", id="m8"))])) == ["8", "other"]


def test_a_window_from_before_journals_is_taken_as_it_is():
    plain = Snapshot("s", 1, 1, [pack(encode(HumanMessage("1")))])

    assert without_rows(plain).entries == plain.entries


def test_a_process_remembers_in_order_and_forgets_what_was_confirmed():
    remembered, other = Remembered(), ConversationKey(UUID(int=2), "bob")
    one, two = entry(HumanMessage("1")), entry(HumanMessage("2"))
    for key, said in ((KEY, one), (KEY, two), (other, one)):
        remembered.add(key, said)
    assert remembered.of(KEY.uuid) == [one, two]
    assert remembered.conversations() == [KEY, other]
    assert remembered.bytes == 2 * len(one.text) + len(two.text)
    assert remembered.figures()["entries"] == 3

    remembered.forget(KEY.uuid, [one.id, "another"])
    assert remembered.of(KEY.uuid) == [two]
    remembered.forget(KEY.uuid, [two.id])
    remembered.forget(other.uuid, [one.id])
    assert not remembered
    assert (remembered.bytes, remembered.figures()["oldest_seconds"]) == (0, 0.0)


def test_a_process_knows_the_lives_it_read_last(monkeypatch):
    monkeypatch.setattr("convmemory.journal.remembered._LIVES", 2)
    remembered = Remembered()
    for n in (1, 2, 3):
        remembered.learn(UUID(int=n), f"life {n}")
    remembered.learn(UUID(int=3), "")

    assert [remembered.life(UUID(int=n)) for n in (1, 2, 3)] == ["", "life 2", ""]


def test_one_caller_is_to_sweep():
    remembered = Remembered()

    assert remembered.sweep_is_due(100.0, take=False)
    assert [remembered.sweep_is_due(100.0 + later) for later in (0, 1, SWEEP_EVERY)] == [True, False, True]
