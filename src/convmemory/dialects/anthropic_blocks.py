"""The content of a message as blocks that Anthropic's Messages API takes, from each side and as the result of a tool."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from convmemory.encoding.storable_text import clean_json
from convmemory.encoding.text_blocks import block_text

Block = dict[str, Any]

_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "container_upload": ("file_id",),
    "document": ("source", "citations", "context", "title"),
    "image": ("source",),
    "redacted_thinking": ("data",),
    "search_result": ("source", "title", "content", "citations"),
    "server_tool_use": ("id", "name", "input", "caller"),
    "thinking": ("thinking", "signature"),
}
"""What the API takes of its own blocks. A mark for its cache is for one request, which takes four: none is given back."""

_OWN_RESULTS: Final = frozenset({
    "bash_code_execution_tool_result", "code_execution_tool_result", "text_editor_code_execution_tool_result",
    "tool_search_tool_result", "web_fetch_tool_result", "web_search_tool_result",
})  # fmt: skip
_TAKEN: Final = {
    "user": frozenset({"container_upload", "document", "image", "search_result"}),
    "assistant": frozenset({"redacted_thinking", "server_tool_use", "thinking"}) | _OWN_RESULTS,
    "result": frozenset({"document", "image", "search_result"}),
}
_PICTURES: Final = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
_MEDIA: Final = frozenset({
    "audio", "document", "file", "image", "image_url", "input_audio", "input_file", "input_image", "media", "video",
})  # fmt: skip
_DATA_URL: Final = re.compile(r"data:([\w.+/-]+);base64,(.*)", re.DOTALL)


def text_block(text: str) -> Block:
    """A block of text."""
    return {"type": "text", "text": text}


def texts_of(content: Any) -> list[Block]:
    """The text of a content, as blocks; none of them empty."""
    blocks = [content] if isinstance(content, str) else content
    return [told for block in blocks if (told := _text(block)) is not None]


def block_for(place: str, block: Any) -> Block | None:
    """A block as it may stand in ``place``: ``user``, ``assistant`` or ``result``.

    A picture or a recording that has no place there is named, as ``[image]``; anything else is left out.
    """
    if (told := _text(block)) is not None or not isinstance(block, dict):
        return told
    kind = block.get("type")
    if not isinstance(kind, str):
        return None
    told = _thought(block) if kind == "reasoning" else _medium(kind, block)
    told = _own(kind, block) if told is None else told
    if told is not None and told["type"] in _TAKEN[place]:
        return told
    return text_block(f"[{kind}]") if kind in _MEDIA else None


def result_content(content: Any) -> str | list[Block]:
    """What a tool answered, as the content of a ``tool_result``."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return [told for block in content if (told := block_for("result", block)) is not None]
    return "" if content is None else json.dumps(clean_json(content), ensure_ascii=False)


def arguments(given: Any) -> dict[str, Any]:
    """What a tool is called with; what came in pieces, or broken, as far as it can be read."""
    if isinstance(given, str):
        try:
            given = json.loads(given or "{}", strict=False)
        except (RecursionError, ValueError):
            return {"arguments": given}
    if isinstance(given, Mapping):
        plain: dict[str, Any] = clean_json(dict(given))
        return plain
    return {} if given is None else {"arguments": clean_json(given)}


def _text(block: Any) -> Block | None:
    """Text with words in it: the API refuses any other."""
    text = block_text(block)
    if text is None or not text.strip():
        return None
    cited = block.get("citations") if isinstance(block, dict) else None
    if not isinstance(cited, list) or not cited or not all(isinstance(one, dict) for one in cited):
        return text_block(text)
    return {**text_block(text), "citations": [_citation(one) for one in cited]}


def _citation(one: Block) -> Block:
    """What was cited, without what the API says of it and does not take back."""
    return {name: value for name, value in one.items() if name != "file_id"}


def _own(kind: str, block: Block) -> Block | None:
    """A block of Anthropic's own, without what only a stream or LangChain adds."""
    names = ("tool_use_id", "content") if kind in _OWN_RESULTS else _FIELDS.get(kind, ())
    told = {"type": kind, **{name: block[name] for name in names if block.get(name) is not None}}
    if kind == "server_tool_use":
        told["input"] = arguments(block.get("input") or block.get("partial_json"))
    return told if _is_whole(told, names) else None


def _is_whole(told: Block, names: tuple[str, ...]) -> bool:
    kind = told["type"]
    if kind in {"document", "image"}:
        return isinstance(told.get("source"), dict) and isinstance(told["source"].get("type"), str)
    optional = {"caller", "citations"}
    return bool(names) and all(name in told or name in optional for name in names)


def _thought(block: Block) -> Block | None:
    """Reasoning in LangChain's words; Anthropic's bears its signature, and another's is not taken."""
    extras = block.get("extras")
    signature = extras.get("signature") if isinstance(extras, dict) else None
    if not isinstance(signature, str) or not isinstance(block.get("reasoning"), str):
        return None
    return {"type": "thinking", "thinking": block["reasoning"], "signature": signature}


def _medium(kind: str, block: Block) -> Block | None:
    """A picture or a document in LangChain's or OpenAI's words."""
    if kind in {"image_url", "input_image"}:
        image = block.get("image_url")
        return _picture(image.get("url") if isinstance(image, dict) else image)
    if "source" in block or kind not in {"file", "image"}:
        return None
    data, mime, url = block.get("base64") or block.get("data"), block.get("mime_type"), block.get("url")
    if kind == "image":
        return _encoded("image", mime, data) or _picture(url)
    file = block.get("file")
    told = file.get("file_data") if isinstance(file, dict) else None
    if isinstance(told, str) and (found := _DATA_URL.fullmatch(told)):
        return _encoded("document", *found.groups())
    if isinstance(url, str) and mime == "application/pdf":
        return {"type": "document", "source": {"type": "url", "url": url}}
    return _encoded("document", mime, data)


def _picture(url: Any) -> Block | None:
    if not isinstance(url, str):
        return None
    found = _DATA_URL.fullmatch(url)
    if found:
        return _encoded("image", *found.groups())
    is_web = url.startswith(("http://", "https://"))
    return {"type": "image", "source": {"type": "url", "url": url}} if is_web else None


def _encoded(kind: str, mime: Any, data: Any) -> Block | None:
    fits = mime in _PICTURES if kind == "image" else mime == "application/pdf"
    if not fits or not isinstance(data, str):
        return None
    return {"type": kind, "source": {"type": "base64", "media_type": mime, "data": data}}
