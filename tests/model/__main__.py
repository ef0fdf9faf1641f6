"""Which scopes of the model hold, and the shortest way in which leaving out each rule breaks the promise."""

from __future__ import annotations

import argparse

from model.coherence_model import HOLDS, MORE, MUTANTS, explore


def main() -> int:
    """Explore and print; 1 if a scope does not hold or a rule is not missed."""
    parser = argparse.ArgumentParser(prog="python -m model", description=__doc__)
    parser.add_argument("--wide", action="store_true", help="more of everybody; ten minutes")
    wide = parser.parse_args().wide
    wrong = 0
    for name, scope in (HOLDS | MORE if wide else HOLDS).items():
        found = explore(scope)
        wrong += found.trace is not None
        print(f"{name}: {found}", flush=True)
    for name, scope in MUTANTS.items():
        found = explore(scope, name)
        wrong += found.trace is None
        print(f"without this rule, {name}: {found}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
