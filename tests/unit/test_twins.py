"""The two colours: every public verb of one is in the other, with the same arguments and the same words."""

import inspect
import re

import pytest

from convmemory import (
    AsyncConversationMemory,
    AsyncPostgresStore,
    AsyncRedisStore,
    AsyncUserMemory,
    ConversationMemory,
    PostgresStore,
    RedisStore,
    UserMemory,
)
from convmemory._async.journals import AsyncJournals
from convmemory._async.operators import AsyncOperator
from convmemory._async.retention import AsyncRetention
from convmemory._async.run_relay import AsyncRunRelay
from convmemory._async.search import AsyncSearch, AsyncUserSearch
from convmemory._async.tiered import AsyncTieredStore
from convmemory._sync.journals import Journals
from convmemory._sync.operators import Operator
from convmemory._sync.retention import Retention
from convmemory._sync.run_relay import RunRelay
from convmemory._sync.search import Search, UserSearch
from convmemory._sync.tiered import TieredStore

PAIRS = [
    (AsyncConversationMemory, ConversationMemory),
    (AsyncUserMemory, UserMemory),
    (AsyncPostgresStore, PostgresStore),
    (AsyncRedisStore, RedisStore),
    (AsyncTieredStore, TieredStore),
    (AsyncJournals, Journals),
    (AsyncOperator, Operator),
    (AsyncRetention, Retention),
    (AsyncRunRelay, RunRelay),
    (AsyncSearch, Search),
    (AsyncUserSearch, UserSearch),
]
ENTRANCES = {"__init__": "__init__", "__aenter__": "__enter__", "__aexit__": "__exit__"}
SAME = {awaited.__name__: blocking.__name__ for awaited, blocking in PAIRS} | {
    "AsyncIterator": "Iterator",
    "AsyncRedisHome": "RedisHome",
}
SESSIONS = ["create_session", "get_session", "extend_session", "end_session", "list_user_sessions"]
CONVERSATIONS = ["create_conversation", "get_conversation", "list_user_conversations", "rename_conversation"]
MESSAGES = ["save_message", "save_messages", "get_history", "get_messages", "clear", "delete_conversation"]
CONVERSATIONS += ["update_conversation"]
MISSION = [*SESSIONS, *CONVERSATIONS, *MESSAGES, "history", "init_schema", "check", "open", "close"]


def verbs(kind: type) -> dict:
    return {
        name: found
        for base in reversed(kind.__mro__[:-1])
        for name, found in vars(base).items()
        if not name.startswith("_") or name in ENTRANCES
    }


def signature(call) -> str:
    """As it is written, with the names of the blocking colour."""
    text = str(inspect.signature(inspect.unwrap(getattr(call, "__func__", call))))
    for awaited, blocking in SAME.items():
        text = text.replace(awaited, blocking)
    return re.sub(r"Awaitable\[(\w+)\]", r"\1", text)


@pytest.mark.parametrize(("awaited", "blocking"), PAIRS, ids=lambda kind: kind.__name__)
def test_every_verb_has_its_twin(awaited, blocking):
    names = {ENTRANCES.get(name, name) for name in verbs(awaited)}
    there = {name for name in dir(blocking) if not name.startswith("_")}

    assert {name for name in names if not name.startswith("_")} == there
    assert len(names) > 2


@pytest.mark.parametrize(
    ("awaited", "blocking", "name"),
    [(awaited, blocking, name) for awaited, blocking in PAIRS for name in verbs(awaited)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_twin_takes_the_same_and_waits_for_it(awaited, blocking, name):
    one = inspect.getattr_static(awaited, name)
    other = inspect.getattr_static(blocking, ENTRANCES.get(name, name))

    assert type(one) is type(other)
    assert not inspect.iscoroutinefunction(other)
    if callable(getattr(one, "__func__", one)):
        assert signature(one) == signature(other)
    elif isinstance(one, property):
        assert signature(one.fget) == signature(other.fget)


@pytest.mark.parametrize("memory", PAIRS[0], ids=lambda kind: kind.__name__)
def test_the_missions_verbs_are_there_and_explained(memory):
    for name in MISSION:
        assert (getattr(memory, name).__doc__ or "").strip(), name


@pytest.mark.parametrize("name", sorted(set(MISSION) - {"history"}))
def test_every_verb_of_the_awaited_memory_is_awaited(name):
    assert inspect.iscoroutinefunction(getattr(AsyncConversationMemory, name))
