"""What of an agent's input is new: transcripts sent again, edits, ids that come back, erased threads, agents in agents."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentState, PIIMiddleware
from langchain_core.messages import AIMessage, HumanMessage, convert_to_messages
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from fix_agents import CONFIG, MINE, call, remembers, stored
from fix_memory import texts
from scripted import reply_to
from scripted_agents import Player

pytestmark = pytest.mark.usefixtures("no_run_left")


def talk(count):
    return [text for n in range(count) for text in (f"q{n}", reply_to(f"q{n}"))]


@pytest.mark.parametrize("form", ["ids", "no ids", "dicts", "the newest four"])
async def test_a_client_that_sends_everything_again_is_stored_and_shown_once(memory, ask, form):
    @tool
    def look() -> str:
        """Look."""
        return "found"

    model, sent = Player(), []
    agent = create_agent(model, [look], middleware=[remembers(memory)])
    for n in range(5):
        model.lines = [call("look", f"t{n}")] if n == 1 else []
        model.lines += [AIMessage(reply_to(f"q{n}"))]
        said = HumanMessage(f"q{n}", id=f"u{n}" if form == "ids" else None)
        given = [*sent, said][-5 if form == "the newest four" else 0 :]
        if form == "dicts":
            given = [{"role": "user" if m.type == "human" else "assistant", "content": m.text} for m in given]
        state = await ask(agent, {"messages": given})
        answer = state["messages"][-1]
        sent += [said, answer if form == "ids" else AIMessage(answer.text)]
    assert [m.text for m in await stored(memory) if m.text and m.type != "tool"] == talk(5)
    assert len(await stored(memory)) == 12
    assert [m.text for m in model.prompts[-1] if m.type == "human"] == [f"q{n}" for n in range(5)]
    assert model.invalid == []


def appended(state, writes):
    """What deepagents' state makes of its messages: those that are given as tuples or dicts are left without an id."""
    return [*(state or []), *convert_to_messages(writes)]


def state_without_ids(kind):
    channel = appended
    if kind == "delta":
        delta = pytest.importorskip("langgraph.channels.delta", reason="a newer LangGraph has it")
        channel = delta.DeltaChannel(
            lambda state, writes: [*(state or []), *convert_to_messages([m for w in writes for m in w])]
        )
    return type("State", (AgentState,), {"__annotations__": {"messages": Annotated[list[Any], channel]}})


@pytest.mark.parametrize("kind", ["appended", "delta"])
@pytest.mark.parametrize("saver", [None, InMemorySaver], ids=["alone", "checkpointer"])
@pytest.mark.parametrize("shown", ["window", "log-only"])
@pytest.mark.parametrize(
    "form",
    [lambda text: ("human", text), lambda text: {"role": "user", "content": text}],
    ids=["tuples", "dicts"],
)
async def test_what_has_no_id_in_the_state_is_stored_and_shown_once(memory, ask, kind, saver, shown, form):
    @tool
    def look() -> str:
        """Look."""
        return "found" if saver is None else interrupt("may it?")

    said, model = ["yes", "yes", "again"], Player()
    agent = create_agent(
        model,
        [look],
        middleware=[remembers(memory, mode=shown)],
        state_schema=state_without_ids(kind),
        checkpointer=saver and saver(),
    )
    for n, text in enumerate(said):
        model.lines = [call("look", f"t{n}")] if text == "again" else []
        model.lines += [AIMessage(f"answer {n}")]
        await ask(agent, {"messages": [form(text)]})
        if saver and text == "again":
            await ask(agent, Command(resume="found"))

    turns = ["yes", "answer 0", "yes", "answer 1", "again", "", "found", "answer 2"]
    assert texts(await stored(memory)) == turns
    if saver or shown == "window":
        assert texts(model.prompts[-1]) == turns[:-1]
    assert model.invalid == []


@pytest.mark.parametrize("ids", [True, False])
async def test_what_was_redacted_once_does_not_come_back_with_a_transcript(memory, ask, ids):
    """The client's own copy is as it was typed, and a redactor looks at the newest message alone."""
    guard = PIIMiddleware("email", strategy="redact", apply_to_input=True)
    agent = create_agent(Player(), [], middleware=[remembers(memory), guard])
    first = HumanMessage("I am ana@example.com", id="u0" if ids else None)
    state = await ask(agent, {"messages": [first.model_copy()]})
    answer = state["messages"][-1]
    again = [first, answer if ids else AIMessage(answer.text), HumanMessage("and now?")]
    await ask(agent, {"messages": again})
    found = texts(await stored(memory))
    assert found == ["I am [REDACTED_EMAIL]", answer.text, "and now?", reply_to("and now?")]


async def test_a_question_that_was_never_answered_is_sent_again_and_stored_once(memory, ask):
    agent = create_agent(Player(), [], middleware=[remembers(memory)])
    await ask(agent, "q0")
    failing = create_agent(Player(lines=[ConnectionError("down")]), [], middleware=[remembers(memory)])
    with pytest.raises(ConnectionError):
        await ask(failing, {"messages": [("human", "q0"), ("ai", reply_to("q0")), ("human", "q1")]})
    await ask(
        agent, {"messages": [("human", "q0"), ("ai", reply_to("q0")), ("human", "q1"), ("human", "q2")]}
    )
    assert texts(await stored(memory)) == [*talk(1), "q1", "q2", reply_to("q2")]


async def test_examples_before_every_question_are_no_transcript(memory, ask):
    model = Player()
    agent = create_agent(model, [], middleware=[remembers(memory)])
    for n in range(2):
        await ask(agent, {"messages": [("human", "2+2"), ("ai", "4"), ("human", f"q{n}")]})
    assert texts(await stored(memory)) == ["2+2", "4", *talk(1), "2+2", "4", "q1", reply_to("q1")]


async def test_other_words_under_an_old_id_are_a_new_question(memory, ask):
    """An edit, or a client that counts from 1 in each request."""
    model = Player()
    agent = create_agent(model, [], middleware=[remembers(memory)])
    for said in ("waht?", "what?", "what?"):
        await ask(agent, {"messages": [HumanMessage(said, id="1")]})
    answer = reply_to("what?")
    assert texts(await stored(memory)) == ["waht?", reply_to("waht?"), "what?", answer, answer]
    assert texts(model.prompts[1]) == ["waht?", reply_to("waht?"), "what?"]


@pytest.mark.parametrize("how", ["window", "log-only"])
@pytest.mark.parametrize("store", ["turn", "step"])
async def test_a_model_that_gives_the_same_ids_each_turn_loses_no_answer(memory, ask, how, store):
    @tool
    def look() -> str:
        """Look."""
        return "found"

    expected = []
    for n in range(4):
        lines = [call("look", "t1").model_copy(update={"id": "0"}), AIMessage(f"a{n % 2}", id="1")]
        ours = remembers(memory, mode=how, store=store, max_messages=4)
        await ask(create_agent(Player(lines=lines), [look], middleware=[ours]), "q")
        expected += ["q", "", "found", f"a{n % 2}"]
    assert texts(await stored(memory)) == expected


async def test_ids_that_come_back_are_stored_beside_a_checkpointer_too(memory, ask):
    """LangGraph puts the new answer in the old one's place in its state; here each has a place of its own."""
    model = Player(lines=[AIMessage(f"a{n}", id="0") for n in range(3)])
    agent = create_agent(
        model, [], middleware=[remembers(memory, mode="log-only")], checkpointer=InMemorySaver()
    )
    for n in range(3):
        await ask(agent, f"q{n}")
    assert texts(await stored(memory)) == [text for n in range(3) for text in (f"q{n}", f"a{n}")]


@pytest.mark.parametrize("how", ["window", "log-only"])
@pytest.mark.parametrize("erase", ["clear", "delete_conversation"])
@pytest.mark.parametrize("inner", [False, True], ids=["agent", "agent in a graph"])
async def test_what_was_erased_does_not_come_back_from_a_checkpointer(memory, ask, mode, how, erase, inner):
    agent = create_agent(Player(), [], middleware=[remembers(memory, mode=how)], checkpointer=None)
    if inner:
        graph = StateGraph(MessagesState)
        graph.add_node("agent", agent)
        graph.add_edge(START, "agent")
        agent = graph.compile(checkpointer=InMemorySaver())
    else:
        agent = create_agent(
            Player(), [], middleware=[remembers(memory, mode=how)], checkpointer=InMemorySaver()
        )
    await ask(agent, "my diagnosis")
    await ask(agent, "second")
    await getattr(memory, erase)("c", **MINE)
    await ask(agent, "new")
    assert texts(await stored(memory)) == ["new", reply_to("new")]
    await ask(agent, "newer")
    assert texts(await stored(memory)) == ["new", reply_to("new"), "newer", reply_to("newer")]
    assert (await memory.get_conversation("c", **MINE)).title == "new"


@pytest.mark.parametrize("fixed", [True, False], ids=["named by the middleware", "named by the run"])
async def test_an_agent_that_another_one_calls_is_not_the_user(memory, ask, mode, fixed):
    names = {"conversation_id": "c", "user_id": "ana"} if fixed else {}
    inner = create_agent(Player(lines=[AIMessage("42")]), [], middleware=[remembers(memory, **names)])

    @tool
    async def aresearch(q: str) -> str:
        """Research."""
        return (await inner.ainvoke({"messages": [("human", f"internal: {q}")]}))["messages"][-1].text

    @tool
    def research(q: str) -> str:
        """Research."""
        return inner.invoke({"messages": [("human", f"internal: {q}")]})["messages"][-1].text

    used = aresearch if mode == "ainvoke" else research
    model = Player(lines=[call(used.name, "t1", q="x"), AIMessage("It is 42.")])
    agent = create_agent(model, [used], middleware=[remembers(memory, **names)])
    state = await ask(agent, "ask research", CONFIG if not fixed else {})
    assert await stored(memory) == state["messages"]
    assert texts(state["messages"]) == ["ask research", "", "42", "It is 42."]


async def test_an_agent_that_another_one_calls_may_have_a_conversation_of_its_own(memory, ask, mode):
    ours = remembers(memory, conversation_id="research", user_id="ana")
    inner = create_agent(Player(lines=[AIMessage("42")]), [], middleware=[ours])

    @tool
    async def research() -> str:
        """Research."""
        return (await inner.ainvoke({"messages": [("human", "x")]}))["messages"][-1].text

    @tool
    def blocking_research() -> str:
        """Research."""
        return inner.invoke({"messages": [("human", "x")]})["messages"][-1].text

    used = research if mode == "ainvoke" else blocking_research
    agent = create_agent(
        Player(lines=[call(used.name, "t1"), AIMessage("ok")]), [used], middleware=[remembers(memory)]
    )
    await ask(agent, "go")
    assert texts(await stored(memory, "research")) == ["x", "42"]
    assert texts(await stored(memory)) == ["go", "", "42", "ok"]


async def test_agents_one_after_the_other_in_a_graph_are_one_turn(memory, ask):
    graph = StateGraph(MessagesState)
    for name, line in (("first", "draft"), ("second", "final")):
        graph.add_node(
            name, create_agent(Player(lines=[AIMessage(line)]), [], middleware=[remembers(memory)])
        )
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    state = await ask(graph.compile(), "go")
    assert texts(await stored(memory)) == ["go", "draft", "final"]
    assert await stored(memory) == state["messages"]


async def test_an_edit_of_the_requests_messages_in_place_is_kept(memory, ask):
    from langchain.agents.middleware import AgentMiddleware

    class Reminder(AgentMiddleware):
        def wrap_model_call(self, request, handler):
            request.messages.append(HumanMessage("be brief"))
            return handler(request)

        async def awrap_model_call(self, request, handler):
            request.messages.append(HumanMessage("be brief"))
            return await handler(request)

    for at, order in enumerate(([Reminder(), remembers(memory)], [remembers(memory), Reminder()])):
        model = Player(lines=[AIMessage(f"a{at}")])
        state = await ask(create_agent(model, [], middleware=order), f"q{at}")
        assert texts(state["messages"]) == [f"q{at}", "be brief", f"a{at}"]
        assert texts(model.prompts[0])[-2:] == [f"q{at}", "be brief"]
    assert texts(await stored(memory)) == ["q0", "be brief", "a0", "q1", "be brief", "a1"]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("how", ["window", "log-only"])
async def test_an_edited_fork_that_goes_on_is_stored_with_its_new_words(memory, ask, how, place):
    """Time travel: the state before a question was answered, with other words in it, and no new input."""
    model = Player()
    agent = create_agent(model, [], middleware=[remembers(memory, mode=how)], checkpointer=InMemorySaver())
    for n in range(3):
        state = await ask(agent, f"q{n}")
    asked = state["messages"][2 * place]
    there = next(
        one
        for one in agent.get_state_history(CONFIG)
        if one.values.get("messages") and one.values["messages"][-1].id == asked.id
    )
    fork = agent.update_state(there.config, {"messages": [HumanMessage("edited", id=asked.id)]})
    state = await ask(agent, None, {"configurable": CONFIG["configurable"] | fork["configurable"]})
    said = [text for n in range(3) for text in (f"q{n}", reply_to(f"q{n}"))]
    assert texts(await stored(memory)) == [*said, "edited", reply_to("edited")]
    assert texts(model.prompts[-1]) == texts(state["messages"])[:-1]


@pytest.mark.parametrize("form", ["blocks", "text"])
async def test_a_transcript_is_known_whatever_its_texts_are_written_as(memory, ask, form):
    """Stored as blocks with results of tools in a human message, and sent again as a front end has it."""
    words = [{"type": "output_text", "text": "two "}, {"type": "text", "text": "days"}]
    asks = [{"type": "tool_use", "id": "t", "name": "look", "input": {}}]
    result = [{"type": "tool_result", "tool_use_id": "t", "content": "20"}]
    talk = [HumanMessage("how many?"), AIMessage(asks), HumanMessage(result), AIMessage(words)]
    await memory.save_messages("c", talk, **MINE)
    model = Player(lines=[AIMessage("fine")])
    agent = create_agent(model, [], middleware=[remembers(memory)])
    again = AIMessage(words if form == "blocks" else "two days")
    await ask(agent, {"messages": [HumanMessage("how many?"), again, HumanMessage("thanks")]})
    assert [m.text for m in (await stored(memory))[4:]] == ["thanks", "fine"]
