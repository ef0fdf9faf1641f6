"""``scripts/package-check`` finds what must not be in a wheel or an sdist, and what must not be published."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("package_check", ROOT / "scripts" / "package_check.py")
package_check = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(package_check)

INFO = "langchain_convmemory-1.2.3.dist-info"
TREE = {"README.md", "src/convmemory/__init__.py", "src/convmemory/py.typed", "src/convmemory/sql/append.sql"}
WHEEL = {
    "convmemory/__init__.py",
    "convmemory/py.typed",
    "convmemory/sql/append.sql",
    *(f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")),
}
RELEASED = """\
# Changelog

## [Unreleased]

## [1.2.3] - 2030-01-31

Schema: 0002_more

### Added

- More.

## [1.2.2] - 2030-01-01

Schema: 0001_initial
"""


def findings(**changes):
    return package_check.wheel_findings(
        (WHEEL | changes.get("more", set())) - changes.get("less", set()), TREE, "1.2.3"
    )


@pytest.fixture
def tree(tmp_path):
    """A checkout that may be published."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1.2.3"\nurls.Source = "https://example.org/x"\n'
    )
    (tmp_path / "CITATION.cff").write_text("repository-code: https://example.org/x\n")
    (tmp_path / "CHANGELOG.md").write_text(RELEASED)
    return tmp_path


def changed(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_wheel_of_the_package_and_its_metadata_is_good():
    assert findings() == []


@pytest.mark.parametrize(
    "name",
    [
        "convmemory/notes.txt",
        "tests/test_x.py",
        "convmemory/stray.sql",
        f"{INFO}/secrets",
        "other/__init__.py",
    ],
)
def test_a_file_of_a_wheel_that_git_does_not_know_is_found(name):
    assert f"the wheel holds {name}, which git does not know" in findings(more={name})


@pytest.mark.parametrize(
    "name",
    [
        "convmemory/py.typed",
        "convmemory/sql/append.sql",
        f"{INFO}/licenses/LICENSE",
        f"{INFO}/entry_points.txt",
    ],
)
def test_what_a_wheel_lacks_is_found(name):
    assert findings(less={name}) == [f"the wheel lacks {name}"]


def test_a_wheel_of_the_name_that_is_not_ours_is_found():
    bare = {name.replace("langchain_", "") for name in WHEEL}

    assert f"the wheel lacks {INFO}/METADATA" in package_check.wheel_findings(bare, TREE, "1.2.3")


@pytest.mark.parametrize(
    "name",
    [
        "tests/unit.py",
        "rooms/test_rooms.py",
        "conftest.py",
        "__pycache__/a.cpython-311.pyc",
        ".DS_Store",
        "a.py.orig",
        "a.py~",
    ],
)
def test_what_git_knows_and_is_no_part_of_a_package_is_found_too(name):
    files = TREE | {f"src/convmemory/{name}"}

    found = package_check.wheel_findings(WHEEL | {f"convmemory/{name}"}, files, "1.2.3")

    assert found == [f"the wheel holds convmemory/{name}, which is no part of a package"]


def test_an_sdist_is_all_that_git_knows():
    assert package_check.sdist_findings(TREE | {"PKG-INFO", ".gitignore"}, TREE) == []
    assert package_check.sdist_findings(TREE - {"README.md"}, TREE) == ["the sdist lacks README.md"]
    assert package_check.sdist_findings(TREE | {"docs/draft.md"}, TREE) == [
        "the sdist holds docs/draft.md, which git does not know"
    ]


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_what_git_knows_is_what_it_tracks_and_still_is_there(tmp_path):
    for name in ("kept", "gone", "new"):
        (tmp_path / name).touch()
    assert package_check.known(tmp_path) is None

    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "add", "kept", "gone"], check=True)
    (tmp_path / "gone").unlink()

    assert package_check.known(tmp_path) == {"kept"}


def test_a_tree_that_may_be_published_has_no_findings(tree):
    assert package_check.release_findings(tree) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (
            "pyproject.toml",
            "https://example.org/x",
            "https://example.invalid/x",
            "pyproject.toml: Source is a placeholder",
        ),
        ("CITATION.cff", "example.org/x", "example.org/placeholder/x", "CITATION.cff: has a placeholder"),
        ("CHANGELOG.md", "## [1.2.3]", "## [1.2.4]", "CHANGELOG.md: no entry '## [1.2.3] - YYYY-MM-DD'"),
        ("CHANGELOG.md", " - 2030-01-31", "", "CHANGELOG.md: no entry '## [1.2.3] - YYYY-MM-DD'"),
        ("CHANGELOG.md", "Schema: 0002_more\n", "", "CHANGELOG.md: the entry of 1.2.3 has no line 'Schema:'"),
    ],
)
def test_what_must_not_be_published_is_found(tree, name, old, new, said):
    changed(tree / name, old, new)

    assert package_check.release_findings(tree) == [said]


def test_a_step_that_fails_says_what_it_ran_and_what_was_said():
    with pytest.raises(SystemExit, match=r"FAILED: git no-such-verb .*\n.*no-such-verb"):
        package_check.command("git", "no-such-verb")


def test_no_variable_of_this_process_reaches_a_step(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "src")
    monkeypatch.setenv("CONVMEMORY_POSTGRES_BIN", "here")

    said = package_check.command("env", CONVMEMORY_BINARIES="wheels")

    assert "PYTHONPATH" not in said
    assert [line for line in said.splitlines() if line.startswith("CONVMEMORY_")] == [
        "CONVMEMORY_BINARIES=wheels"
    ]
