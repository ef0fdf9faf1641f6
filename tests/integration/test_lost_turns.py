"""Turns of a chain that are left, tried again, or answered by what is no message; and answers that come from a cache."""

from __future__ import annotations

import asyncio
import gc
from contextlib import nullcontext

import pytest
from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableLambda

from convmemory.chains.recorder import RunRecorder
from convmemory.errors import InvalidArgument
from fix_memory import texts
from scripted import AWAITED, BLOCKING, DRIVES, SHAPES, Echo, Shelf, keyed, reply_to, session

MINE = {"user_id": "ana"}


pytestmark = pytest.mark.usefixtures("no_run_left")


@pytest.fixture
def run(colour):
    return DRIVES["ainvoke" if colour == "awaited" else "invoke"]


def factory(memory, **options):
    return lambda session_id: memory.history(session_id, **MINE, **options)


async def stored(memory, name="s"):
    return texts(await memory.get_messages(name, **MINE))


@pytest.mark.parametrize("read", [1, 4])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("saves", [None, "input"])
def test_a_kept_history_forgets_a_turn_whose_stream_was_closed(schema, blocking_memory, shape, read, saves):
    """What others store is seen at once, and what is stored next has nothing of the turn that was left."""
    build, given = SHAPES[shape]
    blocking_memory.save_messages("s", ["earlier"], **MINE)
    history = blocking_memory.history("s", save_on_error=saves, max_messages=None, **MINE)

    def look(given):
        Shelf().invoke("old")
        return given

    stream = build(RunnableLambda(look) | Echo(), lambda _: history).stream(given("one two"), session("s"))
    for _ in range(read):
        next(stream)
    stream.close()
    before = texts(blocking_memory.get_history("s", limit=None, **MINE))
    blocking_memory.save_messages("s", ["from the phone"], **MINE)
    assert texts(history.messages) == [*before, "from the phone"]
    history.add_messages([HumanMessage("canned"), AIMessage("answer")])
    last = blocking_memory.get_messages("s", **MINE)[-1]
    assert (last.content, last.contexts, last.latency_ms) == ("answer", (), None)


@pytest.mark.parametrize("how", ["retry", "fallback"])
async def test_a_turn_that_is_tried_again_keeps_what_was_said_once(memory, run, how):
    tries = []

    def flaky(said):
        tries.append(said)
        if len(tries) < 3 and how == "retry":
            raise ConnectionError("busy")
        if how == "fallback":
            raise ConnectionError("down")
        return said

    make = factory(memory, save_on_error="input")
    first = keyed(RunnableLambda(flaky) | Echo(), make)
    if how == "retry":
        chain = first.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
    else:
        chain = first.with_fallbacks([keyed(Echo(), make)])
    await run(chain, {"question": "one"}, session("s"))
    assert await stored(memory) == ["one", reply_to("one")]


async def test_a_turn_whose_every_try_fails_keeps_what_was_said_once(memory, run):
    def fails(said):
        raise ConnectionError("down")

    chain = keyed(RunnableLambda(fails) | Echo(), factory(memory, save_on_error="input"))
    chain = chain.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
    with pytest.raises(ConnectionError):
        await run(chain, {"question": "one"}, session("s"))
    assert await stored(memory) == ["one"]


async def every_drive(chain, given, name, colour):
    for drive in AWAITED if colour == "awaited" else BLOCKING:
        await DRIVES[drive](chain, given, session(f"{name} {drive}"))
        yield f"{name} {drive}"


def busy(_):
    raise ConnectionError("busy")


@pytest.mark.parametrize("fails", [False, True], ids=["answered", "fails"])
@pytest.mark.parametrize("told", [{}, {"exception_key": "why"}], ids=["", "told why"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_fall_backs_keep_what_was_said_once_however_they_run(memory, colour, shape, told, fails):
    build, given = SHAPES[shape]
    if shape == "bare" and told:
        return  # the error goes into a dict
    make = factory(memory, save_on_error="input", input_messages_key="question")
    last = RunnableLambda(busy) | Echo() if fails else Echo()
    chain = build(RunnableLambda(busy) | Echo(), make).with_fallbacks([build(last, make)], **told)
    for drive in AWAITED if colour == "awaited" else BLOCKING:
        with pytest.raises(ConnectionError) if fails else nullcontext():
            await DRIVES[drive](chain, given("one"), session(drive))
        assert await stored(memory, drive) == ["one"] + ([] if fails else [reply_to("one")])


UNSTORABLE = [None, {"days": 20, "hours": 2}, 3, [3], [object()], RemoveMessage(id="1")]


@pytest.mark.parametrize("answer", UNSTORABLE, ids=lambda answer: type(answer).__name__)
@pytest.mark.parametrize("saves", [None, "input"])
async def test_an_answer_that_is_no_message_is_told_and_keeps_what_was_said(memory, colour, answer, saves):
    told = []
    blocking = getattr(memory, "blocking", memory)
    blocking._on_write_error = lambda error, history: told.append((error, history.conversation_id))
    chain = keyed(Echo() | RunnableLambda(lambda _: answer), factory(memory, save_on_error=saves))
    names = [name async for name in every_drive(chain, {"question": "one"}, "s", colour)]
    assert [name for _, name in told] == names
    assert {type(error) for error, _ in told} == {InvalidArgument}
    assert (await memory.check()).postgres.figures["failed_writes"] == len(names)
    kept = [await stored(memory, name) for name in names] if saves else []
    assert kept == [["one"]] * len(kept)
    if not saves:
        assert await memory.list_user_conversations(MINE["user_id"]) == []


@pytest.mark.parametrize("saves", [None, "input"])
async def test_a_turn_that_is_left_is_no_failed_write(memory, colour, saves):
    told = []
    blocking = getattr(memory, "blocking", memory)
    blocking._on_write_error = lambda error, _: told.append(error)
    chain = keyed(Echo() | RunnableLambda(lambda m: m), factory(memory, save_on_error=saves))
    if colour == "blocking":
        stream = await asyncio.to_thread(chain.stream, {"question": "one"}, session("s"))
        await asyncio.to_thread(next, stream)
        await asyncio.to_thread(stream.close)
    else:
        awaited = chain.astream({"question": "one"}, session("s"))
        await anext(awaited)
        await awaited.aclose()
    await RunnableLambda(busy).with_fallbacks([RunnableLambda(lambda _: 1)]).ainvoke(1)
    assert told == []


async def test_it_keeps_it_in_a_notebook_too(schema, blocking_memory):
    """A blocking chain in a cell: an event loop runs in this thread, and nothing can be awaited."""
    chain = keyed(Echo() | RunnableLambda(lambda _: {}), factory(blocking_memory, save_on_error="input"))
    chain.invoke({"question": "one"}, session("s"))
    assert texts(blocking_memory.get_messages("s", **MINE)) == ["one"]


@pytest.fixture(params=["as it comes", "recorder first", "recorder last"])
def order(request, monkeypatch):
    """LangChain puts handlers into a set now and then, and tells them in the order that makes."""
    last = {"recorder first": -1, "recorder last": 1}.get(request.param)
    if last is None:
        return
    merge = BaseCallbackManager.merge

    def merged(self, other):
        found = merge(self, other)
        for handlers in (found.handlers, found.inheritable_handlers):
            handlers.sort(key=lambda one: last * isinstance(one, RunRecorder))
        return found

    monkeypatch.setattr(BaseCallbackManager, "merge", merged)


def read_and_fail(stream):
    for _ in stream:
        raise ZeroDivisionError


def a_step_after(model):
    return model | RunnableLambda(lambda message: message)


@pytest.mark.parametrize("ends_in", [lambda model: model, a_step_after], ids=["model", "step"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("leave", ["close", "break", "raise"])
@pytest.mark.usefixtures("order")
async def test_it_keeps_it_in_a_notebook_where_a_stream_is_left(
    schema, blocking_memory, shape, ends_in, leave
):
    """A stream ends from the outside in: the last to hear of it is the model, or a step around it."""
    build, given = SHAPES[shape]
    stream = build(ends_in(Echo()), factory(blocking_memory, save_on_error="input")).stream(
        given("one two"), session("s")
    )
    if leave == "close":
        next(stream)
        stream.close()
    elif leave == "break":
        for _ in stream:
            break
    else:
        with pytest.raises(ZeroDivisionError):
            read_and_fail(stream)
    del stream
    gc.collect()  # LangChain leaves its innermost generator to that, now and then
    assert (await asyncio.to_thread(blocking_memory.get_messages, "s", **MINE))[0].content == "one two"


async def test_a_blocking_chain_in_an_event_loop_waits_for_nobody_where_no_turn_is_kept(
    schema, blocking_memory, monkeypatch
):
    """A history with ``save_on_error`` somewhere in the process costs the chains of others nothing."""
    kept = keyed(Echo(), factory(blocking_memory, save_on_error="input"))
    await asyncio.to_thread(kept.invoke, {"question": "one"}, session("s"))
    gc.collect()
    waits = []
    monkeypatch.setattr("langchain_core.callbacks.manager._run_coros", waits.append)
    assert (RunnableLambda(lambda said: [("human", said)]) | Echo()).invoke("two").text == "you said two"
    with pytest.raises(ConnectionError):
        RunnableLambda(busy).invoke("two")
    assert waits == []


async def test_an_answer_from_a_models_cache_is_stored_each_time(memory, run):
    """It has the id and the words it had before."""
    cached = AIMessage("20 days", id="run-1")
    chain = keyed(RunnableLambda(lambda _: cached), factory(memory, max_messages=2))
    for _ in range(4):
        await run(chain, {"question": "how many?"}, session("s"))
    assert await stored(memory) == ["how many?", "20 days"] * 4
