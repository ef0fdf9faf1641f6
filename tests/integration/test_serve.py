"""``convmemory serve``: one command, a page and routes for whoever has the token, a log that tells nothing, an end in order."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from typer.testing import CliRunner

import convmemory
from convmemory import ConversationMemory
from convmemory.cli import app
from convmemory.cli.serve import kept_at
from convmemory.cli.serve.access import route_of
from convmemory.cli.serve.door import Door, token_of_environment
from convmemory.errors import ConfigurationError

SECRET = "a-token-of-ones-own"
AGENT = """
    import asyncio
    from langchain_core.language_models import FakeListChatModel

    agent = FakeListChatModel(responses=["From the module."])
    nothing = 1

    def made(memory):
        assert memory.for_user("ada")
        return agent

    async def slow(turn):
        yield "begun "
        await asyncio.sleep(1.5)
        yield "done"
"""


class Served:
    """A server that runs, and what it said."""

    def __init__(self, process, log):
        self.process, self._log = process, log
        line = process.stdout.readline()
        assert line, log.read_text()
        self.told = json.loads(line)
        self.client = httpx.Client(base_url=self.told["address"], timeout=20)

    @property
    def log(self):
        return self._log.read_text()

    @property
    def bearer(self):
        return {"Authorization": f"Bearer {self.told['token'] or SECRET}"}

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def served(directory, *options, **environment):
    log = directory / "log"
    command = [sys.executable, "-m", "convmemory", "serve", "--port", "0", "--json", *options]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=directory,
            env=os.environ | environment,
        ) as process,
    ):
        try:
            found = Served(process, log)
            with found.client:
                yield found
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo, as in the README."""
    with served(tmp_path_factory.mktemp("demo"), "--demo") as found:
        yield found


@pytest.fixture
def named(database_url, redis_url, schema_name, key_prefix):
    """The environment that names these tests' own servers."""
    ConversationMemory.from_url(database_url, redis_url, db_schema=schema_name).init_schema()
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CONVMEMORY_DB_SCHEMA": schema_name,
        "CONVMEMORY_KEY_PREFIX": key_prefix,
    }


def test_whoever_tries_it_is_led_to_this_command():
    text = Path(__file__).parents[2].joinpath("README.md").read_text("utf-8")
    section = text.partition("\n## Try it\n")[2].partition("\n## ")[0].strip()

    assert "convmemory serve --demo" in section.split("\n\n")[-1]


def test_a_stranger_sees_the_page_and_nothing_in_it(demo):
    assert demo.client.get("/").status_code == 200
    assert demo.client.get("/login").headers["content-security-policy"].startswith("default-src 'none';")
    for method, path in (("GET", "/v1/conversations"), ("POST", "/v1/chat"), ("DELETE", "/v1/me")):
        answer = demo.client.request(method, path, headers={"Authorization": "Bearer wrong"})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert demo.client.get("/docs").status_code == 404  # it would fetch scripts from elsewhere


def test_the_token_is_changed_for_a_cookie(demo):
    page, token = demo.told["page"].split("#")

    assert (page, token) == (f"{demo.told['address']}/login", demo.told["token"])
    assert demo.client.post("/login", json={"token": "wrong"}).status_code == 401
    with httpx.Client(base_url=demo.told["address"]) as browser:
        entered = browser.post("/login", json={"token": token})
        cookie = entered.headers["set-cookie"]
        listed = browser.get("/v1/conversations").json()["items"]
        crossing = [
            browser.post("/v1/conversations", headers=headers)
            for headers in ({"Origin": "http://127.0.0.1:1"}, {"Sec-Fetch-Site": "same-site"})
        ]

    assert entered.status_code == 204
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert token not in cookie
    assert len(listed) >= 4
    assert [one.status_code for one in crossing] == [403, 403]


def test_there_is_something_to_see_and_somebody_to_talk_to(demo):
    said = demo.client.post("/v1/chat", json={"message": "Where can I PARK?"}, headers=demo.bearer).json()

    assert "20 a month" in said["reply"]
    asks, result, reply = said["messages"][1:]
    assert (asks["tool_calls"][0]["name"], result["role"]) == ("search_handbook", "tool")
    assert (reply["contexts"][0]["doc_id"], reply["tokens_used"] > 0) == ("parking.md", True)
    again = {"message": "How do I request it?", "conversation_id": said["conversation_id"]}
    assert "20 a month" in demo.client.post("/v1/chat", json=again, headers=demo.bearer).json()["reply"]
    assert (
        "three pages"
        in demo.client.post("/v1/chat", json={"message": "?"}, headers=demo.bearer).json()["reply"]
    )


def test_an_answers_body_does_not_wait_until_its_head_has_arrived(demo):
    """A socket that gathers what is small holds it back until the client's system confirms what was sent before: 40 ms."""
    address, taken = urlsplit(demo.told["address"]), []
    with socket.create_connection((address.hostname, address.port)) as connection:
        for _ in range(30):
            began, answer = time.perf_counter(), b""
            connection.sendall(b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            while not answer.endswith(b'{"status":"ok"}'):
                answer += connection.recv(10_000)
            taken.append(time.perf_counter() - began)

    assert min(taken[1:]) < 0.03  # on a full machine some are late whatever is done


def test_a_head_that_does_not_end_is_cut_short(demo):
    """Whoever has no token could fill the memory with it."""
    address = urlsplit(demo.told["address"])
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe, whichever comes first
            connection.sendall((b"X-More: " + b"a" * 1_000_000 + b"\r\n") * 100)


def test_the_log_has_routes_and_nothing_of_what_was_said(demo):
    demo.client.put("/v1/conversations/secret-name", headers=demo.bearer)
    demo.client.get("/v1/conversations/secret-name?x=secret-query", headers=demo.bearer)
    demo.client.get("/secret-path")
    demo.client.post("/login", json={"token": "secret-guess"})
    time.sleep(0.1)

    assert re.search(
        r"^\S+ \S+Z GET /v1/conversations/\{conversation_id\} 404 [\d.]+ ms$", demo.log, re.MULTILINE
    )
    assert "GET (no route) 404" in demo.log
    assert "secret" not in demo.log
    assert demo.told["token"] not in demo.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_answers_have_come_to_their_end(tmp_path, named, number):
    (tmp_path / "mine.py").write_text(AGENT.replace("\n    ", "\n"))
    with served(tmp_path, "--runnable", "mine:slow", "--user", "ada", **named) as server:
        body, headers = {"message": "Hello"}, {**server.bearer, "Accept": "text/event-stream"}
        with server.client.stream("POST", "/v1/chat", json=body, headers=headers) as answer:
            lines = answer.iter_lines()
            conversation = json.loads(next(line for line in lines if line.startswith("data:"))[6:])
            server.process.send_signal(number)
            rest = "\n".join(lines)
        assert server.process.wait(20) == 0

    assert "event: end" in rest
    with ConversationMemory.from_url(
        named["DATABASE_URL"], db_schema=named["CONVMEMORY_DB_SCHEMA"]
    ) as memory:
        kept = memory.get_messages(conversation["conversation_id"], user_id="ada")
    assert [one.content for one in kept] == ["Hello", "begun done"]


def test_there_are_so_many_answers_at_once_as_was_said(tmp_path, named):
    (tmp_path / "mine.py").write_text(AGENT.replace("\n    ", "\n"))
    with served(tmp_path, "--runnable", "mine:slow", "--max-runs", "1", **named) as server:
        body, headers = {"message": "Hello"}, {**server.bearer, "Accept": "text/event-stream"}
        with server.client.stream("POST", "/v1/chat", json=body, headers=headers) as answer:
            next(answer.iter_lines())
            other = server.client.post("/v1/chat", json={"message": "I too"}, headers=server.bearer)

    assert (other.status_code, other.headers["retry-after"]) == (429, "1")


def test_ones_own_agent_answers_and_the_page_can_be_left_out(tmp_path, named):
    (tmp_path / "mine.py").write_text(AGENT.replace("\n    ", "\n"))
    options = ("--runnable", "mine:made", "--no-viewer")
    with served(tmp_path, *options, CONVMEMORY_SERVE_TOKEN=SECRET, **named) as server:
        said = server.client.post("/v1/chat", json={"message": "Hello"}, headers=server.bearer)
        pages = [server.client.get(path).status_code for path in ("/", "/login")]

    assert said.json()["reply"] == "From the module."
    assert pages == [404, 404]
    assert (server.told["token"], server.told["page"]) == (None, None)


def test_its_model_makes_titles_too(tmp_path, named):
    (tmp_path / "langchain_fireworks.py").write_text(
        "from langchain_core.language_models import FakeListChatModel\n"
        "class ChatFireworks(FakeListChatModel):\n"
        "    def __init__(self, model, **more):\n"
        "        super().__init__(responses=['Thirty days.', 'Days off'])\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(convmemory.__file__).parents[1])])
    options = ("--model", "fireworks:m", "--titles", "--no-viewer")
    with served(tmp_path, *options, PYTHONPATH=path, **named) as server:
        said = server.client.post("/v1/chat", json={"message": "How many?"}, headers=server.bearer).json()
        for _ in range(200):
            [found] = server.client.get("/v1/conversations", headers=server.bearer).json()["items"]
            if found["title_source"] == "model":
                break
            time.sleep(0.05)

    assert said["reply"] == "Thirty days."
    assert (found["title"], found["title_source"]) == ("Days off", "model")


def run(*options, **environment):
    return CliRunner().invoke(app, ["serve", *options], env=environment)


def test_a_port_that_is_taken_is_told_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("--demo", "--port", port)

    assert done.exit_code == 1
    assert re.search(rf"--port {port}: .*in use.* --port 0 takes any that is free", done.stderr)


def test_what_cannot_be_is_told_before_anything_is_started(tmp_path):
    wrong = [
        (("--demo", "--model", "a:b"), 2, "give one of them"),
        (("--titles",), 2, "--titles: which model"),
        (("--demo", "--embedded", str(tmp_path)), 2, "servers of its own"),
        (("--redis-url", "redis://127.0.0.1:1"), 2, "name a database as well"),
        (("--port", "0", "--database-url", "postgresql://a@127.0.0.1:1/a"), 1, "is it running"),
    ]
    for options, status, why in wrong:
        done = run(*options, DATABASE_URL="", XDG_DATA_HOME=str(tmp_path))
        assert (done.exit_code, why in " ".join(done.stderr.split())) == (status, True), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "status", "why"),
    [
        ("mine", 2, "must be MODULE:NAME"),
        ("no_such_module:x", 1, "no_such_module"),
        ("json:no_such", 1, "no_such"),
    ],
)
def test_a_runnable_that_is_not_there_is_told(named, name, status, why):
    done = run("--port", "0", "--runnable", name, **named)

    assert done.exit_code == status
    assert why in " ".join(done.stderr.split())


def test_a_runnable_that_is_none_is_told(named, tmp_path, monkeypatch):
    (tmp_path / "another.py").write_text(AGENT.replace("\n    ", "\n"))
    monkeypatch.chdir(tmp_path)

    done = run("--port", "0", "--runnable", "another:nothing", **named)

    assert (done.exit_code, "runnable: must be a Runnable" in done.stderr) == (1, True)


def test_embedded_servers_keep_their_data_at_home(tmp_path):
    nowhere = {"DATABASE_URL": "", "XDG_DATA_HOME": str(tmp_path)}
    for seen in 0, 1:
        with served(tmp_path, **nowhere) as server:
            listed = server.client.get("/v1/conversations", headers=server.bearer).json()["items"]
            server.client.post("/v1/conversations", json={"title": "Kept"}, headers=server.bearer)
            chat = server.client.post("/v1/chat", json={"message": "?"}, headers=server.bearer)
            assert server.end() == 0
        assert (len(listed), chat.status_code) == (seen, 404)
    assert Path(tmp_path, "convmemory").is_dir()


def test_home_is_where_the_system_has_it(monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert kept_at() == Path("/data/convmemory")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert kept_at() == Path.home() / ".local/share/convmemory"


@pytest.mark.parametrize("given", ["short", "with a space in it", "ümläuts-are-not-sent"])
def test_a_token_that_cannot_be_sent_or_is_guessed_is_refused(monkeypatch, given):
    monkeypatch.setenv("CONVMEMORY_SERVE_TOKEN", given)

    with pytest.raises(ConfigurationError, match="CONVMEMORY_SERVE_TOKEN: must be 16 or more"):
        token_of_environment()


def test_two_servers_of_one_host_do_not_take_each_others_cookies():
    doors = [Door(None, "ada") for _ in range(2)]
    names = {door.enter(door.token).headers["set-cookie"].split("=")[0] for door in doors}

    assert len(names) == 2


def test_a_route_is_logged_with_the_names_of_its_places():
    scope = {"route": object(), "path": "/v1/a/b c/messages/d", "path_params": {"one": "b c", "two": "d"}}

    assert route_of(scope) == "/v1/a/{one}/messages/{two}"
