"""Markdown of anybody's becomes markup that does nothing: no HTML of its own, no picture, no address but one to follow."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("markdown_it", reason="not installed beside the package alone")
from convmemory.api.viewer.markdown import LONGEST, html_of

ELEMENTS = {"a", "blockquote", "br", "code", "em", "hr", "li", "ol", "p", "pre", "s", "span", "strong", "ul"}
ELEMENTS |= {"div", "table", "thead", "tbody", "tr", "th", "td", "h3", "h4", "h5", "h6"}
ATTRIBUTES = {"class", "href", "rel", "start", "tabindex", "target", "title"}
TRICKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '<a href="javascript:alert(1)">x</a>',
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox)",
    "[x](file:///etc/passwd)",
    "[x](/v1/me)",
    "[x](//elsewhere.example/)",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    '[x](https://a.example "\\" onmouseover=\\"alert(1)")',
    "[x]: javascript:alert(1)\n\n[x]",
    "```<script>\nalert(1)\n```",
    "`<b>`",
    "| a |\n|:-:|\n| <svg onload=alert(1)> |",
    "&lt;script&gt;",
    "<!-- -->",
    "<style>*{display:none}</style>",
    "# <iframe src=//x>",
    "<details open ontoggle=alert(1)>",
]


class Markup(HTMLParser):
    """What a browser would make of it."""

    def __init__(self):
        super().__init__()
        self.elements, self.attributes = set(), set()
        self.links = []

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name in {"href", "src"}]


def looked_at(text):
    found = Markup()
    found.feed(html_of(text))
    return found


def assert_harmless(text):
    found = looked_at(text)
    assert found.elements <= ELEMENTS
    assert found.attributes <= ATTRIBUTES
    assert all(re.match(r"(?:https?://|mailto:)", link, re.IGNORECASE) for link in found.links)


@pytest.mark.parametrize("text", TRICKS)
def test_a_trick_is_text(text):
    assert_harmless(text)


@given(
    st.lists(
        st.sampled_from(
            [*"<>[]()!`*_|#&\"' \n\t:/\\-=", "script", "javascript:", "https://a.b", "onload=", "x"]
        ),
        max_size=40,
    ).map("".join)
)
def test_whatever_is_said_is_harmless(text):
    assert_harmless(text)


def test_a_picture_is_its_address():
    html = html_of("![a cat](https://elsewhere.example/cat.png?secret=1)")

    assert html == (
        '<p><span class="picture">a cat <code>https://elsewhere.example/cat.png?secret=1</code></span></p>\n'
    )


def test_a_link_says_where_it_leads_and_tells_nobody_whence():
    html = html_of("[here](https://elsewhere.example/?a=1&b=2)")

    assert 'rel="noopener noreferrer nofollow"' in html
    assert 'title="https://elsewhere.example/?a=1&amp;b=2"' in html


def test_a_table_is_aligned_by_classes_and_code_can_be_scrolled():
    html = html_of("| a | b |\n|--:|:-:|\n| 1 | 2 |\n\n```py\nx\n```\n\n    y\n")

    assert "style=" not in html
    assert html.count('class="to-right"') == html.count('class="to-center"') == 2
    assert html.count('<pre tabindex="0">') == 2


def test_headings_stand_below_those_of_the_page():
    assert html_of("# a\n\n###### b") == "<h3>a</h3>\n<h6>b</h6>\n"


def test_what_is_too_long_is_shown_as_it_is():
    assert html_of("x" * (LONGEST + 1)) is None
