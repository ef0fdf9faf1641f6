"""LangSmith's side of the wire on loopback: takes what the real client sends, and decodes all of it."""

from __future__ import annotations

import gzip
import json
import os
import threading
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import zstandard

_LIMITS = {
    "use_multipart_endpoint": True,
    "size_limit": 100,
    "size_limit_bytes": 20_971_520,
    "scale_up_nthreads_limit": 16,
    "scale_up_qsize_trigger": 1_000,
    "scale_down_nempty_trigger": 4,
}
"""What a server tells of itself; a client that misses one of these sends nothing and waits for ever."""


class Collector:
    """An HTTP server that keeps every request, and every run they told of, by the run's id.

    ``zstd`` is what it says of itself when the client asks what it may send.
    """

    def __init__(self, *, zstd: bool = True) -> None:
        self.zstd = zstd
        self.requests: list[tuple[str, str, str]] = []
        self.bodies: list[bytes] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Handler", (_Handler,), {"collector": self})
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self, *, tracing: bool) -> dict[str, str]:
        """The environment of a program whose traces come here, with nothing of this machine's own LangSmith in it."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LANGSMITH_", "LANGCHAIN_"))}
        return kept | {
            "LANGSMITH_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "LANGSMITH_API_KEY": "no-key",
            "LANGSMITH_PROJECT": "test",
            "LANGSMITH_TRACING": "true" if tracing else "false",
            "LANGSMITH_CONFIG_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def traces(self) -> dict[str, list[dict[str, Any]]]:
        """The runs of each trace, the root first, by the name of the root's conversation."""
        found: dict[str, list[dict[str, Any]]] = {}
        for run in sorted(self.runs.values(), key=lambda run: run["dotted_order"]):
            found.setdefault(run["trace_id"], []).append(run)
        return {metadata(runs[0]).get("conversation_name", ""): runs for runs in found.values()}

    def take(self, path: str, kind: str, coding: str, body: bytes) -> None:
        """Decode one request and note the runs in it."""
        plain = _plain(coding, body)
        with self._lock:
            self.requests.append((path, kind.partition(";")[0], coding))
            self.bodies.append(plain)
            for run in _runs(kind, plain):
                self.runs.setdefault(run["id"], {}).update({k: v for k, v in run.items() if v is not None})


def metadata(run: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a run, where LangSmith looks for threads."""
    found: dict[str, Any] = (run.get("extra") or {}).get("metadata") or {}
    return found


class _Handler(BaseHTTPRequestHandler):
    collector: Collector

    def do_GET(self) -> None:
        self.collector.take(self.path, "", "", b"")
        flags = {"zstd_compression_enabled": self.collector.zstd}
        self._answer({"version": "0.13.0", "batch_ingest_config": _LIMITS, "instance_flags": flags})

    def do_POST(self) -> None:
        kind, coding = self.headers.get("Content-Type", ""), self.headers.get("Content-Encoding", "")
        self.collector.take(self.path, kind, coding, self._body())
        self._answer({}, 202)

    do_PATCH = do_POST  # noqa: N815 - the name http.server looks for

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, value: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _plain(coding: str, body: bytes) -> bytes:
    if coding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    if coding == "gzip":
        return gzip.decompress(body)
    assert not coding, coding
    return body


def _runs(kind: str, body: bytes) -> list[dict[str, Any]]:
    """The runs of one body, some of them in pieces: ``post.ID`` and ``post.ID.extra`` are parts of their own."""
    if not kind.startswith("multipart/"):
        told = json.loads(body) if body else {}
        return [*told.get("post", ()), *told.get("patch", ())] or ([told] if "id" in told else [])
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    found = []
    for part in message.iter_parts():
        event, run, *field = str(part.get_param("name", header="content-disposition")).split(".")
        if event in {"post", "patch"}:
            value = json.loads(part.get_payload(decode=True))
            found.append({field[0]: value, "id": run} if field else {**value, "id": run})
    return found
