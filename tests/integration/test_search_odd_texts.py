"""What people write is stored whatever it is, and found however they write it: long names, accents, code; and extensions come and go."""

import unicodedata
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from langchain_core.messages import HumanMessage

from convmemory import ConfigurationError, ConversationMemory
from fix_meaning import Meaning

WIDE = "".join(chr(ord(letter) + 0xFEE0) for letter in "ABC123")


@pytest.fixture
def open_memory(database_url, schema):
    """A function that opens a memory over this test's schema."""
    made = []

    def opened(**settings):
        memory = ConversationMemory.from_url(
            database_url, db_schema=schema, **({"search": "simple"} | settings)
        )
        made.append(memory)
        return memory.open()

    yield opened
    for memory in made:
        memory.close()


def found(memory, query, user="ana", **more):
    return [(hit.conversation_id, hit.seq) for hit in memory.search.messages(query, user_id=user, **more)]


# An append never fails because of a search


@pytest.mark.parametrize(
    "piece",
    [
        "word_",
        "~/",
        "./",
        "1a@",
        "<!--",
        "<!-- a ",
        "a_",
        "a.b/",
        "\u023a",
        "\ufdfa",
        "e\u0301",
        "v1.1",
        ".a",
        "\3",
    ],
    ids=ascii,
)
def test_what_a_parser_would_go_over_again_and_again_is_stored_and_shown(open_memory, piece):
    memory = open_memory(search="english")
    text = "needle " + (piece * 50_000)[:49_990]
    memory.save_message("c", "user", text, user_id="ana")

    [hit] = memory.search.messages("needle", user_id="ana")
    assert hit.snippet.startswith("needle ")
    assert [hit.snippet[a:b] for a, b in hit.highlights] == ["needle"]
    assert len(memory.search.recall(text, user_id="ana")) == 1


def test_a_long_name_is_found_by_its_words(open_memory):
    memory = open_memory()
    memory.save_message("c", "user", "word_" * 300 + "last", user_id="ana")
    memory.save_message("c", "user", "https://example.com/" + "part/" * 100 + "end.html", user_id="ana")

    assert found(memory, "word") == [("c", 1)]
    assert found(memory, "last") == [("c", 1)]
    assert found(memory, "end.html") == [("c", 2)]


def test_what_stands_far_behind_is_found_and_shown(open_memory):
    memory = open_memory(search="english")
    memory.save_message("c", "user", "words and more " * 3_000 + "a needle here", user_id="ana")

    [hit] = memory.search.messages("needle", user_id="ana")
    assert [hit.snippet[a:b] for a, b in hit.highlights] == ["needle"]
    assert "a needle here" in hit.snippet


def test_a_configuration_that_is_dropped_takes_nothing_but_search_along(database_url, open_memory, database):
    database.execute("CREATE TEXT SEARCH CONFIGURATION ours (COPY = pg_catalog.english)")
    [[schema]] = database.execute("SELECT current_schema()").fetchall()
    memory = open_memory(search=f"{schema}.ours")
    memory.save_message("c", "user", "horses", user_id="ana")
    assert found(memory, "horse") == [("c", 1)]

    database.execute("DROP TEXT SEARCH CONFIGURATION ours")
    memory.save_message("c", "user", "more horses", user_id="ana")
    [first, _] = memory.get_messages("c", user_id="ana")
    memory.replace_message("c", first, HumanMessage("a horse"), user_id="ana")
    with pytest.raises(ConfigurationError, match="ours"):
        open_memory(search=f"{schema}.ours")
    english = open_memory(search="english")
    english.search.index()
    assert sorted(found(english, "horse")) == [("c", 1), ("c", 2)]


def test_a_configuration_in_a_schema_that_one_may_not_use_is_not_there(database_url, open_memory, database):
    [[schema]] = database.execute("SELECT current_schema()").fetchall()
    other, role = f"{schema}_ts", f"{schema}_role"
    database.execute(
        f"CREATE SCHEMA {other}; CREATE TEXT SEARCH CONFIGURATION {other}.ours (COPY = pg_catalog.english)"
    )
    database.execute(
        f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
    )
    try:
        database.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {database.info.dbname} SET role = '{role}'")
        with pytest.raises(ConfigurationError, match="ours"):
            open_memory(search=f"{other}.ours")
    finally:
        database.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {database.info.dbname} RESET role")
        database.execute(f"DROP SCHEMA {other} CASCADE; DROP OWNED BY {role}; DROP ROLE {role}")


# Extensions


@pytest.fixture
def own_database(database_url):
    """A database of the test's own with both extensions, if its server has them; and a connection to it."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as admin:
        there = admin.execute(
            "SELECT count(*) FROM pg_available_extensions WHERE name IN ('vector', 'pg_trgm')"
        )
        if there.fetchone() != (2,):
            pytest.skip("this PostgreSQL lacks an extension")
        admin.execute(f"CREATE DATABASE {name}")
        url = urlsplit(database_url)._replace(path=f"/{name}").geturl()
        try:
            with psycopg.connect(url, autocommit=True) as conn:
                conn.execute("CREATE EXTENSION vector; CREATE EXTENSION pg_trgm")
                yield url, conn
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def everything(own_database):
    """A memory that finds words, typos and meaning, and what is said by it."""
    settings = {"search": "english", "search_typos": True, "search_vectors": "m", "embeddings": Meaning()}
    with ConversationMemory.from_url(own_database[0], **settings) as memory:
        memory.init_schema()
        memory.save_messages("a", ["received my automobile in Lisbon", "no", "one", "two"], user_id="ana")
        memory.search.embed()
        yield memory


def works(memory, *, typos, meaning):
    memory.save_message("a", "user", "Porto is nice", user_id="ana")
    [first, *_] = memory.get_messages("a", user_id="ana")
    memory.replace_message("a", first, HumanMessage("received my automobile in Lisbon"), user_id="ana")
    assert found(memory, "lisbon") == [("a", 1)]
    assert memory.search.recall("Lisbon", user_id="ana")[0].seq == 1
    assert found(memory, "recieved") == ([("a", 1)] if typos else [])
    if meaning:
        memory.search.embed()
    assert [one.seq for one in memory.search.recall("vehicle", user_id="ana")] == ([1] if meaning else [])


@pytest.mark.parametrize("extension", ["vector", "pg_trgm"])
def test_an_extension_is_not_dropped_from_under_what_needs_it(everything, own_database, extension):
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        own_database[1].execute(f"DROP EXTENSION {extension}")
    works(everything, typos=True, meaning=True)


@pytest.mark.parametrize("extension", ["vector", "pg_trgm"])
def test_an_extension_that_is_dropped_all_the_same_takes_what_it_finds_along_and_init_makes_it_anew(
    everything, own_database, extension
):
    own_database[1].execute(f"DROP EXTENSION {extension} CASCADE")
    works(everything, typos=extension != "pg_trgm", meaning=extension != "vector")
    setting = "search_vectors" if extension == "vector" else "search_typos"
    assert "CREATE EXTENSION" in everything.check().postgres.figures[setting]

    own_database[1].execute(f"CREATE EXTENSION {extension}")
    assert everything.init_schema() == ["vectors" if extension == "vector" else "letters"]
    works(everything, typos=True, meaning=True)


def test_extensions_may_move_to_another_schema(everything, own_database):
    own_database[1].execute("CREATE SCHEMA elsewhere")
    for extension in ("vector", "pg_trgm"):
        own_database[1].execute(f"ALTER EXTENSION {extension} SET SCHEMA elsewhere")
    with ConversationMemory.from_url(
        own_database[0], search="english", search_typos=True, search_vectors="m", embeddings=Meaning()
    ) as memory:
        works(memory, typos=True, meaning=True)


# However it is written


@pytest.mark.parametrize(
    ("search", "text", "query"),
    [
        ("german", unicodedata.normalize("NFD", "Die Häuser in Zürich"), "Häuser"),
        ("german", unicodedata.normalize("NFD", "Die Häuser in Zürich"), "zürich"),
        ("german", "Die Häuser in Zürich", unicodedata.normalize("NFD", "Häuser")),
        ("german", "Die Fahrräder in Zürich", "Fahrrä"),
        ("german", "Die Fahrräder in Zürich", "zür"),
        ("german", "Frau Müller-Lüdenscheidt", "müller-lüd"),
        ("simple", unicodedata.normalize("NFD", "안녕하세요 세계"), "세계"),
        ("simple", unicodedata.normalize("NFD", "データベース"), "データベース"),
        ("simple", "ﾃﾞｰﾀﾍﾞｰｽ", "データベース"),
        ("simple", f"{WIDE} の テスト", "ABC123"),
        ("simple", "ABC123 の テスト", WIDE),
        ("simple", "İstanbul", "istanbul"),
        ("simple", "a vector<int> and a List<String>", "String"),
        ("simple", "#include <stdio.h>", "stdio.h"),
        ("simple", '<div class="card">', "card"),
        ("simple", "ticket ABC-1234", "1234"),
        ("simple", "ticket ABC-1234", "ABC-1234"),
        ("simple", "ticket ABC-1234", "abc-12"),
        ("simple", "it is v2.0.1-rc1 now", "2.0.1"),
        ("simple", "it is 2.0.1 now", "v2.0.1"),
        ("simple", "in ~/.bashrc it says", "bashrc"),
        ("simple", "in ~/.bashrc it says", ".bashrc"),
        ("simple", "in /tmp it lies", "tmp"),
        ("simple", "run it with --verbose-mode", "--verbose-mode"),
        ("simple", "we build it in C++", "C++"),
        ("english", "psycopg.errors.UniqueViolation", "errors.Uniq"),
        ("english", "a state-of-the-art trick", "state-of"),
    ],
)
def test_what_is_written_in_another_way_is_found_and_shown(open_memory, search, text, query):
    memory = open_memory(search=search)
    memory.save_messages("c", [text, "nothing of it"], user_id="ana")

    [hit] = memory.search.messages(query, user_id="ana")

    assert hit.seq == 1
    assert all(hit.snippet[a:b] for a, b in hit.highlights)
    assert hit.highlights, "what was found is shown"


@pytest.mark.parametrize(
    ("words", "onward"),
    [
        ("'a' <-> 'b'", "'a' <-> 'b':*"),
        ("'a' & ( 'b' | 'c' )", "'a' & ( 'b' | 'c' )"),
        ("'a' | 'b'", "'a' | 'b':*"),
    ],
)
def test_what_a_dictionary_has_in_the_place_of_a_word_goes_on_or_stays(database, schema, words, onward):
    assert database.execute("SELECT onward_v1(%s::tsquery)::text", [words]).fetchone() == (onward,)


@pytest.mark.parametrize("query", ["C++", "C#", "c?", "cam!"])
def test_behind_a_mark_no_word_goes_on(open_memory, query):
    memory = open_memory()
    memory.save_message("c", "user", "a cat came", user_id="ana")

    assert found(memory, query) == []
    assert found(memory, "ca") == [("c", 1)]


def test_a_single_character_is_recalled_wherever_it_stands(open_memory):
    memory = open_memory()
    memory.save_messages("c", ["猫が好きです", "犬"], user_id="ana")

    assert memory.search.recall("猫?", user_id="ana")[0].seq == 1


def test_what_must_not_be_there_must_not_be_there_together(open_memory):
    memory = open_memory()
    memory.save_messages("c", ["tea hello", "tea 東京", "tea hello 東京", "tea"], user_id="ana")

    assert sorted(seq for _, seq in found(memory, 'tea -"hello 東京"')) == [1, 2, 4]
    assert sorted(seq for _, seq in found(memory, "tea -hello -東京")) == [4]
    assert sorted(seq for _, seq in found(memory, 'tea -"hello 東京" -hello')) == [2, 4]
