"""The model itself: the promise holds in the smaller scopes, and leaving out any rule breaks it."""

from __future__ import annotations

import pytest

from model.coherence_model import ATTACKS, HOLDS, JOURNAL_ATTACKS, JOURNALS, MERGED, explore
from model.rules import JOURNAL_RULES, RULES

pytestmark = pytest.mark.no_cover  # the model imports nothing of the library

SMALL = [
    "one cache",
    "and loses twice",
    "one cache, full reads",
    "deletes without a cache",
    "makes and deletes",
    "across two caches",
]
"""Those that take seconds; ``python -m model`` explores them all."""
SHOWN_BY = {
    "read asks the name": "copy, bare",
    "publish asks the name": "copy",
    "drain asks the name": "copy, bare",
    "a server names itself": "copy, bare",
    "read compares the era": "forget",
    "publish compares the era": "back, again",
    "one era a call": "forget",
    "a look asks for the row": "forget",
    "a new row, a new era": "forget",
    "the row has the history": "back, deaf",
    "registering waits": "fresh",
    "writes mark others": "two",
    "bare writers mark": "bare",
    "hands mark": "hand",
    "mark mine too": "across",
    "a failed publish marks": "deaf",
    "a failed publish distrusts": "deaf",
    "drain only mine": "two",
    "drop before clear": "two processes",
    "clear only what I saw": "bare, two",
    "a look counts from its begin": "bare, two",
    "a drain drops": "deaf, bare",
    "every mark is another": "hands",
    "extend by stamp": "back, again",
    "keep by stamp": "back, again",
    "nothing is not extended": "deleted",
    "a fresh stamp an attempt": "back, again",
    "a repeat tells": "again",
    "fill needs the lease": "one",
    "publish ends the lease": "one",
    "tell ends the lease": "miss",
    "a miss tells": "miss",
    "a full read tells": "full",
}
"""The attack that shows what comes of leaving out each rule: ``python -m model RULE`` looks for the first one that does."""


JOURNAL_SHOWN_BY = {
    "stored by row id": "j",
    "an entry has its life": "j and clear",
    "a removed row leaves its id": "j and pop",
    "a buffered statement names its life": "b, clear",
    "a drain marks others": "j, two caches",
    "remove after commit": "j",
    "remove by id": "jj",
    "settle in one script": "j",
    "fill empties the journal": "j, hand",
    "a delete leaves the journal": "j, back, clear",
    "a drain's settle asks the name": "j, flush, move",
    "a read settles what it stored": "j, flush, move, full",
    "read shows the journal": "j",
    "a window knows of its journal": "j, flush",
    "not shown twice": "j and clear, mute",
    "a miss drains first": "j and pop",
    "a full read drains first": "j, full",
    "a pop drains first": "j and pop",
    "a commit drains first": "j and a",
    "append needs a window": "j, hand",
    "append names the life": "j and clear, mute",
    "append asks the name": "j, copy",
    "the writer remembers": "j and a, mute",
    "what is remembered apart comes first": "j, led astray",
    "mine first when alone": "j and a, mute",
    "the statement asks for the journal": "allowed late",
    "the database allows journals": "allowed, restart",
}
SLOW = {"a drain's settle asks the name", "a read settles what it stored", "append names the life"}
"""Those that take more than a few seconds: ``python -m model RULE`` leaves them out."""
SMALL_JOURNALS = [
    "journal, popped, quietly",
    "journal, a bare writer",
    "journal, by hand",
    "journal, back, slow",
]


@pytest.mark.parametrize("scope", SMALL)
def test_the_promise_holds(scope):
    found = explore(HOLDS[scope])

    assert found.trace is None, found
    assert found.states > 1_000


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_left_out_breaks_it(rule):
    found = explore(ATTACKS[SHOWN_BY[rule]], rule, limit=100_000)

    print(f"{rule}: {found}")
    assert found.trace is not None


@pytest.mark.parametrize("scope", ATTACKS)
def test_the_same_scope_holds_with_the_rule(scope):
    found = explore(ATTACKS[scope], limit=10_000)

    assert found.trace is None, found


@pytest.mark.parametrize("scope", SMALL_JOURNALS)
def test_the_promise_holds_with_journals(scope):
    found = explore((JOURNALS | MERGED)[scope])

    assert found.trace is None, found
    assert found.states > 1_000


@pytest.mark.parametrize("rule", [rule for rule in JOURNAL_RULES if rule not in SLOW])
def test_a_rule_of_the_journal_left_out_breaks_it(rule):
    found = explore(JOURNAL_ATTACKS[JOURNAL_SHOWN_BY[rule]], rule, limit=20_000)

    print(f"{rule}: {found}")
    assert found.trace is not None


@pytest.mark.parametrize("scope", JOURNAL_ATTACKS)
def test_the_same_scope_holds_with_the_rule_of_the_journal(scope):
    found = explore(JOURNAL_ATTACKS[scope], limit=4_000)

    assert found.trace is None, found
