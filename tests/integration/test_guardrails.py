"""Middlewares that redact, replace, remove and stop, beside ours in every order: what they leave is what the memory has."""

from __future__ import annotations

import json
from itertools import permutations

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ContextEditingMiddleware,
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    PIIDetectionError,
    PIIMiddleware,
    SummarizationMiddleware,
    hook_config,
)
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from convmemory.errors import ConversationNotFound
from fix_agents import CONFIG, MINE, call, remembers, stored
from fix_memory import texts
from scripted import reply_to
from scripted_agents import Player

ORDERS = pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "ours last"])


pytestmark = pytest.mark.usefixtures("no_run_left")


def beside(memory, ours_first, *others, **options):
    ours = remembers(memory, **options)
    return [ours, *others] if ours_first else [*others, ours]


async def agrees(memory, state):
    """What is stored, titled and shown is what the agent's state holds."""
    assert await stored(memory) == state["messages"]
    window = await memory.get_history("c", **MINE, limit=None)
    assert texts(window) == texts(state["messages"])
    return (await memory.get_conversation("c", **MINE)).title


def emails(**options):
    return PIIMiddleware("email", apply_to_input=True, apply_to_output=True, **options)


@ORDERS
@pytest.mark.parametrize("strategy", ["redact", "mask", "hash"])
async def test_what_was_redacted_is_nowhere_in_clear(memory, ask, ours_first, strategy):
    model = Player()
    agent = create_agent(model, [], middleware=beside(memory, ours_first, emails(strategy=strategy)))
    state = await ask(agent, "I am ana@example.com")
    title = await agrees(memory, state)
    assert title == state["messages"][0].text
    await ask(agent, "and now?")
    assert "ana@example" not in repr((title, model.prompts, await stored(memory)))
    assert texts(model.prompts[-1]) == [*texts(state["messages"]), "and now?"]


@ORDERS
async def test_what_was_blocked_leaves_nothing(memory, ask, ours_first):
    agent = create_agent(Player(), [], middleware=beside(memory, ours_first, emails(strategy="block")))
    with pytest.raises(PIIDetectionError):
        await ask(agent, "I am ana@example.com")
    with pytest.raises(ConversationNotFound):
        await memory.get_conversation("c", **MINE)
    state = await ask(agent, "hello")
    assert await agrees(memory, state) == "hello"


@ORDERS
async def test_a_tools_result_is_stored_as_the_guard_left_it(memory, ask, ours_first):
    @tool
    def look() -> str:
        """Look."""
        return "ben@example.com"

    guard = PIIMiddleware("email", apply_to_input=True, apply_to_tool_results=True)
    model = Player(lines=[call("look", "t1"), AIMessage("ok"), AIMessage("fine")])
    agent = create_agent(model, [look], middleware=beside(memory, ours_first, guard))
    await agrees(memory, await ask(agent, "who?"))
    await ask(agent, "and now?")
    assert "ben@" not in repr(model.prompts)
    assert model.invalid == []


class Swaps(AgentMiddleware):
    """Takes what says ``bad`` away, and puts ``[x]`` in its place under another id."""

    def _swapped(self, state, kind):
        last = state["messages"][-1]
        if isinstance(last, kind) and "bad" in last.text:
            return {"messages": [RemoveMessage(last.id), kind("[x]")]}
        return None

    def before_model(self, state, runtime):  # noqa: ARG002 - LangChain's
        return self._swapped(state, HumanMessage)

    def after_model(self, state, runtime):  # noqa: ARG002 - LangChain's
        return self._swapped(state, AIMessage)


@ORDERS
@pytest.mark.parametrize("how", ["turn", "step"])
async def test_what_was_replaced_is_not_stored(memory, ask, ours_first, how):
    model = Player(lines=[AIMessage("bad answer"), AIMessage("fine")])
    agent = create_agent(model, [], middleware=beside(memory, ours_first, Swaps(), store=how))
    assert await agrees(memory, await ask(agent, "bad question")) == "[x]"
    await ask(agent, "and now?")
    assert texts(model.prompts[-1]) == ["[x]", "[x]", "and now?"]


class TakesBoth(AgentMiddleware):
    """Looks at the answer, and takes question and answer away; ``[no]`` is what is left."""

    def after_model(self, state, runtime):  # noqa: ARG002 - LangChain's
        gone = [RemoveMessage(m.id) for m in state["messages"][-2:] if "bad" in state["messages"][-1].text]
        return {"messages": [*gone, AIMessage("[no]")]} if gone else None


class Rewrites(AgentMiddleware):
    """Looks at the answer, and puts other words into the question, which is stored already."""

    def after_model(self, state, runtime):  # noqa: ARG002 - LangChain's
        said = state["messages"][-2]
        return {"messages": [said.model_copy(update={"content": said.text.replace("bad", "***")})]}


@ORDERS
@pytest.mark.parametrize("beside_saver", [False, True])
async def test_a_question_that_is_taken_back_after_the_answer_is_not_kept(
    memory, ask, ours_first, beside_saver
):
    saver = InMemorySaver() if beside_saver else None
    model = Player(lines=[AIMessage("one"), AIMessage("bad"), AIMessage("two")])
    agent = create_agent(model, [], middleware=beside(memory, ours_first, TakesBoth()), checkpointer=saver)
    await ask(agent, "hello")
    await ask(agent, "bad thing")
    assert texts(await stored(memory)) == ["hello", "one", "[no]"]
    await ask(agent, "and now?")
    assert texts(model.prompts[-1]) == ["hello", "one", "[no]", "and now?"]


@ORDERS
async def test_the_first_question_taken_back_leaves_no_title(memory, ask, ours_first):
    model = Player(lines=[AIMessage("bad"), AIMessage("fine")])
    agent = create_agent(model, [], middleware=beside(memory, ours_first, TakesBoth()))
    assert await agrees(memory, await ask(agent, "bad thing")) is None
    await ask(agent, "good thing")
    assert (await memory.get_conversation("c", **MINE)).title == "good thing"


@ORDERS
async def test_a_stored_question_says_what_the_guard_made_of_it(memory, ask, ours_first):
    model = Player(lines=[AIMessage("one"), AIMessage("two")])
    agent = create_agent(model, [], middleware=beside(memory, ours_first, Rewrites()))
    assert await agrees(memory, await ask(agent, "bad thing")) == "*** thing"
    await ask(agent, "and now?")
    assert texts(model.prompts[-1]) == ["*** thing", "one", "and now?"]


async def test_what_others_said_meanwhile_stays_where_it_is(memory, ask):
    """Taken back after something else was stored behind it: its place stays, its words do not."""

    class Meanwhile(TakesBoth):
        async def aafter_model(self, state, runtime):
            await memory.save_message("c", "user", "from the phone", **MINE)
            return self.after_model(state, runtime)

    agent = create_agent(Player(lines=[AIMessage("bad")]), [], middleware=[remembers(memory), Meanwhile()])
    await agent.ainvoke({"messages": [HumanMessage("bad thing")]}, CONFIG)
    assert texts(await stored(memory)) == ["[removed]", "from the phone", "[no]"]
    assert [m.seq for m in await memory.get_messages("c", **MINE)] == [1, 2, 3]


class Stops(AgentMiddleware):
    """Ends the run before the model is asked."""

    @hook_config(can_jump_to=["end"])
    def before_agent(self, state, runtime):  # noqa: ARG002 - LangChain's
        return {"jump_to": "end", "messages": [AIMessage("closed")]}


@ORDERS
@pytest.mark.parametrize("stop", [Stops, lambda: ModelCallLimitMiddleware(run_limit=0, exit_behavior="end")])
async def test_a_run_that_never_asks_the_model_is_stored(memory, ask, ours_first, stop):
    model = Player()
    state = await ask(create_agent(model, [], middleware=beside(memory, ours_first, stop())), "hello")
    assert await agrees(memory, state) == "hello"
    assert model.prompts == []
    assert len(state["messages"]) == 2


@ORDERS
@pytest.mark.parametrize("decision", ["approve", "reject", "edit"])
async def test_a_reviewed_call_is_stored_as_it_was_decided(memory, ask, ours_first, decision):
    @tool
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    human = HumanInTheLoopMiddleware(interrupt_on={"pay": True})
    model = Player(lines=[call("pay", "t1", amount=100), AIMessage("done")])
    agent = create_agent(
        model, [pay], middleware=beside(memory, ours_first, human), checkpointer=InMemorySaver()
    )
    await ask(agent, "pay 100")
    decided = {"type": decision}
    if decision == "edit":
        decided["edited_action"] = {"name": "pay", "args": {"amount": 1}}
    await agrees(memory, await ask(agent, Command(resume={"decisions": [decided]})))
    assert model.invalid == []


OTHERS = {
    "redact": lambda: emails(strategy="redact"),
    "limit": lambda: ModelCallLimitMiddleware(run_limit=3, exit_behavior="end"),
    "review": lambda: HumanInTheLoopMiddleware(interrupt_on={"other": True}),
    "edit": ContextEditingMiddleware,
    "swap": Swaps,
}


@pytest.mark.parametrize(
    ("pair", "place"), [(pair, at % 3) for at, pair in enumerate(permutations(OTHERS, 2))]
)
async def test_any_two_of_them_with_ours_in_any_place_agree(memory, ask, colour, mode, pair, place):
    if (colour, mode) == ("blocking", "ainvoke"):
        pytest.skip("as the two others")

    @tool
    def step() -> str:
        """Step."""
        return "done for ana@example.com"

    middleware = [OTHERS[name]() for name in pair]
    middleware.insert(place, remembers(memory))
    lines = [call("step", "t1"), call("step", "t2"), AIMessage("bad: ana@example.com"), AIMessage("fine")]
    model = Player(lines=lines)
    agent = create_agent(model, [step], middleware=middleware)
    first = await ask(agent, "I am ana@example.com")
    title = await agrees(memory, first)
    state = await ask(agent, "and now?")
    assert texts(await stored(memory)) == texts([*first["messages"], *state["messages"]])
    assert title == first["messages"][0].text.strip()
    assert model.invalid == []


@ORDERS
@pytest.mark.parametrize("how", ["turn", "step"])
async def test_a_summary_beside_a_redactor_keeps_the_record_and_no_address(memory, ask, ours_first, how):
    model, writer = Player(), Player(lines=[AIMessage("SUMMARY")] * 20)
    summary = SummarizationMiddleware(model=writer, trigger=("messages", 4), keep=("messages", 2))
    others = [emails(strategy="redact"), summary]
    agent = create_agent(
        model,
        [],
        middleware=beside(memory, ours_first, *others, mode="log-only", store=how),
        checkpointer=InMemorySaver(),
    )
    said = [f"I am ana@example.com {n}" for n in range(4)]
    kept = [one.replace("ana@example.com", "[REDACTED_EMAIL]") for one in said]
    for one in said:
        await ask(agent, one)
    assert texts(await stored(memory)) == [text for one in kept for text in (one, reply_to(one))]


@pytest.mark.parametrize("kind", ["updates", "values", "debug", "tasks", "messages", "checkpoints", "custom"])
async def test_nothing_of_the_memory_is_in_what_is_streamed(memory, stream, kind):
    await memory.save_messages("c", [("human", "earlier secret"), ("ai", "noted")], **MINE)
    saver = InMemorySaver()
    agent = create_agent(Player(), [], middleware=[remembers(memory)], checkpointer=saver)
    parts = await stream(agent, "hello", stream_mode=kind)
    told = json.dumps(parts, default=lambda one: one.model_dump(mode="json"))
    assert "secret" not in told
    assert "convmemory_turn" not in told
    kept = repr(saver.get_tuple(CONFIG))
    assert "secret" not in kept
    assert reply_to("hello") in kept  # or this would be the wrong place to look
    if kind == "custom":
        assert parts == []
    elif kind == "tasks":  # ids, names and states
        assert "hello" in told
    else:
        assert reply_to("hello") in told
