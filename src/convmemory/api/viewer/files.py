"""The page's files: those of the package, or a host's own in their place; and the policy they are served under."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template
from typing import Final, NamedTuple

from fastapi import Request, Response

from convmemory.errors import InvalidArgument

OWN: Final = Path(__file__).parent / "page"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Nothing from elsewhere, nothing inline, no sink for markup but the page's one."""
GUARDS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_KINDS: Final = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
}
_NAME: Final = re.compile(r"[A-Za-z0-9][\w-]*(?:\.[\w-]+)+")


class _File(NamedTuple):
    content: bytes
    tag: str
    kind: str


class Files:
    """The files of a page, read once.

    Args:
        folders: Where they lie; a file that is in several is taken from the first.

    Raises:
        InvalidArgument: A folder is none.
    """

    def __init__(self, *folders: Path) -> None:
        self._found: dict[str, Path] = {}
        for folder in reversed(folders):
            if not folder.is_dir():
                raise InvalidArgument("templates", f"must be a folder of files, which {folder} is not")
            self._found |= {one.name: one for one in folder.iterdir() if _NAME.fullmatch(one.name)}
        self._read: dict[str, _File] = {}

    def answer(self, name: str, request: Request) -> Response:
        """A file for a browser, or that it has it already."""
        kind = _KINDS.get(Path(name).suffix)
        if kind is None or name not in self._found:
            return Response("there is no such file", 404, media_type="text/plain")
        found = self._file(name, kind)
        headers = {"ETag": found.tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == found.tag:
            return Response(status_code=304, headers=headers)
        return Response(found.content, headers=headers, media_type=found.kind)

    def page(self, name: str, values: Mapping[str, str]) -> Response:
        """A template with its values, which are text; ``$head`` and ``$banner`` are the files of that name."""
        known = {key: escape(value) for key, value in values.items()}
        parts = {part: self._filled(f"{part}.html", known) for part in ("head", "banner")}
        filled = self._filled(name, {**known, **parts})
        return Response(filled, headers={"Cache-Control": "no-store"}, media_type="text/html")

    def _filled(self, name: str, values: Mapping[str, str]) -> str:
        return Template(self._file(name, "text/html").content.decode()).safe_substitute(values)

    def _file(self, name: str, kind: str) -> _File:
        if name not in self._read:
            content = self._found[name].read_bytes()
            self._read[name] = _File(content, f'"{sha256(content).hexdigest()[:24]}"', kind)
        return self._read[name]
