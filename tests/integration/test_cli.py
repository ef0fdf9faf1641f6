"""The commands, on real servers: what they print, the status they end with, and what they keep to themselves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from typer.main import get_command
from typer.testing import CliRunner

from convmemory import (
    Conversation,
    ConversationMemory,
    Draft,
    PostgresStore,
    RetrievedContext,
    Settings,
    __version__,
)
from convmemory.__main__ import main
from convmemory.cli import app
from convmemory.cli.search import _NONE
from convmemory.embedded import EmbeddedServers
from convmemory.embedded.plan import POSTGRES_DATA

NOBODY = "postgresql://app:hunter2@127.0.0.1:1/app"  # port 1: nobody answers, at once


@pytest.fixture
def run(database_url, redis_url, schema_name, key_prefix):
    """Run a command in this process, over this test's own schema and keys."""
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CONVMEMORY_DB_SCHEMA": schema_name,
        "CONVMEMORY_KEY_PREFIX": key_prefix,
    }

    def invoke(*arguments, typed=None, **more):
        return CliRunner().invoke(app, arguments, input=typed, env=environment | more)

    return invoke


@pytest.fixture
def memory(database_url, redis_url, schema_name, key_prefix):
    made = ConversationMemory.from_url(database_url, redis_url, db_schema=schema_name, key_prefix=key_prefix)
    made.init_schema()
    with made:
        yield made


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_command_runs_as_a_module():
    done = python("-m", "convmemory", "--version")

    assert (done.stdout, done.stderr, done.returncode) == (f"convmemory {__version__}\n", "", 0)


def test_without_typer_the_command_names_the_extra():
    done = python(
        "-c",
        "import sys, runpy; sys.modules['typer'] = None;"
        "runpy.run_module('convmemory', run_name='__main__', alter_sys=True)",
    )

    assert done.returncode == 1
    assert done.stderr == "The convmemory command needs an extra: pip install 'langchain-convmemory[cli]'\n"


def test_the_entry_point_runs_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["convmemory", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()

    assert (ended.value.code, capsys.readouterr().out) == (0, f"convmemory {__version__}\n")


def test_the_entry_point_without_typer_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit, match=r"pip install 'langchain-convmemory\[cli\]'"):
        main()


def words_of(found, *before):
    """Every command of a group and the groups in it, by the words that call it; and the groups themselves."""
    yield before, hasattr(found, "commands")
    for name, command in getattr(found, "commands", {}).items():
        yield from words_of(command, *before, name)


EVERY = dict(words_of(get_command(app)))
GROUPS = [words for words, is_group in EVERY.items() if is_group]
COMMANDS = [words for words, is_group in EVERY.items() if not is_group]


def test_the_commands_are_found():
    assert {("demo",), ("schema", "print"), ("cache", "invalidate")} <= set(COMMANDS)
    assert {(), ("schema",), ("sessions",), ("cache",), ("journal",)} == set(GROUPS)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_in_the_reference(words):
    page = Path(__file__).parents[2].joinpath("docs/reference/cli.md").read_text("utf-8")

    assert re.search(rf"^\| `convmemory {' '.join(words)}[` ]", page, re.MULTILINE)


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_a_group_without_a_command_explains_itself(run, words):
    done = run(*words)

    assert done.exit_code == 2
    assert "Commands" in done.output


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_the_help_shows_no_type_beside_a_flag(run, words):
    done = run(*words, "--help")

    assert done.exit_code == 0
    assert "--help" in done.output
    assert not {"bool", "boolean", "range"} & set(re.findall(r"[a-z]+", done.output.lower()))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_has_an_example_of_it(run, words):
    done = run(*words, "--help")

    assert done.exit_code == 0
    assert f"convmemory {' '.join(words)}" in done.output.partition("For example:")[2]
    assert max(map(len, done.output.splitlines())) <= 80


def test_a_traceback_would_show_no_local_variables():
    assert app.pretty_exceptions_show_locals is False


def test_init_says_what_it_applied_and_then_that_all_is_current(run, schema_name):
    first, second = run("init"), run("init")

    current = f"schema {schema_name} is current (version 1)\n"
    assert (first.stdout, first.exit_code) == (f"applied 0001_initial\n{current}", 0)
    assert (second.stdout, second.exit_code) == (current, 0)


def test_an_option_wins_over_the_environment(run, schema_name, database_url):
    done = run("init", "--database-url", database_url, "--schema", f"{schema_name}_b", DATABASE_URL=NOBODY)

    assert done.exit_code == 0
    assert f"schema {schema_name}_b is current" in done.stdout
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {schema_name}_b CASCADE")


def test_the_printed_schema_is_the_one_that_init_makes(run, database_url, schema_name):
    printed = run("schema", "print", DATABASE_URL=NOBODY)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(printed.stdout)

    assert run("schema", "check").stdout == f"schema {schema_name} is current (version 1)\n"
    assert run("init").stdout == f"schema {schema_name} is current (version 1)\n"


def test_the_schema_is_printed_for_the_name_that_is_asked_for(run):
    assert 'CREATE TABLE "chat".messages' in run("schema", "print", "--schema", "chat").stdout


def test_a_schema_name_that_cannot_be_one_is_refused(run):
    done = run("schema", "print", "--schema", "a b; drop")

    assert done.exit_code == 1
    assert done.stderr.startswith("convmemory: --schema: ")
    assert done.stdout == ""


def test_schema_check_says_which_command_mends_a_missing_schema(run, schema_name):
    done = run("schema", "check")

    assert done.exit_code == 1
    assert f"schema '{schema_name}' is not there: run `convmemory init`" in done.stderr


def test_schema_check_refuses_a_newer_schema(run, memory, database_url, schema_name):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            f"INSERT INTO {schema_name}.schema_migrations VALUES (999, 'from_the_future', now(), 2)"
        )

    for words in (("schema", "check"), ("list", "--user", "maria"), ("init",)):
        done = run(*words)
        assert done.exit_code == 1
        assert "is at version 999, newer than this library's 1: upgrade convmemory" in done.stderr


def test_schema_check_takes_a_newer_schema_that_this_release_runs_on(run, memory, database_url, schema_name):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"INSERT INTO {schema_name}.schema_migrations VALUES (999, 'more', now(), 1)")

    done = run("schema", "check")
    assert done.exit_code == 0
    assert "is newer than this library, which runs on it (version 999)" in done.stdout
    assert run("init").exit_code == 0
    assert run("list", "--user", "maria").exit_code == 0


def test_check_shows_both_tiers(run, memory):
    done = run("check")

    assert done.exit_code == 0
    [postgres, redis] = [line.split() for line in done.stdout.splitlines() if " ok " in line]
    assert (postgres[0], redis[0]) == ("PostgreSQL", "Redis")
    with psycopg.connect(memory.settings.postgres_conninfo()) as connection:
        assert postgres[2:] == [
            "version",
            f"{connection.info.server_version // 10_000}.{connection.info.server_version % 10_000}",
        ]
    assert redis[2] == "version"


def test_check_fails_when_the_schema_is_missing(run):
    done = run("check")

    assert done.exit_code == 1
    assert "run `convmemory init`" in " ".join(done.stdout.split())


@pytest.mark.parametrize(("strictly", "status"), [((), 0), (("--strict",), 1)])
def test_check_says_degraded_when_redis_is_away(run, memory, strictly, status):
    done = run("check", "--redis-url", "redis://:hunter2@127.0.0.1:1/0", *strictly)

    assert done.exit_code == status
    assert "degraded" in done.stdout
    assert "PostgreSQL   ok" in done.stdout
    assert "Redis        failed" in done.stdout
    assert "Connection refused (at 127.0.0.1:1)" in " ".join(done.stdout.split())
    assert "hunter2" not in done.output


@pytest.mark.parametrize("redis", ["ok", "failed", "not used"])
def test_check_asks_redis_even_when_postgresql_is_away(run, redis):
    where = {
        "ok": {},
        "failed": {"REDIS_URL": "redis://127.0.0.1:1"},
        "not used": {"REDIS_URL": "", "REDIS_HOST": ""},
    }
    done = run("check", "--database-url", NOBODY, **where[redis])

    assert done.exit_code == 1
    assert "PostgreSQL   failed" in done.stdout
    assert f"Redis        {redis}" in done.stdout
    assert "hunter2" not in done.output


def test_a_database_that_does_not_answer_is_one_line_without_the_password(run):
    done = run("list", "--user", "maria", "--database-url", NOBODY)

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "convmemory: PostgreSQL failed to connect" in done.stderr
    assert "--database-url" in done.stderr
    assert "hunter2" not in done.stderr


@pytest.fixture(scope="session")
def locked(tmp_path_factory):
    """The URL of a PostgreSQL that asks its user for a password."""
    with EmbeddedServers.start(tmp_path_factory.mktemp("locked"), redis=False, durable=False) as pair:
        with psycopg.connect(pair.database_url, autocommit=True) as admin:
            admin.execute("CREATE ROLE app LOGIN PASSWORD 'right'")
            rules = Path(pair.directory, POSTGRES_DATA, "pg_hba.conf")
            rules.write_text("local convmemory,nowhere app scram-sha-256\nlocal all postgres trust\n")
            admin.execute("SELECT pg_reload_conf()")
        yield pair.database_url


@pytest.mark.parametrize(
    ("change", "said", "hint"),
    [
        (("//postgres@", "//app:hunter2@"), "password authentication failed", "is the password right?"),
        (("//postgres@", "//app@"), "no password supplied", "is the password right?"),
        (("//postgres@", "//nobody@"), "", "pg_hba.conf does not let this user in"),
        (
            ("/convmemory", "/nowhere"),
            'database "nowhere" does not exist',
            "make the database first, with createdb",
        ),
        (("//postgres@/convmemory", "//app:right@/convmemory"), "is not there: run `convmemory init`", ""),
    ],
)
def test_a_server_that_is_there_and_lets_nobody_in_is_told_as_such(run, locked, change, said, hint):
    url = locked.replace(*change)
    for words in (("list", "--user", "maria"), ("check",), ("init",)):
        if words == ("init",) and not hint:
            continue
        done = run(*words, "--database-url", url)
        told = " ".join((done.stderr + done.stdout).split())
        assert done.exit_code == 1
        assert said in told
        assert ("the server is there: " in told, hint in told) == (bool(hint), True)
        assert "is it running" not in told
        assert not {"hunter2", "Traceback"} & set(told.split())


def test_a_role_that_does_not_exist_is_no_question_of_the_address(run, database_url):
    parts = psycopg.conninfo.conninfo_to_dict(database_url)
    done = run(
        "check", "--database-url", psycopg.conninfo.make_conninfo(**(parts | {"user": "no_such_role"}))
    )

    assert "the server is there: is the user right?" in " ".join(done.stdout.split())


def test_a_misspelt_variable_ends_every_command_in_one_line(run):
    done = run("check", CONVMEMORY_SCHEMA="typo")

    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(
        "convmemory: CONVMEMORY_SCHEMA: no such variable; did you mean CONVMEMORY_DB_SCHEMA?"
    )


def test_the_same_line_comes_from_the_real_command():
    done = python("-m", "convmemory", "list", "--user", "maria", "--database-url", NOBODY)

    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


def test_list_shows_the_conversation_changed_last_first(run, memory):
    for name in ("old", "new"):
        memory.save_message(name, f"About the {name} one.", user_id="maria")
    memory.save_message("other", "Not hers.", user_id="tom")

    done = run("list", "--user", "maria")

    assert done.exit_code == 0
    rows = [line.split()[0] for line in done.stdout.splitlines() if "About the" in line]
    assert rows == ["new", "old"]
    assert "Not hers" not in done.stdout


def test_list_goes_on_where_the_page_before_ended(run, memory):
    for name in ("a", "b", "c"):
        memory.save_message(name, f"About {name}.", user_id="maria")

    first = run("list", "--user", "maria", "--limit", "2")
    cursor = first.stdout.partition("--cursor ")[2].strip()
    second = run("list", "--user", "maria", "--limit", "2", "--cursor", cursor)

    assert "About a." not in first.stdout
    assert "About a." in second.stdout
    assert "--cursor" not in second.stdout


def names(done):
    assert done.exit_code == 0, done.stderr
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


def test_conversations_are_put_away_and_pinned_and_listed_so(run, memory):
    for name, dept in (("a", "hr"), ("b", "hr"), ("c", None)):
        memory.create_conversation("maria", conversation_id=name, dept_id=dept, metadata={"of": name})

    listed = ("list", "--user", "maria", "--json")
    assert json.loads(run("archive", "a", "--user", "maria", "--json").stdout)["archived"] is True
    assert run("pin", "b", "--user", "maria").stdout == "pinned: b\n"
    assert names(run(*listed)) == ["c", "b"]
    assert names(run(*listed, "--archived")) == ["a"]
    assert names(run(*listed, "--all", "--dept", "hr", "--order", "created")) == ["b", "a"]
    assert names(run(*listed, "--pinned")) == ["b"]
    assert names(run(*listed, "--metadata", '{"of": "c"}')) == ["c"]
    assert names(run(*listed, "--until", "1h")) == []
    assert names(run(*listed, "--since", "1h")) == ["c", "b"]
    assert run("list", "--user", "maria", "--count", "--all").stdout == "3\n"
    assert "(pinned)" in run("list", "--user", "maria").stdout
    assert run("unarchive", "a", "--user", "maria").stdout == "no longer archived: a\n"
    assert run("unpin", "b", "--user", "maria").exit_code == 0
    assert names(run(*listed)) == ["c", "b", "a"]
    assert run("archive", "a", "--user", "tom").exit_code == 1


def test_an_operator_lists_everybodys(run, memory):
    memory.create_conversation("maria", conversation_id="hers", dept_id="support")
    memory.create_conversation("tom", conversation_id="his")
    memory.archive_conversation("his", user_id="tom")

    assert names(run("list", "--all-users", "--json")) == ["his", "hers"]
    assert names(run("list", "--all-users", "--json", "--department", "support")) == ["hers"]
    assert json.loads(run("list", "--all-users", "--count", "--json").stdout) == {"count": 2}
    shown = run("list", "--all-users").stdout
    assert "maria" in shown
    assert "(archived)" in shown
    first = run("list", "--all-users", "-n", "1", "--json")
    cursor = first.stderr.partition("--cursor ")[2].strip()
    assert names(run("list", "--all-users", "-n", "1", "--json", "--cursor", cursor)) == ["hers"]


def test_list_says_that_there_is_nothing(run, memory):
    done = run("list", "--user", "nobody")

    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no conversations of nobody\n")


def test_show_tells_who_said_what_when_and_at_what_price(run, memory):
    call = {"name": "days_left", "args": {"of": "maria"}, "id": "call-1"}
    source = RetrievedContext("30 days.", doc_id="vacation.md", score=0.5)
    turn = [
        HumanMessage("How many days do I have?"),
        AIMessage("", tool_calls=[call]),
        Draft(
            AIMessage("12 of 30."),
            tokens_used=42,
            latency_ms=7,
            contexts=[source, RetrievedContext("Twelve.")],
        ),
        Draft(AIMessage("Odd.", additional_kwargs={"socket": object()})),
    ]
    memory.save_messages("vacation", turn, user_id="maria")

    done = run("show", "vacation", "--user", "maria")

    assert done.exit_code == 0
    words = " ".join(done.stdout.split())
    assert "vacation · user maria · 4 messages" in words
    for said in (
        "1 human 2",
        "How many days do I have?",
        'calls days_left({"of": "maria"})',
        "42 tokens 7 ms 12 of 30. from vacation.md (0.50) from a document",
        "kept as text only Odd.",
    ):
        assert said in words


def test_show_prints_one_json_object_a_message(run, memory):
    source = RetrievedContext("30 days.", doc_id="vacation.md", score=0.5)
    call = {"name": "days_left", "args": {}, "id": "call-1", "type": "tool_call"}
    answer = Draft(AIMessage("Ä [red]", tool_calls=[call]), latency_ms=7, contexts=[source])
    memory.save_messages("vacation", ["Hello?", answer], user_id="maria")

    done = run("show", "vacation", "--user", "maria", "--json")
    [question, said] = [json.loads(line) for line in done.stdout.splitlines()]

    assert (question["seq"], question["role"], question["content"]) == (1, "human", "Hello?")
    assert (said["seq"], said["role"], said["content"], said["latency_ms"]) == (2, "ai", "Ä [red]", 7)
    assert said["tool_calls"] == [call]
    assert said["contexts"] == [
        {"content": "30 days.", "doc_id": "vacation.md", "score": 0.5, "metadata": {}}
    ]
    assert said["created_at"].endswith("+00:00")


def test_show_gives_the_newest_or_all(run, memory):
    memory.save_messages("long", [f"message {n}" for n in range(1, 1002)], user_id="maria")

    def seqs(*options):
        done = run("show", "long", "--user", "maria", "--json", *options)
        return [json.loads(line)["seq"] for line in done.stdout.splitlines()]

    assert seqs() == list(range(952, 1002))
    assert seqs("--limit", "2") == [1000, 1001]
    assert seqs("--all") == list(range(1, 1002))


def test_list_prints_one_json_object_a_conversation(run, memory):
    for number in range(3):
        memory.create_conversation(
            "maria", conversation_id=f"c{number}", title=f"Ä {number}", metadata={"n": number}
        )
    memory.save_message("c0", "Hello", user_id="maria")

    first = run("list", "--user", "maria", "--json", "--limit", "2")
    [newest, second] = [json.loads(line) for line in first.stdout.splitlines()]
    cursor = re.fullmatch(r"convmemory: there may be more: --cursor (\S+)\n", first.stderr)[1]
    rest = run("list", "--user", "maria", "--json", "--limit", "2", "--cursor", cursor)

    assert (newest["id"], newest["title"], newest["message_count"]) == ("c0", "Ä 0", 1)
    assert UUID(newest["uuid"]) == memory.get_conversation("c0", user_id="maria").uuid
    assert (newest["user_id"], newest["dept_id"], newest["metadata"]) == ("maria", None, {"n": 0})
    assert newest["updated_at"].endswith("+00:00")
    assert second["id"] == "c2"
    assert [json.loads(line)["id"] for line in rest.stdout.splitlines()] == ["c1"]
    assert run("list", "--user", "nobody", "--json").output == ""


def test_stored_text_steers_neither_the_terminal_nor_the_markup(run, memory):
    memory.save_message("c\x1b[2J", "[bold]not bold[/bold] \x1b]0;title\x07 \x9b31m", user_id="maria")

    shown = run("show", "c\x1b[2J", "--user", "maria").stdout
    listed = run("list", "--user", "maria").stdout

    assert "[bold]not bold[/bold] ␛]0;title␇" in shown
    assert not {"\x1b", "\x07", "\x9b"} & set(shown + listed)


def test_somebody_elses_conversation_is_not_found(run, memory):
    mine = memory.create_conversation("maria")

    done = run("show", str(mine.uuid), "--user", "tom")

    assert (done.exit_code, done.stdout) == (1, "")
    assert f"convmemory: no conversation '{mine.uuid}' for this user" in done.stderr
    assert "`convmemory list --user USER`" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("list", "--user", "maria", "--all-users"),
        ("list", "--user", "maria", "--archived", "--all"),
        ("list", "--user", "maria", "--metadata", "[1]"),
        ("list", "--user", "maria", "--since", "yesterday"),
        ("show", "c", "--user", "maria", "--all", "--limit", "3"),
        ("list", "--user", "maria", "--limit", "0"),
        ("check", "--embedded", "somewhere", "--redis-url", "redis://localhost"),
        ("check", "--embedded", "somewhere", "--database-url", NOBODY),
        ("no-such-command",),
    ],
)
def test_a_command_that_cannot_be_meant_ends_with_status_2(run, words):
    done = run(*words)

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr


def test_looking_into_a_directory_without_servers_makes_none(run, tmp_path):
    done = run("list", "--user", "maria", "--embedded", str(tmp_path / "typo"))

    assert done.exit_code == 2
    assert "there are no servers in" in done.stderr
    assert not (tmp_path / "typo").exists()


def test_no_servers_are_made_among_other_things(run, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    done = run("init", "--embedded", str(tmp_path))

    said = " ".join(done.output.replace("│", " ").split())  # folded where the path happens to end
    assert (done.exit_code, "holds other things" in said) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_embedded_servers_do_not_care_for_the_environment(run, tmp_path):
    data = str(tmp_path / "data")
    elsewhere = {"DATABASE_URL": NOBODY, "REDIS_URL": "redis://127.0.0.1:1", "POSTGRES_PORT": "no number"}

    assert run("init", "--embedded", data, **elsewhere).stdout.endswith(
        "schema convmemory is current (version 1)\n"
    )
    assert run("check", "--embedded", data, **elsewhere).exit_code == 0


def test_servers_that_somebody_runs_without_redis_are_joined_as_they_are(run, tmp_path):
    with EmbeddedServers.start(tmp_path / "data", redis=False, durable=False) as servers:
        PostgresStore(settings=Settings(database_url=servers.database_url)).init_schema()
        done = run("check", "--embedded", str(tmp_path / "data"))

    assert done.exit_code == 0, done.output
    assert "Redis        not used" in done.stdout


def test_a_reader_that_goes_away_early_is_no_traceback(memory, database_url, schema_name):
    memory.save_messages("long", ["word " * 200] * 2000, user_id="maria")
    command = ["-m", "convmemory", "show", "long", "--user", "maria", "--all", "--json"]
    where = ["--database-url", database_url, "--redis-url", "redis://127.0.0.1:1", "--schema", schema_name]
    with subprocess.Popen(
        [sys.executable, *command, *where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline()
        process.stdout.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        assert "Traceback" not in process.stderr.read()


def test_cache_invalidate_has_every_window_read_anew(run, memory):
    memory.save_message("c", "x", user_id="ana")
    for _ in range(2):
        memory.get_history("c", user_id="ana")
    hits, eras = memory.redis.health.counters.hits, memory.redis.trust.standing.eras
    done = run("cache", "invalidate")

    assert (done.exit_code, done.output) == (
        0,
        "1 cache forgotten; windows from before are not served any more\n",
    )
    memory.redis.trust._began -= 1.0  # a second later
    assert [m.content for m in memory.get_history("c", user_id="ana")] == ["x"]
    assert memory.redis.health.counters.hits == hits
    assert memory.redis.trust.standing.eras != eras


# Deleting for good


def test_erase_asks_deletes_everything_of_a_user_and_tells(run, memory):
    memory.save_messages("c", ["hello", AIMessage("hi")], user_id="maria")
    memory.save_message("c", "user", "mine", user_id="eve")
    memory.get_history("c", user_id="maria")
    memory.create_session("maria")
    refused = run("erase", "maria", typed="n\n")
    assert (refused.exit_code, refused.stdout.strip()) == (1, "n")
    assert refused.stderr.startswith("Delete everything of user 'maria', for good? [y/N]:")
    assert len(memory.get_messages("c", user_id="maria")) == 2
    done = run("erase", "maria", typed="y\n")

    assert done.exit_code == 0
    told = "deleted: 1 conversation, 2 messages, 0 documents, 1 cached window, 1 session"
    assert done.stdout.splitlines()[-1] == told
    assert list(memory.list_user_conversations("maria")) == memory.list_user_sessions("maria") == []
    assert len(memory.get_messages("c", user_id="eve")) == 1


def test_erase_gives_programs_a_receipt(run, memory):
    memory.save_message("c", "user", "hello", user_id="maria")
    done = run("erase", "maria", "--yes", "--json")

    assert json.loads(done.stdout) == {
        "rows": {"conversations": 1, "messages": 1, "message_contexts": 0, "documents": 0},
        "windows": 0,
        "sessions": 0,
    }
    assert json.loads(run("erase", "maria", "-y", "--json").stdout)["rows"]["conversations"] == 0


@pytest.mark.parametrize(
    ("age", "left"),
    [("30d", ["new"]), ("5w", ["new", "old"]), ("700h", ["new"]), ("2020-01-01", ["new", "old"]), ("0h", [])],
)
def test_prune_deletes_what_is_older(run, memory, database_url, schema_name, age, left):
    for name in ("old", "new"):
        memory.save_message(name, "user", "hello", user_id="maria")
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute(
            f"UPDATE {schema_name}.conversations SET updated_at = now() - interval '31 days'"
            " WHERE external_id = 'old'"
        )
    done = run("prune", "--older-than", age, "--yes", "--json")

    assert done.exit_code == 0, done.output
    assert sorted(found.id for found in memory.list_user_conversations("maria")) == left
    assert json.loads(done.stdout)["rows"]["conversations"] == 2 - len(left)


def test_prune_says_of_whom_and_since_when_before_it_deletes(run, memory):
    memory.save_message("c", "user", "hello", user_id="maria")
    for option, whose in (
        (("--user", "maria"), " of user 'maria'"),
        (("--dept", "hr"), " of department 'hr'"),
    ):
        refused = run("prune", "--older-than", "2030-01-31", *option, typed="n\n")
        question = f"Delete conversations{whose} not spoken in since 2030-01-31 00:00:00Z, for good? [y/N]:"
        assert refused.exit_code == 1
        assert refused.stderr.startswith(question)
    assert len(memory.list_user_conversations("maria")) == 1


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (("--older-than", "soon"), "must be an age like 90d, 12w or 36h"),
        (("--older-than", "999999w"), "must be an age like 90d, 12w or 36h"),
        (("--older-than", "1d", "--user", "a", "--dept", "b"), "give one of them"),
        ((), "--older-than"),
    ],
)
def test_prune_says_what_an_age_is(run, memory, wrong, named):
    done = run("prune", *wrong, "--yes")

    assert done.exit_code == 2
    assert named in " ".join(re.sub(r"[^ -~]", " ", done.stderr).split())


def test_search_indexes_what_was_stored_and_finds_it(run, memory):
    memory.save_message("c", "user", "the budget is due\non Friday \x1b[31mred", user_id="maria")
    memory.save_message("d", "user", "a budget", user_id="maria")

    indexed = run("search", "--index", "--language", "english")
    assert (indexed.exit_code, indexed.stdout) == (
        0,
        "looked at 2 messages: they are found as 'english' says\n",
    )
    done = run("search", "budget due", "--user", "maria", CONVMEMORY_SEARCH="english")
    assert done.exit_code == 0, done.output
    assert "the budget is due on Friday" in done.stdout
    assert "\x1b[31m" not in done.stdout
    lines = run("search", "budgets", "-u", "maria", "-n", "1", "--json", "--language", "english")
    [hit] = map(json.loads, lines.stdout.splitlines())
    assert (hit["conversation_id"], hit["seq"], hit["highlights"]) == ("d", 1, [[2, 8]])
    cursor = lines.stderr.split("--cursor ")[1].strip()
    rest = run("search", "budgets", "-u", "maria", "--cursor", cursor, "--language", "english")
    assert "c  human" in rest.stdout
    first = run("search", "budgets", "-u", "maria", "-n", "1", "--language", "english")
    assert "--cursor" in first.stdout


def test_an_operator_who_forgot_the_language_does_not_empty_the_index(run, memory):
    memory.save_message("c", "user", "the budget", user_id="maria")
    run("search", "--index", "--language", "english")

    assert run("search", "--index").exit_code == 1
    found = ("search", "budget", "-u", "maria", "--language", "english")
    assert "the budget" in run(*found).stdout
    assert run("search", "--index", "--language", "off").exit_code == 0
    nothing = run(*found)
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "search --index" in nothing.stderr


def test_init_says_which_extension_search_asks_for_in_vain(run, database_url, schema_name):
    wanted = {
        "CONVMEMORY_SEARCH": "english",
        "CONVMEMORY_SEARCH_VECTORS": "m",
        "CONVMEMORY_SEARCH_TYPOS": "true",
    }
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {schema_name}")
        try:
            elsewhere = psycopg.conninfo.make_conninfo(database_url, dbname=schema_name)
            done = run("init", "--json", DATABASE_URL=elsewhere, **wanted)
            plain = run("init", DATABASE_URL=elsewhere)
        finally:
            admin.execute(f"DROP DATABASE {schema_name} WITH (FORCE)")

    assert (done.exit_code, json.loads(done.stdout)["applied"]) == (0, ["0001_initial"])
    typos, vectors = done.stderr.splitlines()
    assert typos.startswith("convmemory: CONVMEMORY_SEARCH_TYPOS needs the extension pg_trgm")
    assert vectors.startswith("convmemory: CONVMEMORY_SEARCH_VECTORS needs the extension vector")
    assert (plain.exit_code, plain.stderr) == (0, "")


def test_search_embeds_with_a_model_of_the_callers(run, memory, database_url):
    with psycopg.connect(database_url, autocommit=True) as admin:
        if not admin.execute("SELECT FROM pg_available_extensions WHERE name = 'vector'").fetchall():
            pytest.skip("this PostgreSQL has no pgvector")
        admin.execute("CREATE EXTENSION IF NOT EXISTS vector")
    memory.save_message("work", "user", "my automobile", user_id="maria")
    named = {"CONVMEMORY_SEARCH": "english", "CONVMEMORY_SEARCH_VECTORS": "meaning"}
    with_model = ("search", "--embed", "--embeddings", "fix_meaning:MODEL")

    said = json.loads(run("check", "--json", **named).stdout)["postgres"]["figures"]["search_vectors"]
    assert said == "is not made yet: run `convmemory init`"
    assert run(*with_model, **named).exit_code == 1
    assert "vectors" in run("init", **named).stdout
    done = run(*with_model, "--user", "maria", **named)
    assert "embedded 1 messages" in done.stdout
    assert "embedded 0 messages" in run(*with_model, **named).stdout
    recalled = run(
        "search", "vehicle", "-u", "maria", "--recall", "--embeddings", "fix_meaning:MODEL", **named
    )
    assert "my automobile" in recalled.stdout
    assert run("search", "--embed", "--embeddings", "fix_meaning", **named).exit_code == 2
    assert "fix_meaning:NONE" in run("search", "--embed", "--embeddings", "fix_meaning:NONE", **named).stderr
    printed = run("schema", "print", CONVMEMORY_SEARCH_TYPOS="true", **named).stdout
    assert '"public".halfvec' in printed
    assert "messages_by_letters" in printed


def test_search_recalls(run, memory):
    with_search = ("--user", "maria", "--recall", "--language", "english")
    memory.save_messages("c", ["what is due when?", "the budget, on Friday"], user_id="maria")
    run("search", "--index", "--language", "english")

    assert "on Friday" in run("search", "when is it due?", *with_search).stdout
    [first, _] = map(json.loads, run("search", "when is it due?", *with_search, "--json").stdout.splitlines())
    assert (first["message"]["seq"], first["score"]) == (1, 1)
    assert "body" not in first["message"]
    nothing = run("search", "quantum", *with_search)
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", f"{_NONE}\n")


@pytest.mark.parametrize(
    ("wrong", "status", "named"),
    [
        ((), 2, "QUERY or --index"),
        (("x", "--index"), 2, "QUERY or --index"),
        (("x",), 2, "--user"),
        (("--index",), 1, "CONVMEMORY_SEARCH: is off, and an index made as it says would be none"),
        (("x", "--user", "maria", "--language", "off"), 1, "is off"),
        (("x", "--user", "maria", "--language", "klingon"), 1, "no text search configuration 'klingon'"),
        (("x", "--user", "maria", "--language", "english", "--cursor", "y"), 1, "cursor"),
    ],
)
def test_search_says_what_is_wrong(run, memory, wrong, status, named):
    done = run("search", *wrong)

    assert done.exit_code == status
    assert named in " ".join(re.sub(r"[^ -~]", " ", done.stderr).split())


@pytest.fixture
def provider(tmp_path, monkeypatch):
    """A provider of models that no other test installs: LangChain keeps what it has found once."""
    (tmp_path / "langchain_fireworks.py").write_text(
        "from langchain_core.language_models import FakeListChatModel\n"
        "class ChatFireworks(FakeListChatModel):\n"
        "    def __init__(self, model, **more):\n"
        "        super().__init__(responses=[f'{model}: one', f'{model}: two'])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "fireworks:m"
    sys.modules.pop("langchain_fireworks", None)


def test_chat_keeps_what_is_said_and_goes_on(run, memory, provider):
    options = ("--user", "maria", "--model", provider)
    first = run("chat", "Hello", *options, "--conversation", "talk", "--json")
    lines = run("chat", *options, "--conversation", "talk", typed="And again\nOnce more\n\nnot this")
    new = run("chat", "Elsewhere", *options)

    told = json.loads(first.stdout)
    assert (told["conversation_id"], told["reply"]) == ("talk", "m: one")
    assert told["latency_ms"] >= 0
    assert "m: one\nm: two\n" in lines.stdout
    said = [one.content for one in memory.get_messages("talk", user_id="maria")]
    assert said == ["Hello", "m: one", "And again", "m: one", "Once more", "m: two"]
    assert re.search(r"--conversation \S{36}$", new.stdout.strip())


@pytest.mark.parametrize(
    ("provider", "kind", "raised", "status"),  # LangChain keeps a provider that it has found
    [
        ("together", "ChatTogether", "KeyboardInterrupt", 130),
        ("perplexity", "ChatPerplexity", "ConnectionError('away')", 1),
    ],
)
def test_chat_keeps_what_came_of_an_answer_that_broke_off(
    run, memory, tmp_path, monkeypatch, provider, kind, raised, status
):
    (tmp_path / f"langchain_{provider}.py").write_text(
        "from langchain_core.language_models import GenericFakeChatModel\n"
        f"class {kind}(GenericFakeChatModel):\n"
        "    def __init__(self, model, **more):\n"
        "        super().__init__(messages=iter(['half an answer, and more']))\n"
        "    def _stream(self, *a, **k):\n"
        "        for n, piece in enumerate(super()._stream(*a, **k)):\n"
        "            if n == 4:\n"
        f"                raise {raised}\n"
        "            yield piece\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    done = run("chat", "Hello", "--user", "maria", "--model", f"{provider}:m", "--conversation", "talk")
    sys.modules.pop(f"langchain_{provider}", None)

    assert done.exit_code == status
    question, answer = memory.get_messages("talk", user_id="maria")
    assert (question.content, answer.content) == ("Hello", "half an ")
    assert answer.message.response_metadata["partial"] is True
    assert answer.latency_ms is not None


def test_chat_keeps_the_question_where_the_model_is_not_there(run, memory):
    done = run("chat", "Hello", "--user", "maria", "--model", "nobody:m")

    assert (done.exit_code, "--model nobody:m" in done.stderr) == (1, True)


def test_a_conversation_is_deleted_after_a_question(run, memory):
    memory.save_message("talk", "user", "Hello", user_id="maria")
    no = run("delete", "talk", "--user", "maria", typed="n\n")
    other = run("delete", "talk", "--user", "bob", "--yes")
    yes = run("delete", "talk", "--user", "maria", "--yes", "--json")

    assert (no.exit_code, "Delete 'Hello' with 1 message" in no.stderr) == (1, True)
    assert (other.exit_code, "`convmemory list --user USER`" in other.stderr) == (1, True)
    told = json.loads(yes.stdout)
    assert (told["id"], told["title"], told["message_count"]) == ("talk", "Hello", 1)
    assert memory.list_user_conversations("maria") == []
    memory.save_message("talk", "user", "Hello", user_id="maria")
    assert run("delete", "talk", "--user", "maria", typed="y\n").stdout.endswith("deleted: 1 message\n")


def test_sessions_are_listed_and_ended(run, memory):
    assert "no live sessions of maria" in run("sessions", "list", "--user", "maria").stderr
    begun = memory.create_session("maria", conversation_id="talk")
    shown = run("sessions", "list", "--user", "maria").stdout
    [told] = map(json.loads, run("sessions", "list", "--user", "maria", "--json").stdout.splitlines())
    ended = [
        run("sessions", "end", told["handle"], "--user", user, "--json") for user in ("bob", "maria", "maria")
    ]
    gone = run("sessions", "end", told["handle"], "--user", "maria")

    assert told["handle"] == begun.handle
    assert begun.id not in shown + json.dumps(told)
    assert (begun.handle[:8] in shown, told["conversation_id"]) == (True, "talk")
    assert [(one.exit_code, json.loads(one.stdout)["ended"]) for one in ended] == [
        (1, False),
        (0, True),
        (1, False),
    ]
    assert "`convmemory sessions list` has them" in gone.stderr
    memory.create_session("maria")
    handle = json.loads(run("sessions", "list", "--user", "maria", "--json").stdout)["handle"]
    assert run("sessions", "end", handle, "--user", "maria").stdout == "ended\n"


def test_what_looks_after_servers_tells_programs_too(run, memory):
    init, state, check, cache = (
        json.loads(run(*words, "--json").stdout)
        for words in (("init",), ("schema", "check"), ("check",), ("cache", "invalidate"))
    )

    assert init["applied"] == []
    assert init["version"] == state["version"] == state["latest"]
    assert (check["status"], check["postgres"]["reachable"], check["redis"]["reachable"]) == (
        "ok",
        True,
        True,
    )
    assert cache["caches"] >= 0


def test_an_export_has_all_of_a_user_and_comes_back_equal(run, memory):
    many = 25  # more than a page
    for number in range(many):
        memory.save_message(f"c{number}", "user", f"NUL \0 {number}", user_id="maria")
    memory.save_message(
        "c0", "ai", "in May", user_id="maria", contexts=[RetrievedContext(content="trams", doc_id="d")]
    )
    memory.archive_conversation("c1", user_id="maria")
    memory.save_message("c", "user", "not hers", user_id="ben")
    done = run("export", "maria")

    found = [Conversation.model_validate_json(line) for line in done.stdout.splitlines()]
    assert (done.exit_code, done.stderr) == (0, "exported: 25 conversations, 26 messages\n")
    assert {one.id for one in found} == {f"c{number}" for number in range(many)}
    assert "not hers" not in done.stdout
    for one in found:
        stored = memory.get_messages(one.id, user_id="maria")
        assert list(one.messages) == stored
        assert [said.message for said in one.messages] == [said.message for said in stored]
    nobody = run("export", "nobody")
    assert (nobody.exit_code, nobody.stdout) == (0, "")
    assert nobody.stderr == "exported: 0 conversations, 0 messages\n"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_tells_programs(words):
    told = {"--json" in option for one in find(words).params for option in one.opts}

    assert any(told) or words in {("demo",), ("export",), ("schema", "print"), ("schema", "grants")}


def find(words):
    found = get_command(app)
    for word in words:
        found = found.commands[word]
    return found


def test_what_waits_is_listed_and_drained(
    run, memory, database, database_url, redis_url, schema_name, key_prefix, monkeypatch
):
    monkeypatch.setattr("convmemory._sync.draining.Draining.wake", lambda _: None)
    place = {"db_schema": schema_name, "key_prefix": key_prefix}
    said = {"durability": "journal", "journal_ack": "memory"}
    with ConversationMemory.from_url(database_url, redis_url, **place, **said) as waiting:
        waiting.save_message("c", "user", "one", user_id="ana")
        waiting.get_history("c", user_id="ana")
        waiting.save_message("c", "user", "secret", user_id="ana")
        waiting.redis.remembered = type(waiting.redis.remembered)()
        row = waiting.get_conversation("c", user_id="ana")  # which stores it
        waiting.get_history("c", user_id="ana")
        waiting.save_message("c", "user", "secret", user_id="ana")
        waiting.redis.remembered = type(waiting.redis.remembered)()

    listed = run("journal", "list")
    assert listed.exit_code == 0, listed.output
    assert re.search(rf"{row.uuid}  ana  1 entry  since ", listed.stdout)
    assert "secret" not in listed.stdout
    [one] = json.loads(run("journal", "list", "--json").stdout)["journals"]
    assert (one["conversation"], one["entries"]) == (str(row.uuid), 1)
    assert run("journal", "drain").stdout == "1 entry stored\n"
    assert json.loads(run("journal", "drain", "--json").stdout) == {"entries": 0}
    assert run("journal", "list").stdout == "0 conversations have writes that wait\n"
    assert run("journal", "refused").stdout == "0 entries were refused\n"
    assert run("journal", "forbid").stdout == "0 entries stored; no write waits any more\n"
    assert json.loads(run("journal", "forbid", "--json").stdout) == {"entries": 0}

    database.execute(
        "INSERT INTO journal_refused (conversation_id, entry, user_id, cause, written)"
        " SELECT conversation_id, 'e', 'ana', 'it is no JSON', %s::jsonb || jsonb_build_object('l', life) FROM conversations"
        " WHERE conversation_id = %s",
        [json.dumps({"rows": [{"c": "secret"}]}), row.uuid],
    )
    refused = run("journal", "refused")
    assert f"{row.uuid}  ana  1 message: it is no JSON\n1 entry was refused\n" in refused.stdout
    assert "secret" not in refused.stdout
    assert json.loads(run("journal", "refused", "--json").stdout)["refused"][0]["cause"] == "it is no JSON"
    told = run("check")
    assert told.exit_code == 0
    assert "convmemory journal refused" in told.stdout
