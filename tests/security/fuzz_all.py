"""Run the fuzzing harnesses one after the other, each in a process of its own, and say what came of them."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".fuzz"
PROGRAMS = {
    "stored_text": "fuzz_codec",
    "stored_fields": "fuzz_codec",
    "round_trip": "fuzz_codec",
    "ids": "fuzz_ids",
    "urls": "fuzz_ids",
    "from_outside": "fuzz_ids",
}


def main() -> int:
    """Fuzz what was asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each harness (60)")
    parser.add_argument("harness", nargs="*", help=f"{', '.join(PROGRAMS)}; all when left out")
    options = parser.parse_args()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*_atheris(), str(ROOT / "src"), str(ROOT / "tests")])
    }
    names = [name for name in PROGRAMS if not options.harness or name in options.harness]
    broken = [name for name in names if _fuzz(name, options.seconds, environment)]
    return int(bool(broken))


def _atheris() -> list[str]:
    """Where atheris is to be found, fetched if need be; nowhere in particular where it is installed."""
    if (
        subprocess.run([sys.executable, "-c", "import atheris"], capture_output=True, check=False).returncode
        == 0
    ):
        return []
    place = PLACE / f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not place.exists():
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
        ]
        subprocess.run([*pip, "--target", place, "atheris>=3"], check=True)
    return [str(place)]


def _fuzz(name: str, seconds: int, environment: dict[str, str]) -> bool:
    """Run one harness; print how often it ran, and what broke it; whether something did."""
    corpus, found = PLACE / "corpus" / name, PLACE / "broken"
    for directory in (corpus, found):
        directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(ROOT / "tests/security" / f"{PROGRAMS[name]}.py"), name, str(corpus)]
    options = [
        f"-max_total_time={seconds}",
        "-max_len=1024",
        "-timeout=10",
        f"-artifact_prefix={found}/{name}-",
        "-verbosity=1",
    ]
    outcome = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, check=False
    )
    said = outcome.stdout + outcome.stderr
    ran = re.findall(r"^#(\d+)", said, re.MULTILINE)
    state = "BROKEN" if outcome.returncode else "ok"
    print(f"{name:14} {state:7} {int(ran[-1]) if ran else 0:>10,} executions", flush=True)
    if outcome.returncode:
        print(said[-3000:])
    return bool(outcome.returncode)


if __name__ == "__main__":
    sys.exit(main())
