"""The memory of one user has every verb of the memory that concerns a user, with the same arguments but for ``user_id``."""

import inspect
import sys
from typing import get_overloads, get_type_hints

import pytest

from convmemory import (
    AsyncConversationMemory,
    AsyncUserMemory,
    ConversationMemory,
    InvalidArgument,
    UserMemory,
)

PAIRS = [(ConversationMemory, UserMemory), (AsyncConversationMemory, AsyncUserMemory)]
PROCESS_WIDE = {
    "from_url": "makes a memory",
    "from_env": "makes a memory",
    "open": "of the process",
    "close": "of the process",
    "init_schema": "of the database",
    "check": "of the process",
    "for_user": "is how one comes here",
    "journals": "an operator's",
    "operator": "an operator's",
    "retention": "an operator's",
    "history_factory": "is told the user by the run",
    "history_factory_config": "names what the run tells",
}


ROOMS = {"search": ("as_retriever", "messages", "recall")}
"""Rooms of verbs, and those of them that concern a user."""


def verbs(kind):
    return {name: value for name, value in inspect.getmembers(kind) if not name.startswith("_")}


def found(kind, name):
    """A verb, of a room too: ``search.recall``."""
    room, _, verb = name.rpartition(".")
    if room:
        kind = get_type_hints(getattr(kind, room).fget, vars(sys.modules[kind.__module__]))["return"]
    return getattr(kind, verb)


VERBS = [
    f"{name}.{verb}" if verb else name
    for name in sorted(verbs(UserMemory).keys() - {"user_id"})
    for verb in ROOMS.get(name, [""])
]


def without_user(signature):
    kept = [one for name, one in signature.parameters.items() if name != "user_id"]
    return [(one.name, one.kind, one.default, one.annotation) for one in kept], signature.return_annotation


@pytest.mark.parametrize(("whole", "mine"), PAIRS)
def test_no_verb_is_missing(whole, mine):
    assert verbs(mine).keys() == verbs(whole).keys() - PROCESS_WIDE.keys() | {"user_id"}


@pytest.mark.parametrize(
    ("whole", "mine", "name"),
    [(whole, mine, name) for whole, mine in PAIRS for name in VERBS],
)
def test_a_verb_takes_the_same_but_for_the_user(whole, mine, name):
    theirs, own = found(whole, name), found(mine, name)

    assert "user_id" in inspect.signature(theirs).parameters
    assert without_user(inspect.signature(own)) == without_user(inspect.signature(theirs))
    assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(theirs)
    assert len(get_overloads(own)) == len(get_overloads(theirs))


def test_a_verb_that_were_missing_or_took_something_else_would_be_noticed():
    class Grown(ConversationMemory):
        def pin(self, conversation_id, *, user_id): ...
        def clear(self, conversation_id, *, user_id, forever=False): ...

    with pytest.raises(AssertionError):
        test_no_verb_is_missing(Grown, UserMemory)
    with pytest.raises(AssertionError):
        test_a_verb_takes_the_same_but_for_the_user(Grown, UserMemory, "clear")


@pytest.mark.parametrize("kind", [ConversationMemory, AsyncConversationMemory])
def test_it_is_a_value_and_checks_its_user(kind):
    memory = kind.from_url("postgresql://nobody@localhost/none")
    ada = memory.for_user("ada")

    assert ada == memory.for_user("ada") != memory.for_user("bob")
    assert len({ada, memory.for_user("ada")}) == 1
    assert ada != kind.from_url("postgresql://nobody@localhost/none").for_user("ada")
    assert (ada.user_id, repr(ada)) == ("ada", f"{type(ada).__name__}('ada')")
    for nobody in ("", None, 5):
        with pytest.raises(InvalidArgument, match=r"^user_id: "):
            memory.for_user(nobody)
