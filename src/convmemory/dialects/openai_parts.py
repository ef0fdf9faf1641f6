"""The content of a chat message as Chat Completions takes it from each role: text, and from a user more than that."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages import HumanMessage, convert_to_openai_messages

from convmemory.dialects.original_dicts import UNREADABLE
from convmemory.encoding.text_blocks import TEXT_TYPES, block_text
from convmemory.encoding.tool_blocks import trace

_TEXT: Final = frozenset({"text"})
_PARTS: Final = {
    "user": frozenset({"file", "image_url", "input_audio", "text"}),
    "assistant": frozenset({"refusal", "text"}),
}
_MEDIA: Final = frozenset({
    "audio", "computer_screenshot", "document", "file", "image", "image_url", "input_audio", "input_file", "input_image",
    "media", "video",
})  # fmt: skip
"""What a model cannot be shown in this place, and should know was there."""
_NAME: Final = re.compile(r"[^\s<|\\/>]{1,64}")
_NO_NAME: Final = re.compile(r"[\s<|\\/>]+")


def content_for(role: str, content: Any) -> str | list[dict[str, Any]]:
    """A content as the parts that ``role`` may have; text where there is nothing else.

    What has no place there is left out, a picture or a recording with its kind said in its stead: ``[image]``.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return "" if content is None else json.dumps(content, ensure_ascii=False, default=str)
    return [part for block in content if trace(block) is None for part in parts_for(role, block)] or ""


def parts_for(role: str, block: Any) -> list[dict[str, Any]]:
    """One block of a content as ``role`` may have it, if at all."""
    if isinstance(block, str):
        return [{"type": "text", "text": block}] if block else []
    kind = block.get("type")
    kind = kind if isinstance(kind, str) else None
    if kind in TEXT_TYPES:
        text = block_text(block)
        return [] if text is None else [{"type": "text", "text": text}]
    if kind == "refusal" and role == "assistant" and _is_part(role, block):
        return [{"type": kind, "refusal": block["refusal"]}]
    found = _converted(block) if role == "user" else []
    return found or ([{"type": "text", "text": f"[{kind}]"}] if kind in _MEDIA else [])


def is_content(role: str, content: Any) -> bool:
    """Whether Chat Completions takes this content from ``role``."""
    if isinstance(content, str):
        return True
    if content is None:
        return role in {"assistant", "function"}
    if not isinstance(content, list) or role == "function":
        return False
    return bool(content) and all(_is_part(role, part) for part in content)


def is_name(name: Any) -> bool:
    """Whether Chat Completions takes this name of a speaker."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def name_for(name: str) -> str | None:
    """A speaker's name in the characters the API takes."""
    return _NO_NAME.sub("_", name)[:64] or None


def _converted(block: dict[str, Any]) -> list[dict[str, Any]]:
    """A picture, a recording or a file, in whichever provider's words, as OpenAI has it."""
    try:
        [told] = convert_to_openai_messages([HumanMessage([_from_anthropic(block)])], text_format="block")
        parts = [_plain_image(part) for part in told["content"]]
    except UNREADABLE:
        return []
    return parts if all(_is_part("user", part) for part in parts) else []


def _from_anthropic(block: dict[str, Any]) -> dict[str, Any]:
    """A picture or document of Anthropic's that LangChain does not read."""
    source, kind = block.get("source"), block["type"]
    if not isinstance(source, dict) or kind not in {"document", "image"}:
        return block
    if kind == "image" and source["type"] == "url":
        return {"type": "image_url", "image_url": {"url": source["url"]}}
    if kind == "document" and source["type"] == "text":
        return {"type": "text", "text": source["data"]}
    if kind == "document" and source["type"] == "base64":
        data = f"data:{source['media_type']};base64,{source['data']}"
        return {"type": "file", "file": {"filename": block.get("title") or "document", "file_data": data}}
    return block


def _plain_image(part: dict[str, Any]) -> dict[str, Any]:
    """A picture as the API has it: not its bare URL, and in one of the details it knows."""
    image = part.get("image_url")
    if isinstance(image, str):
        return {"type": "image_url", "image_url": {"url": image}}
    if isinstance(image, dict) and not _is_image(image):
        return {**part, "image_url": {name: value for name, value in image.items() if name != "detail"}}
    return part


def _is_part(role: str, part: Any) -> bool:
    if not isinstance(part, dict) or str(part.get("type")) not in _PARTS.get(role, _TEXT):
        return False
    return _CHECKS[part["type"]](part.get(part["type"]))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_image(value: Any) -> bool:
    known = isinstance(value, Mapping) and isinstance(value.get("url"), str)
    return known and value.get("detail", "auto") in {"auto", "high", "low"}


def _is_audio(value: Any) -> bool:
    known = isinstance(value, Mapping) and isinstance(value.get("data"), str)
    return known and value.get("format") in {"mp3", "wav"}


def _is_file(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(value.get(name, ""), str) for name in ("file_data", "file_id", "filename")
    )


_CHECKS: Final = {
    "text": _is_text,
    "refusal": _is_text,
    "image_url": _is_image,
    "input_audio": _is_audio,
    "file": _is_file,
}
