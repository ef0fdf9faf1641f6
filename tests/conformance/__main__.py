"""Run the conformance suite over every server and set-up that can be had on this machine, and print what ran.

    scripts/matrix                          everything, one pair after the other
    scripts/matrix --only cluster,sentinel  rows of this name, or else whose name has it in it
    scripts/matrix --write                  ... and put each row that ran into the table of docs/reference/compatibility.md

Exits 1 when a row failed; what could not be had is a row that says why.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from conformance.matrix import ROWS, Outcome, Row, run

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/compatibility.md"
TABLE = re.compile(r"(?<=<!-- matrix -->\n).*?(?=<!-- /matrix -->)", re.DOTALL)
HEAD = ("| row | PostgreSQL | Redis or Valkey | result |", "|---|---|---|---|")


def main() -> int:
    """Run the rows that were asked for; return the exit status."""
    options, words = _parser().parse_known_args()
    rows = [row for word in (options.only or "").split(",") for row in _named(word)]
    if options.list:
        print(*(row.name for row in rows), sep="\n")
        return 0
    store = Path(options.programs).resolve()
    store.mkdir(parents=True, exist_ok=True)
    outcomes = {}
    for row in rows:
        print(f"{row.name:22}", end=" ", flush=True)
        outcome = outcomes[row] = run(row, store, words)
        print(f"{outcome.result} ({outcome.seconds:.0f} s)\n{outcome.output}", end="", flush=True)
        if options.write:  # at once: what a later row does cannot lose it
            PAGE.write_text(written(PAGE.read_text("utf-8"), row, outcome), "utf-8")
    print("", table({row.name: _line(row, outcome) for row, outcome in outcomes.items()}), sep="\n")
    return int(any(outcome.failed for outcome in outcomes.values()))


def _named(word: str) -> list[Row]:
    """The row of this name, or else every row with ``word`` in its name."""
    return [row for row in ROWS if row.name == word] or [row for row in ROWS if word in row.name]


def written(page: str, row: Row, outcome: Outcome) -> str:
    """The page with this row in its table beside the others; what was not even tried leaves it as it is."""
    if not outcome.tried:
        return page
    line = {row.name: _line(row, outcome)}
    return TABLE.sub(lambda found: table(_lines(found[0]) | line), page)


def table(lines: dict[str, str]) -> str:
    """A table in Markdown, a line a row, in the order of the matrix."""
    known = [lines[row.name] for row in ROWS if row.name in lines]
    return "\n".join([*HEAD, *known]) + "\n"


def _line(row: Row, outcome: Outcome) -> str:
    return f"| `{row.name}` | {outcome.postgres} | {outcome.redis} | {outcome.result} |"


def _lines(text: str) -> dict[str, str]:
    """The lines of a table by the name of their row."""
    return {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/matrix", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="NAME,NAME", help="rows of these names, or with them in theirs")
    parser.add_argument("--list", action="store_true", help="print the names of the rows and stop")
    parser.add_argument(
        "--write", action="store_true", help="put what ran into docs/reference/compatibility.md"
    )
    parser.add_argument(
        "--programs", metavar="DIRECTORY", default=ROOT / ".matrix", help="where servers are kept (.matrix)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
