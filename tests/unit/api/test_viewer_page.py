"""The page's own files keep to the page's policy: nothing inline, nothing from elsewhere, one place that makes markup."""

import re

import pytest

for extra in ("starlette", "markdown_it", "uvicorn"):
    pytest.importorskip(extra, reason="not installed beside the package alone")
from starlette.requests import Request  # noqa: E402

from convmemory.api.viewer.files import OWN, Files  # noqa: E402
from convmemory.cli.serve.application import PAGE  # noqa: E402
from convmemory.errors import InvalidArgument  # noqa: E402

FILES = sorted([*OWN.iterdir(), *PAGE.iterdir()])
SCRIPTS = [path for path in FILES if path.suffix == ".js"]


def asking(**headers):
    return Request(
        {"type": "http", "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_names_nothing_of_elsewhere(path):
    assert (
        re.findall(
            r"(?<![/\\])//[a-z]|url\(|@import",
            path.read_text("utf-8").replace("http://www.w3.org/2000/svg", ""),
        )
        == []
    )


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.suffix == ".html"], ids=lambda path: path.name
)
def test_a_template_has_nothing_inline(path):
    text = path.read_text("utf-8")

    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)|javascript:", text)


def test_markup_is_made_in_one_place():
    sinks = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|parseFromString|\beval\(|srcdoc"
    )
    found = {path.name for path in SCRIPTS if sinks.search(path.read_text("utf-8"))}

    assert found == {"markup.js"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_module_imports_what_is_there(path):
    text = path.read_text("utf-8")
    for names, module in re.findall(r"import \{ ([^}]+) \} from '\./([^']+)'", text):
        exported = set(
            re.findall(
                r"export (?:async )?(?:const|function\*?|class) (\w+)", (OWN / module).read_text("utf-8")
            )
        )
        assert set(names.split(", ")) <= exported


def test_every_element_that_a_module_asks_for_is_in_the_page():
    page = (OWN / "page.html").read_text("utf-8")
    asked = {name for path in SCRIPTS for name in re.findall(r"byId\('([^']+)'\)", path.read_text("utf-8"))}

    assert {name for name in asked if f'id="{name}"' not in page} == set()


def test_a_file_is_sent_once():
    files = Files(OWN)
    answer = files.answer("viewer.css", asking())

    assert (answer.status_code, answer.media_type) == (200, "text/css")
    assert files.answer("viewer.css", asking(**{"if-none-match": answer.headers["etag"]})).status_code == 304


@pytest.mark.parametrize(
    "name", ["page.html", "no.js", "../files.py", "..", ".", "__init__.py", "viewer.css/"]
)
def test_what_is_no_file_of_the_page_is_not_sent(name):
    assert Files(OWN).answer(name, asking()).status_code == 404


def test_a_hosts_file_stands_in_the_place_of_ours(tmp_path):
    (tmp_path / "banner.html").write_text("<p>$title</p>")
    page = Files(tmp_path, OWN).page(
        "page.html", {"title": "<b>", "base": "", "api": "", "chat": "", "login": ""}
    )

    assert b"<p>&lt;b&gt;</p>" in page.body
    assert b"<b>" not in page.body


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="templates: must be a folder"):
        Files(tmp_path / "none", OWN)
