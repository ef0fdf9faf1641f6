"""What callers, settings and networks get wrong: an error that says what would be right, in time, without a secret."""

import asyncio
import subprocess
import sys
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from redis import Redis

from convmemory import (
    ConfigurationError,
    ConversationMemory,
    ConversationNotFound,
    ConvMemoryError,
    Draft,
    InvalidArgument,
    NotOpen,
    PostgresStore,
    RedisStore,
    RetrievedContext,
    SchemaOutdated,
    Settings,
    StorageUnavailable,
)
from convmemory.embedded import EmbeddedServers
from convmemory.embedded.plan import POSTGRES_DATA
from fix_memory import add, read, texts, until, wipe

SECRET = "s3cr3t/?#@:%"
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
    await memory.save_messages("c", [HumanMessage(odd), draft], user_id="ana")
    await memory.create_conversation("ana", conversation_id="d", metadata={odd: odd})

    for _ in range(2):  # from PostgreSQL, then from the window
        assert await memory.get_history("c", user_id="ana") == [HumanMessage(odd), message]
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
        partial(memory.save_message, message="x"),
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
        ("latency_ms", -1),
        ("latency_ms", 1.5),
        ("metadata", ["no", "mapping"]),
        ("metadata", "text"),
        ("contexts", ["text"]),
        ("contexts", [Document("page")]),
        ("contexts", [RetrievedContext(None)]),
        ("contexts", [RetrievedContext("page", doc_id=5)]),
        ("contexts", [RetrievedContext("page", score="high")]),
        ("contexts", [RetrievedContext("page", metadata=None)]),
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
    with pytest.raises(InvalidArgument, match=r"^message: a Draft holds a BaseMessage, not str"):
        await memory.save_messages("c", [Draft("text")], user_id="ana")
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


# The schema


async def test_without_a_schema_every_verb_names_the_command_that_makes_it(make_memory, schema_name):
    memory = await make_memory()
    wanted = rf"schema '{schema_name}' is not there: run `convmemory init`"
    for verb in (
        lambda: memory.save_message("c", "x", user_id="ana"),
        lambda: memory.get_history("c", user_id="ana"),
        lambda: memory.get_history("c", user_id="ana", limit=None),
        lambda: memory.list_user_conversations("ana"),
        lambda: memory.create_conversation("ana"),
        lambda: memory.clear("c", user_id="ana"),
        lambda: memory.delete_conversation("c", user_id="ana"),
    ):
        with pytest.raises(SchemaOutdated, match=wanted) as caught:
            await verb()
        assert (caught.value.found, caught.value.wanted) == (None, 1)
        assert isinstance(caught.value.__cause__, psycopg.Error)
    report = await memory.check()
    assert not report.ok
    assert "convmemory init" in report.postgres.problem
    assert report.postgres.breaker == "closed"  # the server is there
    assert report.postgres.figures["failed_writes"] == 1
    await memory.init_schema()
    assert (await memory.save_message("c", "x", user_id="ana")).stored == 1


async def test_a_newer_schema_is_refused_on_open_and_by_init(memory, make_memory, database):
    database.execute("INSERT INTO schema_migrations (version, name) VALUES (99, 'future')")
    wanted = "at version 99, newer than this library's 1: upgrade convmemory"

    with pytest.raises(SchemaOutdated, match=wanted):
        await make_memory()
    with pytest.raises(SchemaOutdated, match=wanted):
        await memory.init_schema()


async def test_init_says_what_it_did_and_then_does_nothing(make_memory, database):
    memory = await make_memory()

    assert await memory.init_schema() == ["0001_initial"]
    assert await memory.init_schema() == []
    assert database.execute("SELECT version, name FROM schema_migrations").fetchall() == [(1, "initial")]


async def test_a_role_without_the_right_to_create_can_use_a_schema_that_is_there(
    schema, make_memory, database
):
    role = f"reader_{uuid4().hex[:12]}"
    database.execute(f"CREATE ROLE {role} LOGIN")
    try:
        database.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        database.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}")
        url = psycopg.conninfo.make_conninfo(database.info.dsn, user=role, options="")
        memory = await make_memory(url)
        assert await memory.init_schema() == []
        assert (await memory.save_message("c", "x", user_id="ana")).stored == 1
        await memory.close()
    finally:
        database.execute(f"DROP OWNED BY {role}")
        database.execute(f"DROP ROLE {role}")


EIGHT_PROCESSES = r"""
import os, sys
from convmemory import ConversationMemory
memory = ConversationMemory.from_url(sys.argv[1], db_schema=sys.argv[2])
wait, go = os.pipe()
children = []
for _ in range(8):
    if not (child := os.fork()):
        os.close(go)
        os.read(wait, 1)
        os.write(1, f"{memory.init_schema()}\n".encode())  # in one piece
        os._exit(0)
    children.append(child)
os.close(go)  # and they all begin
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def test_eight_processes_may_make_the_schema_at_once(database_url, schema_name, database):
    command = [sys.executable, "-c", EIGHT_PROCESSES, database_url, schema_name]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert sorted(outcome.stdout.splitlines()) == ["['0001_initial']"] + ["[]"] * 7, outcome.stderr
    assert outcome.returncode == 0
    assert database.execute("SELECT count(*) FROM schema_migrations").fetchone() == (1,)


# Servers that are not there, or do not let us in


async def test_a_database_or_role_that_does_not_exist_is_told_on_open(make_memory, database_url):
    parts = psycopg.conninfo.conninfo_to_dict(database_url)
    for wrong in ({"dbname": "no_such_database"}, {"user": "no_such_role"}):
        with pytest.raises(StorageUnavailable, match=r"PostgreSQL failed in connect: .*no_such") as caught:
            await make_memory(psycopg.conninfo.make_conninfo(**(parts | wrong)))
        assert isinstance(caught.value.__cause__, psycopg.OperationalError)


@pytest.fixture(scope="session")
def locked_servers(tmp_path_factory):
    """A PostgreSQL and a Redis of the tests' own that want a password."""
    with EmbeddedServers.start(tmp_path_factory.mktemp("locked"), durable=False) as pair:
        with psycopg.connect(pair.database_url, autocommit=True) as admin:
            admin.execute("SET password_encryption = 'scram-sha-256'")
            admin.execute(f"CREATE ROLE app LOGIN PASSWORD '{SECRET}'")
            admin.execute("GRANT CREATE ON DATABASE convmemory TO app")
            rules = Path(pair.directory, POSTGRES_DATA, "pg_hba.conf")
            rules.write_text("local all app scram-sha-256\nlocal all postgres trust\n")
            admin.execute("SELECT pg_reload_conf()")
        with Redis.from_url(pair.redis_url) as client:
            client.config_set("requirepass", SECRET)
        yield pair


def locked(pair: EmbeddedServers, password: str) -> tuple[str, str]:
    """The URLs of both servers with this password in them."""
    from urllib.parse import quote

    secret = quote(password, safe="")
    return (
        pair.database_url.replace("//postgres@", f"//app:{secret}@"),
        pair.redis_url.replace("unix://", f"unix://:{secret}@"),
    )


async def test_the_right_password_opens_and_stays_secret(make_memory, locked_servers, schema_name):
    memory = await make_memory(*locked(locked_servers, SECRET))
    await memory.init_schema()
    await memory.save_message("c", "x", user_id="ana")
    await memory.create_session("ana")

    report = await memory.check()
    assert report.ok
    owner = getattr(memory, "blocking", memory)
    history = memory.history("c", user_id="ana")
    for thing in (owner, owner.settings, owner.postgres, owner.redis, history, report, memory.run_config):
        for said in (repr(thing), str(thing)):
            assert SECRET not in said
            assert "s3cr3t" not in said


async def test_the_wrong_password_is_told_without_being_repeated(
    make_memory, locked_servers, schema_name, caplog
):
    wrong = "wr0ng-" + SECRET
    database, redis = locked(locked_servers, wrong)
    right, _ = locked(locked_servers, SECRET)
    with pytest.raises(StorageUnavailable, match="password authentication failed") as caught:
        await make_memory(database, redis)
    said = everything_said_by(caught.value)
    memory = await make_memory(right, redis)
    with pytest.raises(StorageUnavailable) as caught:
        await memory.create_session("ana")
    said += everything_said_by(caught.value) + repr(await memory.check()) + caplog.text

    assert "s3cr3t" not in said
    assert "wr0ng" not in said
    await memory.init_schema()
    assert (await memory.save_message("c", "x", user_id="ana")).stored == 1  # Redis is missed, and no more
    assert texts(await memory.get_history("c", user_id="ana")) == ["x"]


def everything_said_by(error: BaseException | None) -> str:
    said = ""
    while error is not None:
        said += f"{error!s} {error!r} {error.args!r} {getattr(error, '__notes__', '')}\n"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return said


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{SECRET}@127.0.0.1:1/x",  # not quoted, as people paste them
        "postgresql://app:s3cr3t@more@127.0.0.1:1/x",
        "postgresql://app:s3cr3t/more@127.0.0.1:1/x",
        "postgresql://app:s3cr3t#more@127.0.0.1:1/x",
        "postgresql://app:s3cr3t?more@127.0.0.1:1/x",
        "postgresql://app:12/s3cr3t@127.0.0.1:1/x",
        "postgresql://app:s3cr3t%@127.0.0.1:1/x",
        "postgresql:/app:s3cr3t@127.0.0.1/x",
        "mysql://app:s3cr3t@127.0.0.1/x",
        "host=127.0.0.1 port=1 password='s3cr3t",
        "password=s3cr3t nonsense=1",
        "s3cr3t",
    ],
)
async def test_no_part_of_a_malformed_url_is_repeated(make_memory, url):
    with pytest.raises((ConfigurationError, StorageUnavailable)) as caught:
        await make_memory(url, None, connect_timeout=2)

    assert "s3cr3t" not in everything_said_by(caught.value)
    assert "more" not in everything_said_by(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "s3cr3t",
        "http://:s3cr3t@localhost",
        "redis://:s3cr3t@localhost:port",
        "redis://:s3cr3t/x@localhost",
        "",
    ],
)
async def test_a_malformed_redis_url_is_told_without_being_repeated(make_memory, database_url, url):
    with pytest.raises(ConfigurationError, match=r"^REDIS_URL: not a Redis URL") as caught:
        await make_memory(database_url, url)

    assert "s3cr3t" not in everything_said_by(caught.value)


async def test_before_open_and_after_close_the_error_says_so(memory, database_url):
    never = PostgresStore(database_url, Settings())
    with pytest.raises(NotOpen, match=r"call open\(\) first"):
        never.read_dirty(1)
    await memory.close()
    for verb in (lambda: memory.get_history("c", user_id="ana"), memory.check):
        with pytest.raises(NotOpen, match=r"after close\(\)"):
            await verb()


# Servers that do not answer


async def until_it_answers(call):
    """Try again as an application would, for as long as the error says that this is safe."""
    while True:
        try:
            return await call()
        except StorageUnavailable:
            await asyncio.sleep(0.05)


async def test_a_postgresql_that_swallows_everything_is_given_up_in_time(schema, make_memory, postgres_proxy):
    limits = {"statement_timeout": 0.5, "pool_timeout": 0.5, "connect_timeout": 2}
    memory = await make_memory(postgres_proxy.url, None, **limits)
    await memory.save_message("c", "x", user_id="ana")
    postgres_proxy.mode = "blackhole"

    begun = time.monotonic()
    with pytest.raises(StorageUnavailable, match="PostgreSQL failed in append"):
        await memory.save_message("c", "y", user_id="ana")
    assert time.monotonic() - begun < 1.5

    begun = time.monotonic()
    with pytest.raises(StorageUnavailable, match="PostgreSQL failed in connect"):
        await make_memory(postgres_proxy.url, None, **limits)
    assert 1.5 < time.monotonic() - begun < 3.5

    postgres_proxy.mode = "pass"
    postgres_proxy.reset_all()
    assert (await until_it_answers(lambda: memory.save_message("c", "z", user_id="ana"))).stored == 1


async def test_a_redis_that_swallows_everything_costs_time_thrice_and_never_an_error(
    schema, make_memory, redis_proxy
):
    memory = await make_memory(redis=redis_proxy.url, redis_timeout=0.1)
    await memory.save_message("c", "x", user_id="ana")
    await memory.get_history("c", user_id="ana")
    redis_proxy.mode = "blackhole"

    begun = time.monotonic()
    for number in range(20):
        await memory.save_message("c", str(number), user_id="ana")
        assert texts(await memory.get_history("c", user_id="ana"))[-1] == str(number)
    assert time.monotonic() - begun < 1.5
    report = await memory.check()
    assert (report.ok, report.postgres.reachable, report.redis.reachable) == (False, True, False)
    assert report.redis.breaker == "open"
    assert report.redis.last_failure is not None

    redis_proxy.mode = "pass"
    redis_proxy.reset_all()
    await until(lambda: not memory.redis.health.open)  # somebody asks in the background
    assert texts(await memory.get_history("c", user_id="ana"))[-1] == "19"
    assert (await memory.check()).postgres.figures["dirty_windows"] == 0


async def test_a_redis_that_refuses_is_missed_and_no_more(schema, make_memory, redis_proxy):
    redis_proxy.mode = "refuse"
    memory = await make_memory(redis=redis_proxy.url)
    await memory.save_messages("c", [HumanMessage("x"), AIMessage("y")], user_id="ana")

    assert texts(await memory.get_history("c", user_id="ana")) == ["x", "y"]
    with pytest.raises(StorageUnavailable, match="Redis failed in"):
        await memory.create_session("ana")


async def test_a_key_of_somebody_elses_making_is_no_obstacle(memory, keyspace):
    name = uuid4()
    keyspace.client.rpush(keyspace.window(name), "not a window")
    keyspace.client.pexpire(keyspace.window(name), 60_000)
    for number in range(4):
        await memory.save_message(name, str(number), user_id="ana")
        assert texts(await memory.get_history(name, user_id="ana"))[-1] == str(number)


async def test_every_error_has_the_one_root(memory):
    for verb in (
        lambda: memory.get_history("unknown", user_id="ana"),
        lambda: memory.get_history("", user_id="ana"),
        lambda: memory.list_user_conversations("ana", cursor="x"),
    ):
        with pytest.raises(ConvMemoryError):
            await verb()


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


def test_stores_of_two_colours_do_not_mix():
    from convmemory import AsyncPostgresStore, AsyncRedisStore, TieredChatMessageHistory

    for postgres, redis in ((PostgresStore, AsyncRedisStore), (AsyncPostgresStore, RedisStore)):
        with pytest.raises(ConfigurationError, match="both stores must be blocking"):
            TieredChatMessageHistory("c", user_id="ana", postgres=postgres(), redis=redis())
