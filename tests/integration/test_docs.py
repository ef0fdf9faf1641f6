"""What README and docs show is run, and what they list is complete."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from inspect import signature
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

import convmemory
from convmemory.embedded import EmbeddedServers
from convmemory.environment import PREFIX, variables_of
from convmemory.errors import ConvMemoryError
from convmemory.middleware import ConversationMemoryMiddleware
from convmemory.openai_agents import ConversationSession
from convmemory.settings import Settings
from convmemory.tiers.otel import COUNTED

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "examples/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?:\]\(|src=\")(?!https?:)([^)\"#]*)#?([^)\"]*)[)\"]")
FIRST = [ROOT / "README.md", ROOT / "docs/quickstart.md", ROOT / "docs/how-to/agents.md"]
WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text("utf-8"))]


@pytest.fixture(scope="module")
def reader(database_url, redis_url):
    """The environment of somebody who reads one page after the other, with the same two servers all the time."""
    name = f"t_{uuid4().hex[:12]}"
    yield {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CONVMEMORY_DB_SCHEMA": name,
        "CONVMEMORY_KEY_PREFIX": f"{name}:",
    }
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


def blocks_of(page):
    return BLOCK.findall(page.read_text("utf-8"))


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_every_python_block_of_a_page_runs_and_runs_again(page, reader, monkeypatch):
    for name, value in reader.items():
        monkeypatch.setenv(name, value)
    for _ in "once", "again":
        names = {"__name__": "__main__"}
        for number, block in enumerate(blocks_of(page), 1):
            exec(compile(block, f"{page.name} block {number}", "exec"), names)  # noqa: S102 - our own pages
        for left in names.values():  # open for as long as a worker lives
            if isinstance(left, convmemory.ConversationMemory):
                left.close()


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_a_page_whose_blocks_need_earlier_ones_says_so(page):
    known = set()
    leaning = []
    for number, block in enumerate(blocks_of(page), 1):
        own, read = names_in(ast.parse(block))
        leaning += [number] if (read - own) & known else []
        known |= own

    assert not leaning or "go on from" in page.read_text("utf-8"), leaning


def names_in(tree):
    """The names that a block binds somewhere, and those it reads."""
    bound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
    return bound, read


@pytest.mark.parametrize("page", FIRST, ids=lambda page: page.name)
def test_the_first_page_one_runs_prints_no_warning(page, reader):
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks_of(page))],
        env=os.environ | reader,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_class_that_warns_has_a_page_of_its_own():
    shown = {
        page.name for page in WITH_CODE for block in blocks_of(page) if "RunnableWithMessageHistory" in block
    }

    assert shown == {"langchain.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    missing = []
    for path, anchor in LINK.findall(page.read_text("utf-8")):
        there = page.parent / path if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            missing.append(f"{path}#{anchor}")

    assert missing == []


def anchors(page):
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_pages_with_code_are_found():
    assert len(WITH_CODE) >= 8


def test_every_setting_is_documented_with_its_default_and_its_variables():
    page = (ROOT / "docs/reference/settings.md").read_text("utf-8")
    rows = [[cell.strip(" `") for cell in line.split("|")] for line in page.splitlines() if PREFIX in line]
    told = {row[1]: (row[2], row[4].split("`, `")) for row in rows if len(row) == 7}

    for setting, field in Settings.model_fields.items():
        default, names = told.pop(setting)
        assert default == ("none" if field.default is None else f"{field.default}")
        assert tuple(names) == variables_of(setting)
    assert not told


def test_every_error_is_documented_with_what_to_do():
    page = (ROOT / "docs/reference/errors.md").read_text("utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line[:3] == "| `"
    ]
    told = {row[0].strip("`"): row for row in rows if len(row) == 4}
    public = {name: getattr(convmemory, name) for name in convmemory.__all__}
    errors = {
        name: kind for name, kind in public.items() if isinstance(kind, type) and issubclass(kind, Exception)
    }

    assert set(told) == set(errors)
    for name, (_, also, when, what_to_do) in told.items():
        others = [
            kind.__name__ for kind in errors[name].__bases__ if kind not in (Exception, ConvMemoryError)
        ]
        assert also == ", ".join(f"`{other}`" for other in others)
        assert when
        assert what_to_do


def test_every_public_verb_is_documented():
    page = (ROOT / "docs/reference/memory.md").read_text("utf-8")
    verbs = [name for name in dir(convmemory.ConversationMemory) if not name.startswith("_")]

    assert [verb for verb in verbs if f"`{verb}" not in page] == []


def offered():
    """What callers call, by the name they call it by."""
    memory, history = convmemory.ConversationMemory, convmemory.TieredChatMessageHistory
    found = {name: getattr(memory, name) for name in dir(memory) if callable(getattr(memory, name))}
    found |= {name: getattr(history, name) for name in ("window", "awindow", "add_messages", "aadd_messages")}
    found |= {name: value for name, value in vars(ConversationSession).items() if callable(value)}
    found |= {
        kind.__name__: kind for kind in (memory, convmemory.PostgresStore, convmemory.RedisStore, history)
    }
    found |= {kind.__name__: kind.__init__ for kind in (ConversationMemoryMiddleware, ConversationSession)}
    found |= {"start": EmbeddedServers.start, "thread_as_conversation": convmemory.thread_as_conversation}
    return {name: call for name, call in found.items() if not name.startswith("_")}


@pytest.mark.parametrize("name", offered())
def test_the_reference_names_every_argument(name):
    page = (ROOT / "docs/reference/memory.md").read_text("utf-8")
    taken = [argument for argument in signature(offered()[name]).parameters if argument != "self"]
    told = re.findall(rf"`(?:\w+\.)?{name}\(([^`]*)\)`", page)
    arguments = [re.findall(r"(?:^|, )\**(\w+)", one) for one in told]

    assert told
    assert arguments == [taken] * len(told)


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


def test_every_span_and_every_metric_is_documented():
    page = (ROOT / "docs/how-to/operate.md").read_text("utf-8")
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "src/convmemory").rglob("*.py"))
    spans = set(re.findall(r'@traced\("([\w.]+)"', sources))
    metrics = {f"convmemory.{name}" for name in COUNTED}

    assert len(spans) > 5
    assert [name for name in spans | metrics if f"`{name}`" not in page] == []


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
