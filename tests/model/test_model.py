"""The model itself: the promise holds in the smaller scopes, and leaving out any rule breaks it."""

from __future__ import annotations

import pytest

from model.coherence_model import ATTACKS, HOLDS, attack, explore
from model.rules import RULES

SMALL = [
    "one cache",
    "and loses twice",
    "one cache, full reads",
    "deletes without a cache",
    "makes and deletes",
    "across two caches",
]
"""Those that take seconds; ``python -m model`` explores them all."""


@pytest.mark.parametrize("scope", SMALL)
def test_the_promise_holds(scope):
    found = explore(HOLDS[scope])

    assert found.trace is None, found
    assert found.states > 1_000


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_left_out_breaks_it(rule):
    where, found = attack(rule)

    print(f"{rule} [{where}]: {found}")
    assert found.trace is not None


@pytest.mark.parametrize("scope", ATTACKS)
def test_the_same_scope_holds_with_the_rule(scope):
    found = explore(ATTACKS[scope], limit=10_000)

    assert found.trace is None, found
