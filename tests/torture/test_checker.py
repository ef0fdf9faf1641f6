"""The checker itself: each broken promise is found in a handful of records, and nothing is found where none is broken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from torture.checker import LOOK, judge
from torture.records import (
    MISSING,
    OK,
    UNKNOWN,
    Attempt,
    Event,
    Fault,
    History,
    Read,
    Trespass,
    Write,
    collect,
)
from torture.truth import window

ROW = "4f0c"


class Story:
    """One conversation, told step by step: what is committed, and what its writers and readers say."""

    def __init__(self) -> None:
        self.history = History()
        self.events: list[Event] = []
        self.faults: list[Fault] = []
        self._length = self._transactions = 0

    def commit(self, *tokens: str) -> None:
        self._transactions += 1
        for token in tokens:
            self._length += 1
            self._event("i", self._length, f"c|{token}")
        self._event("u", self._length)

    def wipe(self, at: float = 0.0) -> None:
        self._transactions += 1
        self._event("u", 0, at=at)

    def _event(self, what: str, seq: int, text: str = "", at: float = 0.0) -> None:
        self.events.append(Event(self._transactions, ROW, what, seq, text, at))

    def append(
        self,
        *tokens: str,
        at: tuple[float, float],
        how: str = OK,
        marked: bool = False,
        stored: bool = True,
        cache: str = "",
        far: bool = False,
        pending: bool = False,
        worker: str = "",
    ) -> None:
        if stored:
            self.commit(*tokens)
        end = at[1] if how == OK else float("inf")
        self.history.writes.append(
            Write("append", "c", tokens, at[0], end, how, marked, cache, far, pending, pending, worker)
        )

    def journal(self, *tokens: str, at: tuple[float, float], worker: str = "", cache: str = "") -> None:
        """An append that Redis takes; PostgreSQL has it when it is ``drained``, or never."""
        self.append(*tokens, at=at, stored=False, pending=True, worker=worker, cache=cache)

    def drained(self, *tokens: str, at: float) -> None:
        self.commit(*tokens)
        self.events[-len(tokens) - 1 :] = [replace(e, at=at) for e in self.events[-len(tokens) - 1 :]]

    def go_back(self, kept: int, at: float) -> None:
        """A replica takes over that has the first ``kept`` transactions, each of one message."""
        self._length = kept
        self.events.append(Event(-1, ROW, "b", kept, "", at))

    def delete(self, at: tuple[float, float], how: str = OK, written: float = 0.0) -> None:
        self.wipe(written)
        end = at[1] if how == OK else float("inf")
        self.history.writes.append(Write("delete", "c", (), at[0], end, how))

    def read(
        self,
        *saw: str,
        at: tuple[float, float],
        want: int | None = None,
        dark: bool = False,
        cache: str = "",
        far: bool = False,
    ) -> None:
        self.history.reads.append(Read("c", "r", want, *at, saw, dark, cache=cache, far=far))

    def found(self) -> list[str]:
        return [violation.kind for violation in judge(self.history, self.events, self.faults).violations]

    def excused(self) -> dict[str, int]:
        return dict(judge(self.history, self.events, self.faults).excused)


@pytest.fixture
def story() -> Story:
    return Story()


FLUSHED = Fault("flush", 4, 5)
REDIS_AWAY = Fault("stop-redis", 0, 10, frozenset({"redis"}))


def test_a_peaceful_run_is_innocent(story: Story) -> None:
    story.append("1h", "2a", at=(1, 2))
    story.read("1h", "2a", at=(3, 4))
    story.append("3h", at=(5, 6))
    story.read("1h", "2a", at=(5.5, 5.8))
    story.read("1h", "2a", "3h", at=(7, 8))
    assert story.found() == []


def test_a_message_that_is_not_stored_is_lost(story: Story) -> None:
    story.append("1h", at=(1, 2), stored=False)
    assert story.found() == ["lost"]


def test_a_skipped_seq_is_lost(story: Story) -> None:
    story.commit("1h")
    story._length += 1
    story.commit("2a")
    assert story.found() == ["lost"]


def test_removing_messages_without_a_clear_is_a_loss(story: Story) -> None:
    story.append("1h", "2a", at=(1, 2))
    story._transactions += 1
    story._event("d", 1)
    assert story.found() == ["lost"]


def test_a_message_stored_twice_is_doubled(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.commit("1h")
    assert story.found() == ["doubled"]


def test_a_message_shown_twice_is_doubled(story: Story) -> None:
    story.append("1h", "2a", at=(1, 2))
    story.read("1h", "2a", "1h", "2a", at=(3, 4))
    assert story.found() == ["doubled"]


def test_a_window_without_its_beginning_is_lost(story: Story) -> None:
    story.append("1h", "2a", at=(1, 2))
    story.append("3h", "4a", at=(3, 4))
    story.read("3h", "4a", at=(5, 6), want=6)
    assert story.found() == ["lost"]


def test_half_a_batch_is_lost(story: Story) -> None:
    story.append("1h", "2a", at=(1, 5))
    story.read("1h", at=(2, 3))
    assert story.found() == ["lost"]


def test_writes_keep_their_order(story: Story) -> None:
    story.commit("2a")
    story.append("1h", at=(1, 2))
    story.history.writes.append(Write("append", "c", ("2a",), 3, 4, OK))
    assert story.found() == ["disorder"]


def test_concurrent_writes_may_come_in_any_order(story: Story) -> None:
    story.append("2a", at=(1, 4))
    story.append("1h", at=(0, 3))
    assert story.found() == []


def test_a_read_without_an_acknowledged_message_is_stale(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.read(at=(3, 4))
    assert story.found() == ["stale"]


def test_an_empty_read_is_not_excused_by_a_delete_to_come(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.read(at=(3, 4))
    story.delete(at=(5, 6), written=5.5)
    story.read("1h", at=(4.5, 4.8))
    assert story.found() == ["stale"]


def test_an_excused_empty_read_is_not_taken_for_a_delete_that_was_not_yet_written(story: Story) -> None:
    story.append("1h", at=(1, 2), marked=True)
    story.delete(at=(2.1, 6), written=5)
    story.read(at=(2.2, 2.5))
    story.read("1h", at=(3, 4))
    assert (story.found(), story.excused()) == ([], {"hidden, unplanned": 1})


def test_a_read_that_sees_less_than_an_earlier_one_is_stale(story: Story) -> None:
    story.append("1h", at=(1, 9))
    story.read("1h", at=(2, 3))
    story.read(at=(4, 5))
    assert story.found() == ["stale"]


def test_concurrent_reads_may_see_different_states(story: Story) -> None:
    story.append("1h", at=(1, 9))
    story.read("1h", at=(2, 5))
    story.read(at=(4, 6))
    assert story.found() == []


def test_unknown_outcomes_count_as_either(story: Story) -> None:
    story.append("1h", at=(1, 2), how=UNKNOWN)
    story.append("2h", at=(1, 2), how=UNKNOWN, stored=False)
    story.read(at=(3, 4))
    story.read("1h", at=(5, 6))
    assert story.found() == []


def test_what_was_never_committed_is_a_phantom(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.read("1h", "2a", at=(3, 4))
    assert story.found() == ["phantom"]


def test_what_was_deleted_must_not_come_back(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.delete(at=(3, 4))
    story.read("1h", at=(5, 6))
    assert story.found() == ["leaked"]


def test_a_read_beside_the_delete_sees_either(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.delete(at=(3, 6))
    story.read("1h", at=(4, 5))
    story.read(at=(4, 5))
    assert story.found() == []


def test_a_delete_of_unknown_outcome_may_have_happened(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.delete(at=(3, 4), how=UNKNOWN)
    story.read(at=(5, 6))
    assert story.found() == []


def test_a_delete_whose_connection_broke_may_have_deleted_twice(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.delete(at=(3, 8), written=4)
    story.append("2h", at=(5, 6))
    story.wipe(at=7)
    story.read(at=(9, 10))
    story.append("3h", at=(11, 12))
    story.read("3h", at=(13, 14))
    story.delete(at=(20, 21), written=20.5)
    assert story.found() == []


def test_a_delete_that_was_acknowledged_and_did_nothing_is_lost(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.history.writes.append(Write("delete", "c", (), 3, 4, OK))
    assert story.found() == ["lost"]


def test_a_life_after_the_delete_is_another(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.delete(at=(3, 4))
    story.append("2h", at=(5, 6))
    story.read("2h", at=(7, 8))
    story.read("1h", "2h", at=(9, 10))
    assert story.found() == ["lost"]


def test_another_conversations_message_is_a_leak(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.read("other|1h", at=(3, 4))
    assert story.found() == ["leaked"]


def test_a_message_stored_under_another_conversation_is_a_leak(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story._length += 1
    story._event("i", story._length, "d|2h")
    assert "leaked" in story.found()


def test_a_stranger_must_see_nothing(story: Story) -> None:
    story.history.trespasses += [Trespass("c", 1, 2, 0), Trespass("c", 3, 4, 1)]
    assert story.found() == ["leaked"]


def test_an_unexpected_error_is_a_surprise(story: Story) -> None:
    story.history.surprises.append((1.0, "KeyError: 'x'"))
    assert story.found() == ["surprise"]


@pytest.mark.parametrize(("served", "found"), [(90, []), (10, ["useless"])])
def test_a_cache_that_serves_nothing_in_peace_is_useless(
    story: Story, served: int, found: Sequence[str]
) -> None:
    story.history.reads += [Read("c", "r", 6, at, at + 0.5, (), hit=at < served) for at in range(120)]
    assert story.found() == found


def test_a_marked_write_may_be_hidden_for_one_look(story: Story) -> None:
    story.faults.append(REDIS_AWAY)
    story.append("1h", at=(1, 2), marked=True)
    story.read(at=(2 + LOOK - 0.1, 5))
    assert (story.found(), story.excused()) == ([], {"hidden": 1})


def test_a_marked_write_must_be_seen_after_a_look(story: Story) -> None:
    story.faults.append(REDIS_AWAY)
    story.append("1h", at=(1, 2), marked=True)
    story.read(at=(2 + LOOK + 0.1, 5))
    assert (story.found(), story.excused()) == (["stale"], {})


def test_a_look_waits_for_postgresql(story: Story) -> None:
    story.faults += [REDIS_AWAY, Fault("stop-postgres", 2, 5, frozenset({"postgres"}))]
    story.append("1h", at=(1, 2), marked=True)
    story.read(at=(6, 7))
    assert (story.found(), story.excused()) == ([], {"hidden": 1})


def test_a_write_that_was_told_is_never_hidden(story: Story) -> None:
    story.faults.append(REDIS_AWAY)
    story.append("1h", at=(1, 2))
    story.read(at=(2.1, 2.2))
    assert story.found() == ["stale"]


def test_what_a_read_in_the_dark_saw_may_stay_unseen(story: Story) -> None:
    story.faults.append(REDIS_AWAY)
    story.append("1h", at=(1, 9))
    story.read("1h", at=(2, 3), dark=True)
    story.read(at=(4, 5))
    assert (story.found(), story.excused()) == ([], {"unseen": 1})


def test_but_not_what_a_read_in_the_light_saw_as_well(story: Story) -> None:
    story.faults.append(REDIS_AWAY)
    story.append("1h", at=(1, 9))
    story.read("1h", at=(2, 3), dark=True)
    story.read("1h", at=(2, 3))
    story.read(at=(4, 5))
    assert story.found() == ["stale"]


def test_nor_what_was_acknowledged_meanwhile(story: Story) -> None:
    story.faults.append(REDIS_AWAY)
    story.append("1h", at=(1, 3))
    story.read("1h", at=(2, 3), dark=True)
    story.read(at=(4, 5))
    assert story.found() == ["stale"]


def test_excuses_without_a_planned_fault_are_counted_apart(story: Story) -> None:
    story.append("1h", at=(1, 2), marked=True)
    story.read(at=(2.1, 2.2))
    assert (story.found(), story.excused()) == ([], {"hidden, unplanned": 1})


@pytest.mark.parametrize(
    ("messages", "want", "shown"),
    [
        ("1h 2a 3h 4a", None, "1h 2a 3h 4a"),
        ("1h 2a 3h 4a", 4, "1h 2a 3h 4a"),
        ("1h 2a 3h 4a", 3, "3h 4a"),
        ("1h 2a 3a 4a", 2, "1h 2a 3a 4a"),
        ("1a 2a 3a 4a", 2, "3a 4a"),
        ("0a 1h 2a 3h", 2, "3h"),
    ],
)
def test_windows_are_cut_to_whole_turns(messages: str, want: int | None, shown: str) -> None:
    assert window(messages.split(), want) == tuple(shown.split())


def test_records_of_a_killed_worker_are_read() -> None:
    read = {"k": "read", "by": "w1.0", "conv": "c", "saw": [], "want": 6, "from": 1.0, "at": 2.0, "how": OK}
    lines = [
        '{"k": "begin", "op": "w1.0-1", "do": "append", "conv": "c", "tokens": ["1h"], "at": 1.0}\n',
        json.dumps(read | {"dark": False, "hit": True, "well": True}) + "\n",
        '{"k": "end", "op": "w1.0-1", "at": 3.0, "ho',
    ]
    history = collect(lines)
    assert [(write.how, write.end) for write in history.writes] == [(UNKNOWN, float("inf"))]
    assert history.attempts == [Attempt("w1", False, 1.0, 2.0, OK, redis=True)]


def test_repeats_of_a_batch_are_one_write() -> None:
    begin = '{{"k": "begin", "op": "{}", "do": "append", "conv": "c", "tokens": ["1h"], "at": {}}}\n'
    end = '{{"k": "end", "op": "{}", "from": {}, "at": {}, "how": "{}", "marked": true}}\n'
    lines = [begin.format("w-1", 1), end.format("w-1", 1, 2, UNKNOWN)]
    lines += [begin.format("w-2", 3), end.format("w-2", 3, 4, OK)]
    assert collect(lines).writes == [Write("append", "c", ("1h",), 1, 4, OK, marked=True)]


def test_a_conversation_that_was_not_there_was_not_deleted() -> None:
    lines = ['{"k": "begin", "op": "w-1", "do": "delete", "conv": "c", "tokens": [], "at": 1}\n']
    lines += [f'{{"k": "end", "op": "w-1", "from": 1, "at": 2, "how": "{MISSING}", "marked": false}}\n']
    assert [write.how for write in collect(lines).writes] == [MISSING]


# Several caches


def test_what_another_cache_was_told_may_be_missed_until_the_next_look(story):
    story.append("1h", at=(0, 1))
    story.append("2a", at=(2, 3), cache="elsewhere")
    story.read("1h", at=(3.1, 3.2))
    assert (story.found(), story.excused()) == ([], {"apart": 1})

    story.read("1h", at=(3 + LOOK + 0.1, 5))
    assert story.found() == ["stale"]


def test_what_ones_own_cache_was_told_may_not_be_missed_at_all(story):
    story.append("1h", at=(0, 1), cache="elsewhere")
    story.append("2a", at=(2, 3), cache="elsewhere")
    story.read("1h", at=(3.1, 3.2), cache="elsewhere")

    assert story.found() == ["stale"]


def test_an_empty_read_need_not_have_been_shown_the_wipe_to_come(story):
    story.append("1h", at=(0, 1), cache="elsewhere")
    story.read(at=(1.1, 1.3))  # what was cached before, which another cache's writer excuses
    story.delete(at=(1.0, 9), how=UNKNOWN, written=1.2)
    story.read("1h", at=(1.4, 1.5))
    assert story.found() == []

    story.read(at=(1.6 + LOOK, 1.7 + LOOK))  # nothing excuses that one: it was shown the wipe
    story.read("1h", at=(1.8 + LOOK, 1.9 + LOOK))
    assert story.found() == ["stale"]


def test_what_one_cache_has_shown_binds_that_one_alone(story):
    story.append("1h", at=(0, 1))
    story.append("2a", at=(2, 9), how=UNKNOWN)
    story.read("1h", "2a", at=(5, 6), cache="elsewhere")
    story.read("1h", at=(6.1, 6.2))
    assert story.found() == []

    story.read("1h", at=(6.1, 6.2), cache="elsewhere")
    assert story.found() == ["stale"]


def test_who_was_led_to_a_copy_of_redis_had_another_cache(story):
    story.faults.append(Fault("copy-redis", 0, 3, frozenset({"redis", "copy"})))
    story.append("1h", at=(0, 1))
    story.append("2a", at=(2, 3), far=True)
    story.read("1h", at=(3.1, 3.2))
    assert (story.found(), story.excused()) == ([], {"apart": 1})

    story.read("1h", at=(3 + LOOK + 0.1, 5))
    assert story.found() == ["stale"]


def test_who_was_not_led_anywhere_had_not(story):
    story.append("1h", at=(0, 1))
    story.append("2a", at=(2, 3), far=True)
    story.read("1h", at=(3.1, 3.2))
    assert story.found() == ["stale"]


# A PostgreSQL that goes back


def test_what_postgresql_lost_is_owed_no_more(story):
    story.append("1h", at=(0, 1))
    story.append("2a", at=(2, 3))
    story.go_back(1, at=4)
    story.read("1h", at=(4.5, 5))
    assert (story.found(), story.excused()) == ([], {"gone": 1})


def test_but_not_before_it_was_lost(story):
    story.append("1h", at=(0, 1))
    story.append("2a", at=(2, 3))
    story.go_back(1, at=4)
    story.read("1h", at=(3.5, 3.9))
    assert story.found() == ["stale"]


def test_what_was_written_afterwards_is_owed(story):
    story.append("1h", at=(0, 1))
    story.append("2a", at=(2, 3))
    story.go_back(1, at=4)
    story.append("3h", at=(4.2, 4.4))
    story.read("1h", "3h", at=(4.5, 4.6))
    assert story.found() == []

    story.read("1h", "2a", at=(4.5, 4.6))
    assert story.found() == ["stale"]


def test_what_was_lost_may_be_shown_until_the_next_look(story):
    story.append("1h", at=(0, 1))
    story.append("2a", at=(2, 3))
    story.go_back(1, at=4)
    story.read("1h", "2a", at=(4 + LOOK - 0.1, 5))
    assert story.found() == []

    story.read("1h", "2a", at=(4 + LOOK + 0.1, 6))
    assert story.found() == ["phantom"]


def test_what_was_lost_and_sent_again_is_stored(story):
    story.append("1h", at=(0, 1))
    story.append("2a", at=(2, 3), how=UNKNOWN)
    story.go_back(1, at=4)
    story.append("2a", at=(2, 6))
    story.read("1h", "2a", at=(8, 9))
    assert story.found() == []

    story.read("1h", at=(8, 9))
    assert story.found() == ["stale"]


def test_what_was_stored_before_and_is_gone_is_lost(story):
    story.append("1h", at=(0, 1))
    story.append("2a", at=(2, 3))
    story.go_back(2, at=4)
    story.read("1h", at=(5, 6))
    assert story.found() == ["stale"]


def test_an_emptied_conversation_can_come_back(story):
    story.append("1h", at=(0, 1))
    story.delete(at=(2, 3), written=2.5)
    story.go_back(1, at=4)
    story.read("1h", at=(6, 7))
    assert (story.found(), story.excused()) == ([], {"gone": 1})


def test_what_waits_in_a_journal_is_shown_before_it_is_stored(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.journal("2a", at=(3, 4))
    story.read("1h", "2a", at=(5, 6))
    story.drained("2a", at=7)
    assert story.found() == []


def test_a_read_through_the_same_redis_that_lacks_what_waits_is_stale(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.journal("2a", at=(3, 4))
    story.read("1h", at=(5, 6))
    story.drained("2a", at=7)
    assert story.found() == ["stale"]


def test_a_read_through_another_cache_owes_it_once_it_is_stored(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.journal("2a", at=(3, 4))
    story.read("1h", at=(5, 6), cache="elsewhere:")
    story.drained("2a", at=7)
    story.read("1h", at=(7.5, 7.6), cache="elsewhere:")
    assert story.found() == []
    story.read("1h", at=(7 + LOOK + 0.1, 9), cache="elsewhere:")
    assert story.found() == ["stale"]


def test_a_write_from_elsewhere_may_stand_before_what_waits_and_no_other(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.journal("2a", at=(3, 4))
    story.append("3h", at=(5, 6), cache="none")
    story.read("1h", "2a", at=(6.5, 6.6))
    story.drained("2a", at=7)
    assert story.found() == []
    other = Story()
    other.append("1h", at=(1, 2))
    other.journal("2a", at=(3, 4))
    other.append("3h", at=(5, 6))
    other.drained("2a", at=7)
    assert other.found() == ["disorder"]


def test_what_a_journal_acknowledged_and_nobody_stored_is_lost(story: Story) -> None:
    story.journal("1h", at=(1, 2), worker="a")
    assert story.found() == ["lost"]
    story.faults.append(replace(FLUSHED))
    story.history.ended.add("a")  # it went on, and should have sent it again
    assert story.found() == ["lost"]


def test_unless_redis_lost_it_and_its_writer_was_killed(story: Story) -> None:
    story.journal("1h", at=(1, 2), worker="a")
    story.faults.append(FLUSHED)
    assert story.found() == []
    assert story.excused() == {"lost with its writer": 1}


@pytest.mark.parametrize(("want", "found"), [(2, []), (6, ["stale"]), (None, ["stale"])])
def test_a_window_of_what_was_lost_with_its_writer_alone_owes_what_it_had_room_for(
    story: Story, want: int | None, found: list[str]
) -> None:
    story.append("1h", "2a", at=(1, 2))
    story.journal("3a", "4a", at=(3, 4), worker="a")
    story.read("3a", "4a", at=(5, 6), want=want)
    story.faults.append(FLUSHED)
    assert story.found() == found


def test_what_waits_though_it_is_stored_already_is_shown_once_more_at_the_end(story: Story) -> None:
    """PostgreSQL carried out what it was sent, and answered too late: a journal took it as well."""
    story.commit("1h")
    story.append("2h", "3a", at=(2, 3))
    story.append("4h", "5a", at=(4, 5))
    story.journal("1h", at=(1, 6))
    story.read("4h", "5a", "1h", at=(7, 8), want=3)
    assert story.found() == []
    story.read("2h", "1h", at=(7, 8), want=6)
    assert story.found() == ["stale"]


def test_what_redis_lost_may_stand_where_it_was_sent_again(story: Story) -> None:
    story.faults.append(FLUSHED)
    story.journal("1h", at=(1, 2), worker="a")
    story.append("2h", at=(5, 6))
    story.read("2h", at=(6.5, 6.6))
    story.drained("1h", at=7)
    assert story.found() == []


def test_what_waits_and_is_shown_twice_is_doubled(story: Story) -> None:
    story.append("1h", at=(1, 2))
    story.journal("2a", at=(3, 4))
    story.read("1h", "2a", "2a", at=(5, 6))
    story.drained("2a", at=7)
    assert story.found() == ["doubled"]


def test_an_entry_that_comes_back_after_a_delete_has_leaked(story: Story) -> None:
    story.journal("1h", at=(1, 2))
    story.drained("1h", at=3)
    story.delete(at=(4, 5), written=4.5)
    story.drained("1h", at=6)
    assert "leaked" in story.found()
