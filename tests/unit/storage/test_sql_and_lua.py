"""The SQL and Lua files: what their headers promise is what their bodies and their callers do."""

import re
from pathlib import Path

import pytest
from psycopg import sql as compose

from convmemory.storage import rooms, sql_and_lua

PACKAGE = Path(sql_and_lua.__file__).parents[1]
STATEMENTS = sorted(path.stem for path in (PACKAGE / "sql").glob("*.sql"))
MIGRATIONS = sorted(path.stem for path in (PACKAGE / "sql" / "migrations").glob("*.sql"))
ROOMS = sorted(path.stem for path in (PACKAGE / "sql" / "rooms").glob("*.sql"))
SCRIPTS = sorted(path.stem for path in (PACKAGE / "lua").glob("*.lua"))
WORDS = PACKAGE / "errors.py"  # which names them all, and uses none
PYTHON = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py") if path != WORDS)

TIMES = re.compile(r"ARGV\[\d+\]\s+(?:ttl|lease|pause|deadline|now|timeout|age)\b.*")
SECONDS = re.compile(r"'(?:EXPIRE|EXPIREAT|SETEX|TTL|EX|EXAT)'", re.IGNORECASE)


def halves(name):
    """Split a file into its comment header and what follows."""
    lines = (PACKAGE / name).read_text(encoding="utf-8").splitlines()
    end = next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))
    return "\n".join(lines[:end]), "\n".join(lines[end:])


def numbers(name, text):
    return {int(n) for n in re.findall(rf"\b{name}\[(\d+)\]", text)}


def test_there_are_statements_scripts_and_migrations():
    assert STATEMENTS
    assert SCRIPTS
    assert MIGRATIONS


@pytest.mark.parametrize(
    "name",
    [*STATEMENTS, *(f"migrations/{name}" for name in MIGRATIONS), *(f"rooms/{name}" for name in ROOMS)],
)
def test_sql_says_what_it_is_for_and_takes_a_schema_name(name):
    header, body = halves(f"sql/{name}.sql")

    names = {"schema": compose.Identifier('odd"name'), "extension": compose.Identifier("elsewhere")}
    filled = compose.SQL(body).format(**names).as_string(None)

    assert len(header) > len("-- ")
    assert body.strip()
    assert ("{schema}" in body) == ('"odd""name"' in filled)


@pytest.mark.parametrize("name", STATEMENTS)
def test_sql_header_explains_every_parameter_that_is_no_column(name):
    header, body = halves(f"sql/{name}.sql")
    columns = {"conversation"} | {
        column
        for step in sql_and_lua.migrations()
        for column in re.findall(r"^ {4}(\w+) +[a-z]+", step.sql, re.MULTILINE)
    }

    unexplained = set(re.findall(r"%\((\w+)\)s", body)) - columns - set(re.findall(r"\w+", header))

    assert unexplained == set()


TAKES_ANYTHING = (
    r"(?<!pg_catalog\.)\b(?:unnest|array_\w+|jsonb?_\w+|to_jsonb?|row_to_json|format|concat\w*)\("
)


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_function_that_takes_anything_can_be_outbid_by_one_of_another_schema(name):
    """Behind a pooler nothing sees to a statement's search_path but the statement itself."""
    _, body = halves(f"sql/{name}.sql")

    assert re.findall(TAKES_ANYTHING, body) == []


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_is_used(name):
    assert re.search(rf'"{name}"', PYTHON)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_is_used(name):
    called = {one for other in SCRIPTS for one in calls(halves(f"lua/{other}.lua")[0])}

    assert name in called or re.search(rf'"{name}"', PYTHON)


def calls(header):
    return next((line.split() for line in re.findall(r"^-- calls +(.*)$", header, re.MULTILINE)), [])


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_lua_script_takes_one_key_or_two_of_one_conversation_and_says_which(name):
    header, body = halves(f"lua/{name}.lua")

    assert numbers("KEYS", header) == numbers("KEYS", body)
    assert numbers("KEYS", header) in ({1}, {1, 2})
    assert len(set(re.findall(r"KEYS\[\d\] +\S*(\{\w+\})", header))) <= 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_that_calls_others_has_them_in_front(name):
    header, body = halves(f"lua/{name}.lua")
    called = calls(header)

    assert set(re.findall(r"\b((?:window|journal)_\w+)\(", body)) == set(called)
    for one in called:
        assert f"local function {one}(KEYS, ARGV)\n{sql_and_lua.lua(one)}end\n" in sql_and_lua.lua(name)


@pytest.mark.parametrize("name", SCRIPTS)
def test_lua_header_tells_purpose_every_argument_and_result(name):
    header, body = halves(f"lua/{name}.lua")
    arguments = numbers("ARGV", header) | {int(n) for n in re.findall(r"ARGV\[(\d+)\.\.\]", header)}

    assert re.match(r"-- [A-Z].*\.", header)
    assert arguments == set(range(1, len(arguments) + 1))
    assert numbers("ARGV", body) <= arguments
    assert "-- returns" in header


@pytest.mark.parametrize("name", SCRIPTS)
def test_times_in_redis_are_milliseconds_and_named_so(name):
    header, body = halves(f"lua/{name}.lua")

    assert [line for line in TIMES.findall(header) if "milliseconds" not in line] == []
    assert SECONDS.findall(body) == []
    assert ("'PEXPIRE'" not in body) or "milliseconds" in header


def test_servers_are_sent_no_header_and_people_are():
    for name in STATEMENTS:
        assert sql_and_lua.sql(name).rstrip() == halves(f"sql/{name}.sql")[1]
    for name in SCRIPTS:
        header, body = halves(f"lua/{name}.lua")
        assert sql_and_lua.lua(name).rstrip().endswith(body)
        assert calls(header) or sql_and_lua.lua(name).rstrip() == body
    for step in sql_and_lua.migrations():
        assert step.sql.startswith("-- ")


def test_migrations_are_numbered_from_one_without_a_gap():
    steps = sql_and_lua.migrations()

    assert [step.version for step in steps] == list(range(1, len(MIGRATIONS) + 1))
    assert [f"{step.version:04}_{step.name}" for step in steps] == MIGRATIONS
    assert sql_and_lua.latest_version() == len(MIGRATIONS)


def test_every_migration_says_which_releases_run_on_what_it_makes():
    for step in sql_and_lua.migrations():
        assert step.sql.startswith("-- compatible: ")
        assert 1 <= step.compatible_from <= step.version
    newest = sql_and_lua.migration_of(7, "x", "-- Says nothing.\nSELECT 1")
    assert (newest.compatible_from, newest.alone) == (7, False)


def test_a_migration_in_no_transaction_is_sent_statement_by_statement():
    step = sql_and_lua.migration_of(
        7, "x", "-- compatible: 3\n-- transaction: none\nDROP INDEX x;\nCREATE INDEX x;\n"
    )

    assert (step.compatible_from, step.alone, step.full_name) == (3, True, "0007_x")
    assert [text.splitlines()[-1] for text in step.statements] == ["DROP INDEX x", "CREATE INDEX x"]


@pytest.mark.parametrize("name", MIGRATIONS)
def test_migrations_are_named_for_what_they_do(name):
    assert re.fullmatch(r"\d{4}_[a-z][a-z0-9_]+", name)


def test_a_file_is_read_once():
    assert sql_and_lua.sql(STATEMENTS[0]) is sql_and_lua.sql(STATEMENTS[0])
    assert sql_and_lua.lua(SCRIPTS[0]) is sql_and_lua.lua(SCRIPTS[0])
    assert sql_and_lua.migrations() is sql_and_lua.migrations()


def test_a_part_that_needs_an_extension_names_where_that_is_and_may_be_made_again():
    assert [room.name for room in (rooms.LETTERS, rooms.VECTORS)] == ROOMS
    for room in (rooms.LETTERS, rooms.VECTORS):
        assert f"CREATE OR REPLACE FUNCTION {{schema}}.{room.function}" in room.steps[-1], (
            "the last step says it is made"
        )
        assert any("{extension}" in step for step in room.steps)
    old = rooms.Found("public", "0.6.2", available=True, made=False)
    assert "0.7 or newer, not 0.6.2" in str(old.lacks(rooms.VECTORS))
    assert old.lacks(rooms.LETTERS) is None
    none = rooms.Found(None, None, available=False, made=False)
    assert "install it on the server" in str(none.lacks(rooms.LETTERS))


def test_an_unknown_name_is_an_error_that_shows_the_path():
    with pytest.raises(FileNotFoundError, match=r"no_such\.sql"):
        sql_and_lua.sql("no_such")


def test_everything_is_read_ahead_also_what_brings_over_a_database_of_0_1():
    sql_and_lua.sql.cache_clear()
    sql_and_lua.read_ahead.cache_clear()
    sql_and_lua.read_ahead()
    known = sql_and_lua.sql.cache_info().currsize
    for path in (PACKAGE / "sql").rglob("*.sql"):
        if path.parent.name != "migrations":
            sql_and_lua.sql(path.relative_to(PACKAGE / "sql").with_suffix("").as_posix())
    assert sql_and_lua.sql.cache_info().currsize == known
