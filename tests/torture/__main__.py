"""Torture the library, and judge what its users would have seen.

    scripts/torture --seconds 60 --seed 1 --mode sync

Exits 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from torture import crew, report
from torture.faults import KINDS, OF_JOURNALS
from torture.mutants import MUTANTS
from torture.prove import CONTROLS, prove
from torture.run import Plan, run


def main() -> int:
    """Read the command line, run, print the table."""
    options = _parser().parse_args()
    if options.prove:
        return _prove(options.prove.split(","), options.seed)
    usual = tuple(kind for kind in KINDS if options.journals or kind not in OF_JOURNALS)
    kinds = tuple(options.only.split(",")) if options.only else usual
    if unknown := set(kinds) - set(KINDS) - {"none"}:
        sys.exit(f"--only: no such fault: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    kinds = tuple(kind for kind in kinds if kind != "none")
    variant = "naive" if options.naive else options.mutant or "library"
    plan = Plan(
        options.seconds,
        options.seed,
        options.mode,
        kinds,
        variant,
        keep=options.keep,
        journals=options.journals,
    )
    crew.warm()
    outcome = run(plan)
    rows = report.impacts(outcome.faults, outcome.attempts)
    print(*outcome.notes, f"mode {plan.mode}, seed {plan.seed}, {plan.workers} processes", "", sep="\n")
    print(report.table(outcome.verdict, rows))
    for violation in outcome.verdict.violations[: options.show]:
        print(violation)
    for failure in outcome.failures:
        print("a fault could not be played:", failure)
    if options.json:
        found = report.as_json(outcome.verdict, rows, notes=outcome.notes, failures=outcome.failures)
        Path(options.json).write_text(json.dumps(found, indent=1))
    return int(bool(outcome.verdict.violations or outcome.failures))


def _prove(names: list[str], seed: int) -> int:
    """Have the checker catch the naive cache and the mutants, and not the library; 1 if it is wrong about one."""
    crew.warm()
    wrong = 0
    for catch in prove([*CONTROLS, *MUTANTS] if names == ["all"] else names, seed):
        print(catch, flush=True)
        wrong += not catch.right
    return int(wrong > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/torture", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the workers work (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule and of what the workers do (1)")
    parser.add_argument(
        "--mode", choices=("sync", "async"), default="sync", help="colour of the library (sync)"
    )
    parser.add_argument("--only", metavar="KIND,KIND", help=f"only these faults, or none: {', '.join(KINDS)}")
    parser.add_argument(
        "--journals", action="store_true", help="some write to journals, and some do while PostgreSQL is away"
    )
    parser.add_argument(
        "--naive", action="store_true", help="a naive write-through cache in the library's place"
    )
    parser.add_argument("--mutant", metavar="NAME", help="the library with one rule taken out")
    parser.add_argument(
        "--prove", metavar="all|NAME,NAME", help="test the checker: each mutant must be caught"
    )
    parser.add_argument("--show", type=int, default=20, help="violations to print (20)")
    parser.add_argument(
        "--keep", metavar="DIRECTORY", default="", help="keep what was recorded in a new directory"
    )
    parser.add_argument("--json", metavar="FILE", help="the report for programs as well")
    return parser


if __name__ == "__main__":
    sys.exit(main())
