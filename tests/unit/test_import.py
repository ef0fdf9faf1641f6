"""``import convmemory``: cheap, complete, typed, and packed with its SQL and Lua."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import convmemory

ROOT = Path(__file__).parents[2]
FRAMEWORKS = [
    "langchain_core",
    "psycopg",
    "psycopg_pool",
    "redis",
    "pydantic",
    "pydantic_settings",
    "opentelemetry",
    "asyncio",
]


def said_by(program: str) -> str:
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return outcome.stdout.strip()


def test_importing_loads_no_driver_and_no_framework():
    program = f"import sys, convmemory; print([name for name in {FRAMEWORKS} if name in sys.modules])"

    assert said_by(program) == "[]"


def test_errors_load_nothing_and_values_no_driver():
    program = (
        "import sys; from convmemory import ConvMemoryError; print('pydantic' in sys.modules); "
        "from convmemory import Session, Draft, RetrievedContext; "
        "print([name for name in ('psycopg', 'psycopg_pool', 'redis', 'opentelemetry') if name in sys.modules])"
    )

    assert said_by(program).split("\n") == ["False", "[]"]


def test_a_memory_loads_nothing_that_only_chains_need():
    program = (
        "import sys; from langchain_core.messages import BaseMessage; from langchain_core.embeddings import Embeddings; "
        "from langchain_core.chat_history import BaseChatMessageHistory; theirs = {*sys.modules}; "
        "from convmemory import AsyncConversationMemory, ConversationMemory; "
        "dear = ('langsmith', 'langchain_core.runnables.base', 'langchain_core.retrievers', 'langchain_core.tracers.base'); "
        "print([name for name in dear if name in {*sys.modules} - theirs])"
    )

    assert said_by(program) == "[]"


def test_the_awaited_and_the_blocking_colour_are_one_import_away():
    program = "import convmemory; print(convmemory.ConversationMemory.__name__, convmemory.AsyncConversationMemory.__name__)"

    assert said_by(program) == "ConversationMemory AsyncConversationMemory"


@pytest.mark.parametrize("name", convmemory.__all__)
def test_every_public_name_is_there(name):
    assert getattr(convmemory, name) is not None
    assert name in dir(convmemory)


def test_what_type_checkers_see_is_what_there_is():
    source = Path(convmemory.__file__).read_text(encoding="utf-8")
    shown = {
        line.split(" as ")[1].strip()
        for line in source.splitlines()
        if line.startswith("    from convmemory.")
    }

    assert shown == set(convmemory.__all__) - {"__version__"}


def test_dir_shows_the_public_names_in_order():
    assert dir(convmemory) == sorted(convmemory.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'convmemory' has no attribute 'Memory'"):
        _ = convmemory.Memory
    with pytest.raises(ImportError, match="Memory"):
        from convmemory import Memory  # noqa: F401 - that is what fails


def test_a_name_is_looked_up_once():
    _ = convmemory.Page

    assert "Page" in vars(convmemory)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names of the files in a wheel built from this tree, as it is."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    [built] = target.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_a_wheel_holds_everything_the_package_is_made_of(wheel):
    package = ROOT / "src" / "convmemory"
    wanted = {
        f"convmemory/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert wanted <= wheel
    assert {"convmemory/py.typed", "convmemory/sql/append.sql", "convmemory/lua/window_read.lua"} <= wanted


def test_a_wheel_holds_nothing_else(wheel):
    assert {name.split("/")[0] for name in wheel} == {
        "convmemory",
        f"langchain_convmemory-{convmemory.__version__}.dist-info",
    }
