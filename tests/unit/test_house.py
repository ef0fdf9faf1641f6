"""The map of the house agrees with the contracts that hold it, and with what is there."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "convmemory"
MAP = (ROOT / "docs/explanation/house.md").read_text("utf-8")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
ROOMS = sorted(
    path.relative_to(PACKAGE).as_posix()
    for path in (*PACKAGE.iterdir(), PACKAGE / "api/chat", PACKAGE / "api/viewer")
    if (path / "__init__.py").exists() and path.name not in {"_async", "_sync", "cli", "embedded"}
)


def floors(contract):
    return [re.split(r"\s*[|:]\s*", layer) for layer in contract["layers"]]


def test_every_room_has_a_contract_for_its_inside():
    insides = {
        c["containers"][0].removeprefix("convmemory.").replace(".", "/")
        for c in CONTRACTS
        if c["name"].startswith("Inside")
    }

    assert insides == {*ROOMS, "_async"}
    assert all(c.get("exhaustive") for c in CONTRACTS if c["name"].startswith("Inside"))


@pytest.mark.parametrize("room", ROOMS)
def test_the_map_names_every_file_of_a_room(room):
    files = {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}
    [line] = [line for line in MAP.splitlines() if f"`{room}`: " in line or line.startswith(f"| `{room}/`")]

    assert {name for name in files if f"`{name}`" not in line} == set()


def test_the_map_is_drawn_in_the_order_of_the_floors():
    [whole] = [c for c in CONTRACTS if c["name"].startswith("The floors")]
    rows = [line for line in MAP.splitlines() if line.startswith("| ")][1:]
    places = []
    for floor in floors(whole):
        names = {name.removeprefix("_async.").removeprefix("_sync.") for name in floor}
        found = [
            at
            for at, row in enumerate(rows)
            if any(re.search(rf"`(?:_async/)?{n}(?:\.py|/)?`", row) for n in names)
        ]
        assert found, f"{floor} is not on the map"
        places.append(min(found))

    assert places == sorted(places)


def test_no_file_is_longer_than_400_lines():
    long = {
        path.name: n
        for path in ROOT.rglob("src/**/*.py")
        if (n := len(path.read_text("utf-8").splitlines())) > 400
    }

    assert long == {}
