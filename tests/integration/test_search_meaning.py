"""What was said is found by what it means, where PostgreSQL has pgvector and the memory a model; and no more when it is gone."""

import logging
from datetime import timedelta

import psycopg
import pytest
from langchain_core.messages import HumanMessage

from convmemory import AsyncConversationMemory, ConfigurationError, ConversationMemory, InvalidArgument
from fix_meaning import Meaning

CAR = [
    "my automobile broke down",
    "it will be mended on Monday",
    "lovely weather",
    "quite so",
    "we sing a song",
    "of sixpence",
]


@pytest.fixture
def vectors(database_url):
    """A database with the extension, if its server has it."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        if not admin.execute("SELECT FROM pg_available_extensions WHERE name = 'vector'").fetchall():
            pytest.skip("this PostgreSQL has no pgvector")
        admin.execute("CREATE EXTENSION IF NOT EXISTS vector")


@pytest.fixture
def model():
    return Meaning()


@pytest.fixture
async def memory(make_memory, vectors, schema_name, model):
    made = await make_memory(search="english", search_vectors="meaning-1", embeddings=model)
    assert (await made.init_schema())[-1] == "vectors"
    assert await made.init_schema() == []
    return made


async def remembered(memory, query, user="ana", **more):
    return [(one.conversation_id, one.seq) for one in await memory.search.recall(query, user_id=user, **more)]


async def found(memory, query, user="ana", **more):
    return [
        (hit.conversation_id, hit.seq) for hit in await memory.search.messages(query, user_id=user, **more)
    ]


async def test_what_means_the_same_is_recalled_once_it_is_embedded(memory, model):
    await memory.save_messages("a", CAR, user_id="ana")
    assert model.documents == [], "off the write path"
    assert await remembered(memory, "my vehicle") == []

    looked = []
    assert await memory.search.embed(progress=looked.append) == 6
    assert looked == [6]
    recalled = await memory.search.recall("my vehicle", user_id="ana")

    assert (recalled[0].conversation_id, recalled[0].seq) == ("a", 1)
    assert 0 < recalled[0].score <= 1
    assert recalled[0].content == CAR[0]
    assert await memory.search.embed() == 0
    assert len(model.documents) == 6


async def test_words_and_meaning_together_rank_above_either(memory):
    await memory.save_messages("a", [*CAR, "the car and the garage", "a garage band"], user_id="ana")
    await memory.search.embed()

    [first, *_] = await remembered(memory, "which garage has my vehicle?")

    assert first == ("a", 7)
    assert ("a", 1) in await remembered(memory, "which garage has my vehicle?", floor=0)


async def test_search_by_any_word_ranks_as_recall_does_and_by_all_words_is_of_words(memory):
    await memory.save_messages(
        "a", ["automobile", *CAR[1:], "the car and the garage", "a garage band"], user_id="ana"
    )
    await memory.search.embed()

    hits = await found(memory, "garage vehicle", match="any")
    recalled = await remembered(memory, "garage vehicle", k=100)

    assert hits == [one for one in recalled if one in hits]
    assert ("a", 1) in hits, "it has none of the words"
    assert await found(memory, "vehicle") == []
    assert await found(memory, "garage vehicle") == []
    assert ("a", 1) not in await found(memory, "garage vehicle -automobile", match="any")
    assert ("a", 1) not in await found(memory, '"garage band" vehicle', match="any")


async def test_pages_by_meaning_give_every_hit_once_while_others_write(memory):
    await memory.save_messages("a", ["car", "vehicle trip", "automobile", "tree", "stone"] * 6, user_id="ana")
    await memory.search.embed()

    seen, cursor = [], None
    while cursor or not seen:
        page = await memory.search.messages("car trip", user_id="ana", limit=4, cursor=cursor, match="any")
        seen += [hit.seq for hit in page if hit.conversation_id == "a"]
        await memory.save_messages("b", ["a car", "river", "lake"], user_id="ana")
        await memory.search.embed()
        cursor = page.next_cursor

    assert len(seen) == len(set(seen)) == 18


async def test_nobody_finds_what_is_somebody_elses(memory):
    await memory.save_messages("a", CAR, user_id="ana")
    await memory.save_messages("b", ["my dog", "his bone", "and more"], user_id="bob")

    assert await memory.search.embed(user_id="bob") == 3
    assert await memory.for_user("ana").search.embed() == 6
    assert {name for name, _ in await remembered(memory, "vehicle", "bob", floor=0)} <= {"b"}
    assert await remembered(memory, "vehicle", "eve", floor=0) == []
    assert await remembered(memory, "vehicle", apart_from="a") == []


async def test_what_is_gone_is_meant_no_more(memory, database, vectors):
    def rows():
        [[count]] = database.execute("SELECT count(*) FROM vectors").fetchall()
        return count

    await memory.save_messages("a", [*CAR, *CAR], user_id="ana")
    await memory.save_messages("b", CAR, user_id="bob")
    await memory.search.embed()
    [first] = await memory.get_messages("a", user_id="ana", limit=1, after=0)

    await memory.replace_message("a", first, HumanMessage("nothing at all"), user_id="ana")
    assert ("a", 1) not in await remembered(memory, "my vehicle")
    await memory.delete_messages("a", user_id="ana", seqs=[2, 3])
    assert rows() == 15
    await memory.truncate("a", user_id="ana", after=6)
    assert rows() == 9
    assert await remembered(memory, "my vehicle") == []
    assert await memory.search.embed() == 1, "the one that was replaced"
    assert rows() == 10
    await memory.annotate_message("a", first, {"stars": 5}, user_id="ana")
    assert rows() == 10
    await memory.clear("a", user_id="ana")
    assert rows() == 6
    await memory.save_messages("a", CAR, user_id="ana")
    assert await memory.search.embed() == 6
    await memory.delete_conversation("a", user_id="ana")
    assert rows() == 6
    await memory.retention.erase_user("bob")
    assert rows() == 0
    assert database.execute("SELECT count(*) FROM embedded").fetchone() == (0,)


async def test_what_goes_is_looked_up_also_by_a_plan_that_was_made_for_an_empty_table(
    memory, database, schema_name
):
    read = f"""SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
               WHERE schemaname = '{schema_name}' AND relname IN ('vectors', 'embedded') ORDER BY relname"""
    database.execute("VACUUM ANALYZE vectors")
    for _ in range(7):  # from the sixth time on a plan is kept
        await memory.save_messages("a", ["x", "y"], user_id="ana")
        for change in (
            "UPDATE messages SET content = 'z'",
            "DELETE FROM messages",
            "DELETE FROM conversations",
        ):
            database.execute(change)
    await memory.save_messages("a", CAR, user_id="ana")
    await memory.save_messages("b", [f"song {n}" for n in range(300)], user_id="bob")
    assert await memory.search.embed() == 306

    with database.transaction():
        before = database.execute(read).fetchall()
        for change in (
            "UPDATE messages SET content = 'z' WHERE content = 'of sixpence'",
            "DELETE FROM messages WHERE content = 'quite so'",
            "DELETE FROM conversations WHERE user_id = 'ana'",
        ):
            database.execute(change)
        after = database.execute(read).fetchall()
    assert sum(b - a for (a,), (b,) in zip(before, after, strict=True)) < 30
    assert await memory.search.embed() == 0


async def test_a_large_conversation_that_is_being_taken_away_is_found_no_more(memory, database):
    await memory.save_messages("a", CAR, user_id="ana")
    await memory.search.embed()
    database.execute("UPDATE conversations SET user_id = '', left_over = 6, cleared = 6")

    assert await remembered(memory, "vehicle", floor=0) == []
    assert await memory.search.embed() == 0


async def test_a_conversation_that_changes_hands_takes_what_it_means_along(memory, database):
    await memory.save_messages("a", CAR, user_id="ana")
    await memory.search.embed()
    database.execute("UPDATE conversations SET user_id = 'bob', external_id = NULL")

    assert await remembered(memory, "my vehicle") == []
    assert [seq for _, seq in await remembered(memory, "my vehicle", "bob")] == [1]


async def test_another_model_is_a_back_fill(memory, make_memory, schema_name):
    await memory.save_messages("a", CAR, user_id="ana")
    await memory.search.embed()
    wider = await make_memory(search="english", search_vectors="meaning-2", embeddings=Meaning(768))

    assert await remembered(wider, "vehicle") == []
    assert await wider.search.embed() == 6
    assert await remembered(wider, "vehicle") == [("a", 1)]
    assert await remembered(memory, "vehicle") == []


async def test_what_changes_while_the_model_thinks_is_embedded_the_next_time(memory, model, database):
    await memory.save_messages("a", [f"song {n}" for n in range(70)], user_id="ana")
    told = model.embed_documents

    def meanwhile(texts):
        if len(model.documents) == 64:  # the second batch
            database.execute("UPDATE messages SET content = 'other words' WHERE seq IN (3, 68)")
        return told(texts)

    model.embed_documents = meanwhile
    assert await memory.search.embed() == 69
    assert await memory.search.embed() == 2
    assert await memory.search.embed() == 0


async def test_where_the_model_fails_words_are_left(memory, model, caplog):
    await memory.save_messages("a", CAR, user_id="ana")
    await memory.search.embed()
    model.broken = True

    with caplog.at_level(logging.WARNING, "convmemory.search"):
        assert ("a", 1) in await remembered(memory, "the automobile")
    assert "words alone" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "in embed_query" in caplog.text, "the place in code is told"
    assert "automobile" not in caplog.text, "though the model's own error quotes it"
    await memory.save_messages("a", ["more"], user_id="ana")
    with pytest.raises(RuntimeError, match="away"):
        await memory.search.embed()


async def test_keys_are_a_part_of_what_a_message_means(memory):
    await memory.save_messages("a", CAR, user_id="ana")
    await memory.search.embed()
    [message] = await memory.get_messages("a", user_id="ana", limit=1, after=4)
    await memory.search.set_keys("a", message, ["the physician called"], user_id="ana")

    assert await memory.search.embed() == 1
    assert (await remembered(memory, "doctor"))[0] == ("a", 5)


async def test_half_life_and_time_count_for_what_is_meant_as_well(memory):
    await memory.save_messages("a", CAR, user_id="ana")
    await memory.search.embed()

    assert await remembered(memory, "vehicle", until=timedelta(days=1)) == []
    assert await remembered(memory, "vehicle", roles=["ai"]) == []
    assert await remembered(memory, "vehicle", half_life=timedelta(days=1)) == [("a", 1)]


@pytest.mark.parametrize(
    "wrong",
    [[], [float("nan")], ["x"], None, 7, "123", [10**400], [float("inf")], [0.5] * 16_001],
    ids=range(9),
)
async def test_a_model_that_gives_no_vectors_is_told(memory, model, wrong):
    await memory.save_messages("a", ["x"], user_id="ana")
    model.embed_documents = lambda texts: [wrong for _ in texts]

    with pytest.raises(InvalidArgument, match="embeddings"):
        await memory.search.embed()
    model.embed_documents = lambda _: []
    with pytest.raises(InvalidArgument, match="gave 0 vectors for 1 texts"):
        await memory.search.embed()


@pytest.mark.parametrize("times", [1e6, 1e-9, 1e300])
async def test_how_long_a_vector_is_does_not_count(memory, model, times):
    await memory.save_messages("a", CAR, user_id="ana")
    embedded, asked = model.embed_documents, model.embed_query
    model.embed_documents = lambda texts: [[n * times for n in one] for one in embedded(texts)]
    model.embed_query = lambda text: [n * times for n in asked(text)]

    assert await memory.search.embed() == 6
    assert await remembered(memory, "my vehicle") == [("a", 1)]


async def test_a_vector_that_points_nowhere_takes_no_other_along(memory, model):
    await memory.save_messages("a", CAR, user_id="ana")
    await memory.search.embed()
    embedded, asked = model.embed_documents, model.embed_query
    model.embed_documents = lambda texts: [[0.0] * len(one) for one in embedded(texts)]
    await memory.save_messages("b", ["???"], user_id="ana")

    assert await memory.search.embed() == 1
    assert await memory.search.embed() == 0
    assert await remembered(memory, "my vehicle") == [("a", 1)]
    model.embed_query = lambda text: [0.0] * len(asked(text))
    assert await remembered(memory, "my vehicle") == []
    assert ("a", 1) in await remembered(memory, "automobile")


async def test_another_model_under_the_same_name_is_told_and_takes_nothing_away(
    memory, make_memory, schema_name
):
    await memory.save_messages("a", CAR, user_id="ana")
    await memory.search.embed()
    narrow = await make_memory(search="english", search_vectors="meaning-1", embeddings=Meaning(64))
    await memory.save_messages("b", ["a new automobile"], user_id="ana")

    with pytest.raises(
        InvalidArgument, match=r"embeddings: gave vectors of other lengths than 512.*'meaning-1'"
    ):
        await narrow.search.embed()
    assert ("a", 1) in await remembered(narrow, "automobile"), "by its word"
    assert await remembered(narrow, "vehicle") == []
    assert await memory.search.embed() == 1
    assert set(await remembered(memory, "vehicle")) == {("a", 1), ("b", 1)}


async def test_without_a_model_or_its_tables_words_are_found_and_embed_says_what_is_missing(
    make_memory, schema, model, caplog
):
    memory = await make_memory(search="english", search_vectors="meaning-1", embeddings=model)
    await memory.save_messages("a", CAR, user_id="ana")

    for _ in range(2):
        assert await remembered(memory, "automobile") != []
    assert await found(memory, "automobile", match="any") != []
    assert model.queries == [], "nobody's question goes to a model where nothing is compared with it"
    assert caplog.text.count("words alone are looked for: search_vectors") == 1
    with pytest.raises(
        ConfigurationError, match=r"CONVMEMORY_SEARCH_VECTORS: (needs the extension vector|is not made yet)"
    ):
        await memory.search.embed()
    none = await make_memory(search="english", search_vectors="meaning-1")
    with pytest.raises(ConfigurationError, match=r"embeddings: give the memory a model"):
        await none.search.embed()


@pytest.mark.parametrize("kind", [ConversationMemory, AsyncConversationMemory])
def test_a_model_without_a_name_or_that_is_none_is_told_at_once(kind, model):
    url = "postgresql://nobody@localhost/none"
    with pytest.raises(ConfigurationError, match="search_vectors"):
        kind.from_url(url, search="english", embeddings=model)
    with pytest.raises(ConfigurationError, match="search_vectors"):
        kind.from_url(url, search_vectors="m", embeddings=model)
    with pytest.raises(InvalidArgument, match="embeddings"):
        kind.from_url(url, search="english", search_vectors="m", embeddings="gpt")


async def test_check_says_whether_it_is_there(memory, make_memory, schema_name):
    assert (await memory.check()).postgres.figures["search_vectors"] == "on"
    assert "search_vectors" not in (await (await make_memory(search="english")).check()).postgres.figures
