"""The model itself: the promise holds in the smaller scopes, and leaving out any rule breaks it."""

from __future__ import annotations

import pytest

from model.coherence_model import ATTACKS, HOLDS, explore
from model.rules import RULES

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
