"""What each statement reads: as much as it answers, however long a conversation is, however many a user has.

Held for every file in ``sql/``: by plans made while the tables were empty and kept (what a process does that was there from the
beginning), and by plans made from fresh statistics; generic and custom ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid5

import psycopg
import pytest
from psycopg import sql

from convmemory import PostgresStore, Settings
from convmemory._sync.postgres_connections import connect
from convmemory.storage.rooms import LETTERS, asked_for
from convmemory.storage.sql_and_lua import sql as statement

FOLDER = files("convmemory").joinpath("sql")
STATEMENTS = sorted(path.name.removesuffix(".sql") for path in FOLDER.iterdir() if path.name.endswith(".sql"))
NOT_PLANNED = {
    "bootstrap": "makes tables",
    "frame": "begins a transaction, and sets what the test has set",
    "is_of_0_1": "looks into the catalogue",
    "lift_limits": "looks through the server's settings",
    "limit_locks": "sets something",
    "note_migration": "writes a row of a table of a few",
}
LONG, SHORT, HIS = UUID(int=1), UUID(int=2), UUID(int=3)
"""A conversation of MANY messages, one of ten, and the newest of bob, who has a great many."""
MANY, CONVERSATIONS, WAITING, DOCUMENTS = 50_000, 20_000, 20_000, 20_000
A_FEW = 60
"""Pages that a look at a handful of rows takes, indexes and all."""
NAMES = UUID(int=0)
STAMP = 2**40
TABLES = ("conversations", "messages", "documents", "message_documents", "loose_documents", "caches", "marks")

FILL = """
INSERT INTO {s}.conversations (conversation_id, user_id, last_seq, last_human_seq, updated_at)
SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'ana', CASE n WHEN 1 THEN {many} ELSE 10 END,
       CASE n WHEN 1 THEN {many} ELSE 10 END - 1, now() - n * interval '1 second' FROM generate_series(1, 1000) AS n WHERE n <> 3;
INSERT INTO {s}.conversations (conversation_id, user_id, last_seq, last_human_seq, updated_at)
SELECT CASE n WHEN 1 THEN '00000000-0000-0000-0000-000000000003' ELSE gen_random_uuid() END, 'bob', 10, 9,
       now() - n * interval '20 seconds' FROM generate_series(1, {conversations}) AS n;
UPDATE {s}.conversations SET life = conversation_id WHERE conversation_id < '00000000-0000-0000-0000-000000000004';
INSERT INTO {s}.messages (conversation_id, seq, id, role, content, body, words_of)
SELECT conversation_id, n, md5(conversation_id || '/' || n)::uuid, CASE n % 2 WHEN 1 THEN 'human' ELSE 'ai' END,
       CASE n % 5 WHEN 3 THEN 'word n' || n ELSE repeat('word ', 40) END, '{{}}',
       CASE n % 5 WHEN 3 THEN {s}.words_of_v1(user_id, 'english') END
FROM {s}.conversations, generate_series(1, last_seq) AS n WHERE user_id = 'ana' OR conversation_id::text LIKE '%%0003';
INSERT INTO {s}.documents (document, user_id, content, metadata)
SELECT sha256(n::text::bytea), CASE n % 2 WHEN 0 THEN 'ana' ELSE 'bob' END, repeat('page ', 40), '{{}}' FROM generate_series(1, {documents}) AS n;
INSERT INTO {s}.message_documents (conversation_id, seq, position, document)
SELECT conversation_id, seq, p, sha256((seq % {documents} + p)::text::bytea)
FROM {s}.messages, generate_series(0, 1) AS p WHERE seq > {many} - 3000 OR seq % 7 = 0;
INSERT INTO {s}.loose_documents (user_id, document) SELECT user_id, document FROM {s}.documents;
INSERT INTO {s}.caches (name, history) SELECT n, {s}.history_v1() FROM unnest('{{a,b}}'::text[]) AS n;
INSERT INTO {s}.marks (cache, conversation, registered_by)
SELECT c, gen_random_uuid(), current_user FROM generate_series(1, {waiting}), unnest('{{a,b,gone}}'::text[]) AS c;
"""

OLD_PAGE = """SELECT c.user_id = %(user_id)s AS mine, c.stamp::text, page.*
FROM {schema}.conversations AS c
LEFT JOIN LATERAL (
    SELECT m.* FROM {schema}.messages AS m
    WHERE m.conversation_id = c.conversation_id AND c.user_id = %(user_id)s AND m.seq < %(before)s AND m.seq > %(after)s
    ORDER BY CASE WHEN %(newest)s THEN -m.seq ELSE m.seq END
    LIMIT %(limit)s) AS page ON true
WHERE c.conversation_id = %(conversation)s
ORDER BY page.seq"""


SEARCHED: dict[str, Any] = dict.fromkeys(
    [
        "roles",
        "archived",
        "dept_id",
        "since",
        "until",
        "within",
        "apart",
        "half_life",
        "weights",
        "as_of",
        "score",
        "told",
        "last_in",
        "last_at",
        "shown",
        "all_shown",
        "middle",
        "model",
        "vector",
    ]
)
SEARCHED |= {"configs": ["english"], "floor": 0.1, "near": 0.3, "limit": 11, "titles": True, "marked": True}


@dataclass(frozen=True)
class Case:
    """Parameters, and how many pages the statement may touch with them."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    most: int = A_FEW


def row(conversation: UUID, seq: int) -> UUID:
    """The row id of a message that was filled in."""
    return UUID(hex=hashlib.md5(f"{conversation}/{seq}".encode(), usedforsecurity=False).hexdigest())


def of(conversation: UUID, **more: Any) -> dict[str, Any]:
    return {"conversation": conversation, "user_id": "bob" if conversation == HIS else "ana", **more}


def each(most: int = A_FEW, **more: Any) -> list[Case]:
    return [Case(of(conversation, **more), most) for conversation in (LONG, SHORT, HIS)]


def page(limit: int, *, before: int = 2**62, after: int = -1) -> list[Case]:
    place = {"before": before, "after": after, "newest": after < 0, "limit": limit}
    return each(A_FEW + 12 * limit, **place)  # the newest have two documents each


def batch(
    conversation: UUID,
    ids: list[UUID],
    known: list[UUID],
    created: str | None = None,
    search: str | None = None,
) -> Case:
    return Case(
        of(
            conversation,
            external_id=None,
            dept_id=None,
            title="t",
            ids=ids,
            roles=["human", "ai"],
            contents=["x", "y"],
            bodies=["{}", "{}"],
            tokens=None,
            latencies=None,
            created=created and [created, created],
            metadata=None,
            facts=None,
            known=known,
            human=1,
            contexts='[{"n": 1, "position": 0, "content": "x"}]',
            since=None,
            own=["a"],
            make=True,
            search=search,
        ),
        160,
    )


def batches() -> Iterator[Case]:
    new = [uuid5(NAMES, "1"), uuid5(NAMES, "2")]
    for conversation, last in ((LONG, MANY), (SHORT, 10), (HIS, 10)):
        yield batch(conversation, new, [])
        yield batch(
            conversation, [row(conversation, last - 1), new[0]], [row(conversation, last - 1), new[0]]
        )
        yield batch(conversation, new, new, "2024-01-01T00:00:00+00:00")
        yield batch(conversation, new, [], search="english")


LIKE = {"vector": "[1,0,0]", "model": "m"}
VECTORS = {"store_vectors", "to_embed", "without_vector"}
"""Statements that a database without pgvector has no tables for."""
FILL_VECTORS = """
INSERT INTO {s}.vectors (conversation_id, seq, created_at, user_id, model, vector)
SELECT conversation_id, n, now(), user_id, 'm', public.array_to_halfvec(ARRAY[n, 1, 0], 3, true) FROM {s}.conversations, generate_series(1, 10) AS n
WHERE (user_id = 'ana' AND last_seq = 10) OR conversation_id = '00000000-0000-0000-0000-000000000003'
"""


def revisions() -> Iterator[Case]:
    for conversation, last in ((LONG, MANY), (SHORT, 10), (HIS, 10)):
        said = {"seqs": [last - 1, last], "gone": [last], "contents": ["z", "z"], "bodies": ["{}", "{}"]}
        was = {"old_contents": ["word " * 40] * 2, "old_bodies": ["{}"] * 2, "facts": [None, None]}
        yield Case(of(conversation, **said, **was, old_title=None, title=None, own=["a"], batch=100), 200)


ENDS = ((LONG, MANY), (SHORT, 10), (HIS, 10))
NONE_OF_THEM: dict[str, Any] = {"seqs": [], "ids": [], "after": None, "upto": None, "most": None}
REPLACED: dict[str, Any] = dict.fromkeys(["tokens", "latency", "created", "metadata", "facts", "title"])
REPLACED |= {"role": "human", "content": "x", "body": "{}", "contexts": '[{"position": 0, "content": "x"}]'}


def looked_for(user: str, most: int, text: str, kind: str = "word", **more: Any) -> Case:
    """A user's own rows are what it may touch: those it finds, and for what words are worth each of the conversations."""
    query = {"user_id": user, "kinds": [kind], "texts": [text], "signs": [2], "direct": kind != "text"}
    query |= {"alike": [text if kind == "start" else None]}
    return Case(SEARCHED | query | {"around": 0 if kind == "word" else 2} | more, most)


MEANT: dict[str, Any] = dict.fromkeys(["archived", "pinned", "dept_id", "metadata"])
MEANT |= {"since": "-infinity", "until": "infinity"}
ALL_OF_IT = {"archived": False, "pinned": False, "dept_id": "hr", "metadata": '{"a": {"b": 1}}'}
"""Filters that nothing passes: whatever a user has is looked at, and nobody else's."""
EVERYBODYS: dict[str, Any] = {
    "page": 100,
    "limit": 21,
    "by_creation": False,
    "above_time": "-infinity",
    "above_id": UUID(int=0),
}
HAS = {"ana": 150, "bob": 21_500}
"""Pages in which all conversations of a user lie, with what leads there."""

ENTRY = (
    '[{{"e": "1", "sent": true, "make": false, "rows": [{{"i": "{}", "r": "human", "c": "x", "b": "{{}}"}}, '
    '{{"i": "00000000-0000-0000-0000-00000000000a", "r": "ai", "c": "y", "b": "{{}}", "x": [{{"position": 0, "content": "x"}}]}}]}}]'
)
"""One that was stored, and a new one with a document."""
MARKS = {"caches": ["a"] * 20, "conversations": [UUID(int=9)] * 20, "ids": [UUID(int=9)] * 20}
SPOKEN = {"before_time": "infinity", "before_id": UUID(int=2**128 - 1)}
CASES: dict[str, list[Case]] = {
    "annotate_message": [
        Case(of(conversation, id=row(conversation, last), metadata="{}", removed=["x"], most=9), 120)
        for conversation, last in ENDS
    ],
    "allow_journals": [Case({"allowed": True})],
    "append": list(batches()),
    "append_in_life": [
        Case(
            {**case.parameters, "life": case.parameters["conversation"], "rows": case.parameters["ids"]},
            case.most,
        )
        for case in batches()
    ],
    "clear_conversation": each(400, own=["a"], batch=100),
    "clear_marks": [Case(MARKS, 150)],
    "count_marks": [Case(most=20_500)],
    "create_conversation": [
        *each(external_id=None, title="t", dept_id=None, new_stamp=STAMP, first_stamp=STAMP, metadata="{}"),
        Case(
            of(
                UUID(int=10**6),
                external_id=None,
                title="t",
                dept_id=None,
                new_stamp=STAMP,
                first_stamp=STAMP,
                metadata="{}",
            )
        ),
    ],
    "delete_conversation": each(400, own=["a"], batch=100, mark=UUID(int=9)),
    "erase_conversation": [
        Case(of(conversation, before=before, own=["a"], batch=100, mark=UUID(int=9)), 500)
        for conversation, _ in ENDS
        for before in (None, "2020-01-01T00:00:00+00:00")
    ],
    "entitle_conversation": each(title="t", source="model", life=UUID(int=1), version=0),
    "first_turn": each(A_FEW + 40),
    "find_room": [Case(asked_for(LETTERS, "t_plans"), 900)],
    "forget_caches": [Case({"names": ["a"]})],
    "get_conversation": each(),
    "index_conversation": each(700, search="english", after=0, batch=20),
    "installed": [Case()],
    "key_message": [
        Case(of(conversation, id=row(conversation, last), keys="more of it"), 150)
        for conversation, last in ENDS
    ],
    "list_conversations": [
        *(
            Case(MEANT | {"user_id": who, "limit": 51, "before_id": UUID(int=5)} | place, 150)
            for who in ("ana", "bob")
            for place in (SPOKEN, {"before_time": "BOBS_MIDDLE"}, SPOKEN | {"until": "BOBS_MIDDLE"})
        ),
        *(
            Case(MEANT | SPOKEN | ALL_OF_IT | {"user_id": who, "limit": 51}, most)
            for who, most in HAS.items()
        ),
        Case(MEANT | SPOKEN | ALL_OF_IT | {"user_id": "eve", "limit": 51}),
    ],
    "list_by_creation": [
        *(Case(MEANT | SPOKEN | {"user_id": who, "limit": 51}, most) for who, most in HAS.items()),
        Case(MEANT | SPOKEN | {"user_id": "eve", "limit": 51}),
    ],
    "count_conversations": [
        *(Case(MEANT | {"user_id": who}, most) for who, most in HAS.items()),
        Case(MEANT | {"user_id": "eve"}),
    ],
    "find_conversation": [Case({"conversation": LONG}), Case({"conversation": UUID(int=10**6)})],
    "list_everybodys": [
        Case(MEANT | SPOKEN | EVERYBODYS | {"after": after} | more, 250)
        for after in (UUID(int=0), UUID(int=500))
        for more in ({}, ALL_OF_IT, {"by_creation": True}, {"limit": 0})
    ],
    "look": [Case({"names": ["a", "b"], "after": UUID(int=2**127), "page": 250}, 1200)],
    "mark": [Case({"conversation": LONG, "names": ["a", "b"]})],
    "old_conversations": [
        Case({"user_id": who, "before": before, "limit": 50}, 150)
        for who in ("ana", "bob")
        for before in ("infinity", "BOBS_MIDDLE")
    ],
    "owner": each(),
    "pop_message": [
        Case(
            of(
                conversation,
                id=row(conversation, last),
                own=["a"],
                batch=100,
                new_stamp=STAMP,
                first_stamp=STAMP,
            ),
            120,
        )
        for conversation, last in ((LONG, MANY), (SHORT, 10), (HIS, 10))
    ],
    "read_all": [Case(of(LONG), MANY // 10), *(Case(of(short)) for short in (SHORT, HIS))],
    "read_messages": [
        *page(50),
        *page(1),
        *page(50, before=MANY // 2),
        *page(50, after=MANY // 2),
        *page(50, after=0),
    ],
    "read_messages_by_id": each(
        A_FEW + 20 * 15, ids=[row(c, s) for c in (LONG, SHORT, HIS) for s in range(2, 7)]
    ),
    "read_window": each(want=20, hard=200),
    "read_window_rows": each(want=20, hard=200),
    "refused_entries": [Case({"limit": 100})],
    "register": [Case({"names": ["a", "b"]})],
    "remove_messages": [
        Case(of(conversation, own=["a"], batch=100) | NONE_OF_THEM | which, 300)
        for conversation, last in ENDS
        for which in (
            {"seqs": [2, 4, last]},
            {"ids": [row(conversation, 2), row(conversation, last)]},
            {"after": last - 3, "upto": last, "most": 5000},
            {"after": 0, "upto": last, "most": 4},
        )
    ],
    "replace_message": [
        Case(of(conversation, id=row(conversation, last), own=["a"], batch=100, **REPLACED), 200)
        for conversation, last in ENDS
    ],
    "revise_messages": list(revisions()),
    "schema_version": [Case()],
    "search_messages": [
        looked_for("eve", A_FEW, "word"),  # which everybody else says
        looked_for("eve", A_FEW, "w", "start"),
        looked_for("ana", 2500, "n40003"),
        looked_for("ana", 19_000, "n4000", "start"),  # and all of ana's that are like it
        looked_for("ana", 2500, "what of n40003 and n35003", "text"),
        looked_for("bob", 22_000, "n8"),
        looked_for("bob", A_FEW, "n8", titles=False, weights=[1000], as_of="infinity"),  # the page after
        looked_for("ana", A_FEW * 3, "n40003", titles=False, weights=[1000], as_of="infinity"),
        looked_for("eve", A_FEW, "word", **LIKE),
        looked_for("bob", A_FEW, "n8", titles=False, weights=[1000], as_of="infinity", **LIKE),
        looked_for("ana", 6500, "n40003", titles=False, weights=[1000], as_of="infinity", **LIKE),
        looked_for("eve", A_FEW * 2, "wrods", "start", titles=False, weights=[1000], as_of="infinity"),
        looked_for("bob", A_FEW * 2, "wrods", "start", titles=False, weights=[1000], as_of="infinity"),
    ],
    "store_entries": [
        Case(of(conversation, entries=ENTRY.format(row(conversation, last)), own=["a"], search=None), 250)
        for conversation, last in ENDS
    ],
    "tidy_removed": [Case({"batch": 100})],
    "store_vectors": each(
        150, model="m", seqs=[2, 3], marks=["x", "y"], vectors=["[1,0,0]", "[0,1,0]"], state=None
    ),
    "to_embed": [
        Case({"user_id": who, "model": "m", "after": after, "batch": 50}, most)
        for after in (NAMES, UUID(int=500))
        for who, most in ((None, 300), ("eve", A_FEW))
    ],
    "without_vector": each(500, model="m", after=0, batch=64, longest=8000),
    "session_settings": [Case({"pid": 0, "statement_timeout": "10000", "lock_timeout": "1000"})],
    "shared_settings": [Case()],
    "unknown_configurations": [Case({"names": ["english", "public.mine"]}, 200)],
    "sweep": [
        Case({"conversation": None, "batch": 100}),
        *(Case({"conversation": conversation, "batch": 100}, 1000) for conversation in (LONG, SHORT)),
    ],
    "sweep_documents": [Case({"user_id": who, "batch": 100}, 1500) for who in ("ana", None)],
    "tidy_caches": [Case({"names": ["a", "b"]}, 12_000)],
    "walk_conversations": [
        Case({"after": after, "page": 100, "before": "2020-01-01T00:00:00+00:00", "dept_id": dept}, 250)
        for after in (UUID(int=0), UUID(int=500))
        for dept in (None, "hr")
    ],
    "walk_user_conversations": [
        Case(MEANT | {"user_id": who, "limit": 50, "after_id": UUID(int=5), "after_time": place}, 150)
        for who in ("ana", "bob")
        for place in ("-infinity", "BOBS_MIDDLE")
    ],
    "unfinished": [Case()],
    "update_conversation": each(
        set_title=True,
        title="t",
        set_dept=False,
        dept_id=None,
        archived=True,
        pinned=None,
        metadata="{}",
        removed=["x"],
        if_version=None,
    ),
}


class Plans:
    """A session as the library has it, with each of its statements prepared."""

    def __init__(self, conn: psycopg.Connection[Any], schema: str) -> None:
        self.conn = conn
        self.schema = sql.Identifier(schema)
        self.places: dict[str, list[str]] = {}
        self.known: Collection[str] = ()

    def prepare(self, name: str, text: Any) -> None:
        """Prepare a statement; its parameters are of the types the server takes them for."""
        self.places[name] = names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
        numbered = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", text)
        filled: Any = sql.SQL(numbered).format(schema=self.schema).as_string(None)
        self.conn.execute(f"PREPARE {name} AS {filled}".encode())

    def explained(self, name: str, case: Case) -> dict[str, Any]:
        """Execute a statement, take back what it did, and tell how."""
        middle = "(SELECT now() - interval '200000 seconds')"
        said = [case.parameters[place] for place in self.places[name]]
        if "BOBS_MIDDLE" in said:
            [[now]] = self.conn.execute(f"SELECT {middle}::text").fetchall()  # type: ignore[arg-type]
            said[said.index("BOBS_MIDDLE")] = now
        values = sql.SQL(", ").join(sql.Literal(value) for value in said)
        asked = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE {}").format(sql.Identifier(name))
        with self.conn.transaction(force_rollback=True):
            called = asked + sql.SQL("(") + values + sql.SQL(")") if said else asked
            [[[found]]] = self.conn.execute(called).fetchall()
        return dict(found["Plan"])

    def touched(self, name: str, case: Case) -> int:
        """Pages it touched, those of the statements inside functions too; none of them of a file to sort in.

        The second time: the first one reads the catalogue as well.
        """
        self.explained(name, case)
        plan = self.explained(name, case)
        assert plan["Temp Written Blocks"] == 0, f"{name} sorts on disk: {plan}"
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    def too_much(self, name: str) -> list[tuple[int, Case]]:
        """The cases in which a statement touched more than it may."""
        if name not in self.known:
            pytest.skip("this PostgreSQL has no pgvector")
        found = [(self.touched(name, case), case) for case in CASES[name]]
        return [(touched, case) for touched, case in found if touched > case.most]


@pytest.fixture(scope="module")
def skewed(database_url: str) -> Iterator[tuple[Plans, Plans]]:
    """Sessions whose plans were made while the tables were empty: generic ones, and custom ones. Then everything came."""
    schema = "t_plans"
    settings = Settings(
        db_schema=schema, statement_timeout=60, search="english", search_typos=True, search_vectors="m"
    )
    with psycopg.connect(database_url, autocommit=True) as admin:
        there = "SELECT name FROM pg_available_extensions WHERE name IN ('vector', 'pg_trgm')"
        for (extension,) in admin.execute(there).fetchall():
            admin.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    made = PostgresStore(database_url, settings).init_schema()
    with connect(database_url, settings) as generic, connect(database_url, settings) as custom:
        for table in TABLES:
            generic.execute(f"ALTER TABLE {schema}.{table} SET (autovacuum_enabled = off)")
            generic.execute(f"VACUUM ANALYZE {schema}.{table}")
        custom.execute("SET plan_cache_mode = force_custom_plan")
        found = Plans(generic, schema), Plans(custom, schema)
        for plans in found:
            plans.known = CASES.keys() if "vectors" in made else CASES.keys() - VECTORS
            for name in plans.known:
                plans.prepare(name, statement(name))
                plans.explained(name, CASES[name][0])
        with generic.transaction():
            generic.execute("SET LOCAL session_replication_role = replica")
            sizes = {"conversations": CONVERSATIONS, "waiting": WAITING, "documents": DOCUMENTS}
            for one in FILL.format(s=schema, many=MANY, **sizes).split(";")[:-1]:
                generic.execute(one)
            if "vectors" in made:
                generic.execute(FILL_VECTORS.format(s=schema))
        yield found
        generic.execute(f"DROP SCHEMA {schema} CASCADE")


def test_every_statement_is_held():
    assert set(CASES) | set(NOT_PLANNED) == set(STATEMENTS)


@pytest.mark.parametrize("name", CASES)
def test_a_plan_made_for_empty_tables_is_right_for_full_ones(skewed, name):
    generic, custom = skewed

    assert generic.too_much(name) == []
    assert custom.too_much(name) == []


def test_a_page_that_no_index_gives_in_order_is_caught(skewed):
    for plans in skewed:
        plans.prepare("old_page", OLD_PAGE)
        assert plans.touched("old_page", CASES["read_messages"][0]) > MANY // 30
        plans.conn.execute("DEALLOCATE old_page")


@pytest.fixture(scope="module")
def analysed(skewed: tuple[Plans, Plans]) -> tuple[Plans, Plans]:
    """The same once the server has looked at everything: plans are made anew."""
    for table in TABLES:
        skewed[0].conn.execute(f"VACUUM ANALYZE t_plans.{table}")
    return skewed


@pytest.mark.parametrize("name", CASES)
def test_a_plan_made_from_fresh_statistics_is_right(analysed, name):
    generic, custom = analysed

    assert generic.too_much(name) == []
    assert custom.too_much(name) == []
