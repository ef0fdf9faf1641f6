"""The rights that `convmemory schema grants` prints: what an application does with them, and what it is told where one is missing."""

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from convmemory import ConversationMemory, RetrievedContext, StorageError
from convmemory.tiers.driver_errors import describe
from fix_memory import texts

PAGE = Path(__file__).parents[2] / "docs/how-to/production.md"
JOURNALS = "UPDATE (journals)"


def printed(role, schema):
    done = subprocess.run(
        [sys.executable, "-m", "convmemory", "schema", "grants", role, "--schema", schema],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture
def role(database_url, schema):
    """A function that makes a role with the rights that are printed, but for those that are left out; its URL."""
    made = []

    def make(*, without=None):
        made.append(name := f"app_{uuid4().hex[:8]}")
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(f"CREATE ROLE {name} LOGIN")
            for grant in printed(name, schema).splitlines():
                if without is None or without not in grant:
                    admin.execute(grant)
        parts = urlsplit(database_url)
        return parts._replace(netloc=f"{name}@{parts.netloc.rpartition('@')[2]}").geturl()

    yield make
    with psycopg.connect(database_url, autocommit=True) as admin:
        for name in made:
            admin.execute(f"DROP OWNED BY {name}")
            admin.execute(f"DROP ROLE {name}")


def test_the_page_shows_what_the_command_prints():
    [shown] = re.findall(r"schema grants app`.*?```sql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)

    assert printed("app", "convmemory").replace('"', "") == shown


def test_it_may_search_note_and_erase(role, schema, redis_url, key_prefix):
    with ConversationMemory.from_url(
        role(), redis_url, db_schema=schema, key_prefix=key_prefix, search="english"
    ) as memory:
        assert memory.init_schema() == []
        ana = memory.for_user("ana")
        leant_on = [RetrievedContext(content="twenty days", doc_id="d")]
        ana.save_message("c", "user", "how many days?")
        answer = ana.save_message("c", "assistant", "twenty", contexts=leant_on)
        assert texts(ana.get_history("c")) == ["how many days?", "twenty"]
        ana.annotate_message("c", answer, {"feedback": 1})
        ana.search.set_keys("c", answer, ["vacation"])
        assert len(ana.search.messages("twenty")) == 1
        ana.replace_message("c", answer, ("ai", "thirty"))
        ana.archive_conversation("c")
        ana.truncate("c", after=1)
        memory.search.index()
        memory.create_session("ana")
        assert memory.check().status == "ok"
        assert memory.retention.erase_user("ana").rows["conversations"] == 1
        memory.retention.prune(older_than=timedelta(days=1))


def test_its_writes_may_wait(role, schema, redis_url, key_prefix):
    with ConversationMemory.from_url(
        role(),
        redis_url,
        db_schema=schema,
        key_prefix=key_prefix,
        durability="journal",
        journal_ack="memory",
    ) as memory:
        memory.save_message("c", "user", "one", user_id="ana")
        memory.get_history("c", user_id="ana")
        assert memory.save_message("c", "user", "two", user_id="ana").pending
        assert memory.check().postgres.problem is None
        assert memory.journals.forbid() >= 0


def test_a_role_that_may_not_have_them_wait_is_told(role, schema, redis_url, key_prefix, caplog):
    with ConversationMemory.from_url(
        role(without=JOURNALS),
        redis_url,
        db_schema=schema,
        key_prefix=key_prefix,
        journal="outage",
        journal_ack="memory",
    ) as memory:
        for said in ("one", "two"):
            memory.save_message("c", "user", said, user_id="ana")
            memory.get_history("c", user_id="ana")
        problem = memory.check().postgres.problem
    assert "schema grants" in problem
    assert "installation" in problem
    told = [one.getMessage() for one in caplog.records if "may not allow it" in one.getMessage()]
    assert len(told) == 1


def test_a_role_without_rights_is_told_how_to_get_them(role, schema, redis_url):
    with (
        pytest.raises(StorageError, match=r"permission denied .*schema grants"),
        ConversationMemory.from_url(role(without="USAGE"), redis_url, db_schema=schema),
    ):
        pass
    refused = psycopg.errors.InsufficientPrivilege("new row violates row-level security policy")
    assert "schema grants" not in describe(refused)
