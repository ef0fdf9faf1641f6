"""Turns of a chain that are left, tried again, or answered by what is no message; and answers that come from a cache."""

from __future__ import annotations

import asyncio
import gc

import pytest
from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda

from convmemory.chains.recorder import RunRecorder
from fix_memory import texts
from scripted import DRIVES, SHAPES, Echo, Shelf, keyed, reply_to, session

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


async def test_an_answer_that_is_no_message_keeps_what_was_said(memory, run):
    chain = keyed(Echo() | RunnableLambda(lambda _: {"days": 20}), factory(memory, save_on_error="input"))
    assert await run(chain, {"question": "one"}, session("s")) in ({"days": 20}, [{"days": 20}])
    assert await stored(memory) == ["one"]


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


async def test_an_answer_from_a_models_cache_is_stored_each_time(memory, run):
    """It has the id and the words it had before."""
    cached = AIMessage("20 days", id="run-1")
    chain = keyed(RunnableLambda(lambda _: cached), factory(memory, max_messages=2))
    for _ in range(4):
        await run(chain, {"question": "how many?"}, session("s"))
    assert await stored(memory) == ["how many?", "20 days"] * 4
