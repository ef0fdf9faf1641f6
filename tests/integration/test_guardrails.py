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
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command

from convmemory import Draft, RetrievedContext
from convmemory.encoding.codec import encode
from convmemory.errors import ConversationNotFound
from convmemory.ids import conversation_key
from convmemory.storage.revisions import Revision, taken_back
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


SUMMARIES = {"human": HumanMessage, "system": SystemMessage, "ai": AIMessage}


class Sums(AgentMiddleware):
    """Somebody's own summarizer: before the model is asked again, the state is one summary and what came last."""

    def __init__(self, kind, keep):
        super().__init__()
        self.kind, self.keep = kind, keep

    def before_model(self, state, runtime):  # noqa: ARG002 - LangChain's
        said = state["messages"]
        if len(said) <= max(self.keep, 1):
            return None
        kept = said[len(said) - self.keep :]
        return {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), SUMMARIES[self.kind]("Summary: go"), *kept]}


class Trims(AgentMiddleware):
    """Keeps the newest few messages of the state once the model has answered, as LangChain's documentation shows."""

    def after_model(self, state, runtime):  # noqa: ARG002 - LangChain's
        return {"messages": [RemoveMessage(m.id) for m in state["messages"][:-2]]}


class Signs(AgentMiddleware):
    """Around ours: what the model says goes on as another message."""

    def _signed(self, response):
        response.result = [m.model_copy(update={"id": None, "name": "signed"}) for m in response.result]
        return response

    def wrap_model_call(self, request, handler):
        return self._signed(handler(request))

    async def awrap_model_call(self, request, handler):
        return self._signed(await handler(request))


@pytest.mark.parametrize("how", ["turn", "step"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("other", [*((kind, keep) for kind in SUMMARIES for keep in (2, 0)), None], ids=str)
async def test_a_question_that_was_summed_up_or_trimmed_was_said(memory, ask, how, signed, other):
    @tool
    def step() -> str:
        """Step."""
        return "done"

    model = Player(lines=[call("step", "t1"), call("step", "t2"), AIMessage("fine")])
    around = [Signs()] if signed else []
    theirs = Trims() if other is None else Sums(*other)
    agent = create_agent(model, [step], middleware=[*around, remembers(memory, store=how), theirs])
    await ask(agent, "go")
    found = await memory.get_messages("c", **MINE)
    assert found[0].content == "go"
    assert found[-1].content == "fine"
    assert "[removed]" not in texts(found)


async def test_what_was_taken_back_leaves_nothing_but_its_place(memory, ask, database):
    class Meanwhile(TakesBoth):
        async def aafter_model(self, state, runtime):
            await memory.save_message("c", "user", "from the phone", **MINE)
            return self.after_model(state, runtime)

    secret = "ana@example.com"
    asked = HumanMessage([{"type": "text", "text": secret}], name=secret, additional_kwargs={"from": secret})
    agent = create_agent(Player(lines=[AIMessage("bad")]), [], middleware=[remembers(memory), Meanwhile()])
    await agent.ainvoke({"messages": [asked]}, CONFIG)
    assert texts(await stored(memory)) == ["[removed]", "from the phone", "[no]"]
    rows = database.execute("SELECT content, body, metadata FROM messages").fetchall()
    assert secret not in repr((rows, database.execute("SELECT title FROM conversations").fetchall()))


@pytest.mark.parametrize(
    "said",
    [
        AIMessage("secret", id="1", name="secret", usage_metadata={"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}),
        AIMessage("secret", id="1", tool_calls=[{"name": "secret", "args": {}, "id": "t"}]),
        ToolMessage("secret", id="1", name="secret", tool_call_id="t", artifact={"secret": 1}, status="error"),
        ChatMessage("secret", role="critic", id="1", name="secret"),
        FunctionMessage("secret", name="look", id="1"),
        HumanMessage("secret", id="1", nickname="secret"),
    ],
)  # fmt: skip
async def test_of_a_message_that_is_taken_back_figures_are_left(memory, database, said):
    """Its words, its names, its artifact and the documents it leaned on are gone; what it cost was spent."""
    found = Draft(
        said,
        metadata={"note": "secret"},
        facts={"input_tokens": 5, "model": "m"},
        contexts=[RetrievedContext("secret")],
    )
    await memory.save_messages("c", [found], **MINE)
    [row] = await memory.get_messages("c", **MINE)
    await memory.save_message("c", "user", "later", **MINE)
    key = conversation_key("c", "ana")
    await memory._store.revise(key, [taken_back(1, encode(said))])
    assert "secret" not in repr(
        database.execute("SELECT content, body, metadata::text, facts::text FROM messages").fetchall()
    )
    assert database.execute("SELECT count(*) FROM message_contexts").fetchone() == (0,)
    gone, _ = await memory.get_messages("c", **MINE)
    assert (gone.message.id, gone.message.type, gone.role) == ("1", said.type, row.role)
    assert gone.metadata == {}
    assert gone.facts == {
        **({"name": "look"} if said.type == "function" else {}),
        "input_tokens": 5,
        "model": "m",
    } | ({"tool_call_id": "t"} if said.type == "tool" else {})
    assert (gone.tokens_used, texts(await memory.get_history("c", **MINE))[-1]) == (row.tokens_used, "later")


async def test_other_words_keep_the_figures_and_documents_of_their_message(memory):
    said = AIMessage("bad", id="1", name="bob")
    known = {"input_tokens": 5, "first_token_ms": 7}
    await memory.save_messages("c", [Draft(said, metadata=known, contexts=[RetrievedContext("d")])], **MINE)
    new = AIMessage("***", id="1")
    await memory._store.revise(conversation_key("c", "ana"), [Revision(1, encode(said), new, gone=False)])
    [found] = await memory.get_messages("c", **MINE)
    assert (found.message, found.metadata, len(found.contexts)) == (new, known, 1)
