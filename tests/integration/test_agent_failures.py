"""Agents that fail, are cancelled, or lose their reader: what they did is on record."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.types import Command, interrupt

from convmemory import InvalidArgument, StorageUnavailable
from convmemory.middleware import ConversationMemoryMiddleware
from fix_agents import CONFIG, MINE, call, remembers, stored
from fix_memory import texts
from scripted import Echo, Shelf, reply_to
from scripted_agents import Player

pytestmark = pytest.mark.usefixtures("no_run_left")


def calls(count, name="step"):
    return [call(name, f"t{n}") for n in range(count)]


@pytest.mark.parametrize(("how", "kept"), [("turn", 0), ("step", 9)])
async def test_every_call_with_an_effect_is_on_record_though_the_run_died(memory, ask, how, kept):
    done = []

    @tool
    def step() -> str:
        """Step."""
        done.append(1)
        return "done"

    agent = create_agent(Player(lines=calls(30)), [step], middleware=[remembers(memory, store=how)])
    with pytest.raises(GraphRecursionError):
        await ask(agent, "go", {**CONFIG, "recursion_limit": 19})
    asked, *steps = await stored(memory)
    assert asked.text == "go"
    assert len(done) == 9
    assert sum(len(m.tool_calls) for m in steps if m.type == "ai") == kept


async def test_calls_of_one_step_are_stored_once_before_any_of_them_runs(memory, ask):
    @tool
    def step(n: int) -> str:
        """Step."""
        if n == 1:
            raise ConnectionError("down")
        return f"done {n}"

    both = AIMessage("", tool_calls=[{"name": "step", "args": {"n": n}, "id": f"t{n}"} for n in range(3)])
    agent = create_agent(Player(lines=[both]), [step], middleware=[remembers(memory, store="step")])
    with pytest.raises(ConnectionError):
        await ask(agent, "go")
    assert [m.type for m in await stored(memory)] == ["human", "ai"]
    await ask(agent, "again")
    assert texts(await stored(memory))[2:] == ["again", reply_to("again")]


async def test_steps_are_stored_once_with_what_each_of_them_cost(memory, ask):
    @tool
    def step() -> str:
        """Step."""
        return "done"

    lines = [call("step", "t1"), call("step", "t2"), AIMessage("ok")]
    for n, line in enumerate(lines):
        line.usage_metadata = {"input_tokens": n, "output_tokens": 1, "total_tokens": n + 1}
    agent = create_agent(Player(lines=lines), [step], middleware=[remembers(memory, store="step")])
    state = await ask(agent, "go")
    assert await stored(memory) == state["messages"]
    found = await memory.get_messages("c", **MINE)
    assert [m.tokens_used for m in found if m.role == "ai"] == [1, 2, 3]


async def test_a_stepwise_turn_that_was_interrupted_is_stored_once(memory, ask):
    @tool
    def pay() -> str:
        """Pay."""
        return "paid"

    review = HumanInTheLoopMiddleware(interrupt_on={"pay": True})
    model = Player(lines=[call("pay", "t1"), AIMessage("done")])
    ours = remembers(memory, store="step")
    agent = create_agent(model, [pay], middleware=[ours, review], checkpointer=InMemorySaver())
    await ask(agent, "go")
    state = await ask(agent, Command(resume={"decisions": [{"type": "approve"}]}))
    assert await stored(memory) == state["messages"]
    assert ours.name == ConversationMemoryMiddleware.__name__


def test_how_to_store_is_checked(blocking_memory):
    with pytest.raises(InvalidArgument, match="store"):
        ConversationMemoryMiddleware(blocking_memory, store="steps")


WORDS = "one two three four five six"


async def leave(agent, mode, after):
    """Read a stream up to some words, and go away."""
    given = {"messages": [HumanMessage(WORDS)]}
    if mode == "ainvoke":
        reader = agent.astream(given, CONFIG, stream_mode="messages")
        for _ in range(after):
            await anext(reader)
        await reader.aclose()
    else:
        reader = agent.stream(given, CONFIG, stream_mode="messages")
        for _ in range(after):
            next(reader)
        reader.close()


@pytest.mark.parametrize("saves", [True, False])
async def test_half_an_answer_is_kept_and_says_so(memory, mode, saves):
    agent = create_agent(Echo(pace=0.02), [], middleware=[remembers(memory, save_partial=saves)])
    await leave(agent, mode, 4)
    asked, *answer = await stored(memory)
    assert asked.text == WORDS
    if not saves:
        assert answer == []
        return
    [half] = answer
    assert reply_to(WORDS).startswith(half.text)
    assert half.text.startswith("you said one")
    assert half.response_metadata == {"partial": True}
    if mode == "ainvoke":
        assert half.text != reply_to(WORDS)


async def test_half_an_answer_of_a_cancelled_run_is_kept(memory):
    agent = create_agent(Echo(pace=0.05), [], middleware=[remembers(memory, save_partial=True)])
    seen = asyncio.Event()

    async def read():
        async for _ in agent.astream({"messages": [HumanMessage(WORDS)]}, CONFIG, stream_mode="messages"):
            seen.set()

    reading = asyncio.create_task(read())
    await seen.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert [m.response_metadata for m in await stored(memory)] == [{}, {"partial": True}]


async def test_an_answer_that_came_whole_is_no_half_one(memory, ask, stream):
    agent = create_agent(
        Echo(), [], middleware=[remembers(memory, save_partial=True)], checkpointer=InMemorySaver()
    )
    await stream(agent, "hello", stream_mode="messages")
    found = await stored(memory)
    assert texts(found) == ["hello", reply_to("hello")]
    assert "partial" not in found[-1].response_metadata


async def test_an_interrupted_run_is_no_lost_one(memory, ask, stream):
    """It ends without an error and goes on later: its answer is stored then, once."""

    @tool
    def pay() -> str:
        """Pay."""
        return "paid"

    asking = AIMessage("I shall pay", tool_calls=[{"name": "pay", "args": {}, "id": "t1"}])
    agent = create_agent(
        Player(lines=[asking, AIMessage("done")]),
        [pay],
        middleware=[
            remembers(memory, save_partial=True),
            HumanInTheLoopMiddleware(interrupt_on={"pay": True}),
        ],
        checkpointer=InMemorySaver(),
    )
    await stream(agent, "go", stream_mode="messages")
    state = await ask(agent, Command(resume={"decisions": [{"type": "approve"}]}))
    assert await stored(memory) == state["messages"]


@pytest.mark.parametrize("how", ["turn", "step"])
async def test_a_call_that_is_interrupted_in_its_tool_is_stored_once(memory, ask, how):
    """The run goes on in another process: what is stored of it is known there by what the conversation holds."""

    @tool
    def pay() -> str:
        """Pay."""
        return f"paid {interrupt('how much?')}"

    model, saver = Player(lines=[call("pay", "t1"), AIMessage("done"), AIMessage("fine")]), InMemorySaver()

    def agent():
        return create_agent(model, [pay], middleware=[remembers(memory, store=how)], checkpointer=saver)

    await ask(agent(), "go")
    state = await ask(agent(), Command(resume="5"))
    assert await stored(memory) == state["messages"]
    assert texts(state["messages"]) == ["go", "", "paid 5", "done"]
    state = await ask(agent(), "and now?")
    assert await stored(memory) == state["messages"]
    assert model.invalid == []


class Shelved(ConversationMemoryMiddleware):
    """An application's own, which chooses for itself."""

    def __init__(self, memory):
        super().__init__(memory, store="step")


class Watched(ConversationMemoryMiddleware):
    """An application's own, which goes around tools itself."""

    async def awrap_tool_call(self, request, handler):
        return await handler(request)

    def wrap_tool_call(self, request, handler):
        return handler(request)


@pytest.mark.parametrize("made", [Shelved, lambda memory: Watched(memory, store="step")])
async def test_a_subclass_stores_a_call_before_its_tool_too(memory, ask, made):
    @tool
    def step() -> str:
        """Step."""
        raise ConnectionError("down")

    ours = made(getattr(memory, "blocking", memory))
    assert ours.name == type(ours).__name__ in ("Shelved", "Watched")
    agent = create_agent(Player(lines=[call("step", "t1")]), [step], middleware=[ours])
    with pytest.raises(ConnectionError):
        await ask(agent, "go")
    assert [m.type for m in await stored(memory)] == ["human", "ai"]


async def test_a_whole_answer_is_no_half_one_where_its_tool_fails(memory, stream):
    @tool
    def step() -> str:
        """Step."""
        raise ConnectionError("down")

    class Calls(Echo):
        def _chunks(self, messages):
            *words, last = super()._chunks(messages)
            last.message.tool_call_chunks = [
                {"name": "step", "args": "{}", "id": "t1", "index": 0, "type": "tool_call_chunk"}
            ]
            yield from [*words, type(last)(message=AIMessageChunk(**vars(last.message)))]

        def bind_tools(self, *_, **__):
            return self

    agent = create_agent(Calls(), [step], middleware=[remembers(memory, save_partial=True)])
    with pytest.raises(ConnectionError):
        await stream(agent, WORDS, stream_mode="messages")
    _, answer = await stored(memory)
    assert (answer.text, [c["name"] for c in answer.tool_calls]) == (reply_to(WORDS), ["step"])
    assert "partial" not in answer.response_metadata


async def test_an_answer_that_a_guard_refused_is_no_half_one(memory, stream):
    class Refuses(AgentMiddleware):
        def after_model(self, state, runtime):  # noqa: ARG002 - LangChain's
            raise ValueError("refused")

    agent = create_agent(Echo(), [], middleware=[remembers(memory, save_partial=True), Refuses()])
    with pytest.raises(ValueError, match="refused"):
        await stream(agent, WORDS, stream_mode="messages")
    assert texts(await stored(memory)) == [WORDS]


class Again(AgentMiddleware):
    """Calls the model once more where it failed, and whatever is around it."""

    def wrap_model_call(self, request, handler):
        try:
            return handler(request)
        except StorageUnavailable:
            return handler(request)

    async def awrap_model_call(self, request, handler):
        try:
            return await handler(request)
        except StorageUnavailable:
            return await handler(request)


class Fails:
    """A write that fails the first time; the next go through."""

    def __init__(self, store, at):
        self.left, self.append, self.is_async = at, store.append, inspect.iscoroutinefunction(store.append)

    def __call__(self, *given, **named):
        self.left -= 1
        if self.left == 0:
            raise StorageUnavailable("PostgreSQL", "append", "test")
        return self.append(*given, **named)


@pytest.fixture
def failing(memory, monkeypatch):
    """Has the write of this number fail."""
    store = getattr(memory, "blocking", memory).postgres

    def failing(at):
        monkeypatch.setattr(store, "append", Fails(store, at))

    return failing


async def test_a_question_whose_first_write_failed_is_stored_by_the_next(memory, ask, failing):
    class Dies(Player):
        def _say(self, _):
            raise ConnectionError("down")

    agent = create_agent(Dies(), [], middleware=[Again(), remembers(memory)])
    failing(1)
    with pytest.raises(ConnectionError):
        await ask(agent, "hello")
    assert texts(await stored(memory)) == ["hello"]


async def test_figures_and_documents_of_a_failed_write_come_with_the_next(memory, ask, failing):
    @tool
    def look() -> str:
        """Look."""
        return Shelf().invoke("vacation")[0].page_content

    line = call("look", "t1")
    line.usage_metadata = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    model = Player(lines=[line, AIMessage("done")])
    agent = create_agent(model, [look], middleware=[Again(), remembers(memory, store="step")])
    failing(3)  # the question, the call; this is what came of the tool
    await ask(agent, "go")
    found = await memory.get_messages("c", **MINE)
    assert texts(found) == ["go", "", "vacation 1", "done"]
    assert [m.tokens_used for m in found if m.role == "ai"] == [7, None]
    assert [len(m.contexts) for m in found] == [0, 0, 0, 2]


class Races(AgentMiddleware):
    """Asks the model twice at once, and takes the first answer."""

    def wrap_model_call(self, request, handler):
        with ThreadPoolExecutor(2) as pool:
            contexts = [copy_context() for _ in range(2)]
            first, _ = [pool.submit(one.run, handler, request) for one in contexts]
            return first.result()

    async def awrap_model_call(self, request, handler):
        first, _ = await asyncio.gather(handler(request), handler(request))
        return first


async def test_two_calls_of_the_model_at_once_store_the_turn_once(memory, ask, monkeypatch):
    writes = []
    store = getattr(memory, "blocking", memory).postgres
    append = store.append
    monkeypatch.setattr(store, "append", lambda *a, **k: (writes.append(a[1]), append(*a, **k))[1])
    agent = create_agent(Player(pause=0.05), [], middleware=[Races(), remembers(memory)])
    state = await ask(agent, "hello")
    assert await stored(memory) == state["messages"]
    assert [len(drafts) for drafts in writes] == [1, 1]
