"""A search forgives a slip of the pen, and finds a word inside another one, where PostgreSQL has pg_trgm; without it all is as it was."""

import psycopg
import pytest

from fix_memory import every

SAID = [
    "We received the parcel in Lisbon",
    "Handelsregisterauszug",
    "ten trams",
    "Ljubljana, so to speak",
    "the camping site",
]


@pytest.fixture
def letters(database_url):
    """A database with the extension, if its server has it."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        if not admin.execute("SELECT FROM pg_available_extensions WHERE name = 'pg_trgm'").fetchall():
            pytest.skip("this PostgreSQL has no pg_trgm")
        admin.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")


@pytest.fixture
async def memory(make_memory, letters, schema):
    before = await make_memory(search="english,german", search_typos=True)
    await before.save_messages("a", SAID, user_id="ana")
    assert await before.init_schema() == ["letters"]
    assert await before.init_schema() == []
    return before


async def found(memory, query, user="ana", **more):
    return [
        (hit.conversation_id, hit.seq) for hit in await memory.search.messages(query, user_id=user, **more)
    ]


TYPED = [
    ("lisbno", [1]),  # two letters changed places
    ("libson", [1]),
    ("recieved", [1]),
    ("recevied parcel", [1]),
    ("lizbon", [1]),
    ("register", [2]),  # inside another word
    ("auszug", [2]),
    ("sbo", [1]),
    ("tra", [3]),
    ("camqing site", [5]),
    ("campnig", [5]),
    ("cam ", [5]),
    ('"lisbno"', []),  # in quotes it is meant as it stands
    ("elephant", []),
    ("parcel elephant", []),
    ("zz", []),
    ("the", []),
]


async def test_typos_and_parts_of_words(memory):
    for query, seqs in TYPED:
        assert sorted(seq for _, seq in await found(memory, query)) == seqs, query


async def test_what_has_the_word_itself_comes_first_and_is_not_told_twice(memory):
    await memory.save_messages("b", ["lisbno it says here", "and Lisbon again"], user_id="ana")

    assert await found(memory, "lisbon") == [("b", 2), ("a", 1), ("b", 1)]
    assert await found(memory, "lisbon -parcel") == [("b", 2), ("b", 1)]
    page = await memory.search.messages("lisbon", user_id="ana", limit=1)
    rest = await memory.search.messages("lisbon", user_id="ana", limit=5, cursor=page.next_cursor)
    assert [hit.seq for hit in (*page, *rest)] == [2, 1, 1]


async def test_words_that_only_share_some_letters_are_not_alike(memory):
    await memory.save_messages("b", ["cats amplify pinging", "something, someone, nothing"], user_id="bob")

    assert await found(memory, "camping", "bob") == []


async def test_what_is_alike_is_marked_in_the_snippet(memory):
    [hit] = await memory.search.messages("register", user_id="ana")
    assert [hit.snippet[a:b] for a, b in hit.highlights] == ["register"]

    [hit] = await memory.search.messages("recieved", user_id="ana")
    assert [hit.snippet[a:b] for a, b in hit.highlights] == ["received"]


async def test_nobody_finds_what_is_somebody_elses_nor_what_is_gone(memory):
    await memory.save_messages("b", ["Lisbon of bob"], user_id="bob")

    assert await found(memory, "lisbno", "bob") == [("b", 1)]
    assert await found(memory, "lisbno", "eve") == []
    await memory.truncate("b", user_id="bob", after=0)
    assert await found(memory, "lisbno", "bob") == []
    assert len(await every(memory.iter_messages("a", user_id="ana"))) == 5


async def test_odd_words_and_other_scripts(memory):
    await memory.save_messages(
        "c", ["Привет из Москвы", "naïve café", "東京タワー", "x" * 6000 + " behind"], user_id="ana"
    )

    assert await found(memory, "Превет") == [("c", 1)]
    assert await found(memory, "оскв") == [("c", 1)]
    for odd in ("%%%", "a_b_c", "\\\\x", "'''", "🙂🙂🙂", "x" * 39, "ﬁne"):
        await memory.search.messages(odd, user_id="ana", match="any")


async def test_recall_is_of_words_alone(memory):
    assert (await memory.search.recall("lisbno", user_id="ana")).items == ()


async def test_without_the_extension_all_is_as_it_was_and_check_says_so(make_memory, schema, database):
    memory = await make_memory(search="english", search_typos=True)
    await memory.save_messages("a", SAID, user_id="ana")

    assert await found(memory, "lisbno") == []
    assert await found(memory, "lisbon") == [("a", 1)]
    told = (await memory.check()).postgres.figures["search_typos"]
    assert "pg_trgm" in told or "convmemory init" in told
