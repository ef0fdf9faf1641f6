"""Say whether this Python has all that a group of pyproject.toml asks for; prints what is missing, and exits 1.

python scripts/installed.py dev
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement  # where it is not, nor is pytest, which brings it

ROOT = Path(__file__).parents[1]


def wanted(project: dict[str, Any], group: str) -> Iterator[str]:
    """The requirements of a dependency group, and of the project itself with the extras that the group names."""
    for line in project["dependency-groups"][group]:
        if isinstance(line, dict):
            yield from wanted(project, line["include-group"])
        elif line.startswith(project["project"]["name"]):
            yield from project["project"]["dependencies"]
            yield from of_extras(project["project"], line)
        else:
            yield line


def of_extras(project: dict[str, Any], line: str) -> Iterator[str]:
    """The requirements of the extras in a line such as ``name[one,two]``."""
    for extra in line.partition("[")[2].partition("]")[0].split(","):
        for one in project["optional-dependencies"].get(extra.strip(), []):
            yield from of_extras(project, one) if one.startswith(project["name"]) else [one]


def missing(line: str, extra: str = "") -> Iterator[str]:
    """What of a requirement is not there, or too old; with its extras, whose names are those of distributions."""
    one = Requirement(line)
    if one.marker is not None and not one.marker.evaluate({"extra": extra}):
        return
    try:
        found = distribution(one.name)
    except PackageNotFoundError:
        yield one.name
        return
    if not one.specifier.contains(found.version, prereleases=True):
        yield f"{one.name}{one.specifier}"
    for name in one.extras:
        for further in found.requires or []:
            if "extra ==" in further:
                yield from missing(further, name)


def main(group: str) -> int:
    """Print what is missing of a group, a line each; 1 where anything is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    found = sorted({name for line in wanted(project, group) for name in missing(line)})
    for name in found:
        print(name)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
