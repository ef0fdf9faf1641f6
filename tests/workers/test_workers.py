"""Servers that open a memory and fork then: 2,000 requests of ten users, none of whom sees a word of another's."""

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from convmemory import ConversationMemory

pytestmark = pytest.mark.workers
HERE = Path(__file__).parent
USERS = [f"user{number}" for number in range(10)]
REQUESTS = 2_000


@pytest.fixture
def environment(database_url, redis_url, key_prefix, tmp_path):
    """The environment of a server, with a schema that is there."""
    with ConversationMemory.from_url(database_url, redis_url) as memory:
        memory.init_schema()
        for user in USERS:
            memory.save_message("chat", f"{user} begins", user_id=user)
    for name in ("queue", "control", "results"):
        (tmp_path / name).mkdir()
    places = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PREFIX": key_prefix,
        "QUEUE": str(tmp_path),
    }
    return os.environ | places | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}


def requests():
    """Who asks, in an order of chance."""
    order = [(USERS[number % len(USERS)], number) for number in range(REQUESTS)]
    random.Random(7).shuffle(order)  # noqa: S311 - so that a run can be repeated
    return order


def verdict(answers) -> Counter:
    """What became of ``(user, pid, texts)``; a text that is not the user's own is foreign."""
    found = Counter(answers=0, foreign=0, pids=len({pid for _, pid, _ in answers}))
    for user, _, texts in answers:
        found["answers"] += 1
        found["foreign"] += sum(not text.startswith(f"{user} ") for text in texts)
        assert len(texts) >= 2, (user, texts)
    return found


def stop(process) -> str:
    process.terminate()
    try:
        return process.communicate(timeout=20)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


def test_gunicorn_that_preloads_with_two_workers(environment):
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--threads", "4"]
    command += ["--bind", f"127.0.0.1:{port}", "--log-level", "warning", "web:app"]
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

    def ask(asked):
        user, number = asked
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", f"/{user}/{number}")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, body
        said = json.loads(body)
        return user, said["pid"], said["texts"]

    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(ask, requests()))
    finally:
        said = stop(server)

    assert verdict(answers) == {"answers": REQUESTS, "foreign": 0, "pids": 2}, said
    assert "Traceback" not in said


def test_celery_that_forks_three_children(environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(HERE))
    import tasks

    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tasks",
        "worker",
        "--pool",
        "prefork",
        "--concurrency",
        "3",
    ]
    command += ["--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
    worker = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        kinds = (tasks.blocking_turn, tasks.awaited_turn)
        sent = [(user, kinds[number % 2].delay(user, number)) for user, number in requests()]
        answers = [(user, *result.get(timeout=120, interval=0.02)) for user, result in sent]
    finally:
        said = stop(worker)
        tasks.memory.close()

    assert verdict(answers) == {"answers": REQUESTS, "foreign": 0, "pids": 3}, said
    assert "Traceback" not in said
