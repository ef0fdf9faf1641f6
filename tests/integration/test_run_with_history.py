"""RunnableWithMessageHistory over a real memory: nothing said is lost or stored twice, however the chain is run."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableGenerator, RunnableLambda, RunnableParallel

from convmemory import ConversationNotFound, InvalidArgument, StorageUnavailable
from convmemory.chains.lost_input import said_in
from convmemory.chains.recorder import RECORDER
from fix_memory import texts, until
from scripted import AWAITED, BLOCKING, DRIVES, SHAPES, Echo, bare, keyed, reply_to, session

MINE = {"user_id": "ana"}


pytestmark = pytest.mark.usefixtures("no_run_left")


@pytest.fixture(params=[*BLOCKING, *AWAITED])
def drive(request, colour):
    """Every way to run a chain that this memory's colour has; a blocking memory serves awaited chains from threads."""
    if colour == "awaited" and request.param in BLOCKING:
        pytest.skip("an async memory refuses blocking calls")
    return DRIVES[request.param]


@pytest.fixture
def run(colour):
    """One turn the way this memory's colour is run."""
    return DRIVES["ainvoke" if colour == "awaited" else "invoke"]


def factory(memory, **options):
    """The factory that people write."""
    return lambda session_id: memory.history(session_id, **MINE, **options)


async def stored(memory, name="s"):
    return texts(await memory.get_messages(name, **MINE, limit=10_000))


def turns(*said):
    return [text for one in said for text in (one, reply_to(one))]


@pytest.mark.parametrize("shape", SHAPES)
async def test_turns_are_stored_in_order_and_shown_to_the_next_one(memory, drive, shape):
    build, given = SHAPES[shape]
    chain = build(Echo(), factory(memory))
    for said in ("one", "two", "three", "four"):
        await drive(chain, given(said), session("s"))
    messages = await memory.get_messages("s", **MINE)
    assert texts(messages) == turns("one", "two", "three", "four")
    assert [type(m.message) for m in messages] == [HumanMessage, AIMessage] * 4
    assert [m.message.usage_metadata["input_tokens"] for m in messages[1::2]] == [1, 3, 5, 7]


def under_a_key(model, make):
    return bare(RunnableLambda(lambda given: given["talk"]) | model, make, input_messages_key="talk")


ALL_SHAPES = SHAPES | {"under a key": (under_a_key, lambda said: {"talk": [HumanMessage(said)]})}


@pytest.mark.parametrize("shape", ALL_SHAPES)
async def test_a_turn_costs_one_factory_call_one_read_and_one_write(memory, drive, shape):
    build, given = ALL_SHAPES[shape]
    made = []

    def counting(session_id):
        made.append(session_id)
        return memory.history(session_id, **MINE)

    chain = build(Echo(), counting)
    await drive(chain, given("one"), session("s"))
    counters = memory.redis.health.counters
    before = counters.hits + counters.misses
    await drive(chain, given("two"), session("s"))
    assert len(made) == 2
    assert counters.hits + counters.misses - before == 1
    assert (await memory.get_conversation("s", **MINE)).version == 2
    assert await stored(memory) == turns("one", "two")


@pytest.mark.parametrize("shape", SHAPES)
async def test_users_with_sessions_of_the_same_name_are_kept_apart(memory, drive, shape):
    build, given = SHAPES[shape]
    chain = build(Echo(), memory.history_factory, history_factory_config=memory.history_factory_config)
    for user in ("ana", "ben"):
        config = memory.run_config(conversation_id="s", user_id=user)
        await drive(chain, given(f"I am {user}"), config)
    assert await stored(memory) == turns("I am ana")
    assert texts(await memory.get_messages("s", user_id="ben")) == turns("I am ben")


@pytest.mark.parametrize("name", [None, ""])
async def test_no_session_is_no_conversation(memory, run, name):
    with pytest.raises(InvalidArgument, match="conversation_id"):
        await run(keyed(Echo(), factory(memory)), {"question": "one"}, session(name))


# The sixteen combinations: somebody else writes, or the window shrinks, while the model thinks; messages with ids and
# without; a history made for the turn, and one that the application keeps; both colours.


@pytest.mark.parametrize("kept", [False, True], ids=["made anew", "kept"])
@pytest.mark.parametrize("ids", [False, True], ids=["without ids", "with ids"])
@pytest.mark.parametrize("meanwhile", ["another turn is stored", "the conversation is cleared"])
async def test_what_happens_meanwhile_costs_no_message(memory, colour, meanwhile, ids, kept):
    def message(kind, text):
        return kind(text, id=text if ids else None)

    await memory.save_messages("s", [message(HumanMessage, "m0"), message(AIMessage, "m1")], **MINE)
    other = [message(HumanMessage, "other q"), message(AIMessage, "other a")]

    async def change():
        if meanwhile == "another turn is stored":
            await memory.save_messages("s", other, **MINE)
        else:
            await memory.clear("s", **MINE)

    async def athink(_):
        await change()
        return message(AIMessage, "reply")

    def think(_):
        return asyncio.run(athink(_))  # a blocking memory's calls never wait

    history = memory.history("s", **MINE)
    chain = bare(RunnableLambda(think, athink), (lambda _: history) if kept else factory(memory))
    said = [message(HumanMessage, "hi")]
    if colour == "blocking":
        await asyncio.to_thread(chain.invoke, said, session("s"))
    else:
        await chain.ainvoke(said, session("s"))
    before = ["m0", "m1", "other q", "other a"] if meanwhile == "another turn is stored" else []
    assert await stored(memory) == [*before, "hi", "reply"]


def overlapping(chain, given, said, barrier):
    """Run these turns in threads of their own; the model of each waits until all have begun."""
    with ThreadPoolExecutor(len(said)) as pool:
        for done in [pool.submit(chain.invoke, given(one), session("s")) for one in said]:
            done.result()
    assert barrier.broken is False


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kept", [False, True], ids=["made anew", "kept"])
def test_turns_that_overlap_in_threads_are_all_stored_in_pairs(shape, kept, schema, blocking_memory):
    build, given = SHAPES[shape]
    said = [f"q{n}" for n in range(8)]
    barrier = threading.Barrier(len(said))
    history = blocking_memory.history("s", **MINE)

    def wait(message):
        barrier.wait(20)
        return message

    for _ in range(2):  # the second round begins with a window the first one left
        chain = build(
            Echo() | RunnableLambda(wait), (lambda _: history) if kept else factory(blocking_memory)
        )
        overlapping(chain, given, said, barrier)
    assert_pairs(texts(blocking_memory.get_messages("s", **MINE, limit=1000)), said * 2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kept", [False, True], ids=["made anew", "kept"])
async def test_turns_that_overlap_in_tasks_are_all_stored_in_pairs(shape, kept, colour, memory):
    build, given = SHAPES[shape]
    said = [f"q{n}" for n in range(8)]
    history = memory.history("s", **MINE)
    for _ in range(2):
        barrier = asyncio.Barrier(len(said))

        async def wait(message, barrier=barrier):
            await barrier.wait()
            return message

        chain = build(Echo() | RunnableLambda(str, wait), (lambda _: history) if kept else factory(memory))
        await asyncio.gather(*(chain.ainvoke(given(one), session("s")) for one in said))
    assert_pairs(await stored(memory), said * 2)


@pytest.mark.parametrize("shape", SHAPES)
async def test_two_passes_of_a_kept_history_under_one_root_do_not_mix(memory, run, shape):
    build, given = SHAPES[shape]
    history = memory.history("s", **MINE)
    await memory.save_messages("s", ["before"], **MINE)
    passes = {
        name: RunnableLambda(lambda _, name=name: given(name)) | build(Echo(), lambda _: history)
        for name in "ab"
    }
    await run(RunnableParallel(passes), "go", session("s"))
    found = await stored(memory)
    assert found[0] == "before"
    assert_pairs(found[1:], ["a", "b"])


@pytest.mark.parametrize("shape", SHAPES)
async def test_two_hundred_turns_from_tasks_and_threads_are_all_stored_in_pairs(
    schema, make_memory, colour, shape
):
    memory = await make_memory(pool_timeout=60)  # they wait for one another, on a busy machine for long
    build, given = SHAPES[shape]
    chain = build(Echo(), factory(memory))
    said = [f"q{n}" for n in range(200)]
    if colour == "awaited":
        await asyncio.gather(*(chain.ainvoke(given(one), session("s")) for one in said))
    else:
        chain.batch([given(one) for one in said], session("s") | {"max_concurrency": 16})
    assert_pairs(await stored(memory), said)


def assert_pairs(found, said):
    """Every message is there once for each time it was said, with its reply right after it."""
    assert sorted(found[::2]) == sorted(said)
    assert found[1::2] == [reply_to(one) for one in found[::2]]


async def test_a_history_used_directly_reads_what_is_there_now_even_inside_a_chain(memory, run):
    history = memory.history("s", **MINE)
    seen = []

    async def alook(message):
        await memory.save_messages("s", ["meanwhile"], **MINE)
        seen.append(texts(await history.aget_messages()))
        return message

    chain = bare(Echo() | RunnableLambda(lambda m: m, alook), lambda _: history)
    await chain.ainvoke([HumanMessage("one")], session("s"))
    assert seen == [["meanwhile"]]
    assert texts(await history.aget_messages()) == ["meanwhile", *turns("one")]


async def test_streamed_chunks_are_stored_as_messages_with_their_id(memory, drive):
    chain = keyed(Echo(), factory(memory))
    given = await drive(chain, {"question": "one"}, session("s"))
    reply = (await memory.get_messages("s", **MINE))[-1].message
    assert type(reply) is AIMessage
    assert reply.id is not None
    assert isinstance(given, AIMessageChunk | AIMessage) or reply.id in {one.id for one in given}


async def test_a_failed_write_is_told_although_langchain_swallows_it(
    schema, make_memory, postgres_proxy, caplog, run
):
    told = []
    memory = await make_memory(
        postgres_proxy.url,
        pool_timeout=0.5,
        on_write_error=lambda error, history: told.append((error, history.conversation_id)),
    )

    def cut(message):
        postgres_proxy.mode = "refuse"
        postgres_proxy.reset_all()
        return message

    chain = keyed(Echo() | RunnableLambda(cut), factory(memory))
    reply = await run(chain, {"question": "one"}, session("s"))
    assert reply.content == reply_to("one")
    assert [(type(error), name) for error, name in told] == [(StorageUnavailable, "s")]
    assert (await memory.check()).postgres.figures["failed_writes"] == 1
    assert [r.name for r in caplog.records if r.levelno == logging.ERROR] == ["convmemory.history"]


async def test_somebody_elses_conversation_fails_the_turn_instead_of_reading_empty(memory, run):
    conversation = await memory.create_conversation("ben")
    with pytest.raises(ConversationNotFound):
        await run(keyed(Echo(), factory(memory)), {"question": "one"}, session(conversation.conversation_id))


# save_on_error="input": what the user said outlives the turn


def fails(_):
    raise RuntimeError("the model is out")


def fails_midway(chunks):
    for chunk in chunks:
        yield chunk
        raise RuntimeError("the model is out")


async def afails_midway(chunks):
    async for chunk in chunks:
        yield chunk
        raise RuntimeError("the model is out")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "failure", [fails, RunnableGenerator(fails_midway, afails_midway)], ids=["at once", "midway"]
)
async def test_what_was_said_is_kept_when_the_model_fails(memory, drive, shape, failure):
    build, given = SHAPES[shape]
    await memory.save_messages("s", ["before"], **MINE)
    with pytest.raises(RuntimeError, match="the model is out"):
        await drive(
            build(Echo() | failure, factory(memory, save_on_error="input")), given("one"), session("s")
        )
    assert await stored(memory) == ["before", "one"]


async def test_without_it_a_failed_turn_leaves_nothing_and_the_next_one_is_whole(memory, drive):
    history = memory.history("s", **MINE)
    with pytest.raises(RuntimeError, match="the model is out"):
        await drive(bare(RunnableLambda(fails), lambda _: history), [HumanMessage("one")], session("s"))
    await memory.save_messages("s", ["meanwhile"], **MINE)
    await drive(bare(Echo(), lambda _: history), [HumanMessage("two")], session("s"))
    assert await stored(memory) == ["meanwhile", *turns("two")]


@pytest.mark.parametrize("shape", SHAPES)
async def test_what_was_said_is_kept_when_the_turn_is_cancelled(memory, shape):
    build, given = SHAPES[shape]
    chain = build(Echo(pause=30), factory(memory, save_on_error="input"))
    turn = asyncio.create_task(chain.ainvoke(given("one"), session("s")))
    await until(lambda: any(run.kind == "model" for run in RECORDER._runs.values()))
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert await stored(memory) == ["one"]


@pytest.mark.parametrize("model", [Echo(), Echo() | RunnableLambda(lambda m: m)], ids=["model", "chain"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("read", [1, 3])
def test_what_was_said_is_kept_when_a_stream_is_closed(schema, blocking_memory, shape, model, read):
    """LangChain stores the part that came, where it came through a chain; what was said is stored either way."""
    build, given = SHAPES[shape]
    blocking_memory.save_messages("s", ["before"], **MINE)
    stream = build(model, factory(blocking_memory, save_on_error="input")).stream(given("one"), session("s"))
    for _, _chunk in zip(range(read), stream, strict=False):
        pass
    stream.close()
    found = texts(blocking_memory.get_messages("s", **MINE))
    assert found[:2] == ["before", "one"]
    assert "".join(found[2:]) in reply_to("one")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kept", [False, True], ids=["made anew", "kept"])
def test_the_part_of_a_closed_stream_is_stored_with_what_was_said(schema, blocking_memory, shape, kept):
    build, given = SHAPES[shape]
    history = blocking_memory.history("s", **MINE)
    make = (lambda _: history) if kept else factory(blocking_memory)
    stream = build(RunnableLambda(lambda given: given) | Echo() | RunnableGenerator(letters), make)
    chunks = stream.stream(given("one"), session("s"))
    assert [next(chunks).text for _ in range(4)] == ["y", "o", "u", " "]
    blocking_memory.save_messages("s", ["other"], **MINE)
    chunks.close()
    assert texts(history.messages) == ["other", "one", "you"]
    assert [type(m) for m in history.messages[1:]] == [HumanMessage, AIMessage]


def letters(chunks):
    for chunk in chunks:
        for letter in chunk.text:
            yield AIMessageChunk(letter)


@pytest.mark.parametrize("shape", SHAPES)
async def test_what_was_said_is_kept_when_an_awaited_stream_is_closed(memory, shape):
    build, given = SHAPES[shape]
    stream = build(Echo(), factory(memory, save_on_error="input")).astream(given("one"), session("s"))
    await anext(stream)
    await stream.aclose()
    del stream  # LangChain's inner streams end with it, each in a task of its own
    gc.collect()
    history = memory.history("s", **MINE)
    async with asyncio.timeout(30):
        while not (found := await history.aget_messages()):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    assert texts(found) == ["one"]


async def test_a_chain_that_langchain_cannot_store_keeps_what_was_said(schema, blocking_memory):
    """A tool result with documents attached cannot be loaded by LangChain's own hook, which then stores nothing."""
    poison = ToolMessage("found", tool_call_id="c1", artifact=[Document("d")])
    call = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "c1"}])
    blocking_memory.save_messages("s", [HumanMessage("before"), call, poison], **MINE)
    chain = bare(Echo(), factory(blocking_memory, save_on_error="input"))
    await asyncio.to_thread(chain.invoke, [HumanMessage("one")], session("s"))
    assert texts(blocking_memory.get_messages("s", **MINE)) == ["before", "", "found", "one"]


async def test_the_users_message_among_several_inputs_needs_its_key(memory, run, caplog):
    two_inputs = RunnableLambda(fails)
    given = {"question": "one", "language": "English"}
    with pytest.raises(RuntimeError, match="the model is out"):
        await run(keyed(two_inputs, factory(memory, save_on_error="input")), given, session("s"))
    assert "the input of a failed turn was not kept: InvalidArgument" in caplog.text
    named = factory(memory, save_on_error="input", input_messages_key="question")
    with pytest.raises(RuntimeError, match="the model is out"):
        await run(keyed(two_inputs, named), given, session("s"))
    assert await stored(memory) == ["one"]


def test_save_on_error_takes_input_or_nothing(blocking_memory):
    with pytest.raises(InvalidArgument, match="save_on_error"):
        blocking_memory.history("s", **MINE, save_on_error="everything")


@pytest.mark.parametrize(
    "given",
    [
        "one",
        HumanMessage("one"),
        [HumanMessage("one")],
        {"input": "one", "x": 1},
        {"q": [[HumanMessage("one")]]},
    ],
)
def test_what_was_said_is_found_as_langchain_finds_it(given):
    assert said_in(given, None) == [HumanMessage("one")]


@pytest.mark.parametrize("given", [None, {"a": "one", "b": "two"}, {"input": 7}, [1, 2], {}])
def test_an_input_without_messages_says_what_to_pass(given):
    with pytest.raises(InvalidArgument, match="input_messages_key"):
        said_in(given, None)


# What its model is shown


CALLS = AIMessage("wait", tool_calls=[{"name": "f", "args": {}, "id": name} for name in ("c1", "c2")])
RESULTS = [ToolMessage("r", tool_call_id=name) for name in ("c1", "c2")]


def shows(seen):
    """A model that notes what it is shown."""
    return RunnableLambda(lambda prompt: seen.append(prompt) or AIMessage("done"))


@pytest.fixture(params=["invoke", "batch", "ainvoke", "abatch"])
def drive_at_once(request, colour):
    """Without streams: LangChain tells what one is given only when it is over."""
    if colour == "awaited" and request.param in BLOCKING:
        pytest.skip("an async memory refuses blocking calls")
    return DRIVES[request.param]


@pytest.mark.parametrize("given", [RESULTS, {"input": RESULTS}], ids=["list", "dict"])
async def test_the_results_a_chain_is_given_answer_the_calls_of_the_turn_before(memory, drive_at_once, given):
    """Tools that are run by hand between two turns: what the chain is given comes right behind the window."""
    seen = []
    take = (
        RunnableLambda(lambda one: one["input"])
        if isinstance(given, dict)
        else RunnableLambda(lambda one: one)
    )
    await memory.save_messages("s", [HumanMessage("go"), CALLS], **MINE)
    key = {"input_messages_key": "input"} if isinstance(given, dict) else {}
    await drive_at_once(bare(take | shows(seen), factory(memory), **key), given, session("s"))

    assert seen == [[HumanMessage("go"), CALLS, *RESULTS]]
    assert await stored(memory) == ["go", "wait", "r", "r", "done"]


async def test_a_call_that_the_chain_is_given_no_result_of_is_not_shown(memory, drive_at_once):
    seen = []
    await memory.save_messages("s", [HumanMessage("go"), CALLS], **MINE)
    await drive_at_once(bare(shows(seen), factory(memory)), [RESULTS[1]], session("s"))
    await drive_at_once(bare(shows(seen), factory(memory)), [HumanMessage("and?")], session("s"))

    assert [[call["id"] for call in turn[1].tool_calls] for turn in seen] == [["c2"], ["c2"]]
    assert seen[0][2:] == [RESULTS[1]]
    assert texts(seen[1]) == ["go", "wait", "r", "done", "and?"]


async def test_a_model_is_shown_no_call_that_nobody_answered_and_all_is_stored(memory, drive):
    """A structured answer is a call that nobody answers: the conversation goes on all the same."""
    seen = []
    asks = RunnableLambda(
        lambda prompt: seen.append(prompt) or AIMessage("", tool_calls=CALLS.tool_calls[:1])
    )
    for said in ("one", "two", "three"):
        await drive(bare(asks, factory(memory)), [HumanMessage(said)], session("s"))

    assert [texts(turn) for turn in seen] == [["one"], ["one", "two"], ["one", "two", "three"]]
    assert await stored(memory) == ["one", "", "two", "", "three", ""]
    history = memory.history("s", **MINE)
    found = await history.aget_messages()
    assert texts(found) == ["one", "", "two", "", "three", ""]  # and read directly it is as it was stored
