"""Run the conformance suite over every server and set-up that can be had on this machine, and print what ran.

    scripts/matrix                          everything, one pair after the other
    scripts/matrix --only cluster,sentinel  rows whose name has one of these in it
    scripts/matrix --write                  ... and put the table into docs/reference/compatibility.md

Exits 1 when a row failed; what could not be had is a row that says why.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from conformance.matrix import ROWS, Outcome, run

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/compatibility.md"


def main() -> int:
    """Run the rows that were asked for; return the exit status."""
    options, words = _parser().parse_known_args()
    wanted = options.only.split(",") if options.only else [""]
    rows = [row for row in ROWS if any(part in row.name for part in wanted)]
    if options.list:
        print(*(row.name for row in rows), sep="\n")
        return 0
    store = Path(options.programs)
    store.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for row in rows:
        print(f"{row.name:22}", end=" ", flush=True)
        outcomes.append(run(row, store, words))
        print(
            f"{outcomes[-1].result} ({outcomes[-1].seconds:.0f} s)\n{outcomes[-1].output}", end="", flush=True
        )
    print("", table(outcomes), sep="\n")
    if options.write:
        found = re.compile(r"(?<=<!-- matrix -->\n).*?(?=<!-- /matrix -->)", re.DOTALL)
        PAGE.write_text(found.sub(lambda _: table(outcomes), PAGE.read_text("utf-8")), "utf-8")
    return int(any(outcome.failed for outcome in outcomes))


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as a table in Markdown."""
    lines = ["| PostgreSQL | Redis or Valkey | result |", "|---|---|---|"]
    lines += [f"| {o.postgres} | {o.redis} | {o.result} |" for o in outcomes]
    return "\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/matrix", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="NAME,NAME", help="rows whose name has one of these in it")
    parser.add_argument("--list", action="store_true", help="print the names of the rows and stop")
    parser.add_argument(
        "--write", action="store_true", help="put the table into docs/reference/compatibility.md"
    )
    parser.add_argument(
        "--programs", metavar="DIRECTORY", default=ROOT / ".matrix", help="where servers are kept (.matrix)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
