"""Look for what the other checks do not see: paths of one machine, foreign hosts, SQL and Lua that say nothing.

    python scripts/lint_files.py

Prints a line per finding and exits 1 if there is any. Lua is compiled by the version Redis runs, 5.1.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lupa.lua51 import LuaRuntime, LuaSyntaxError

ROOT = Path(__file__).resolve().parent.parent
MACHINE = re.compile(r"/(?:home|root|Users)/|py[e]nv")
LOCK = re.compile(r".*\.lock|package-lock\.json|pylock.*\.toml|requirements.*\.txt")
FOREIGN = re.compile(r"https?://(?!127\.0\.0\.1|localhost|\[::1\])[^\s\"',)]+")


def tracked(root: Path) -> list[Path]:
    """Return the files git knows or would add; without git, all that lie in no hidden folder."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        hidden = re.compile(r"(?:^|/)(?:\.\w|__pycache__/)")
        return [path for path in root.rglob("*") if not hidden.search(path.relative_to(root).as_posix())]
    return [root / name for name in listed.split("\0") if name]


def findings(path: Path) -> Iterator[str]:
    """Yield what is wrong with one file, a line each; a file that is not text has nothing to say."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    for number, line in enumerate(text.splitlines(), 1):
        if MACHINE.search(line):
            yield f"{number}: a path of one machine: {line.strip()[:80]}"
        if LOCK.fullmatch(path.name) and (host := FOREIGN.search(line)):
            yield f"{number}: a lock file that names a host: {host[0]}"
    if path.suffix in {".sql", ".lua"} and not text.startswith("-- "):
        yield "1: begins without a comment that says what it is for"
    if path.suffix == ".lua":
        yield from uncompilable(text)


def uncompilable(text: str) -> Iterator[str]:
    """Yield the complaint of the Lua compiler, if it has one."""
    try:
        LuaRuntime().compile(text)
    except LuaSyntaxError as error:
        yield str(error).removeprefix('[string "<python>"]:')


def main(root: Path) -> int:
    """Print the findings under ``root``; return the exit status."""
    found = [
        f"{path.relative_to(root)}:{what}"
        for path in tracked(root)
        if path.is_file()
        for what in findings(path)
    ]
    print(*found, sep="\n", end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(ROOT))
