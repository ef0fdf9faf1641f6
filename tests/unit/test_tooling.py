"""The scripts: the blocking twin does what its author wrote, nothing stale passes, no odd file slips in."""

import importlib
import importlib.util
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from textwrap import dedent

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


unasync = script("unasync")
lint_files = script("lint_files")

EVERY_RULE = "# " + " ".join(unasync.RENAMES)

STORE = '''\
"""Numbers, kept. Example: ``async with AsyncShelf() as shelf: await shelf.put(1)``."""

import asyncio
from collections.abc import AsyncIterator
from typing import Self


class AsyncShelf:
    """A shelf."""

    def __init__(self) -> None:
        self.numbers: list[int] = []  # awaited by nobody

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        self.numbers.append(-1)

    async def put(self, number: int) -> str:
        self.numbers.append(number)

        # a comment and a blank line stay where they were
        return f"{await self.last()!r}: {'await nobody'}"

    async def last(self) -> int:
        return self.numbers[-1]

    async def each(self) -> AsyncIterator[int]:
        for number in self.numbers:
            yield number


async def main(pause: float = 0) -> list[object]:
    async with AsyncShelf() as shelf:
        said = (await shelf.put(7)).upper()
        every = [number async for number in shelf.each()]
        async for number in shelf.each():
            every.append(number * 2)
    return [said, every, shelf.numbers, type(shelf).__name__]
'''


def blocking_line(line: str) -> str:
    return unasync.renamed(unasync.unwaited(line), unasync.RENAMES, Counter())


@pytest.fixture
def package(tmp_path):
    """A package with one file in `_async` that needs every rule."""
    (tmp_path / "_async").mkdir()
    (tmp_path / "_async" / "shelf.py").write_text(f"{EVERY_RULE}\n{STORE}")
    return tmp_path


@pytest.fixture(params=["git", "no git"])
def tree(request, tmp_path):
    """An empty folder, under version control and not."""
    if request.param == "git":
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("waiting", "blocking"),
    [
        ("async def f(): return await g()\n", "def f(): return g()\n"),
        ("async with a() as b, c():\n    pass\n", "with a() as b, c():\n    pass\n"),
        ("x = [y async for y in z]\n", "x = [y for y in z]\n"),
        ("x = (await f(a, g(b)))[0]\n", "x = f(a, g(b))[0]\n"),
        ("x = (await self.pool.take()).name\n", "x = self.pool.take().name\n"),
        ("x = (\n    await f(a)\n).name\n", "x = f(a).name\n"),
        ("x = (await (await f()).g()).name\n", "x = (f().g()).name\n"),
        ("print(await f())\n", "print(f())\n"),
        ("f: Callable[[], Awaitable[list[int]]]\n", "f: Callable[[], list[int]]\n"),
        ("f(await g()).name\n", "f(g()).name\n"),
        ("x = (await f() or g()).name\n", "x = (f() or g()).name\n"),
        ("from redis.asyncio.client import Pipeline\n", "from redis.client import Pipeline\n"),
        (
            "from convmemory._async.postgres_connections import AsyncConnectionPool\n",
            "from convmemory._sync.postgres_connections import ConnectionPool\n",
        ),
        ("MyAsyncConnection = AsyncConnectionPools\n", "MyAsyncConnection = AsyncConnectionPools\n"),
        ("my_await = async_ = reawait\n", "my_await = async_ = reawait\n"),
    ],
)
def test_waiting_code_becomes_blocking_code(waiting, blocking):
    assert blocking_line(waiting) == blocking


@pytest.mark.parametrize(
    ("waiting", "blocking"),
    [
        ('"""\n>>> await pool.aclose()\n"""\n', '"""\n>>> pool.close()\n"""\n'),
        ('"call `await memory.open()` first"\n', '"call `memory.open()` first"\n'),
        ("'async with AsyncConnection()'\n", "'with Connection()'\n"),
        ("x = 1  # await f() before\n", "x = 1  # f() before\n"),
        ('"an async client is awaited"\n', '"an async client is awaited"\n'),
        ("f'{await x()} {{await y}} é {f\"{await z}\"}'\n", "f'{x()} {{y}} é {f\"{z}\"}'\n"),
        ("'é ÷ 語'; await f('await 語')  # é await x\n", "'é ÷ 語'; f('語')  # é x\n"),
        ("rf'''\nawait x\n{ await y:>{await z}}'''; await g()\n", "rf'''\nx\n{ y:>{z}}'''; g()\n"),
    ],
)
def test_what_strings_and_comments_quote_is_blocking_too(waiting, blocking):
    assert blocking_line(waiting) == blocking


def test_text_without_waiting_is_left_as_it_is():
    text = (SCRIPTS / "unasync.py").read_text(encoding="utf-8").split("RENAMES")[0]

    assert unasync.unwaited(text) == text


def test_generated_code_runs_and_does_what_its_twin_does(package):
    unasync.main(package, check=False)
    run = "import asyncio, runpy; print({}(runpy.run_path({!r})['main']()))"

    said = [
        subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout
        for line in (
            run.format("", str(package / "_sync" / "shelf.py")),
            run.format("asyncio.run", str(package / "_async" / "shelf.py")),
        )
    ]

    assert said[0] == "['7: NOBODY', [7, 14], [7, -1], 'Shelf']\n"
    assert said[1] == "['7: AWAIT NOBODY', [7, 14], [7, -1], 'AsyncShelf']\n"


def test_generated_file_begins_with_a_banner_and_keeps_comments_and_blank_lines(package):
    unasync.main(package, check=False)
    text = (package / "_sync" / "shelf.py").read_text()

    assert text.startswith("# Generated by scripts/unasync.py from _async/shelf.py: edit that file.\n")
    assert "append(number)\n\n        # a comment and a blank line stay where they were\n" in text
    assert "# awaited by nobody" in text


def test_blocks_that_only_waiting_kept_apart_are_one(package):
    (package / "_async" / "apart.py").write_text(
        "async def f():\n    async with a():\n        with b():\n            pass\n"
    )
    unasync.main(package, check=False)

    assert "    with a(), b():\n        pass\n" in (package / "_sync" / "apart.py").read_text()


def test_an_import_only_waiting_needed_is_gone(package):
    unasync.main(package, check=False)

    assert "asyncio" not in (package / "_sync" / "shelf.py").read_text().split('"""', 1)[1]


def test_generating_twice_changes_nothing_and_check_agrees(package, capsys):
    unasync.main(package, check=False)
    capsys.readouterr()

    assert unasync.main(package, check=False) == 0
    assert unasync.main(package, check=True) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("present", [True, False])
def test_check_fails_on_a_stale_file_and_leaves_it(package, capsys, present):
    unasync.main(package, check=False)
    shelf = package / "_sync" / "shelf.py"
    shelf.write_text("stale = 1\n") if present else shelf.unlink()

    assert unasync.main(package, check=True) == 1
    assert "_sync/shelf.py is not what _async makes of it" in capsys.readouterr().out
    assert shelf.exists() is present
    assert unasync.main(package, check=False) == 0
    assert "class Shelf:" in shelf.read_text()


@pytest.mark.parametrize("name", ["other.py", "deep/other.py", "notes.txt"])
def test_check_fails_on_a_stray_file_and_generating_removes_it(package, capsys, name):
    unasync.main(package, check=False)
    stray = package / "_sync" / name
    stray.parent.mkdir(exist_ok=True)
    stray.write_text("")

    assert unasync.main(package, check=True) == 1
    assert f"_sync/{name} is not made from _async" in capsys.readouterr().out
    assert stray.exists()
    assert unasync.main(package, check=False) == 0
    assert not stray.exists()


def test_compiled_files_are_no_strays(package):
    unasync.main(package, check=False)
    (package / "_sync" / "__pycache__").mkdir()
    (package / "_sync" / "__pycache__" / "shelf.cpython-311.pyc").write_bytes(b"\xff")

    assert unasync.main(package, check=True) == 0


@pytest.mark.parametrize("check", [True, False])
def test_a_rule_that_renames_nothing_is_an_error(package, check):
    (package / "_async" / "shelf.py").write_text(STORE)

    with pytest.raises(SystemExit, match=r"rename nothing.*AsyncConnection, AsyncConnectionPool"):
        unasync.main(package, check=check)
    assert not (package / "_sync").exists()


def test_classes_are_renamed_across_files_without_a_rule():
    texts = {"a.py": "class AsyncBox:\n    pass\n", "b.py": "from a import AsyncBox\n"}

    twins = unasync.blocking(texts, renames={})

    assert twins["a.py"].endswith("class Box:\n    pass\n")
    assert twins["b.py"].endswith("from a import Box\n")


def test_every_name_of_the_table_is_a_whole_identifier():
    unwanted = dedent(" ".join(f"x{name} {name}x" for name in unasync.RENAMES))

    assert unasync.renamed(unwanted, unasync.RENAMES, Counter()) == unwanted


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("notes.md", f"first\nsee /{'home'}/ann/x\n", f"2: a path of one machine: see /{'home'}/ann/x"),
        ("tool.toml", f"run = '/{'root'}/bin'\n", f"1: a path of one machine: run = '/{'root'}/bin'"),
        (
            "poetry.lock",
            "url = 'https://pypi.example/x'\n",
            "1: a lock file that names a host: https://pypi.example/x",
        ),
        ("lua/cut-1.lua", "return 1\n", "1: begins without a comment that says what it is for"),
        ("sql/cut.sql", "SELECT 1\n", "1: begins without a comment that says what it is for"),
        ("lua/cut-1.lua", "-- Cut.\nreturn = 1\n", "2: unexpected symbol near '='"),
    ],
)
def test_odd_files_are_found(tree, capsys, name, text, complaint):
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_text(text)

    assert lint_files.main(tree) == 1
    assert capsys.readouterr().out == f"{name}:{complaint}\n"


def test_good_files_pass_and_what_git_ignores_is_not_read(tree, capsys):
    (tree / ".gitignore").write_text(".cache/\n")
    (tree / ".cache").mkdir()
    (tree / ".cache" / "log.txt").write_text(f"/{'home'}/ann\n")
    (tree / "page.md").write_text("https://example.org/homework/rooted\n")
    (tree / "uv.lock").write_text("url = 'http://127.0.0.1:3141/simple'\n")
    (tree / "cut-1.lua").write_text("-- Cut.\nreturn redis.call('LTRIM', KEYS[1], 0, 5)\n")
    (tree / "cut.sql").write_text("-- Cut.\nSELECT 1\n")
    (tree / "picture.png").write_bytes(b"\x89PNG\xff")

    assert lint_files.main(tree) == 0
    assert capsys.readouterr().out == ""


def test_the_oldest_environment_has_each_dependency_in_the_lowest_version_that_is_allowed(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    matrix = importlib.import_module("langchain_matrix")
    legs = {leg.name: leg.wanted for leg in matrix.legs()}

    assert matrix.floors(["a[b,c]>=1.2.3,<2", "d>=3; sys_platform != 'win32'"]) == [
        "a[b,c]==1.2.3",
        "d==3; sys_platform != 'win32'",
    ]
    for one in matrix.PROJECT["project"]["dependencies"]:
        assert one.split(",<")[0].replace(">=", "==") in legs["alone"]


installed = script("installed")


def test_what_a_group_wants_is_all_that_pyproject_lists():
    project = tomllib.loads((SCRIPTS.parent / "pyproject.toml").read_text("utf-8"))
    lines = list(installed.wanted(project, "dev"))

    assert {line for group in ("test", "check") for line in project["dependency-groups"][group]} - set(
        lines
    ) == {"langchain-convmemory[all]"}
    assert set(project["project"]["dependencies"]) < set(lines)
    for extra, wanted in project["project"]["optional-dependencies"].items():
        others = {line for line in wanted if not line.startswith("langchain-convmemory")}
        assert extra == "all" or others < set(lines)


def test_an_environment_with_all_of_it_lacks_nothing():
    done = subprocess.run(
        [sys.executable, SCRIPTS / "installed.py", "dev"], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize(
    ("line", "lacking"),
    [
        ("pytest>=8.3", []),
        ("no-such-thing>=1", ["no-such-thing"]),
        ("pytest>=9999", ["pytest>=9999"]),
        ("no-such-thing; sys_platform == 'none'", []),
        ("psycopg[binary,pool]>=3.2.2", []),
    ],
)
def test_what_is_not_there_or_too_old_is_named(line, lacking):
    assert list(installed.missing(line)) == lacking


def test_an_extra_is_part_of_a_requirement(monkeypatch):
    found = installed.distribution
    gone = {"psycopg-binary"}

    def without(name):
        if name in gone:
            raise installed.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(installed, "distribution", without)

    assert list(installed.missing("psycopg[binary,pool]>=3.2.2")) == ["psycopg-binary"]
