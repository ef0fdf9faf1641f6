"""The model itself: the promise holds in every small scope, and leaving out any rule breaks it."""

from __future__ import annotations

import pytest

from model.coherence_model import HOLDS, MUTANTS, explore


@pytest.mark.parametrize("scope", HOLDS)
def test_the_promise_holds(scope):
    found = explore(HOLDS[scope])

    assert found.trace is None, found
    assert found.states > 1_000


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_rule_left_out_breaks_it(mutant):
    found = explore(MUTANTS[mutant], mutant)

    print(f"{mutant}: {found}")
    assert found.trace is not None


@pytest.mark.parametrize("scope", sorted(set(MUTANTS.values()), key=repr), ids=repr)
def test_the_same_scope_holds_with_the_rule(scope):
    assert explore(scope).trace is None
