"""What README and docs show is run, and what they list is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import convmemory
from convmemory.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text("utf-8"))]


@pytest.fixture
def documented_environment(database_url, redis_url, schema_name, key_prefix, monkeypatch):
    """The environment the pages assume: both servers by URL, and nothing of another test in them."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("CONVMEMORY_DB_SCHEMA", schema_name)
    monkeypatch.setenv("CONVMEMORY_KEY_PREFIX", key_prefix)


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
@pytest.mark.usefixtures("documented_environment")
def test_every_python_block_of_a_page_runs(page):
    names = {"__name__": "__main__"}
    for number, block in enumerate(BLOCK.findall(page.read_text("utf-8")), 1):
        exec(compile(block, f"{page.name} block {number}", "exec"), names)  # noqa: S102 - our own pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    missing = [link for link in LINK.findall(page.read_text("utf-8")) if not (page.parent / link).exists()]

    assert missing == []


def test_the_pages_with_code_are_found():
    assert len(WITH_CODE) >= 4


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_documented_with_its_default(field):
    info = Settings.model_fields[field]
    page = (ROOT / "docs/reference/settings.md").read_text("utf-8")
    [row] = [line for line in page.splitlines() if f"| `{field}` |" in line]

    assert f"`{info.validation_alias.choices[-1]}`" in row
    if info.default is not None:
        shown = (
            f"{info.default:,}"
            if isinstance(info.default, int) and info.default > 9999
            else str(info.default)
        )
        assert shown in row


def test_every_error_is_documented():
    page = (ROOT / "docs/reference/errors.md").read_text("utf-8")
    errors = [name for name in convmemory.__all__ if isinstance(getattr(convmemory, name), type(Exception))]
    undocumented = [
        e for e in errors if issubclass(getattr(convmemory, e), Exception) and f"`{e}`" not in page
    ]

    assert undocumented == []


def test_every_public_verb_is_documented():
    page = (ROOT / "docs/reference/memory.md").read_text("utf-8")
    verbs = [name for name in dir(convmemory.ConversationMemory) if not name.startswith("_")]

    assert [verb for verb in verbs if f"`{verb}" not in page] == []


def test_the_pages_tell_of_no_verb_that_is_not_there():
    known = {
        *dir(convmemory.AsyncConversationMemory),
        *dir(convmemory.UserMemory),
        *vars(convmemory.ConversationMemory.from_url("postgresql://nobody@localhost/none")),
    }
    called = re.compile(r"\b(?:memory|mine)\.(\w+)\(")
    pages = [*PAGES, ROOT / "CHANGELOG.md", *(ROOT / "examples").glob("*.py")]
    invented = {(page.name, verb) for page in pages for verb in called.findall(page.read_text("utf-8"))}

    assert {(page, verb) for page, verb in invented if verb not in known} == set()
    assert len(invented) > 20


VALUES = [
    "Conversation",
    "Message",
    "RetrievedContext",
    "Draft",
    "Appended",
    "Session",
    "Page",
    "Check",
    "TierReport",
]


@pytest.mark.parametrize("name", VALUES)
def test_every_field_of_a_value_is_documented(name):
    page = (ROOT / "docs/reference/memory.md").read_text("utf-8")
    [table] = re.findall(rf"^\| `{name}` \| \|\n((?:\|.*\n)+)", page, re.MULTILINE)
    kind = getattr(convmemory, name)
    fields = {*kind.model_fields, *kind.model_computed_fields} | {
        key for key, value in vars(kind).items() if isinstance(value, property)
    }

    assert [field for field in fields if f"`{field}`" not in table] == []


def test_the_two_lines_of_the_readme_are_single_commands():
    readme = (ROOT / "README.md").read_text("utf-8")
    for heading in ("## Try it", "## Run the tests"):
        [block] = re.findall(rf"^{heading}\n\n```sh\n(.*?)```", readme, re.MULTILINE | re.DOTALL)

        assert len(block.strip().splitlines()) == 1
