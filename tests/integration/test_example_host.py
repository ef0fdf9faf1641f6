"""The example of a whole application: its login, the doors behind it, and a front end of twenty lines that speaks to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from fix_chat import FRONT_ENDS, front_ends_missing

pytestmark = pytest.mark.usefixtures("unmeasured")
EXAMPLES = Path(__file__).parents[2] / "examples"
RUNNING = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")


@pytest.fixture(scope="module")
def address(database_url, redis_url):
    """The application, as somebody would start it."""
    name = f"t_{uuid4().hex[:12]}"
    names = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CONVMEMORY_DB_SCHEMA": name,
        "CONVMEMORY_KEY_PREFIX": f"{name}:",
    }
    command = [sys.executable, str(EXAMPLES / "chat_host.py"), "--env", "--port", "0"]
    with subprocess.Popen(command, env=os.environ | names, stderr=subprocess.PIPE, text=True) as running:
        try:
            said = ""
            for line in running.stderr:
                said += line
                if found := RUNNING.search(line):
                    break
            else:
                pytest.fail(f"it did not start: {said}")
            yield found[1]
        finally:
            running.send_signal(signal.SIGTERM)
            running.communicate(timeout=30)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def visitor(address):
    """A function that logs somebody in."""
    made = []

    def arrived(user):
        client = httpx.Client(base_url=address, timeout=30, follow_redirects=True)
        made.append(client)
        client.post("/login", data={"user": user})
        return client

    yield arrived
    for client in made:
        client.close()


def test_whoever_logs_in_is_shown_the_page(visitor, address):
    page = visitor("ada").get("/")

    assert page.url == f"{address}/chats/"
    assert 'data-api="/v1" data-chat="/v1/chat" data-login="/login"' in page.text
    assert httpx.get(f"{address}/v1/conversations").status_code == 401
    assert "Who are you?" in httpx.get(f"{address}/login").text


def test_the_agent_looks_things_up_and_what_it_leaned_on_is_shown(visitor):
    ada = visitor("ada")
    order = ada.post("/v1/chat", json={"message": "Where is my order 1042?"}).json()
    rule = ada.post(
        "/v1/chat", json={"message": "How long is the warranty?", "conversation_id": order["conversation_id"]}
    ).json()
    shown = ada.get(f"/chats/conversations/{order['conversation_id']}/shown").json()["items"]

    assert "a kettle, delivered on Monday" in order["reply"]
    assert "two years" in rule["reply"]
    assert [one["role"] for one in shown] == ["human", "ai", "tool", "ai"] * 2
    assert "<blockquote>" in shown[3]["html"]
    assert (shown[6]["tool"], shown[7]["contexts"][0]["doc_id"]) == ("search_handbook", "warranty.md")


def test_nobody_reaches_anybody_elses_and_no_other_page_may_change_anything(visitor):
    ada, eve = visitor("ada"), visitor("eve")
    name = ada.post("/v1/conversations", json={"title": "mine"}).json()["id"]

    assert eve.get(f"/v1/conversations/{name}").status_code == 404
    assert eve.get(f"/chats/conversations/{name}/shown").status_code == 404
    assert (
        ada.delete(f"/v1/conversations/{name}", headers={"Origin": "https://elsewhere.example"}).status_code
        == 403
    )
    assert ada.delete(f"/v1/conversations/{name}").status_code == 204


def test_a_front_end_of_twenty_lines_speaks_to_it(visitor, address, tmp_path):
    if why := front_ends_missing():
        pytest.skip(why)
    if not (FRONT_ENDS / "node_modules/@ai-sdk/react").is_dir():
        pytest.skip("the front ends were fetched before there was this one: scripts/front-ends")
    for script in EXAMPLES / "chat_front_end.mjs", EXAMPLES.parent / "tests/front_ends/use_chat.mjs":
        shutil.copy(script, tmp_path)
    (tmp_path / "node_modules").symlink_to((FRONT_ENDS / "node_modules").resolve())
    visit = visitor("grace").cookies["visit"]
    command = [
        "node",
        "use_chat.mjs",
        address,
        f"visit={visit}",
        "orders",
        "Where is order 2001?",
        "And to the islands?",
    ]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    first, second, again = map(json.loads, done.stdout.splitlines())
    assert first == [
        ["user", "Where is order 2001?"],
        ["assistant", "[find_order] I looked it up:\n\n> a lamp, on its way"],
    ]
    assert second[:2] == first
    assert second[3][1].startswith("[search_handbook] I looked it up:\n\n> Delivery: two working days")
    assert again == second
    code = (EXAMPLES / "chat_front_end.mjs").read_text("utf-8").splitlines()
    assert len([line for line in code if line.strip() and not line.startswith("//")]) <= 20
