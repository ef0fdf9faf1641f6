"""What a cached window is worth: snapshots, what they serve, and what the scripts' answers mean."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage

from convmemory.encoding.codec import encode, pack, unpack
from convmemory.ids import conversation_key
from convmemory.models import Draft
from convmemory.storage.postgres_rows import Batch, prepare
from convmemory.windows.cutting import recent
from convmemory.windows.snapshots import (
    ELSEWHERE,
    NO_CONVERSATION,
    NOTHING_BEFORE,
    Reply,
    Snapshot,
    parse_reply,
    snapshot_of,
)

KEY = conversation_key("c", "ana")
KEY.settle(str(UUID(int=7)))


def snapshot(entries: int, last: int, human: int = 0) -> Snapshot:
    return Snapshot("1", last, human, [b"%d" % seq for seq in range(last - entries + 1, last + 1)])


def test_a_snapshot_knows_where_it_begins_and_whether_it_is_all():
    assert snapshot(3, 10).first_seq == 8
    assert not snapshot(3, 10).whole
    assert snapshot(10, 10).whole
    assert (Snapshot().first_seq, Snapshot().whole, Snapshot().stamp) == (1, True, NO_CONVERSATION)


@pytest.mark.parametrize(
    ("want", "hard", "human", "expected"),
    [
        (3, 9, 0, [b"8", b"9", b"10"]),
        (3, 9, 9, [b"8", b"9", b"10"]),
        (3, 9, 6, [b"6", b"7", b"8", b"9", b"10"]),  # the newest turn is longer than what is wanted
        (3, 4, 2, [b"7", b"8", b"9", b"10"]),  # and bounded
        (6, 9, 0, [b"5", b"6", b"7", b"8", b"9", b"10"]),
        (9, 9, 0, [b"5", b"6", b"7", b"8", b"9", b"10"]),  # no more than there are
    ],
)
def test_the_newest_part_is_what_a_window_needs(want, hard, human, expected):
    found = snapshot(6, 10, human).newest(want, hard)

    assert found.entries == expected
    assert (found.stamp, found.last_seq, found.human_seq) == ("1", 10, human)


@given(
    humans=st.lists(st.booleans(), min_size=1, max_size=30),
    want=st.integers(1, 12),
    hard=st.integers(1, 30),
    keep=st.integers(0, 20),
    gaps=st.integers(0, 40),
)
def test_a_tail_gives_the_same_window_as_the_whole_conversation(humans, want, hard, keep, gaps):
    messages = [HumanMessage(str(n)) if human else AIMessage(str(n)) for n, human in enumerate(humans, 1)]
    newest_human = max((n for n, human in enumerate(humans, gaps + 1) if human), default=0)
    hard = max(hard, want)
    packed = [pack(encode(message)) for message in messages]
    everything = Snapshot("1", gaps + len(messages), newest_human, packed, gaps)
    kept = everything.newest(want + keep, max(hard, want + keep)).newest(want, hard)

    found = recent([unpack(entry) for entry in kept.entries], want, hard_max=hard, whole=kept.whole)
    assert found == recent(messages, want, hard_max=hard)


def test_the_scripts_answers_are_read():
    assert parse_reply([b"lease", b"t:1", b"e"]) == Reply("lease", token="t:1", era="e")
    assert parse_reply([b"miss"]) == Reply("miss")
    assert parse_reply([b"foreign"]) == Reply("foreign")
    assert parse_reply([b"elsewhere"]).verdict == ELSEWHERE
    assert parse_reply([b"hit", b"77", b"10", b"9", b"8", b"a", b"b"]) == Reply(
        "hit", Snapshot("77", 10, 9, [b"a", b"b"], 8)
    )
    assert parse_reply([b"hit", b"", b"0", b"0", b"0"]) == Reply("hit", Snapshot(entries=[]))


def test_postgresqls_rows_are_read():
    body = encode(HumanMessage("x")).body
    rows = [(True, "77", 10, 9, 0, False, seq, body, "x") for seq in (9, 10)]

    assert snapshot_of([]) == (True, Snapshot())
    assert snapshot_of([(False, "77", 10, 9, 0, None, None, None)])[0] is False
    assert snapshot_of([(True, "77", 0, 0, 0, None, None, None)]) == (True, Snapshot("77", 0, 0, []))
    assert snapshot_of(rows) == (True, Snapshot("77", 10, 9, [pack(encode(HumanMessage("x")))] * 2))


@pytest.mark.parametrize(
    ("human", "place"),
    [(20, 20), (18, 19), (3, 18), (2, 2), (0, 0)],  # that of seq 2 is not among them
)
def test_messages_with_gaps_between_them_are_counted_from_the_newest(human, place):
    body = encode(HumanMessage("x")).body
    rows = [(True, "77", 20, human, 16, False, seq, body, "x") for seq in (3, 18, 20)]
    found = snapshot_of(rows)[1]

    assert (found.first_seq, found.last_seq, found.human_seq, found.gaps) == (18, 20, place, 16)
    assert not found.whole
    assert snapshot_of([(True, *row[1:4], 17, *row[5:]) for row in rows])[1].whole


def test_a_conversation_that_was_cleared_holds_nothing_and_that_is_all():
    found = snapshot_of([(True, "77", 20, 0, 20, None, None, None)])[1]

    assert (found.first_seq, found.entries, found.whole) == (21, [], True)
    assert found.newest(6, 200) is found


# What an append sends, and what its answer means


NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
MOMENT = (NOW - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def batch(*messages) -> Batch:
    return prepare(KEY, [Draft(message) for message in messages])


def test_row_ids_are_made_once_and_stay():
    made = batch(HumanMessage("a"), HumanMessage("b", id="b"), HumanMessage("b", id="b"))

    assert made.places == [0, 1, 1]
    assert len(set(made.ids)) == 2
    assert made.ids[1] == batch(HumanMessage("else", id="b")).ids[0]
    assert (
        made.ids[1]
        != prepare(conversation_key(UUID(int=8), "ana"), [Draft(HumanMessage("b", id="b"))]).ids[0]
    )


def test_all_new_messages_stand_at_the_end():
    stored, written = batch(HumanMessage("a"), AIMessage("b")).outcome(KEY, (78, 77, 4, 12, 11, 2, MOMENT))

    appended = stored.appended({})
    assert (appended.conversation_id, appended.version, appended.seqs, appended.stored) == (
        "c",
        4,
        (11, 12),
        2,
    )
    assert [(m.seq, m.role, m.content, m.created_at) for m in appended.messages] == [
        (11, "human", "a", NOW),
        (12, "ai", "b", NOW),
    ]
    assert (written.stamp, written.before, written.first_seq, written.human_seq) == ("78", "77", 11, 11)
    assert [unpack(entry).content for entry in written.entries] == ["a", "b"]


def test_of_a_repeat_only_what_was_new_is_told_to_the_window():
    known, new = HumanMessage("known", id="k"), AIMessage("new", id="n")
    stored, written = batch(known, new, known).outcome(KEY, (78, 77, 4, 12, 3, 1, MOMENT, 3, 12))

    appended = stored.appended({})
    assert (appended.seqs, appended.stored, stored.earlier) == ((3, 12, 3), 1, stored.batch.ids[:1])
    assert (written.first_seq, written.human_seq) == (12, 0)
    assert [unpack(entry).content for entry in written.entries] == ["new"]


def test_a_whole_repeat_tells_no_messages():
    stored, written = batch(HumanMessage("known", id="k")).outcome(KEY, (77, None, 4, 12, 12, 0, MOMENT, 3))

    assert (written.stamp, written.before) == ("77", NOTHING_BEFORE)
    appended = stored.appended({})
    assert (appended.seqs, appended.stored, stored.earlier, list(written.entries)) == (
        (3,),
        0,
        stored.batch.ids,
        [],
    )


def test_columns_nobody_has_a_value_for_are_not_sent():
    parameters = batch(HumanMessage("a")).parameters()

    assert [name for name, value in parameters.items() if value is None] == [
        "tokens",
        "latencies",
        "created",
        "metadata",
        "facts",
        "contexts",
        "known",
    ]
    assert UUID(parameters["ids"].strip('{"}'))
