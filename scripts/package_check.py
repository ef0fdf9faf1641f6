"""Build what would be published, look into it, and use it in an environment of its own.

    scripts/package-check [--release]

The sdist alone makes the very wheel that this tree makes, without an index; the suite can be collected in it. The wheel is
installed with ``[serve]`` where no checkout is on the path, plays ``convmemory demo`` there on the servers that the extras
bring, and serves the page with all its files. Prints a line per step and exits 1 if anything was found.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "serve"
UNPUBLISHED = {".gitignore", "PKG-INFO"}
"""What a build backend puts into an sdist by itself, whether or not we list it."""
STRAY = re.compile(
    r"(?:^|/)(?:tests?/|test_[^/]*$|conftest\.py$|__pycache__/|\.[^/]+|[^/]*(?:~|\.(?:py[cod]|orig|rej|bak|swp|tmp|log|ipynb))$)"
)
PLACEHOLDER = re.compile(r"\bplaceholder\b|\.invalid\b", re.IGNORECASE)
PROBE = """
import json
from importlib.metadata import distribution, packages_distributions
from importlib.resources import files
import convmemory
from convmemory._sync.memory import ConversationMemory
package = files("convmemory")
print(json.dumps({
    "home": convmemory.__file__,
    "version": convmemory.__version__,
    "metadata": distribution("langchain-convmemory").version,
    "distributions": packages_distributions()["convmemory"],
    "typed": package.joinpath("py.typed").is_file(),
    "texts": sorted(
        [f"{folder}/{one.name}" for folder in ("sql", "sql/from_0_1", "sql/migrations", "sql/rooms", "lua")
         for one in package.joinpath(folder).iterdir() if one.is_file()]
    ),
}))
"""


def command(*words: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command that no variable of ours reaches; what it printed, or the end of it all with what it said."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CONVMEMORY_"))
    }
    done = subprocess.run(
        words,
        cwd=cwd,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        raise SystemExit(f"FAILED: {' '.join(map(str, words))} (exit status {done.returncode})\n{said}")
    return done.stdout


def known(root: Path) -> set[str] | None:
    """The files git knows and that are there; None where there is no git, as in an unpacked sdist."""
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    listed = command("git", "ls-files", "-z", "--cached", cwd=root)
    return {name for name in listed.split("\0") if name and (root / name).is_file()}


def on_disk(root: Path) -> set[str]:
    """The files of the package as they lie here."""
    found = (path.relative_to(root) for path in (root / "src").rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


def differences(what: str, packed: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """What is too much and what is missing, a line each."""
    packed, wanted = set(packed), set(wanted)
    return [
        *(f"{what} holds {name}, which git does not know" for name in sorted(packed - wanted)),
        *(f"{what} lacks {name}" for name in sorted(wanted - packed)),
    ]


def wheel_findings(names: Iterable[str], files: Iterable[str], version: str) -> list[str]:
    """What is wrong with the list of files of a wheel, given those of the tree: the package, its metadata, nothing else."""
    names = set(names)
    info = f"langchain_convmemory-{version}.dist-info"
    wanted = {name.removeprefix("src/") for name in files if name.startswith("src/convmemory/")}
    wanted |= {
        f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    stray = [
        f"the wheel holds {name}, which is no part of a package"
        for name in sorted(names)
        if STRAY.search(name)
    ]
    return [*differences("the wheel", names, wanted), *stray]


def sdist_findings(names: Iterable[str], files: Iterable[str]) -> list[str]:
    """What is wrong with the list of files of an sdist: it is all that git knows."""
    return differences("the sdist", set(names) - UNPUBLISHED, set(files) - UNPUBLISHED)


def release_findings(root: Path) -> list[str]:
    """What must not be published: addresses that are placeholders, and a CHANGELOG that does not tell of this version."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = (root / "CITATION.cff").read_text(encoding="utf-8")
    log = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    entry = re.search(
        rf"^## \[?{re.escape(project['version'])}\]? - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)",
        log,
        re.MULTILINE | re.DOTALL,
    )
    found = [
        f"pyproject.toml: {name} is a placeholder"
        for name, url in project["urls"].items()
        if PLACEHOLDER.search(url)
    ]
    if PLACEHOLDER.search(cited):
        found.append("CITATION.cff: has a placeholder")
    if entry is None:
        found.append(f"CHANGELOG.md: no entry '## [{project['version']}] - YYYY-MM-DD'")
    elif not re.search(r"^Schema: \S", entry[1], re.MULTILINE):
        found.append(f"CHANGELOG.md: the entry of {project['version']} has no line 'Schema:'")
    return found


class Check:
    """The steps, one after the other, in a directory that is thrown away."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.files = known(ROOT)
        self.version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "version"
        ]
        self.stem = f"langchain_convmemory-{self.version}"
        self.wheel = place / "dist" / f"{self.stem}-py3-none-any.whl"
        self.unpacked = place / "sdist" / self.stem
        self.python = place / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"

    def build(self) -> list[str]:
        """Both, from this tree."""
        command(sys.executable, "-m", "hatchling", "build", "-d", self.place / "dist")
        built = sorted(path.name for path in (self.place / "dist").iterdir())
        wanted = [self.wheel.name, f"{self.stem}.tar.gz"]
        return [] if built == wanted else [f"built {built}, not {wanted}"]

    def lists(self) -> list[str]:
        """What the two hold, against what git knows or, without git, what lies here."""
        with zipfile.ZipFile(self.wheel) as archive:
            found = wheel_findings(archive.namelist(), self.files or on_disk(ROOT), self.version)
        with tarfile.open(self.place / "dist" / f"{self.stem}.tar.gz") as archive:
            archive.extractall(self.place / "sdist", filter="data")
            names = [one.name.removeprefix(f"{self.stem}/") for one in archive.getmembers() if one.isfile()]
        return [*found, *(sdist_findings(names, self.files) if self.files else [])]

    def from_sdist(self) -> list[str]:
        """The sdist makes the same wheel, with the build backend at hand and no index."""
        command(
            *(sys.executable, "-m", "pip", "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation"),
            *("-w", self.place / "again", self.place / "dist" / f"{self.stem}.tar.gz"),
            cwd=self.place,
        )
        same = (self.place / "again" / self.wheel.name).read_bytes() == self.wheel.read_bytes()
        return [] if same else ["the sdist makes another wheel than the tree"]

    def suite(self) -> list[str]:
        """The suite of the sdist is whole, and what looks at the tree rather than at servers passes in it."""
        pytest = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
        path = str(self.unpacked / "src")
        command(*pytest, "--collect-only", cwd=self.unpacked, PYTHONPATH=path)
        tree = (f"tests/unit/test_{name}.py" for name in ("import", "distribution", "package"))
        command(*pytest, *tree, cwd=self.unpacked, PYTHONPATH=path)
        return []

    def install(self) -> list[str]:
        """The wheel and what it needs, in an environment that has nothing else."""
        venv.create(self.place / "venv", clear=True)
        pip = (
            sys.executable,
            "-m",
            "pip",
            "--python",
            self.python,
            "install",
            "-q",
            "--disable-pip-version-check",
            "--no-compile",  # most of it is never imported
        )
        command(*pip, f"langchain-convmemory[{EXTRAS}] @ {self.wheel.as_uri()}", cwd=self.place)
        return []

    def installed(self) -> list[str]:
        """What the installed package says of itself."""
        told = json.loads(command(self.python, "-I", "-c", PROBE, cwd=self.place))
        texts = {
            path.relative_to(ROOT / "src/convmemory").as_posix()
            for kind in ("sql", "lua")
            for path in (ROOT / "src/convmemory" / kind).rglob(f"*.{kind}")
        }
        wanted = {
            "version": self.version,
            "metadata": self.version,
            "distributions": ["langchain-convmemory"],
            "typed": True,
            "texts": sorted(texts),
        }
        found = [
            f"installed: {name} is {told[name]!r}, not {right!r}"
            for name, right in wanted.items()
            if told[name] != right
        ]
        if not Path(told["home"]).is_relative_to(self.place):
            found.append(f"installed: convmemory was imported from {told['home']}")
        said = command(self.python, "-I", "-m", "convmemory", "--version", cwd=self.place)
        return [*found, *([] if said == f"convmemory {self.version}\n" else [f"--version said {said!r}"])]

    def demo(self) -> list[str]:
        """The tour, with nothing on the path but the environment, on the servers it brought."""
        said = command(
            *(self.python.parent / "convmemory", "demo"),
            cwd=self.place,
            PATH=str(self.python.parent),
            CONVMEMORY_BINARIES="wheels",
        )
        if re.search(r"^ *Redis +\S+:history:\{", said, re.MULTILINE):
            return []
        return [f"the demo showed no window in Redis: {said[-500:]}"]

    def page(self) -> list[str]:
        """``convmemory serve`` with every file that the page names: a wheel without them would pass everything else."""
        serve = (self.python.parent / "convmemory", "serve", "--demo", "--json", "--port", "0")
        environment = {
            "PATH": str(self.python.parent),
            "CONVMEMORY_BINARIES": "wheels",
            "HOME": str(self.place),
        }
        with subprocess.Popen(
            serve, cwd=self.place, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                address = json.loads(process.stdout.readline() if process.stdout else "")["address"]
                names = [path.name for path in (ROOT / "src/convmemory/api/viewer/page").iterdir()]
                paths = ["/", "/login", *(f"/files/{name}" for name in names if not name.endswith(".html"))]
                found = []
                for path in paths:
                    with urlopen(f"{address}{path}", timeout=10) as answer:  # noqa: S310 - an address of our own
                        if not answer.read():
                            found.append(f"the page's {path} is empty")
            finally:
                process.terminate()
        return [*found, *([f"serve ended with {process.returncode}"] if process.returncode else [])]


def main(words: Iterable[str]) -> int:
    """The command line."""
    with tempfile.TemporaryDirectory(prefix="package-check-") as place:
        check = Check(Path(place).resolve())
        steps: list[tuple[str, Callable[[], list[str]]]] = [
            ("build", check.build),
            ("lists", check.lists),
            ("sdist", check.from_sdist),
            ("suite", check.suite),
            ("install", check.install),
            ("package", check.installed),
            ("demo", check.demo),
            ("page", check.page),
        ]
        if "--release" in words:
            steps.insert(0, ("release", lambda: release_findings(ROOT)))
        failed = False
        for name, step in steps:
            began = time.monotonic()
            found = step()
            failed = failed or bool(found)
            print(
                f"{name:8} {'FAILED' if found else 'ok':6} {time.monotonic() - began:5.1f} s",
                *found,
                sep="\n  ",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
