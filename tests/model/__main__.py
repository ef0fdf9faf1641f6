"""Which scopes of the model hold, and the shortest way in which leaving out each rule breaks the promise."""

from __future__ import annotations

import argparse

from model.coherence_model import HOLDS, JOURNALS, MERGED, MORE, attack, explore
from model.rules import JOURNAL_RULES, RULES


def main() -> int:
    """Explore and print; 1 if a scope does not hold or a rule is not missed."""
    parser = argparse.ArgumentParser(prog="python -m model", description=__doc__)
    parser.add_argument("--wide", action="store_true", help="larger scopes as well; long, and some gigabytes")
    parser.add_argument("rules", nargs="*", metavar="RULE", help="leave out only these, and explore no scope")
    told = parser.parse_args()
    wrong = 0
    scopes = HOLDS | JOURNALS | MERGED | (MORE if told.wide else {})
    rules = RULES | JOURNAL_RULES
    for name, scope in () if told.rules else scopes.items():
        found = explore(scope)
        wrong += found.trace is not None
        print(f"{name}: {found}", flush=True)
    for rule in told.rules or rules:
        where, found = attack(rule)
        wrong += found.trace is None
        print(f"without this rule, {rule} ({rules[rule]}) [{where}]: {found}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
