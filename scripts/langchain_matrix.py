"""Run what LangChain can break on several LangChains, each in an environment of its own, and print a table.

    scripts/langchain-matrix [--quick] [lowest] [newest] [alone] [what pytest is told]

``lowest`` and ``newest`` stand on the environment of the tests and replace in it what must differ; ``alone`` has
nothing but what ``pip install langchain-convmemory`` brings, each dependency in the lowest version that pyproject.toml allows and
no langchain, the servers' wheels and pytest. They lie in .venv-NAME, made once. ``--quick`` leaves out what does not run
chains: CI does so, after the whole suite has run on the newest LangChain. Exits 1 when a test failed.
"""

from __future__ import annotations

import os
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
CHAINS = [
    f"tests/integration/test_{name}.py"
    for name in ("history", "history_chain", "history_conformance", "run_with_history", "telemetry")
]
TESTS = [
    *("tests/unit", "tests/conformance"),
    *("tests/integration/test_lifecycle.py", "tests/integration/test_openai_history.py"),
    # what drivers do with cancellations, loops and forks differs from version to version
    *(f"tests/integration/test_{name}.py" for name in ("event_loops", "fork", "impatience")),
    *CHAINS,
]
AGENTS = ["tests/integration/test_middleware.py"]
TOOLS = ["pytest", "pytest-asyncio", "pytest-xdist", "hypothesis", "time-machine"]
# what looks at the checkout rather than at LangChain: its wheel, its name, its tools
NOT_HERE = [
    f"--ignore=tests/unit/test_{name}.py" for name in ("import", "distribution", "package", "tooling")
]
# what holds ours to the types of packages that convmemory does not need
NOT_ALONE = [
    f"--ignore=tests/unit/{name}.py"
    for name in ("dialects/test_anthropic", "dialects/test_openai_chat", "test_models")
]


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
    return [
        Leg("lowest", [*floors([core]), *agents, "langgraph"]),
        Leg("newest", ["--upgrade", core, *agents, "langgraph"]),
        Leg("alone", [*floors([*dependencies, *embedded]), *TOOLS], over=False),
    ]


def floors(requirements: Sequence[str]) -> list[str]:
    """The same requirements, each for the lowest version it allows."""
    return [re.sub(r">=([\d.]+)[^;]*", r"==\1", one) for one in requirements]


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
        "-qq",
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


def run(leg: Leg, words: Sequence[str], *, quick: bool) -> list[str]:
    """Run the tests on one leg; its row of the table."""
    began = time.monotonic()
    make(leg)
    print(
        f"{leg.name}: {' '.join(f'{n} {v}' for n, v in zip(SHOWN, versions(leg), strict=True))}", flush=True
    )
    tests = CHAINS if quick else [*TESTS, *(AGENTS if leg.over else NOT_ALONE)]
    command = [leg.python, "-m", "pytest", "-q", "-n", "2", *NOT_HERE, *tests, *words]
    command += ["-p", "no:cacheprovider", "-p", "no:cov"]
    status, last = followed(command)
    result = "passed" if status == 0 else "FAILED"
    return [leg.name, *versions(leg), result, last.strip("= "), f"{time.monotonic() - began:.0f} s"]


def followed(command: Sequence[str]) -> tuple[int, str]:
    """Run a command and show what it says as it says it; its status and its last line."""
    last = ""
    environment = os.environ | {"PYTHONPATH": "src"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout or ():
            print(line, end="", flush=True)
            last = line.strip() or last
    return child.returncode, last


def main(words: Sequence[str]) -> int:
    """The command line."""
    known = {leg.name: leg for leg in legs()}
    chosen = [known[word] for word in words if word in known] or list(known.values())
    told = [word for word in words if word not in known and word != "--quick"]
    rows = [run(leg, told, quick="--quick" in words) for leg in chosen]
    print("\n| leg |", *(f"{name} |" for name in SHOWN), "result | tests | time |")
    print("|---" * (len(SHOWN) + 4) + "|")
    for row in rows:
        print("|", " | ".join(row), "|")
    return int(any("FAILED" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
