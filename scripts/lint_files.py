"""Look for what the other checks do not see: paths of one machine, foreign hosts, a stranger's package, mute SQL and Lua.

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
LISTED = re.compile(r"(?:.*requirements.*|constraints.*)\.(?:txt|in)|environment.*\.ya?ml")
LOCK = re.compile(r".*\.lock|package-lock\.json|pylock.*\.toml|requirements.*\.txt")
FOREIGN = re.compile(r"https?://(?!127\.0\.0\.1|localhost|\[::1\])[^\s\"',)]+")

# On package indexes the name of the import is a stranger's; ours is langchain-convmemory. A line that has the bare one
# installed, required, looked up or linked runs or shows somebody else's code.
BARE = r"(?:(?<![\w.@/=-])|(?<=\\n))convmemory(?![\w/-]|\.\w|\s*=\s)"
TOOLS = r"(?:\b|(?<=\\n))(?:pip[\d.]*|pipx|pipenv|uv(?:\s+pip|\s+tool)?|poetry|pdm|rye|hatch|pixi|conda|mamba|micromamba|easy_install)"
STRANGERS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # told to install it: up to the end of the command, or in the line after "install"
        rf"{TOOLS}[\s'\",]+(?:-\S+\s+)*(?:install|add|download|inject|upgrade)\b(?:\s+|(?:(?!\\n)[^\n`;&|#])*?[ \t'\"\[,]){BARE}",
        rf"\b(?:uvx|uv\s+tool\s+run|pipx\s+run)\s+(?:-\w\s+)*['\"]?{BARE}",
        r"--(?:with|from|spec)[\s=]+['\"]?convmemory(?![\w/-]|\.\w)",
        # required: with extras, with a version, as a line or a string of a list of requirements
        r"(?<![\w-])convmemory\\*\[\s*[a-z{*.]",
        r"(?<![\w.-])convmemory\s*(?:[=~<>!]=|[<>])\s*\d",
        r"(?<![\w.-])convmemory\s*=\s*(?:[\"'][\^~<>=*\d]|\{[^}\n]*\b(?:version|extras)\b)",
        r"\b(?:dependencies|requires|install_requires)\b[\w\s\"'-]*[=:]\s*\[[^\]]*[\"']convmemory[\"']",
        # looked up as a distribution, linked on an index, or as the file of one
        r"\b(?:metadata\.\w+|version|distribution|requires)\(\s*[\"']convmemory[\"']",
        r"/(?:project|simple|pypi(?:/\w+)?)/convmemory(?![\w-])",
        r"(?<![\w-])convmemory-[\d{*][^\s\"']*(?:\.whl|\.tar\.gz|\.dist-info)",
    )
]
CONTINUED = re.compile(  # a command, a string or a cell of a notebook that goes on in the next line
    r"""(?:\\{3}n",|\\)\n\s*"?|(?<=[\w\s,=-])(["'])\s*\n\s*[rbfRBF]{0,2}\1"""
)


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
    for number in strangers(text, listed=bool(LISTED.fullmatch(path.name))):
        yield f"{number}: names a stranger's package; the distribution is langchain-convmemory"
    if path.suffix in {".sql", ".lua"} and not text.startswith("-- "):
        yield "1: begins without a comment that says what it is for"
    if path.suffix == ".lua":
        yield from uncompilable(text)


def strangers(text: str, *, listed: bool = False) -> list[int]:
    """Return the lines that name the distribution by the bare name; in a list of requirements a line is one."""
    flat = CONTINUED.sub(lambda gap: " " * len(gap[0]), text)
    found = {place.end() for pattern in STRANGERS for place in pattern.finditer(flat)}
    if listed:
        found |= {line.end() for line in re.finditer(r"(?im)^[ \t-]*convmemory\b(?!-)", flat)}
    return sorted({text.count("\n", 0, end) + 1 for end in found})


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
