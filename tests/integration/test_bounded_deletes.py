"""No transaction that takes things away takes many rows of any table, however much one message leaned on."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import ConversationNotFound, Draft, RetrievedContext
from convmemory.encoding.codec import encode
from convmemory.ids import conversation_key
from convmemory.storage.revisions import taken_back

MOST, MANY = 7, 40
ANA = {"user_id": "ana"}
NOTED = """
CREATE TABLE taken (name text, rows bigint);
CREATE FUNCTION note_taken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    EXECUTE format('INSERT INTO %I.taken SELECT %L, count(*) FROM gone', TG_TABLE_SCHEMA, TG_TABLE_NAME);
    RETURN NULL;
END $$;
"""
TABLES = (
    *("conversations", "messages", "message_documents", "documents", "loose_documents"),
    *("removed_rows", "journal_refused"),
)
NEWEST = "what nobody takes away"


@pytest.fixture
async def taken(memory, database, monkeypatch):
    """A conversation of which one message leaned on MANY documents; a function that says how many rows went, and in the largest bite."""
    contexts = [RetrievedContext(f"page {n}") for n in range(MANY)]
    said = [Draft(HumanMessage("q")), Draft(AIMessage("a", id="a"), contexts=contexts)]
    await memory.save_messages("c", said, **ANA)
    database.execute(NOTED)
    for table in TABLES:
        database.execute(
            f"CREATE TRIGGER note AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone"
            " FOR EACH STATEMENT EXECUTE FUNCTION note_taken()"
        )
    for colour in ("_sync", "_async"):
        for module in ("cache_register", "postgres_store", "tiered"):
            monkeypatch.setattr(f"convmemory.{colour}.{module}.BATCH", MOST)

    def tell(table):
        return database.execute(
            "SELECT coalesce(sum(rows), 0), coalesce(max(rows), 0) FROM taken WHERE name = %s", [table]
        ).fetchone()

    return tell


@pytest.fixture
def left(database):
    """A function that counts the rows there are."""
    return lambda table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


async def deleted(memory):
    await memory.delete_conversation("c", **ANA)


async def cleared(memory):
    await memory.clear("c", **ANA)


async def erased(memory):
    found = await memory.retention.erase_user("ana")
    assert found.rows == {
        "conversations": 1,
        "messages": 2,
        "message_contexts": MANY,
        "documents": MANY,
    }


async def pruned(memory):
    found = await memory.retention.prune(older_than=timedelta(0), user_id="ana")
    assert found.rows["message_contexts"] == MANY


async def popped(memory):
    key = conversation_key("c", "ana")
    assert (await memory._store.pop(key)).content == "a"


async def removed(memory):
    assert await memory.delete_messages("c", seqs=[1, 2], **ANA) == 2


async def cut_off(memory):
    assert await memory.truncate("c", after=1, **ANA) == 1


async def replaced(memory):
    [_, answer] = await memory.get_messages("c", **ANA)
    await memory.replace_message("c", answer, AIMessage("b"), **ANA)


async def taken_away(memory):
    await memory._store.revise(conversation_key("c", "ana"), [taken_back(2, encode(AIMessage("a", id="a")))])


async def taken_back_behind_others(memory):
    await memory.save_message("c", "user", NEWEST, **ANA)
    await taken_away(memory)


LEFT = {
    deleted: 0,
    cleared: 0,
    erased: 0,
    pruned: 0,
    popped: 1,
    removed: 0,
    cut_off: 1,
    replaced: 2,
    taken_away: 1,
    taken_back_behind_others: 3,
}


@pytest.mark.parametrize("verb", LEFT, ids=lambda verb: verb.__name__)
async def test_whatever_takes_a_message_away_takes_its_documents_in_bites(memory, taken, left, verb):
    await verb(memory)

    assert left("messages") == LEFT[verb]
    assert [left(table) for table in TABLES[2:5]] == [0, 0, 0]
    assert taken("message_documents") == (MANY, MOST)
    assert taken("documents") == (MANY, MOST)
    assert taken("loose_documents")[1] <= MOST


async def test_what_leaned_on_much_is_gone_at_once_and_not_there_when_it_is_said_again(memory, taken, left):
    written = await memory.postgres.clear_conversation(conversation_key("c", "ana"))
    assert written.left_here
    await memory.save_message("c", AIMessage("a", id="a"), **ANA)

    [found] = await memory.get_messages("c", **ANA)
    assert (found.content, found.seq, found.contexts) == ("a", 3, ())
    more = True
    while more:
        _, more = await memory.postgres.sweep()
    assert (left("messages"), left("message_documents")) == (1, 0)
    assert taken("message_documents") == (MANY, MOST)


async def test_many_messages_of_a_few_documents_each_go_in_bites(memory, taken, left):
    said = [Draft(AIMessage(str(n)), contexts=[RetrievedContext(f"p{n % 3}")] * (n % 4)) for n in range(30)]
    await memory.save_messages("c", said, **ANA)
    await memory.delete_conversation("c", **ANA)

    assert [left(table) for table in TABLES] == [0] * 7
    assert max(taken(table)[1] for table in TABLES) <= MOST


async def test_what_is_known_of_removed_messages_goes_in_bites_with_their_conversation(
    memory, taken, left, database
):
    await memory.save_message("d", "user", "hi", **ANA)
    database.execute(
        "INSERT INTO removed_rows (conversation_id, id) SELECT conversation_id, gen_random_uuid()"
        " FROM conversations, generate_series(1, %s) WHERE external_id = 'd'",
        [MANY],
    )
    await memory.delete_conversation("d", **ANA)

    assert (left("conversations"), left("removed_rows")) == (1, 0)
    assert taken("removed_rows") == (MANY, MOST)


@pytest.mark.parametrize("said", ["hi", None])
@pytest.mark.parametrize("verb", ["clear", "delete_conversation"])
async def test_what_was_refused_is_seen_by_nobody_and_goes_in_bites(
    memory, taken, left, database, verb, said
):
    await memory.create_conversation(conversation_id="d", **ANA)
    if said:
        await memory.save_message("d", "user", said, **ANA)
    database.execute(
        "INSERT INTO journal_refused (conversation_id, entry, user_id, cause, written)"
        " SELECT conversation_id, n, 'ana', 'no JSON', jsonb_build_object('l', life, 'rows', '[]'::jsonb)"
        " FROM conversations, generate_series(1, %s) AS n WHERE external_id = 'd'",
        [MANY],
    )
    assert len(await memory.postgres.refused_entries(100)) == MANY
    await getattr(memory.postgres, verb if verb != "clear" else "clear_conversation")(
        conversation_key("d", "ana")
    )
    assert await memory.postgres.refused_entries(100) == []
    assert left("journal_refused") == MANY
    await memory.save_message("d", "user", "anew", **ANA)

    more = True
    while more:
        _, more = await memory.postgres.sweep()
    assert left("journal_refused") == 0
    assert taken("journal_refused") == (MANY, MOST)
    assert [message.content for message in await memory.get_messages("d", **ANA)] == ["anew"]


async def test_a_process_that_does_not_know_its_cache_at_the_moment_deletes_as_well(memory):
    await memory.save_message("c", "one", user_id="ana")
    await memory.get_history("c", user_id="ana")
    trust = getattr(memory.redis, "blocking", memory.redis).trust
    for _ in range(2):  # who it is was just asked, and is not asked again within a second
        trust.renamed(time.monotonic())

    await memory.delete_conversation("c", user_id="ana")
    with pytest.raises(ConversationNotFound):
        await memory.get_history("c", user_id="ana")
