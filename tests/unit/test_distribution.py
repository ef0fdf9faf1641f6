"""The distribution is langchain-convmemory: nothing says otherwise, and what is said of it in two places is the same."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import convmemory

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("lint_files", ROOT / "scripts" / "lint_files.py")
lint_files = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(lint_files)

BARE = "conv" + "memory"  # so that this file does not say what it forbids
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def notebook(*lines):
    """A notebook with one cell, as it lies on disk: a JSON string per line."""
    return json.dumps({"cells": [{"cell_type": "code", "source": list(lines)}]}, indent=1)


def test_no_file_tells_anybody_to_install_the_bare_name():
    told = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in lint_files.tracked(ROOT)
        if path.is_file()
        for number in lint_files.strangers(path.read_text(encoding="utf-8", errors="replace"))
    ]

    assert told == []


@pytest.mark.parametrize(
    "text",
    [
        f"pip install {BARE}",
        f"$ pip3 install -U '{BARE}'",
        f'python -m pip install "{BARE}[cli,embedded]"',
        f"python3.12 -m pip --no-cache-dir install --upgrade {BARE}",
        f"PIP INSTALL {BARE.title()}",
        f"pip install langchain {BARE}==0.1.0 redis",
        f"%pip install -q {BARE}",
        f"RUN pip install --no-cache-dir {BARE} && rm -rf /tmp/x",
        f"Run `pip install {BARE}`.",
        f"First, pip install {BARE}.",
        f"after ``pip install\n{BARE}`` it works",
        f"pip install \\\n    redis \\\n    {BARE}",
        f'sys.exit("needs: pip install "\n         "{BARE}")',
        f'subprocess.run([python, "-m", "pip", "install", "-q", "{BARE}"])',
        f"pip download {BARE}",
        f"pipx install {BARE}",
        f"pipenv install {BARE}",
        f"uv add {BARE}",
        f"uv add --dev '{BARE}[otel]'",
        f"uv pip install {BARE}",
        f"uv tool install {BARE}",
        f"uvx {BARE} demo",
        f"uv run --with {BARE} app.py",
        f"pipx run {BARE} demo",
        f"poetry add {BARE}",
        f"poetry add {BARE} -E cli",
        f"pdm add {BARE}",
        f"conda install -c conda-forge {BARE}",
        f'{BARE} = "^0.1"',
        f'{BARE} = {{ version = "^0.1", extras = ["cli"] }}',
        f'dependencies = [\n  "redis",\n  "{BARE}",\n]',
        f"install_requires=['{BARE}']",
        f"needs the extra `{BARE}[agents]`",
        f"{BARE}>=0.1,<1",
        f'importlib.metadata.version("{BARE}")',
        f"https://index.example/project/{BARE}/",
        f"dist/{BARE}-0.1.0-py3-none-any.whl",
        f"{BARE}-0.1.0.tar.gz",
        notebook(f"%pip install {BARE}\n", f"import {BARE}"),
        notebook(f"import os\npip install {BARE}\nimport sys"),
        notebook("!pip install \\\n", f"    {BARE}\n"),
    ],
)
def test_the_bare_name_is_found_in_whatever_form(text):
    lines = f"# A page\n\n{text}\n"

    [number] = lint_files.strangers(lines)

    assert BARE in lines.splitlines()[number - 1].lower()


@pytest.mark.parametrize(
    "text",
    [
        "pip install langchain-convmemory",
        "pip install 'langchain-convmemory[cli]'    # brings the command convmemory",
        "`uv add langchain-convmemory` brings the module convmemory",
        "uvx --from 'langchain-convmemory[cli]' convmemory demo",
        "pipx run --spec 'langchain-convmemory[cli]' convmemory demo",
        "poetry add langchain-convmemory; convmemory init",
        "pip install '.[cli]'\nconvmemory init",
        "pip install -e '.[cli]' && convmemory check",
        "pip install ../convmemory",
        "dist/langchain_convmemory-0.1.0-py3-none-any.whl",
        'convmemory = "convmemory.__main__:main"',
        "from importlib.resources import files\nfiles('convmemory')",
        "CREATE SCHEMA convmemory",
        "convmemory:history:{2b24}:recent",
        'assert schema == "convmemory"',
        notebook("%pip install 'langchain-convmemory[cli]'\n", "import convmemory"),
    ],
)
def test_the_right_name_the_module_and_the_command_are_left_alone(text):
    assert lint_files.strangers(f"{text}\n") == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.in", "environment.yml"])
def test_a_line_of_a_list_of_requirements_is_one(tmp_path, capsys, name):
    (tmp_path / name).write_text(f"redis\n  - {BARE}\nlangchain-convmemory\n")

    assert lint_files.main(tmp_path) == 1
    assert (
        capsys.readouterr().out
        == f"{name}:2: names a stranger's package; the distribution is langchain-convmemory\n"
    )


def test_every_extra_and_group_that_leans_on_the_project_names_it():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    own = [one for one in [*PROJECT["optional-dependencies"]["all"], *groups["test"]] if "convmemory" in one]

    assert PROJECT["name"] == "langchain-convmemory"
    assert [one.partition("[")[0] for one in own] == ["langchain-convmemory"] * 2
    assert f"[{','.join(sorted(set(PROJECT['optional-dependencies']) - {'all'}))}]" in own[0]


def test_a_missing_extra_names_the_distribution():
    said = str(convmemory.MissingExtra("The part", "cli"))

    assert f"pip install '{PROJECT['name']}[cli]'" in said


def test_the_version_is_the_same_wherever_it_is_written():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))

    page = (ROOT / "docs/quickstart.md").read_text(encoding="utf-8")
    shown = re.findall(r"langchain_convmemory-([^-]+)-py3", page)

    assert shown
    assert {PROJECT["version"], citation["version"], *shown} == {convmemory.__version__}


def test_the_citation_says_what_the_package_says():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))

    assert citation["license"] == PROJECT["license"]
    assert citation["abstract"] == PROJECT["description"]
    assert citation["repository-code"] == PROJECT["urls"]["Source"]
    assert {"cff-version", "message", "title", "authors", "type"} <= set(citation)


def test_the_changelog_names_every_migration():
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    named = re.findall(r"^Schema: (.+)$", log, re.MULTILINE)
    migrations = (ROOT / "src/convmemory/sql/migrations").glob("*.sql")

    assert {path.stem for path in migrations} <= set(re.findall(r"\w+", " ".join(named)))
