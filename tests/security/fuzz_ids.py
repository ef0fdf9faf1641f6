"""Ids, keys, URLs, cursors and replies from outside: `python fuzz_ids.py HARNESS [libFuzzer options]`."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress

import psycopg

from convmemory.errors import ConfigurationError, InvalidArgument
from convmemory.ids import ConversationKey, conversation_key, message_key
from convmemory.storage.conversation_lists import read_cursor
from convmemory.storage.redis_keys import Keys
from convmemory.storage.redis_sessions import session_of
from convmemory.storage.redis_urls import redis_place
from convmemory.storage.text_arrays import array
from convmemory.windows.snapshots import parse_reply
from security.fuzz_tools import Harness, main

KEY = re.compile(r"p:1:i:(?:session:|user:|history:)\{[\w.~%-]+\}(?::sessions|:recent)?", re.ASCII)
UUID = re.compile(r"[0-9a-fA-F]{8}(?:(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{24})")
INSTALLATION = "0c7d3f1e-6f0b-4b8e-9d55-3a1c2b4d5e6f"
TEXTS = psycopg.adapters.get_loader(psycopg.adapters.types["text"].array_oid, psycopg.pq.Format.TEXT)


def ids(data: bytes) -> None:
    """An id is refused by its name, or it has a row and keys that no other pair of ids reaches."""
    parts = [part.decode("utf-8", "surrogateescape") for part in data.split(b"\xff")][:4]
    keys, rows, names = Keys("p:", "i"), {}, {}
    for user, name in ((user, name) for user in parts for name in parts):
        key = _key(name, user)
        if key is None:
            continue
        meant = name.lower().replace("-", "") if UUID.fullmatch(name) else (user, name)
        assert rows.setdefault(key.uuid, meant) == meant
        for text, whose in ((keys.session(name), ("s", name)), (keys.user_sessions(user), ("u", user))):
            assert KEY.fullmatch(text), text
            assert names.setdefault(text, whose) == whose
        assert KEY.fullmatch(keys.window(key.uuid))
        key.name.encode()
        message_key(key.uuid, name)


def _key(name: str, user: str) -> ConversationKey | None:
    refused = ""
    try:
        key = conversation_key(name, user)
    except InvalidArgument as error:
        refused = error.argument
    else:
        key.settle(INSTALLATION)
        return key
    assert refused in {"conversation_id", "user_id"}
    return None


def urls(data: bytes) -> None:
    """A URL is read, or refused without being quoted."""
    text = data.decode("utf-8", "replace")
    secret = hashlib.sha256(data).hexdigest()[:16]  # atheris would learn a constant, and make a host of it
    for form in (
        "redis+sentinel://:{}@{}",
        "redis+cluster://app:{}@{}",
        "redis://:{}@{}",
        "redis+sentinel://a:1/{}@{}",
    ):
        assert secret not in _said_of(form.format(secret, text))
    _said_of(text)


def _said_of(url: str) -> str:
    try:
        return repr(redis_place(url))
    except ConfigurationError as error:
        return str(error)


def from_outside(data: bytes) -> None:
    """Cursors that come back from a browser; what somebody wrote into Redis; texts on their way into an array."""
    with suppress(InvalidArgument):
        read_cursor(data.decode("utf-8", "replace"), "updated")
    parts = data.split(b"\xff")
    with suppress(ValueError, IndexError):
        parse_reply(parts)
    with suppress(ValueError, KeyError):
        session_of("id", dict(zip(parts[::2], parts[1::2], strict=False)))
    texts = [part.decode("utf-8", "replace") for part in parts]
    assert TEXTS is not None
    assert TEXTS(psycopg.adapters.types["text"].array_oid).load(array(texts).encode()) == texts


HARNESSES: dict[str, Harness] = {"ids": ids, "urls": urls, "from_outside": from_outside}

if __name__ == "__main__":
    main(HARNESSES)
