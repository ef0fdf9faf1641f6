"""What callers get wrong: an error that names the argument and says what would be right, before anything is stored."""

from datetime import datetime
from functools import partial
from uuid import UUID, uuid4

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from convmemory import (
    AsyncConversationMemory,
    ConfigurationError,
    ConversationMemory,
    ConversationNotFound,
    Draft,
    InvalidArgument,
    RetrievedContext,
)
from fix_memory import add, read, texts, wipe

ODD_IDS = [
    "a:b",
    "{a}",
    "a}{b",
    "line\nbreak",
    "tab\t",
    " ",
    "ünï-cödé-✓",
    "🙂",
    "%7Ba%7D",
    "x" * 255,
    "../..",
    "'; --",
]


def shown(value: object) -> str:
    """A short name for a parameter, in letters any terminal has."""
    return ascii(value)[:20]


BAD_IDS = [None, "", "x" * 256, "x" * 300, "nul\0", "half \ud800", 7, b"bytes", ["list"], UUID(int=1)]


# Text that databases refuse


@pytest.mark.parametrize(
    "odd", ["nul \0 inside", "half \ud83d alone", "\udcff", "\0", "both \0\ud800"], ids=shown
)
async def test_text_that_postgresql_refuses_comes_back_as_it_was(memory, odd):
    message = AIMessage(
        odd,
        id=odd,
        name=odd,
        additional_kwargs={odd: odd},
        tool_calls=[{"name": odd, "args": {odd: [odd]}, "id": odd}],
    )
    draft = Draft(message, contexts=[RetrievedContext(odd, odd, 0.5, {odd: odd})], metadata={odd: odd})
    result = ToolMessage(odd, tool_call_id=odd)
    await memory.save_messages("c", [HumanMessage(odd), draft, result], user_id="ana")
    await memory.create_conversation("ana", conversation_id="d", metadata={odd: odd})

    for _ in range(2):  # from PostgreSQL, then from the window
        assert await memory.get_history("c", user_id="ana") == [HumanMessage(odd), message, result]
    found = (await memory.get_messages("c", user_id="ana"))[1]
    assert found.message == message
    assert "\0" not in found.content + found.contexts[0].content


@pytest.mark.parametrize("title", ["a\0b", "half \ud800", "two\nlines", "x" * 500])
async def test_titles_lose_what_cannot_be_stored_and_nothing_else(memory, title):
    await memory.create_conversation("ana", conversation_id="c", title=title)
    found = await memory.rename_conversation("c", title, user_id="ana")

    assert found.title == " ".join(title.replace("\0", "").replace("\ud800", "\ufffd").split())


@pytest.mark.parametrize("title", ["", "   ", "\0", "x" * 501, None, 5])
async def test_a_title_that_says_nothing_or_too_much_is_refused(memory, title):
    await memory.create_conversation("ana", conversation_id="c")

    with pytest.raises(InvalidArgument, match=r"^title: must"):
        await memory.rename_conversation("c", title, user_id="ana")
    if title is not None:
        with pytest.raises(InvalidArgument, match=r"^title: must"):
            await memory.create_conversation("ana", title=title)


async def test_a_message_of_20_megabytes_is_stored_and_not_cached(memory, keyspace):
    history = memory.history("c", user_id="ana")
    await add(history, [HumanMessage("before")])
    await read(history)
    big = HumanMessage("0123456789abcdef" * (20 << 16))
    await add(history, [big])

    assert keyspace.names() == []  # heavier than max_window_bytes
    assert await read(history) == [HumanMessage("before"), big]
    assert keyspace.names() == []
    assert (await memory.check()).ok


# Ids


@pytest.mark.parametrize("bad", BAD_IDS, ids=shown)
async def test_an_id_that_cannot_be_one_is_refused_by_every_verb(memory, bad):
    if not isinstance(bad, UUID) and bad is not None:
        with pytest.raises(InvalidArgument, match=r"^conversation_id: must"):
            await memory.create_conversation("ana", conversation_id=bad)
    verbs = [
        memory.get_history,
        memory.get_messages,
        memory.get_conversation,
        partial(memory.save_message, role="user", content="x"),
        partial(memory.save_messages, messages=["x"]),
        partial(memory.rename_conversation, title="x"),
        memory.clear,
        memory.delete_conversation,
    ]
    for verb in verbs:
        with pytest.raises(InvalidArgument, match=r"^user_id: must") as caught:
            await verb(conversation_id="c", user_id=bad)
        assert caught.value.argument == "user_id"
        if not isinstance(bad, UUID):
            with pytest.raises(InvalidArgument, match=r"^conversation_id: must"):
                await verb(conversation_id=bad, user_id="ana")
    with pytest.raises(InvalidArgument, match="user_id"):
        memory.history("c", user_id=bad)
    with pytest.raises(InvalidArgument, match="user_id"):
        await memory.list_user_conversations(bad)
    with pytest.raises(InvalidArgument, match="user_id"):
        await memory.create_session(bad)
    with pytest.raises(InvalidArgument, match="user_id"):
        await memory.list_user_sessions(bad)
    with pytest.raises(InvalidArgument, match="session_id"):
        await memory.get_session(bad)


@pytest.mark.parametrize("bad", ["", "x" * 256, "nul\0", 7])
async def test_optional_ids_are_looked_at_as_well(memory, bad):
    session = await memory.create_session("ana")
    for argument in ("dept_id", "conversation_id"):
        with pytest.raises(InvalidArgument, match=rf"^{argument}: must"):
            await memory.create_session("ana", **{argument: bad})
    with pytest.raises(InvalidArgument, match="dept_id"):
        await memory.create_conversation("ana", dept_id=bad)
    with pytest.raises(InvalidArgument, match="dept_id"):
        memory.history("c", user_id="ana", dept_id=bad)
    if bad != 7:
        with pytest.raises(InvalidArgument, match="conversation_id"):
            await memory.extend_session(session.session_id, conversation_id=bad)


@pytest.mark.parametrize("odd", ODD_IDS, ids=shown)
async def test_odd_ids_work_everywhere_and_reach_nobody_elses(memory, keyspace, odd):
    await memory.save_message("c", "ana's own", user_id="ana")
    await memory.save_message(odd, HumanMessage("odd name"), user_id="ana")
    await memory.save_message("c", HumanMessage("odd user"), user_id=odd)
    session = await memory.create_session(odd, dept_id=odd, conversation_id=odd)

    for _ in range(2):
        assert texts(await memory.get_history(odd, user_id="ana")) == ["odd name"]
        assert texts(await memory.get_history("c", user_id=odd)) == ["odd user"]
        assert texts(await memory.get_history("c", user_id="ana")) == ["ana's own"]
    assert {c.conversation_id for c in await memory.list_user_conversations("ana")} == {"c", odd}
    assert (await memory.get_session(session.session_id)).conversation_id == odd
    assert len(keyspace.names()) == 5
    await memory.delete_conversation(odd, user_id="ana")
    assert texts(await memory.get_history("c", user_id="ana")) == ["ana's own"]


@pytest.mark.parametrize("pair", [("ab", "c", "a", "bc"), ("1:a", "b", "1", ":ab"), ("a", "a:b", "a:a", "b")])
async def test_users_and_names_that_read_alike_are_kept_apart(memory, pair):
    user, name, other_user, other_name = pair
    await memory.save_message(name, "one", user_id=user)
    await memory.save_message(other_name, "other", user_id=other_user)

    assert texts(await memory.get_history(name, user_id=user)) == ["one"]


# Numbers


@pytest.mark.parametrize("bad", [0, -1, 10_001, 10**30, True, False, 2.5, "6", float("nan")], ids=shown)
async def test_a_limit_that_is_none_is_refused(memory, bad):
    await memory.save_message("c", "x", user_id="ana")

    with pytest.raises(InvalidArgument, match=r"^limit: must be a whole number from 1 to 10,000, not "):
        await memory.get_history("c", user_id="ana", limit=bad)
    with pytest.raises(InvalidArgument, match=r"^limit: "):
        await memory.get_messages("c", user_id="ana", limit=bad)
    with pytest.raises(InvalidArgument, match=r"^limit: must be a whole number from 1 to 1,000, not "):
        await memory.list_user_conversations("ana", limit=bad)
    with pytest.raises(InvalidArgument, match=r"^max_messages: "):
        memory.history("c", user_id="ana", max_messages=bad)


@pytest.mark.parametrize("bad", [-1, 2**62, True, 1.5, "3"], ids=shown)
async def test_a_place_that_is_none_is_refused(memory, bad):
    for argument in ("before", "after"):
        with pytest.raises(InvalidArgument, match=rf"^{argument}: must be the seq"):
            await memory.get_messages("c", user_id="ana", **{argument: bad})


async def test_the_largest_numbers_allowed_work(memory):
    await memory.save_message("c", "x", user_id="ana", tokens_used=2**31 - 1, latency_ms=2**31 - 1)

    assert len(await memory.get_history("c", user_id="ana", limit=10_000)) == 1
    assert len(await memory.get_messages("c", user_id="ana", limit=10_000, before=2**62 - 1, after=0)) == 1
    assert len(await memory.list_user_conversations("ana", limit=1_000)) == 1


@pytest.mark.parametrize(
    ("argument", "bad"),
    [
        ("tokens_used", -1),
        ("tokens_used", 2**31),
        ("tokens_used", "7"),
        ("tokens_used", True),
        ("latency_ms", False),
        ("latency_ms", -1),
        ("latency_ms", float("inf")),
        ("metadata", ["no", "mapping"]),
        ("metadata", "text"),
        ("contexts", ["text"]),
        ("contexts", Document("page")),
        ("contexts", ["page"]),
        ("contexts", [None]),
    ],
)
async def test_a_fact_that_does_not_fit_is_refused_before_anything_is_stored(memory, argument, bad):
    with pytest.raises(InvalidArgument, match=rf"^{argument}: "):
        await memory.save_message("c", "x", user_id="ana", **{argument: bad})
    with pytest.raises(ConversationNotFound):
        await memory.get_conversation("c", user_id="ana")


@pytest.mark.parametrize("when", [datetime(2026, 1, 1), "2026-01-01"])  # noqa: DTZ001 - that is what is wrong with it
async def test_a_time_without_a_zone_is_refused(memory, when):
    with pytest.raises(InvalidArgument, match=r"^created_at: must be a datetime with a time zone"):
        await memory.save_messages("c", [Draft(HumanMessage("x"), created_at=when)], user_id="ana")


@pytest.mark.parametrize(
    "bad", [None, 5, b"bytes", object(), [None], [5], [("human", "x", "y")], [{"role": "x"}]]
)
async def test_what_is_no_message_is_refused(memory, bad):
    with pytest.raises(InvalidArgument, match=r"^messages: "):
        await memory.save_messages("c", bad, user_id="ana")
    with pytest.raises(InvalidArgument, match=r"^messages: "):
        await add(memory.history("c", user_id="ana"), bad)


async def test_drafts_hold_messages_and_go_where_drafts_are_taken(memory):
    assert Draft("text").message == HumanMessage("text")
    with pytest.raises(InvalidArgument, match=r"^message: must be messages, not int"):
        Draft(5)
    with pytest.raises(InvalidArgument, match=r"^message: .* save_messages"):
        await memory.save_message("c", Draft(HumanMessage("x"), tokens_used=5), user_id="ana")


@pytest.mark.parametrize("bad", [["no", "mapping"], "text", 5])
async def test_metadata_is_a_mapping(memory, bad):
    with pytest.raises(InvalidArgument, match=r"^metadata: must be a mapping"):
        await memory.create_conversation("ana", metadata=bad)
    session = await memory.create_session("ana")
    with pytest.raises(InvalidArgument, match=r"^metadata: must be a mapping"):
        await memory.extend_session(session.session_id, metadata=bad)
    with pytest.raises(InvalidArgument, match=r"^metadata: must be a mapping"):
        await memory.create_session("ana", metadata=bad)


async def test_metadata_that_json_cannot_hold_is_kept_as_text(memory):
    odd = {"when": datetime(2026, 1, 2, 3, 4), "nan": float("nan"), ("a", 1): {1, 2}, "deep": {"k": b"bytes"}}  # noqa: DTZ001 - any value
    found = await memory.create_conversation("ana", metadata=odd)
    session = await memory.create_session("ana", metadata=odd)

    assert found.metadata["when"] == "2026-01-02T03:04:00"
    assert found.metadata["nan"] == "nan"
    assert (await memory.get_session(session.session_id)).metadata == found.metadata


# Somebody else's


async def test_no_verb_reaches_a_strangers_conversation_and_none_tells_that_it_exists(memory):
    hers = uuid4()
    await memory.save_message(hers, "private", user_id="eve")
    await memory.get_history(hers, user_id="eve")
    verbs = {
        "get_history": lambda c: memory.get_history(c, user_id="ana"),
        "get_messages": lambda c: memory.get_messages(c, user_id="ana"),
        "get_conversation": lambda c: memory.get_conversation(c, user_id="ana"),
        "rename": lambda c: memory.rename_conversation(c, "mine", user_id="ana"),
        "clear": lambda c: memory.clear(c, user_id="ana"),
        "delete": lambda c: memory.delete_conversation(c, user_id="ana"),
    }
    for verb in verbs.values():
        said = []
        for conversation in (hers, uuid4()):
            with pytest.raises(ConversationNotFound) as caught:
                await verb(conversation)
            said.append(str(caught.value).replace(str(conversation), "it"))
        assert said[0] == said[1] == "no conversation 'it' for this user"
    for write in (
        lambda: memory.save_message(hers, "mine", user_id="ana"),
        lambda: memory.create_conversation("ana", conversation_id=hers),
        lambda: add(memory.history(hers, user_id="ana"), [HumanMessage("mine")]),
        lambda: wipe(memory.history(hers, user_id="ana")),
        lambda: read(memory.history(hers, user_id="ana")),
        lambda: read(memory.history(hers, user_id="ana", max_messages=None)),
    ):
        with pytest.raises(ConversationNotFound):
            await write()

    assert await memory.list_user_conversations("ana") == []
    assert texts(await memory.get_history(hers, user_id="eve")) == ["private"]
    assert (await memory.get_conversation(hers, user_id="eve")).title == "private"


# Settings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("POSTGRES_PORT", "five"),
        ("POSTGRES_PORT", "70000"),
        ("REDIS_PORT", "0"),
        ("REDIS_DB", "-1"),
        ("SESSION_TTL_MINUTES", "0"),
        ("SESSION_TTL_MINUTES", "soon"),
        ("SESSION_TTL_MINUTES", "nan"),
        ("MAX_HISTORY_MESSAGES", "0"),
        ("MAX_HISTORY_MESSAGES", "6.5"),
        ("CONVMEMORY_DB_SCHEMA", 'public"; DROP'),
        ("CONVMEMORY_KEY_PREFIX", "a{b}"),
        ("CONVMEMORY_POOL_MAX", "0"),
        ("CONVMEMORY_REDIS_TIMEOUT", "-1"),
    ],
)
def test_a_bad_variable_is_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigurationError, match=rf"^{variable}: "):
        ConversationMemory.from_env()


async def test_the_environment_opens_a_memory(monkeypatch, database_url, redis_url, schema):
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("CONVMEMORY_DB_SCHEMA", schema)
    monkeypatch.setenv("MAX_HISTORY_MESSAGES", "3")
    with ConversationMemory.from_env(key_prefix=f"{schema}:") as memory:
        memory.save_messages("c", ["1", "2", "3", "4"], user_id="ana")

        assert texts(memory.get_history("c", user_id="ana")) == ["2", "3", "4"]
        assert memory.check().ok
    async with AsyncConversationMemory.from_env(max_history_messages=1) as memory:
        assert texts(await memory.get_history("c", user_id="ana")) == ["4"]


async def test_a_role_that_is_none_is_told_with_those_there_are(memory):
    for role, shown in (("bot", "unknown role 'bot'"), ("What is private here?", "unknown role")):
        with pytest.raises(
            InvalidArgument, match=rf"^role: {shown}: there are human or user, ai or assistant"
        ):
            await memory.save_message("c", role, "private", user_id="ana")
    saved = await memory.save_message("c", "Assistant", "Hello", user_id="ana")

    assert saved.role == "ai"
    assert texts(await memory.get_history("c", user_id="ana", limit=None)) == ["Hello"]


# What ``message.text`` gives is a text


async def test_the_text_of_a_message_may_stand_for_any_text(memory, caplog):
    said = AIMessage("vacation").text
    assert type(said) is not str
    await memory.create_conversation(
        said, conversation_id=said, title=said, dept_id=said, metadata={said: said}
    )
    context = RetrievedContext(said, said, 0.5, {said: said})
    await memory.save_message(
        said, (said.replace("vacation", "human"), said), user_id=said, contexts=[context]
    )
    noted = HumanMessage("vacation", additional_kwargs={"about": [said]})
    await memory.save_message(said, noted, user_id=said, metadata={"q": said})
    session = await memory.create_session(said, dept_id=said, conversation_id=said, metadata={said: said})

    for _ in range(2):  # from PostgreSQL, then from the window
        assert await memory.get_history("vacation", user_id="vacation") == [HumanMessage("vacation"), noted]
    found = await memory.get_conversation("vacation", user_id="vacation")
    assert (found.title, found.dept_id, found.metadata) == ("vacation", "vacation", {"vacation": "vacation"})
    stored = await memory.get_messages("vacation", user_id="vacation")
    assert stored[0].contexts[0] == RetrievedContext("vacation", "vacation", 0.5, {"vacation": "vacation"})
    assert (stored[1].metadata, stored[1].lossy) == ({"q": "vacation"}, False)
    kept = await memory.get_session(session.session_id)
    assert (kept.user_id, kept.conversation_id, kept.metadata) == (
        "vacation",
        "vacation",
        {"vacation": "vacation"},
    )
    assert "kept as text" not in caplog.text
