"""Whatever the OpenAPI document allows or forbids is answered as it says, and with nothing of another user's: ``scripts/openapi``."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: scripts/openapi")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi import checks as openapi  # noqa: E402

from convmemory import ConversationMemory, RetrievedContext  # noqa: E402
from convmemory.embedded import EmbeddedServers  # noqa: E402

HERE = Path(__file__).parent
SECRET = "only-for-bob-0451"
CHECKS = [
    not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
]
EXAMPLES = int(os.environ.get("CONVMEMORY_TEST_OPENAPI_EXAMPLES", "60"))


@pytest.fixture(scope="module", params=["awaited", "blocking"])
def served(request):
    """A host of either colour, where bob has secrets: its address, ids of ada's and ids of bob's."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with EmbeddedServers.start() as servers:
        names = {
            "DATABASE_URL": servers.database_url,
            "REDIS_URL": servers.redis_url,
            "CONVMEMORY_SEARCH": "english",
        }
        with ConversationMemory.from_url(servers.database_url, servers.redis_url, search="english") as memory:
            memory.init_schema()
            with subprocess.Popen(
                [sys.executable, str(HERE / "host.py"), request.param, str(port)], env=os.environ | names
            ) as process:
                try:
                    address = f"http://127.0.0.1:{port}"
                    _wait(address, process)
                    yield address, _ids(memory, "ada", "mine"), _ids(memory, "bob", SECRET)
                    assert process.poll() is None
                finally:
                    process.terminate()


def _wait(address, process):
    for _ in range(200):
        assert process.poll() is None
        try:
            urllib.request.urlopen(f"{address}/v1/health/live").close()  # noqa: S310 - ours
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the host did not start")


def _ids(memory, user, word):
    mine = memory.for_user(user)
    made = mine.create_conversation(conversation_id=f"talk-of-{user}", title=word, metadata={"word": word})
    said = [
        mine.save_message(made, "user", word, {"word": word}),
        mine.save_message(made, "assistant", word, contexts=[RetrievedContext(word, word)]),
    ]
    session = mine.create_session(conversation_id=made, metadata={"word": word})
    return {
        "conversation_id": [made.id, str(made.uuid)],
        "message_id": [str(one.id) for one in said],
        "session_id": [session.id, session.handle],
    }


@pytest.mark.parametrize(("path", "least"), [("", 20), ("/ai", 3), ("/agui", 3)])
def test_every_answer_is_as_the_document_says_and_ones_own(served, path, least):
    """Told as one list, so that a run shows all there is to mend."""
    address, adas, bobs = served
    document = schemathesis.openapi.from_url(f"{address}{path}/openapi.json")
    wrong, asked = [], 0
    for found in document.get_all_operations():
        operation = found.ok()
        cases = st.one_of(
            operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
        )

        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(case=cases)
        def hold(case):
            nonlocal asked
            asked += 1
            _lead(case, adas, bobs)
            answer = case.call(headers={"x-user": "ada"}, timeout=30)
            assert SECRET not in answer.text
            assert SECRET not in repr(dict(answer.headers))
            case.validate_response(answer, checks=CHECKS)

        try:
            hold()
        except BaseException as error:  # a group of them, where there are several
            wrong.append(f"{operation.label}: {error!r:.2000}")
    assert not wrong, "\n\n".join(wrong)
    assert asked > least * EXAMPLES


def _lead(case, adas, bobs):
    """Put ids of ada's and of bob's where ids belong: what is made up is next to never there."""
    chance = random.Random(repr((case.path_parameters, case.body)))  # noqa: S311 - the same each time
    for name in [name for name in case.path_parameters or {} if name in adas]:
        where = chance.choice([adas, bobs, None])
        if where is not None:
            case.path_parameters[name] = chance.choice(where[name])
    if isinstance(case.body, dict) and "conversation_id" in case.body and chance.random() < 0.5:
        case.body["conversation_id"] = chance.choice([*adas["conversation_id"], *bobs["conversation_id"]])


def test_bob_has_what_he_had(served):
    address, _, bobs = served
    for name in bobs["conversation_id"]:
        asked = urllib.request.Request(f"{address}/v1/conversations/{name}", headers={"x-user": "bob"})  # noqa: S310 - ours
        with urllib.request.urlopen(asked) as answer:  # noqa: S310 - ours
            assert answer.read().count(SECRET.encode()) >= 6
