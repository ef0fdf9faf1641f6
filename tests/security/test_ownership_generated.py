"""A stranger finds nothing, whatever the verb: every public verb must have its case here, or the reason why it needs none."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import (
    AsyncConversationMemory,
    ConversationMemory,
    ConversationNotFound,
    TieredChatMessageHistory,
)
from convmemory.ids import row_of_name
from fix_memory import add, every, read, wipe

ANAS = [HumanMessage("where is the key?"), AIMessage("under the mat")]
Case = Callable[[Any, Any], Awaitable[Any]]

AS_A_STRANGER: dict[str, Case] = {
    "create_conversation": lambda memory, it: memory.create_conversation(
        "eve", conversation_id=it, title="mine"
    ),
    "get_conversation": lambda memory, it: memory.get_conversation(it, user_id="eve"),
    "rename_conversation": lambda memory, it: memory.rename_conversation(it, "mine", user_id="eve"),
    "update_conversation": lambda memory, it: memory.update_conversation(
        it, user_id="eve", title="mine", dept_id="d", archived=True, pinned=True, metadata={"a": None}
    ),
    "archive_conversation": lambda memory, it: memory.archive_conversation(it, user_id="eve"),
    "unarchive_conversation": lambda memory, it: memory.unarchive_conversation(it, user_id="eve"),
    "pin_conversation": lambda memory, it: memory.pin_conversation(it, user_id="eve"),
    "unpin_conversation": lambda memory, it: memory.unpin_conversation(it, user_id="eve"),
    "delete_conversation": lambda memory, it: memory.delete_conversation(it, user_id="eve"),
    "save_message": lambda memory, it: memory.save_message(it, HumanMessage("hi"), user_id="eve"),
    "save_messages": lambda memory, it: memory.save_messages(it, ["hi", "ho"], user_id="eve"),
    "get_history": lambda memory, it: memory.get_history(it, user_id="eve"),
    "get_messages": lambda memory, it: memory.get_messages(it, user_id="eve"),
    "clear": lambda memory, it: memory.clear(it, user_id="eve"),
    "iter_messages": lambda memory, it: every(memory.iter_messages(it, user_id="eve")),
    "delete_messages": lambda memory, it: memory.delete_messages(it, user_id="eve", seqs=[1]),
    "truncate": lambda memory, it: memory.truncate(it, user_id="eve", after=0),
    "replace_message": lambda memory, it: memory.replace_message(it, uuid4(), "mine", user_id="eve"),
    "search.set_keys": lambda memory, it: memory.search.set_keys(it, uuid4(), "mine", user_id="eve"),
    "annotate_message": lambda memory, it: memory.annotate_message(it, uuid4(), {"a": 1}, user_id="eve"),
    "history": lambda memory, it: read(memory.history(it, user_id="eve")),
    "history_factory": lambda memory, it: read(memory.history_factory("eve", it)),
}
"""Each ends in ConversationNotFound, and leaves everything as it was."""

MORE_WAYS: dict[str, Case] = {
    "get_conversation with messages": lambda memory, it: memory.get_conversation(
        it, user_id="eve", messages=True
    ),
    "create_conversation update": lambda memory, it: memory.create_conversation(
        "eve", conversation_id=it, title="mine", exists="update"
    ),
    "get_history whole": lambda memory, it: memory.get_history(it, user_id="eve", limit=None),
    "get_history openai": lambda memory, it: memory.get_history(it, user_id="eve", format="openai"),
    "get_messages after": lambda memory, it: memory.get_messages(it, user_id="eve", after=0),
    "history add": lambda memory, it: add(memory.history(it, user_id="eve"), [HumanMessage("hi")]),
    "delete_messages by id": lambda memory, it: memory.delete_messages(it, user_id="eve", ids=[uuid4()]),
    "history clear": lambda memory, it: wipe(memory.history(it, user_id="eve")),
    "history whole": lambda memory, it: read(memory.history(it, user_id="eve", max_messages=None)),
}

NEEDS_NONE = {
    "from_url": "makes a memory",
    "from_env": "makes a memory",
    "open": "connects",
    "close": "disconnects",
    "init_schema": "the schema is everybody's",
    "check": "counts, and shows nobody's data",
    "create_session": "notes the name of a conversation and opens none",
    "extend_session": "notes the name of a conversation and opens none; the session's id is the secret",
    "get_session": "the session's id, 32 random bytes, is the secret",
    "end_session": "the session's id is the secret",
    "list_user_sessions": "lists by user; tested below",
    "list_user_conversations": "lists by user; tested below",
    "iter_conversations": "lists by user; tested below",
    "count_conversations": "counts by user; tested below",
    "history_factory_config": "names of fields",
    "for_user": "the verbs here once more, with the user in them: tested below",
    "postgres": "the store: asked with a ConversationKey, which holds the user, through the verbs here",
    "redis": "the store, as above",
    "settings": "values",
    "run_config": "puts two ids into a dict",
    "journals.waiting": "an operator's: whose writes wait, and none of their words",
    "journals.drain": "an operator's: stores what was accepted from those whose it is",
    "journals.refused": "an operator's, as above",
    "journals.forbid": "an operator's, as above",
    "operator.list_conversations": "an operator's: everybody's, and out of a user's reach; tested below",
    "operator.iter_conversations": "as above",
    "operator.count_conversations": "as above",
    "operator.find_conversation": "as above",
    "search.messages": "looks by user; tested below, and in test_search.py",
    "search.recall": "looks by user; tested below, and in test_search.py",
    "search.as_retriever": "recall, as LangChain calls it",
    "search.embed": "an operator's, or by user; tested in test_search_meaning.py",
    "search.index": "an operator's: has messages found by those whose they are",
    "retention.erase_user": "an operator's: by user; tested below",
    "retention.prune": "an operator's: by age, whoever's they are; tested with it",
}


def verbs(thing: Any, prefix: str = "") -> dict[str, Any]:
    """What a memory, and every room reached from it, can be asked to do."""
    found = {}
    for name in (name for name in dir(thing) if not name.startswith("_")):
        value = getattr(thing, name)
        if (
            type(value).__module__.startswith(("convmemory._sync", "convmemory._async"))
            and name not in NEEDS_NONE
        ):
            found |= verbs(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


@pytest.mark.parametrize("kind", [ConversationMemory, AsyncConversationMemory])
def test_every_verb_has_a_case_or_a_reason(kind):
    names = verbs(kind.from_url("postgresql://nobody@localhost/none")).keys()

    assert names == AS_A_STRANGER.keys() | NEEDS_NONE.keys()
    assert not AS_A_STRANGER.keys() & NEEDS_NONE.keys()


def test_a_new_verb_or_a_room_with_one_has_no_case_yet():
    class Shares:
        def revoke(self, share_id): ...

    class Grown(ConversationMemory):
        shares = Shares()

        def share(self, conversation_id): ...

    Shares.__module__ = ConversationMemory.__module__
    names = verbs(Grown.from_url("postgresql://nobody@localhost/none")).keys()

    assert names - AS_A_STRANGER.keys() - NEEDS_NONE.keys() == {"share", "shares.revoke"}


@pytest.mark.parametrize("kind", [ConversationMemory, AsyncConversationMemory])
def test_a_verb_on_a_conversation_takes_its_user_by_name(kind):
    found = verbs(kind.from_url("postgresql://nobody@localhost/none"))
    # whose first argument it is
    for name in AS_A_STRANGER.keys() - {"create_conversation", "history_factory"}:
        user = inspect.signature(found[name]).parameters["user_id"]

        assert user.kind is inspect.Parameter.KEYWORD_ONLY, name
        assert user.default is inspect.Parameter.empty, name


def test_a_history_is_made_for_one_user():
    user = inspect.signature(TieredChatMessageHistory).parameters["user_id"]

    assert user.kind is inspect.Parameter.KEYWORD_ONLY
    assert user.default is inspect.Parameter.empty


@pytest.fixture(params=["cold", "warm"])
async def conversation(request, memory):
    """Ana's conversation, its window cached or not."""
    made = await memory.create_conversation("ana", title="secret", metadata={"a": 1})
    await memory.save_messages(made.uuid, ANAS, user_id="ana")
    for _ in range(3 if request.param == "warm" else 0):
        await memory.get_history(made.uuid, user_id="ana")
    return made.conversation_id


@pytest.fixture
def everything(database, keyspace):
    """A function that returns all that is stored, and what the owner's windows hold."""

    def look():
        tables = ("conversations", "messages", "message_contexts", "documents", "loose_documents", "marks")
        rows = {
            table: database.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables
        }
        windows = {key: keyspace.client.hgetall(key) for key in keyspace.names()}
        return rows, {key: held for key, held in windows.items() if held.get(b"owner") == b"ana"}

    return look


@pytest.mark.parametrize("case", [*AS_A_STRANGER, *MORE_WAYS])
async def test_a_stranger_finds_nothing_and_changes_nothing(memory, conversation, everything, case):
    before = everything()

    with pytest.raises(ConversationNotFound) as refused:
        await (AS_A_STRANGER | MORE_WAYS)[case](memory, conversation)

    assert "ana" not in str(refused.value)
    assert everything() == before
    assert await memory.get_history(conversation, user_id="ana") == ANAS


@pytest.mark.parametrize("case", [*AS_A_STRANGER, *MORE_WAYS])
async def test_a_name_of_ones_own_never_reaches_somebody_elses(memory, everything, case):
    await memory.save_messages("diary", ANAS, user_id="ana")
    await memory.get_history("diary", user_id="ana")
    mine = (await memory.get_conversation("diary", user_id="ana")).uuid
    rows, windows = everything()

    try:
        found = await (AS_A_STRANGER | MORE_WAYS)[case](memory, "diary")
    except ConversationNotFound:
        found = None  # eve has no diary, and this verb makes none

    assert "under the mat" not in repr(found)
    later, windows_later = everything()
    for table, before in rows.items():
        assert [row for row in later[table] if row[0] == mine] == before
    assert windows_later == windows


async def test_lists_show_only_what_is_ones_own(memory, conversation):
    await memory.create_session("ana", conversation_id=conversation)
    hers = await memory.create_session("eve")
    await memory.save_message("c", HumanMessage("x"), user_id="eve")

    assert [c.user_id for c in await memory.list_user_conversations("eve")] == ["eve"]
    assert [s.handle for s in await memory.list_user_sessions("eve")] == [hers.handle]
    assert [c.user_id for c in await memory.list_user_conversations("eve", order="created")] == ["eve"]
    assert [c.user_id for c in await every(memory.iter_conversations("eve"))] == ["eve"]
    assert await memory.count_conversations("eve") == 1
    assert await memory.list_user_sessions("ev*") == []
    page = await memory.list_user_conversations("ana", limit=1)
    assert [c.user_id for c in await memory.list_user_conversations("eve", cursor=page.next_cursor)] in (
        [],
        ["eve"],
    )


async def test_an_operators_view_is_out_of_a_users_reach(memory, conversation):
    assert await memory.operator.count_conversations() == 1
    eve = memory.for_user("eve")

    assert not hasattr(eve, "operator")
    assert not hasattr(eve, "journals")
    assert not hasattr(eve, "retention")
    page = await memory.operator.list_conversations(1)
    with pytest.raises(ConversationNotFound):
        await eve.get_messages(page[0])


TABLES = re.compile(r"\{schema\}\.(?:conversations|messages|message_contexts|\w*documents)\b")
FUNCTION = re.compile(
    r"CREATE (?:OR REPLACE )?FUNCTION \{schema\}\.(\w+)\((.*?)\)\s+RETURNS (.*?)\s+LANGUAGE[^;$]*?(?:\$\$(.*?)\$\$|RETURN [^;]*;)",
    re.DOTALL,
)
STATEMENTS = sorted(
    path for path in files("convmemory").joinpath("sql").iterdir() if path.name.endswith(".sql")
)
FUNCTIONS = [
    (name, parameters, body)
    for folder in ("sql/migrations", "sql/rooms")
    for path in files("convmemory").joinpath(folder).iterdir()
    if path.name.endswith(".sql")
    for name, parameters, returns, body in FUNCTION.findall(path.read_text("utf-8"))
    if TABLES.search(body) and returns != "trigger" and not name.startswith("sweep_")
]
"""Those that touch what somebody owns; a trigger asks nobody, and answers nobody; what is swept nobody sees any more."""
EVERYBODYS = {
    *("count_marks.sql", "walk_conversations.sql", "list_everybodys.sql", "find_conversation.sql"),
    *("refused_entries.sql", "unfinished.sql"),
}
"""A number only; what is nobody's; asked by an operator who prunes by age: ids and owners, and what is done with them names the owner; and an operator's
views, which no memory of a user has."""
OWNED = re.compile("|".join([TABLES.pattern, *(rf"\{{schema\}}\.{name}\(" for name, *_ in FUNCTIONS)]))


@pytest.mark.parametrize("path", STATEMENTS, ids=lambda path: path.name)
def test_every_statement_on_conversations_or_messages_names_the_user(path):
    text = "\n".join(line for line in path.read_text("utf-8").splitlines() if not line.startswith("--"))

    assert "%(user_id)s" in text or not OWNED.search(text) or path.name in EVERYBODYS


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function[0])
def test_every_function_in_the_database_compares_the_user(function):
    _, parameters, body = function

    assert "p_user text" in parameters
    compared = r"user_id (?:<>|=|IS DISTINCT FROM) p_user\b"  # here, or in the one function that locks the row for several
    assert re.search(rf"{compared}|INTO c FROM \S+\.hold_v1\(p_conversation, p_user\)", body)


def test_the_statements_and_functions_are_found():
    assert len(STATEMENTS) >= 10
    assert {
        *(
            "append_v1",
            "append_rest_v1",
            "still_v1",
            "clear_v1",
            "delete_v1",
            "pop_v1",
            "revise_v1",
            "newest_human_v1",
            "titled_by_v1",
            "hold_v1",
            "search_v1",
            "index_v1",
            "left_behind_v1",
            "large_v1",
            "shed_v1",
            "store_v1",
            "retrieved_v1",
        ),
        *(
            "alike_v1",
            "key_v1",
            "likest_v1",
            "store_vectors_v1",
            "to_embed_v1",
            "without_vector_v1",
        ),
        *("annotate_v1", "erase_v1", "remove_v1", "replace_v1"),
    } == {name for name, *_ in FUNCTIONS}


async def test_nobody_can_compute_the_row_of_another_users_name(memory, database):
    theirs = (await memory.create_conversation("mallory", conversation_id="vacation")).uuid
    assert (await memory.create_conversation("mallory", conversation_id="vacation")).uuid == theirs
    [[namespace]] = database.execute("SELECT names::text FROM installation").fetchall()
    guessed = [row_of_name(str(UUID(int=0)), "ana", "vacation"), uuid5(theirs, "3:anavacation")]
    for row in guessed:
        await memory.save_message(row, "user", "mine now", user_id="mallory")

    await memory.save_message("vacation", "user", "hello", user_id="ana")
    mine = (await memory.get_conversation("vacation", user_id="ana")).uuid
    assert mine not in guessed
    assert [m.content for m in await memory.get_history("vacation", user_id="ana")] == ["hello"]
    for count, written in enumerate((mine, str(mine), mine.hex), 1):
        assert len(await memory.get_history(written, user_id="ana")) == count
        assert (await memory.save_message(written, "user", "more", user_id="ana")).seq == count + 1
    assert mine == row_of_name(namespace, "ana", "vacation"), "and in another installation it is another row"


async def outcome(call):
    try:
        return await call
    except ConversationNotFound as error:
        return str(error)


@pytest.mark.parametrize("verb", [*AS_A_STRANGER, *MORE_WAYS])
async def test_the_row_of_a_name_is_not_taken_by_who_knows_it_nor_told_of(memory, verb):
    call = {**AS_A_STRANGER, **MORE_WAYS}[verb]
    row = (await memory.create_conversation("ana", conversation_id="vacation")).uuid
    there = await outcome(call(memory, row))
    await memory.delete_conversation("vacation", user_id="ana")

    for written in (row, str(row), row.hex):
        assert await outcome(call(memory, written)) == there == f"no conversation '{row}' for this user"
    await memory.save_message("vacation", "user", "hello", user_id="ana")
    assert [m.content for m in await memory.get_history("vacation", user_id="ana")] == ["hello"]


async def test_the_row_of_ones_own_name_is_made_under_the_name(memory):
    row = (await memory.create_conversation("ana", conversation_id="vacation")).uuid
    assert (await memory.create_conversation("ana", conversation_id=row)).id == "vacation"
    await memory.delete_conversation(row, user_id="ana")

    with pytest.raises(ConversationNotFound):
        await memory.save_message(row, "user", "hello", user_id="ana")
    await memory.save_message("vacation", "user", "hello", user_id="ana")
    assert (await memory.get_conversation(row, user_id="ana")).id == "vacation"
