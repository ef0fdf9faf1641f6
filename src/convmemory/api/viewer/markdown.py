"""Markdown as HTML that does nothing: no HTML of the text's own, no pictures, and links that say where they lead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token

LONGEST: Final = 200_000
"""Characters: what is longer is shown as it is."""
_LEADS_OUT: Final = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_CELLS: Final = re.compile(r"text-align:(left|right|center)")


def html_of(text: str) -> str | None:
    """The text as HTML; ``None`` where it is too long to be anything but text."""
    if len(text) > LONGEST:
        return None
    rendered: str = _reader().render(text)
    return rendered


@cache
def _reader() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    made.validateLink = _leads_out  # type: ignore[assignment, method-assign]  # as its documentation has it
    for kind, rule in (
        ("image", _image),
        ("link_open", _link),
        ("th_open", _cell),
        ("td_open", _cell),
        ("heading_open", _heading),
        ("heading_close", _heading),
        ("fence", _code),
        ("code_block", _code),
        ("table_open", _table),
        ("table_close", _table),
    ):
        made.add_render_rule(kind, rule)
    return made


def _leads_out(address: str) -> bool:
    """Whether a link may be one: an address of this very page's server could do something there."""
    return _LEADS_OUT.match(address.strip()) is not None


def _image(_: Any, tokens: Sequence[Token], at: int, __: Any, ___: Any) -> str:
    """A picture is not loaded: whoever serves it would learn that, and what the address tells. The address is text."""
    token = tokens[at]
    alt, address = escapeHtml(token.content), escapeHtml(str(token.attrs.get("src", "")))
    return f'<span class="picture">{alt or "picture"} <code>{address}</code></span>'


def _link(renderer: Any, tokens: Sequence[Token], at: int, options: Any, _: Any) -> str:
    token = tokens[at]
    token.attrs |= {
        "title": token.attrs.get("href", ""),
        "rel": "noopener noreferrer nofollow",
        "target": "_blank",
    }
    return str(renderer.renderToken(tokens, at, options, {}))


def _cell(renderer: Any, tokens: Sequence[Token], at: int, options: Any, _: Any) -> str:
    """A class in the place of a style, which the page's policy has none of."""
    token = tokens[at]
    found = _CELLS.fullmatch(str(token.attrs.pop("style", "")))
    if found:
        token.attrs["class"] = f"to-{found[1]}"
    return str(renderer.renderToken(tokens, at, options, {}))


def _heading(renderer: Any, tokens: Sequence[Token], at: int, options: Any, _: Any) -> str:
    """Headings of a message are below those of the page."""
    token = tokens[at]
    if len(token.tag) == 2:  # noqa: PLR2004 - h1 to h6
        token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    return str(renderer.renderToken(tokens, at, options, {}))


def _code(_: Any, tokens: Sequence[Token], at: int, __: Mapping[str, Any], ___: Any) -> str:
    """Code can be scrolled from the keyboard."""
    return f'<pre tabindex="0"><code>{escapeHtml(tokens[at].content)}</code></pre>\n'


def _table(_: Any, tokens: Sequence[Token], at: int, __: Any, ___: Any) -> str:
    """A table that is wider than the page can be scrolled on its own."""
    opens = tokens[at].nesting > 0
    return '<div class="wide" tabindex="0"><table>\n' if opens else "</table></div>\n"
