"""What a user said is found by its words: at once, by nobody else, and no more when it is gone."""

import base64
import json
from datetime import UTC, datetime, timedelta, tzinfo
from random import Random
from threading import Event, Thread

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import (
    AsyncConversationMemory,
    ConfigurationError,
    ConversationMemory,
    InvalidArgument,
    RetrievedContext,
)
from convmemory.storage.snippets import snippet_of
from fix_memory import every


@pytest.fixture
async def memory(make_memory, schema):
    return await make_memory(search="english")


async def said(memory, user, conversation, *texts, **more):
    return await memory.save_messages(
        conversation,
        [HumanMessage(text) if n % 2 == 0 else AIMessage(text) for n, text in enumerate(texts)],
        user_id=user,
        **more,
    )


async def found(memory, query, user="ana", **more):
    return [
        (hit.conversation_id, hit.seq) for hit in await memory.search.messages(query, user_id=user, **more)
    ]


async def remembered(memory, query, user="ana", **more):
    return [(one.conversation_id, one.seq) for one in await memory.search.recall(query, user_id=user, **more)]


# What is typed


@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        ("camping", [1, 3]),
        ("camp", [1, 3]),  # a stem, and the beginning of a word
        ("cam", [1, 3]),
        ("cam ", []),  # whoever types a space has typed a word
        ("family camping", [1]),
        ('"the mountains"', [2]),
        ('"camping family"', []),
        ("camping -family", [3]),
        ("camping -", [1, 3]),
        ("mountain", [2]),
        ("-camping", []),
        ('-"in the mountains"', []),
        ("CAMPING", [1, 3]),
        ("family's", [1]),
        ("", []),
        ("  ", []),
        ("the", []),  # there is a "the", which nobody looks for, and nothing that goes on from it
    ],
)
async def test_words_phrases_exclusion_and_beginnings(memory, query, seqs):
    await said(memory, "ana", "trip", "My family went camping", "Up in the mountains?", "Yes, camping again")

    assert [seq for _, seq in sorted(await found(memory, query))] == seqs


async def test_any_word_is_enough_where_that_is_asked_for_and_the_best_comes_first(memory):
    await said(memory, "ana", "a", "tea", "milk", "coffee", "sugar", "tea with milk", "salt", "bread", "tea")

    assert await found(memory, "tea milk", match="any") == [("a", 5), ("a", 2), ("a", 1), ("a", 8)]
    assert await found(memory, '"with milk" tea', match="any") == [("a", 5), ("a", 2)]


async def test_what_is_new_in_a_transcript_that_is_sent_again_is_found(memory):
    transcript = [HumanMessage("the ferry", id="1"), HumanMessage("the harbour", id="2")]
    await memory.save_messages("c", transcript[:1], user_id="ana")
    await memory.save_messages("c", transcript, user_id="ana")

    assert await found(memory, "harbour") == [("c", 2)]


async def test_what_is_put_away_is_found_or_left_out(memory):
    await said(memory, "ana", "a", "walking the dog")
    await said(memory, "ana", "b", "washing the dog")
    await memory.create_conversation("ana", conversation_id="c", title="Dog food")
    for name in ("b", "c"):
        await memory.archive_conversation(name, user_id="ana")

    assert sorted(await found(memory, "dog"), key=str) == [("a", 1), ("b", 1), ("c", None)]
    assert await found(memory, "dog", archived=False) == [("a", 1)]
    assert sorted(await found(memory, "dog", archived=True), key=str) == [("b", 1), ("c", None)]
    recalled = await memory.for_user("ana").search.recall("which dog?", archived=False)
    assert [one.conversation_id for one in recalled] == ["a"]


async def test_a_title_that_the_user_gave_is_found_and_an_automatic_one_is_its_message(memory):
    await said(memory, "ana", "a", "walking the dog")
    await memory.create_conversation("ana", conversation_id="b", title="Dog food")

    assert sorted(await found(memory, "dog"), key=str) == [("a", 1), ("b", None)]
    assert await found(memory, "dog", roles=["human"]) == [("a", 1)]
    [_, hit] = sorted(
        await memory.search.messages("food dog", user_id="ana", match="any"), key=lambda hit: str(hit.seq)
    )
    assert (hit.snippet, hit.highlights, hit.message_id) == ("Dog food", ((0, 3), (4, 8)), None)

    assert hit.uuid == (await memory.get_conversation(hit.conversation_id, user_id="ana")).uuid

    await memory.rename_conversation("b", "Cats", user_id="ana")
    assert await found(memory, "dog") == [("a", 1)]
    assert await found(memory, "cats") == [("b", None)]


async def test_filters(memory):
    old = datetime(2024, 1, 1, tzinfo=UTC)
    await memory.create_conversation("ana", conversation_id="hr", dept_id="hr")
    await memory.save_message("hr", "user", "the budget", user_id="ana", created_at=old)
    await memory.save_message("hr", "assistant", "a budget", user_id="ana")
    await said(memory, "ana", "other", "no budget")

    assert await found(memory, "budget", roles=["assistant"]) == [("hr", 2)]
    assert await found(memory, "budget", dept_id="hr", roles=["user"]) == [("hr", 1)]
    assert await found(memory, "budget", conversation_id="other") == [("other", 1)]
    assert await found(memory, "budget", until=old + timedelta(days=1)) == [("hr", 1)]
    assert len(await found(memory, "budget", since=timedelta(days=1))) == 2
    assert await remembered(memory, "budget", apart_from="hr") == [("other", 1)]
    assert await found(memory, "budget", conversation_id="nothing of that name") == []


async def test_a_snippet_has_the_words_and_says_where_they_stand(memory):
    await said(memory, "ana", "a", "word " * 100 + "the dogs of the neighbour's dog " + "word " * 100)

    [hit] = await memory.search.messages("neighbour dog", user_id="ana")

    assert [hit.snippet[a:b] for a, b in hit.highlights] == ["dogs", "neighbour", "dog"]
    assert len(hit.snippet) <= 200
    assert hit.rank == 1


def test_a_snippet_of_nothing_and_of_marks():
    assert snippet_of("") == ("", ())
    assert snippet_of("\1a\2b\1c") == ("abc", ((0, 1), (2, 3)))
    assert snippet_of("\2a") == ("\2a", ())


# Languages


@pytest.mark.parametrize(
    ("search", "text", "query", "finds"),
    [
        ("german", "Die Häuser am Strand sind schön", "haus", True),
        ("german", "Die Häuser am Strand sind schön", "Häusern", True),
        ("english", "東京都に住んでいます", "東京", True),
        ("english", "東京都に住んでいます", "京都", True),  # a pair of characters is one wherever it stands
        ("english", "東京都に住んでいます", "大阪", False),
        ("english", "東京都に住んでいます", "住", True),
        ("english", "東京都", "都", True),  # the last of a run as well
        ("english", "東京タワー tickets", "タワー ticket", True),
        ("english", "東京 が 京都", "東京都", False),  # not one run
        ("english", "สวัสดีครับ", "สวัส", True),
        ("english", "안녕하세요 세계", "세계", True),
        ("simple", "call make_memory(user_id) in fix_memory.py", "make_memory", True),
        ("simple", "def __init__(self): raise ValueError", "valueerror", True),
        ("simple", "https://example.com/a/b?c=d", "example.com", True),
        ("simple", "it is e-mail", "e-mail", True),
    ],
)
async def test_languages_and_code(make_memory, schema, search, text, query, finds):
    memory = await make_memory(search=search)
    await said(memory, "ana", "a", text)

    hits = await memory.search.messages(query, user_id="ana")

    assert bool(hits.items) == finds
    if finds:
        assert hits[0].highlights, "what was found is shown"


GERMAN = [
    "Wir haben letzten Sommer in einem Ferienhaus an der Ostsee gewohnt.",
    "Schön! Wie waren die Fahrräder, die ihr gemietet habt?",
    "Die waren großartig, nur meine Schwester ist gestürzt.",
    "Hat sie sich verletzt?",
    "Das Knie war geschwollen, der Arzt hat es geröntgt.",
    "Der Straßenverkehr dort ist übrigens ruhig.",
]
JAPANESE = [
    "来週の金曜日に京都へ出張します。",
    "ホテルは予約しましたか。",
    "はい、京都駅の近くのホテルを予約しました。",
    "新幹線の切符はどうしますか。",
    "切符はスマートフォンで買います。",
    "東京に戻ったら報告書を書いてください。",
]
CODE = [
    "Why does `df.groupby('user_id').agg(...)` raise KeyError?",
    "The column is called userId: rename it with df.rename(columns={'userId': 'user_id'}).",
    "Traceback: psycopg.errors.UniqueViolation in src/app/models.py line 42",
    "Use INSERT ... ON CONFLICT DO NOTHING, and set max_retries=3 in HttpClient.fetchAll().",
    "And what about Error 0x80070005 on C++ builds?",
]


@pytest.mark.parametrize(
    ("search", "said_before", "query", "seqs"),
    [
        ("german", GERMAN, "Fahrrad", [2]),  # the umlaut of the plural
        ("german", GERMAN, "fahrrader", [2]),  # typed without it
        ("german", GERMAN, "gemietete Fahrräder", [2]),
        ("german", GERMAN, "Stürze", []),  # a strong verb has another stem
        ("german", GERMAN, "gestürzt Schwester", [3]),
        ("german", GERMAN, "verletzt", [4]),
        ("german", GERMAN, "Ferienh", [1]),  # the beginning of a compound
        ("german", GERMAN, "strassenverkehr", [6]),  # ß as ss
        ("german", GERMAN, '"an der Ostsee"', [1]),
        ("german", GERMAN, "und das der die", []),
        ("simple", JAPANESE, "京都", [1, 3]),
        ("simple", JAPANESE, "ホテル 予約", [2, 3]),
        ("simple", JAPANESE, "京都駅", [3]),
        ("simple", JAPANESE, "切符", [4, 5]),
        ("simple", JAPANESE, "京都 -ホテル", [1]),
        ("simple", JAPANESE, "スマートフォン", [5]),
        ("simple", JAPANESE, "大阪", []),
        ("simple", JAPANESE, "報告書", [6]),
        ("simple", CODE, "KeyError", [1]),
        ("simple", CODE, "user_id", [1, 2]),
        ("simple", CODE, "userId", [2]),
        ("simple", CODE, "UniqueViolation", [3]),  # a part of a name
        ("simple", CODE, "errors.uniqueviolation", [3]),
        ("simple", CODE, "psycopg", [3]),
        ("simple", CODE, "models.py", [3]),
        ("simple", CODE, "app/models.py", [3]),
        ("simple", CODE, "src/app/models.py", [3]),
        ("simple", CODE, "errors.py", []),
        ("simple", CODE, '"ON CONFLICT"', [4]),
        ("simple", CODE, "max_retries", [4]),
        ("simple", CODE, "fetchAll", [4]),
        ("simple", CODE, "0x80070005", [5]),
    ],
)
def test_what_people_look_for_in_german_japanese_and_code(search_of, search, said_before, query, seqs):
    hits = search_of(search, said_before).messages(query)

    assert sorted(hit.seq for hit in hits) == seqs
    assert all(hit.highlights for hit in hits)


@pytest.mark.parametrize(
    ("search", "said_before", "question", "seq"),
    [
        ("german", GERMAN, "Was hat der Arzt mit dem Knie gemacht?", 5),
        ("german", GERMAN, "Wo haben wir im Sommer gewohnt?", 1),
        ("simple", JAPANESE, "どのホテルを予約したのですか", 3),
        ("simple", JAPANESE, "新幹線の切符", 4),
        ("simple", CODE, "how did we mend the UniqueViolation in models.py?", 3),
        ("simple", CODE, "what was the answer to KeyError of df.groupby?", 1),
    ],
)
def test_questions_in_german_japanese_and_of_code_are_recalled(search_of, search, said_before, question, seq):
    assert search_of(search, said_before).recall(question)[0].seq == seq


@pytest.fixture(scope="module")
def search_of(database_url):
    """The search of a user who said some sentences; each memory is made once."""
    made = {}

    def of(search, sentences):
        if search not in made:
            made[search] = ConversationMemory.from_url(
                database_url, db_schema=f"t_languages_{search}", search=search
            ).open()
            made[search].init_schema()
        mine = made[search].for_user(sentences[0])
        mine.save_messages("c", sentences, idempotency_key="once")
        return mine.search

    yield of
    for memory in made.values():
        memory.close()


async def test_what_was_stored_in_another_language_is_found_where_that_is_named_as_well(make_memory, schema):
    memory = await make_memory(search="english")
    await said(memory, "ana", "a", "he was running")
    both = await make_memory(search="german,english")
    await said(both, "ana", "b", "die Häuser, und running")

    assert sorted(await found(both, "running")) == [("a", 1), ("b", 1)]
    assert await found(both, "runs ") == [("a", 1)]
    assert await found(both, "haus") == [("b", 1)]


# What is gone


async def test_what_is_gone_is_found_by_nobody(memory):
    await said(memory, "ana", "a", *(f"zebra {n}" for n in range(1, 9)))
    [first] = await memory.get_messages("a", user_id="ana", limit=1, after=0)

    await memory.replace_message("a", first, HumanMessage("a horse"), user_id="ana")
    assert ("a", 1) not in await found(memory, "zebra")
    assert await found(memory, "horse") == [("a", 1)]
    await memory.delete_messages("a", user_id="ana", seqs=[2])
    assert ("a", 2) not in await found(memory, "zebra")
    await memory.truncate("a", user_id="ana", after=6)
    assert sorted(await found(memory, "zebra")) == [("a", n) for n in (3, 4, 5, 6)]
    assert {seq for _, seq in await remembered(memory, "zebra")} == {1, 3, 4, 5, 6}
    await memory.clear("a", user_id="ana")
    assert await found(memory, "zebra") == await remembered(memory, "zebra") == []
    await said(memory, "ana", "a", "zebra anew")
    assert await found(memory, "zebra") == [("a", 9)]
    await memory.delete_conversation("a", user_id="ana")
    assert await found(memory, "zebra") == await remembered(memory, "zebra") == []


async def test_what_is_pruned_or_erased_is_gone(memory):
    await said(memory, "ana", "a", "zebra")
    await said(memory, "bob", "a", "zebra")

    await memory.retention.prune(older_than=timedelta(0), user_id="ana")
    assert await found(memory, "zebra") == []
    await memory.retention.erase_user("bob")
    assert await found(memory, "zebra", "bob") == []


async def test_a_large_conversation_that_is_being_taken_away_is_found_no_more(memory, database):
    await memory.save_messages("a", ["zebra"] * 30, user_id="ana")
    # as its delete begins
    database.execute("UPDATE conversations SET user_id = '', left_over = 30, cleared = 30")

    assert await found(memory, "zebra") == await remembered(memory, "zebra") == []


# Whose it is


async def test_two_users_never_mix(memory):
    await said(memory, "ana", "a", "the secret is swordfish", "kept")
    for n in range(20):
        await said(memory, "bob", f"b{n}", "swordfish and secret", "lots of it")

    assert await found(memory, "swordfish", "bob", conversation_id="a") == []
    assert {name for name, _ in await found(memory, "secret", "bob", limit=100)} == {
        f"b{n}" for n in range(20)
    }
    assert await found(memory, "secret swordfish", "eve") == []
    alone = await memory.search.recall("is the swordfish kept secret", user_id="ana")
    await said(memory, "bob", "more", *(["kept"] * 50))
    again = await memory.search.recall("is the swordfish kept secret", user_id="ana")
    assert again == alone, "what others say changes no score"
    assert "lots" not in repr(alone)


async def test_a_stranger_whose_words_stand_in_the_same_place_finds_nothing(memory, schema, database):
    await said(memory, "ana", "a", "swordfish")
    # as if two users had the same six characters
    database.execute(f"UPDATE messages SET words_of = {schema}.words_of_v1('eve', 'english')")

    assert await found(memory, "swordfish", "eve") == []
    assert await remembered(memory, "swordfish", "eve") == []


async def test_a_conversation_that_changes_hands_takes_its_words_along(memory, database):
    await said(memory, "ana", "a", "swordfish")
    database.execute("UPDATE conversations SET user_id = 'bob', external_id = NULL")

    assert await found(memory, "swordfish") == []
    assert [seq for _, seq in await found(memory, "swordfish", "bob")] == [1]


# Pages


async def test_pages_give_every_hit_once_while_others_write(memory):
    await said(memory, "ana", "a", *(f"zebra {'horse' if n % 3 else 'mule'}" for n in range(40)))

    for match, query in (("all", "zebra"), ("any", "zebra horse")):
        seen, cursor = [], None
        while True:
            page = await memory.search.messages(query, user_id="ana", limit=7, cursor=cursor, match=match)
            seen += [hit.seq for hit in page if hit.conversation_id == "a" and hit.seq <= 40]
            await said(memory, "ana", "a", "zebra", "horse")
            await said(memory, "ana", "b", "horse")
            if (cursor := page.next_cursor) is None:
                break
        assert sorted(seen) == list(range(1, 41))
        assert len(page) <= 7


@pytest.mark.parametrize("change", ["delete", "edit", "key"])
@pytest.mark.parametrize("limit", [3, 1_000])
async def test_pages_give_every_hit_once_while_what_stands_beside_them_goes_or_changes(memory, change, limit):
    await said(memory, "ana", "a", *["zebra", "horse", "zebra horse", "mule"] * 20)
    messages = await memory.get_messages("a", user_id="ana", limit=100)
    chance = Random(3)  # noqa: S311 - the same every time
    everything = {seq for _, seq in await found(memory, "zebra horse", match="any", limit=1_000)}
    seen, touched, cursor = [], set(), None
    while True:
        page = await memory.search.messages(
            "zebra horse", user_id="ana", match="any", limit=limit, cursor=cursor
        )
        seen += [hit.seq for hit in page]
        if (cursor := page.next_cursor) is None:
            break
        for message in chance.sample(messages, 2):
            touched.add(message.seq)
            if change == "delete":
                await memory.delete_messages("a", user_id="ana", ids=[message.id])
            elif change == "key":
                await memory.search.set_keys("a", message, "zebra horse", user_id="ana")
            else:
                other = HumanMessage(chance.choice(["zebra", "mule", "horse"]))
                await memory.replace_message("a", message, other, user_id="ana")
        if change == "delete":
            messages = await memory.get_messages("a", user_id="ana", limit=100)

    assert len(seen) == len(set(seen)), "none twice"
    assert everything - touched <= set(seen), "none is missing"


def test_pages_give_every_hit_once_while_another_thread_writes(database_url, schema):
    with ConversationMemory.from_url(database_url, db_schema=schema, search="english") as memory:
        memory.save_messages("a", ["zebra", "horse", "zebra horse", "mule"] * 50, user_id="ana")
        done = Event()

        def write():
            while not done.is_set():
                memory.save_messages("a", ["zebra", "horse", "mule"], user_id="ana")
                memory.save_messages("b", ["horse"] * 3, user_id="ana")

        writer = Thread(target=write)
        writer.start()
        try:
            for match, query, hits in (("all", "zebra", 100), ("any", "zebra horse", 150)):
                seen, cursor = [], None
                while cursor or not seen:
                    page = memory.search.messages(query, user_id="ana", limit=10, cursor=cursor, match=match)
                    seen += [hit.seq for hit in page if hit.conversation_id == "a" and hit.seq <= 199]
                    cursor = page.next_cursor
                assert len(seen) == len(set(seen)) == hits
        finally:
            done.set()
            writer.join()


@pytest.mark.parametrize("cursor", ["x", "", 7, "W10=", "bnVsbA==", "e30=", "WzEsMiwzLDQsNSw2XQ=="])
async def test_a_cursor_that_is_none(memory, cursor):
    with pytest.raises(InvalidArgument, match="cursor"):
        await memory.search.messages("x", user_id="ana", cursor=cursor)


def forged(good, place, value):
    """A cursor with another value in it."""
    known = json.loads(base64.urlsafe_b64decode(good))
    known[place] = value
    return base64.urlsafe_b64encode(json.dumps(known).encode()).decode()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, True),
        (0, -1),
        (0, 2**63),
        (1, "2024-01-01T00:00:00+00:00junk"),
        (1, "0001-01-01T00:00:00+23:59"),
        (2, 7),
        (3, True),
        (3, -(2**61)),
        (4, [True, True]),
        (4, [True, 1]),
        (4, [2**61, 2**61]),
        (4, [-5, 1]),
        (4, 7),
        (5, float("nan")),
        (5, float("inf")),
        (5, 10**400),
        (5, "0.5"),
        (6, "9999-12-31T23:59:59-23:59"),
        (6, None),
        (7, "AAA"),
        (7, 7),
        (7, "é"),
    ],
)
async def test_a_cursor_that_was_changed_is_refused(memory, place, value):
    await said(memory, "ana", "a", *["zebra horse", "horse", "zebra"] * 3)
    page = await memory.search.messages("zebra horse", user_id="ana", match="any", limit=2)

    with pytest.raises(InvalidArgument, match=r"^cursor: must be the next_cursor"):
        await memory.search.messages(
            "zebra horse", user_id="ana", match="any", limit=2, cursor=forged(page.next_cursor, place, value)
        )


async def test_a_cursor_of_brackets_and_one_of_another_user(memory):
    await said(memory, "ana", "a", *["zebra"] * 5)
    page = await memory.search.messages("zebra", user_id="ana", limit=2)

    deep = base64.urlsafe_b64encode(b"[" * 100_000).decode()
    with pytest.raises(InvalidArgument, match=r"^cursor: must be the next_cursor"):
        await memory.search.messages("zebra", user_id="ana", cursor=deep)
    assert await found(memory, "zebra", "bob", cursor=page.next_cursor) == []


# Odd queries


ODD = [
    "",
    " ",
    "?!…",
    "-",
    "--",
    '"',
    '""',
    '-"',
    '"unbalanced',
    'a "b" c" d',
    "'; DROP TABLE messages; --",
    "a & b | !c <-> d:*",
    ":*",
    "((()",
    "a\\",
    "\\'",
    "%_*",
    "nul\0inside",
    "\0",
    "half \ud800",
    "x" * 900,
    "東" * 900,
    "\U00020000" * 400,
    "a-b-c/d.e@f:g",
    "🙂",
    "\1\2",
    "<b>bold</b>",
    "OR AND NOT",
]


@pytest.mark.parametrize("query", ODD, ids=range(len(ODD)))
async def test_odd_queries_give_a_result(memory, query):
    await said(memory, "ana", "a", "a b c", *(odd for odd in ODD if odd))

    assert len(await memory.search.messages(query, user_id="ana", limit=50)) <= 50
    assert len(await memory.search.messages(query, user_id="ana", match="any")) <= 20
    assert len(await memory.search.recall(query, user_id="ana", neighbours=1)) <= 10


def test_whatever_is_typed_gives_a_result(database_url, schema):
    """Strings of what has a meaning somewhere, and what has none."""
    pieces = [
        *"'\"\\-:*&|!<>()%_$;.,/@#\0\1\2 \n\t",
        "a",
        "the",
        "ab",
        "é",
        "ß",
        "İ",
        "東",
        "京都",
        "กิ",
        "한",
        "🙂",
        "\u0301",
    ]
    pieces += [
        "\ud83d",
        "\U00020000",
        "<->",
        ":*",
        "AND",
        "or",
        "http://a.b/c",
        "a-b",
        "x" * 300,
        "1.5e3",
        "<b>",
        "\u200b",
        "\ufeff",
    ]
    with ConversationMemory.from_url(database_url, db_schema=schema, search="english,simple") as memory:
        chance = Random(7)  # noqa: S311 - the same every time
        typed = ["".join(chance.choices(pieces, k=chance.randrange(1, 12))) for _ in range(250)]
        memory.save_messages("a", [text for text in typed if text.strip("\0")], user_id="ana")
        for text in typed:
            page = memory.search.messages(text, user_id="ana", match=chance.choice(["all", "any"]), limit=5)
            for hit in page:
                assert all(0 <= a < b <= len(hit.snippet) for a, b in hit.highlights), text
            memory.search.messages(text, user_id="ana", cursor=page.next_cursor, match="any")
            memory.search.recall(text, user_id="ana", neighbours=1)


async def test_very_long_queries(memory):
    await said(memory, "ana", "a", "word5 and word7")
    query = " ".join(f"word{n}" for n in range(10_000))

    with pytest.raises(InvalidArgument, match="query: must have at most 1,000 characters"):
        await memory.search.messages(query, user_id="ana")
    assert await remembered(memory, query) == [("a", 1)]


class Nowhere(tzinfo):
    """A time zone that is none."""

    def utcoffset(self, _when):
        return None


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        ({"query": None}, "query"),
        ({"limit": 0}, "limit"),
        ({"roles": "human"}, "roles"),
        ({"roles": [7]}, "roles"),
        ({"since": "yesterday"}, "since"),
        ({"until": datetime(2024, 1, 1)}, "until"),  # noqa: DTZ001
        ({"since": datetime(2024, 1, 1, tzinfo=Nowhere())}, "since"),
        ({"match": "some"}, "match"),
        ({"dept_id": ""}, "dept_id"),
        ({"conversation_id": ""}, "conversation_id"),
        ({"user_id": ""}, "user_id"),
    ],
)
async def test_wrong_arguments_of_messages(memory, wrong, argument):
    with pytest.raises(InvalidArgument, match=argument):
        await memory.search.messages(**({"query": "x", "user_id": "ana"} | wrong))


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        ({"query": 7}, "query"),
        ({"k": 0}, "k"),
        ({"floor": 2}, "floor"),
        ({"floor": True}, "floor"),
        ({"half_life": 3}, "half_life"),
        ({"half_life": timedelta(0)}, "half_life"),
        ({"neighbours": -1}, "neighbours"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"rewrite": "x"}, "rewrite"),
        ({"rerank": 7}, "rerank"),
        ({"max_tokens": 5, "token_counter": 7}, "token_counter"),
    ],
)
async def test_wrong_arguments_of_recall(memory, wrong, argument):
    with pytest.raises(InvalidArgument, match=argument):
        await memory.search.recall(**({"query": "x", "user_id": "ana"} | wrong))


# What a message may be


async def test_messages_of_any_size_and_kind_are_stored_and_found(memory):
    large = " ".join(f"w{n:06}" for n in range(200_000))
    await said(memory, "ana", "large", large + " needle")
    await said(memory, "ana", "long", "needle " + "x" * 100_000 + " 'quoted' \\back")
    await said(
        memory, "ana", "unspaced", "needle " + "".join(chr(0x4E00 + n % 20_000) for n in range(60_000))
    )
    await said(memory, "ana", "odd", "nul \0 half \ud800 needle")
    await memory.save_message("list", AIMessage([{"type": "text", "text": "a needle"}]), user_id="ana")

    hits = {name for name, _ in await found(memory, "needle")}

    assert hits == {"long", "unspaced", "odd", "list"}, "of a text the first 50,000 characters"
    assert await found(memory, "w000000") == [("large", 1)]
    assert await found(memory, "quoted") == await found(memory, "\\back") == []  # too far behind


# Recall


async def test_what_answers_stands_beside_the_words(memory):
    await said(memory, "ana", "a", "Shall we go?", "Where did you spend your holiday?", "In Lisbon!", "Nice")
    await said(memory, "ana", "b", *(f"nothing of it {n}" for n in range(10)))

    found = await memory.search.recall("where did you spend the holiday", 3, user_id="ana")

    assert [one.seq for one in found] == [2, 3, 1]
    assert found[1].content == "In Lisbon!"
    assert found[0].score == 1 > found[1].score == 0.6
    assert found.below == 0


async def test_search_and_recall_rank_the_same(memory):
    for n in range(6):
        await said(memory, "ana", f"c{n}", "tea", *(["milk"] * n), "tea and sugar", "sugar")

    query = "tea sugar milk"
    hits = await found(memory, query, match="any", limit=100)
    recalled = await remembered(memory, query, k=100)

    assert hits == [one for one in recalled if one in hits]
    assert len(hits) == 33


async def test_nothing_where_nothing_matches_and_what_is_below_the_floor_is_told(memory):
    await said(memory, "ana", "a", "the dog barks", *(["so"] * 5))

    assert (await memory.search.recall("quantum chromodynamics", user_id="ana")).items == ()
    low = await memory.search.recall("dog quantum chromodynamics", user_id="ana", floor=0.9)
    assert (len(low), low.below) == (0, 1)
    everything = await memory.search.recall("dog quantum chromodynamics", user_id="ana", floor=0)
    assert (everything[0].seq, everything.below) == (1, 0)


async def test_neighbours_come_along_each_message_once_and_within_a_budget(memory):
    await said(
        memory,
        "ana",
        "a",
        *(
            [
                "one",
                "two",
                "three",
                "four",
                "five",
                "six",
                "zebra",
                "eight",
                "zebra",
                "ten",
                "eleven",
                "twelve",
            ]
        ),
    )

    found = await memory.search.recall("zebra", 2, user_id="ana", neighbours=2)
    told = [one.seq for one in found] + [message.seq for one in found for message in one.beside]

    assert sorted(told) == [5, 6, 7, 8, 9, 10, 11]
    assert len(set(told)) == len(told)
    assert all(one.beside == tuple(sorted(one.beside, key=lambda m: m.seq)) for one in found)
    few = await memory.search.recall("zebra", 5, user_id="ana", neighbours=2, max_tokens=3, token_counter=len)
    assert len(few) + sum(len(one.beside) for one in few) == 3
    assert len(await memory.search.recall("zebra", user_id="ana", max_tokens=1)) == 0


async def test_old_counts_less_only_where_that_is_asked_for(memory):
    old = datetime.now(UTC) - timedelta(days=300)
    await memory.save_message("old", "user", "zebra and horse", user_id="ana", created_at=old)
    await said(memory, "ana", "new", "zebra")

    assert [name for name, _ in await remembered(memory, "zebra horse")] == ["old", "new"]
    assert [name for name, _ in await remembered(memory, "zebra horse", half_life=timedelta(days=30))] == [
        "new"
    ]


@pytest.mark.parametrize("half_life", [timedelta(hours=1), timedelta(microseconds=1), timedelta.max])
async def test_what_is_older_than_any_number_of_half_lives_counts_for_nothing(memory, half_life):
    long_ago = datetime(1, 1, 3, tzinfo=UTC)
    await memory.save_message("old", "user", "zebra", user_id="ana", created_at=long_ago)
    await said(memory, "ana", "new", "zebra")

    found = await remembered(memory, "zebra", half_life=half_life, floor=0)
    assert sorted(found) == [("new", 1), ("old", 1)]


async def test_what_was_found_comes_before_its_neighbours_where_room_is_short(memory):
    await said(memory, "ana", "a", "zebra", "x" * 40, *["so"] * 8, "zebra", "y" * 40)

    found = await memory.search.recall("zebra", 2, user_id="ana", neighbours=1, max_tokens=14)

    assert sorted(one.seq for one in found) == [1, 11]
    assert sum(len(one.beside) for one in found) == 1


async def test_a_message_is_recalled_whole(memory):
    await memory.save_message(
        "a", "user", "zebra", {"a": 1}, user_id="ana", tokens_used=7, contexts=[RetrievedContext("x")]
    )

    [one] = await memory.search.recall("zebra", user_id="ana")

    [stored] = await memory.get_messages("a", user_id="ana")
    assert one.message == stored.model_copy(update={"contexts": ()})
    assert one.title == "zebra"


# The setting


async def test_where_search_is_off_nothing_is_indexed_and_asking_says_so(make_memory, schema, database):
    memory = await make_memory()
    await said(memory, "ana", "a", "zebra")

    for verb in (memory.search.messages, memory.search.recall):
        with pytest.raises(ConfigurationError, match=r"CONVMEMORY_SEARCH.*is off"):
            await verb("zebra", user_id="ana")
    assert database.execute("SELECT count(words_of) FROM messages").fetchone() == (0,)


async def test_what_was_stored_before_is_found_once_it_is_indexed(make_memory, schema):
    before = await make_memory()
    await said(before, "ana", "a", "zebra", "horse")
    await said(before, "bob", "b", *(["zebra"] * 1_100))
    await said(before, "ana", "cut", *(["x"] * 20))
    await before.delete_messages("cut", user_id="ana", seqs=list(range(1, 20)))
    memory = await make_memory(search="english")
    looked = []

    assert await found(memory, "zebra") == []
    assert await memory.search.index(progress=looked.append) == 1_103
    assert looked[-1] == 1_103
    assert await found(memory, "zebra") == [("a", 1)]
    assert len(await found(memory, "zebra", "bob", limit=1_000)) == 1_000
    window = await memory.get_history("a", user_id="ana")
    assert [message.content for message in window] == ["zebra", "horse"]
    assert await before.search.index() == 1_103
    assert await found(memory, "zebra") == []


@pytest.mark.parametrize("kind", [ConversationMemory, AsyncConversationMemory])
async def test_a_language_that_is_not_there_is_told_when_the_memory_opens(kind, database_url, schema):
    memory = kind.from_url(database_url, db_schema=schema, search="english,klingon")

    async def opened():
        await opening if (opening := memory.open()) and kind is AsyncConversationMemory else None

    with pytest.raises(ConfigurationError, match=r"CONVMEMORY_SEARCH: this PostgreSQL has no .* 'klingon'"):
        await opened()


@pytest.mark.parametrize("search", ["", "English", "a b", "english,", "a.b.c", "'x'"])
def test_a_setting_that_is_no_name(search):
    with pytest.raises(ConfigurationError, match="search"):
        ConversationMemory.from_url("postgresql://nobody@localhost/none", search=search)


async def test_the_memory_of_one_user_searches_for_that_user(memory):
    await said(memory, "ana", "a", "zebra")
    mine, others = memory.for_user("ana"), memory.for_user("bob")

    assert [hit.seq for hit in await mine.search.messages("zebra")] == [1]
    assert [one.seq for one in await mine.search.recall("zebra")] == [1]
    assert not (await others.search.messages("zebra")).items
    assert not (await others.search.recall("zebra")).items
    assert len(await every(mine.iter_messages("a"))) == 1
