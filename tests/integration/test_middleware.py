"""``ConversationMemoryMiddleware`` in real agents: what was played is what is stored, and no prompt a provider rejects."""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, SummarizationMiddleware
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import create_retriever_tool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from convmemory import (
    AsyncOnly,
    ConfigurationError,
    ConversationNotFound,
    InvalidArgument,
    PostgresStore,
    StorageUnavailable,
)
from convmemory.middleware import ConversationMemoryMiddleware
from fix_agents import CONFIG, MINE, call, remembers, stored
from fix_memory import texts
from pairing import pairing_errors
from scripted import Shelf, reply_to
from scripted_agents import Player, recorded, tools_of, turns_of

RUNS = json.loads(
    Path(os.environ.get("CONVMEMORY_TEST_RUNS") or Path(__file__).with_name("recorded_runs.json")).read_text()
)
"""Recorded runs of agents, ``[{task_id, messages}]`` in the Chat Completions format; the variable names others."""


pytestmark = pytest.mark.usefixtures("no_run_left")


def without_ids(messages):
    """Messages as they were recorded: without the ids, names and figures that playing them adds."""
    return [
        (
            m.type,
            m.text,
            [(c["name"], c["args"], c["id"]) for c in getattr(m, "tool_calls", [])],
            getattr(m, "tool_call_id", None),
        )
        for m in messages
    ]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"run {run['task_id']}")
@pytest.mark.parametrize("size", [None, 6])
async def test_what_was_played_is_what_is_stored(memory, ask, run, size):
    turns = turns_of(recorded(run["messages"]))
    played = [message for turn in turns for message in turn]
    model = Player(lines=[m for m in played if isinstance(m, AIMessage)])
    agent = create_agent(model, tools_of(played), middleware=[remembers(memory, max_messages=size)])
    for at, turn in enumerate(turns):
        version = (await memory.get_conversation("c", **MINE)).version if at else 0
        counters = memory.redis.health.counters
        reads = counters.hits + counters.misses
        await ask(agent, {"messages": [turn[0]]})
        # a full history is always PostgreSQL's
        assert size is None or counters.hits + counters.misses - reads == 1
        assert (await memory.get_conversation("c", **MINE)).version - version <= 2
    assert without_ids(await stored(memory)) == without_ids(played)
    assert model.invalid == []
    if size is None:
        assert without_ids(model.prompts[-1]) == without_ids(played[:-1])


async def test_the_window_is_shown_and_stays_out_of_the_agents_state(memory, ask):
    model = Player()
    agent = create_agent(model, [], middleware=[remembers(memory, max_messages=2)], system_prompt="Be brief.")
    for said in ("one", "two", "three"):
        state = await ask(agent, said)
        assert texts(state["messages"]) == [said, reply_to(said)]
        assert set(state) == {"messages"}
    assert texts(model.prompts[-1]) == ["Be brief.", "two", reply_to("two"), "three"]


async def test_what_the_user_said_is_stored_before_the_model_is_called(memory, ask):
    agent = create_agent(Player(lines=[RuntimeError("500")]), [], middleware=[remembers(memory)])
    with pytest.raises(RuntimeError, match="500"):
        await ask(agent, "one")
    assert texts(await stored(memory)) == ["one"]


async def test_what_a_hook_refuses_before_the_model_is_called_is_not_stored(memory, ask):
    class Fails(AgentMiddleware):
        def before_model(self, state, runtime):  # noqa: ARG002 - LangChain's
            raise ConnectionError("between the memory and the model")

    with pytest.raises(ConnectionError):
        await ask(create_agent(Player(), [], middleware=[remembers(memory), Fails()]), "one")
    assert await memory.list_user_conversations("ana") == []


async def test_a_tool_that_fails_keeps_what_the_user_said_and_the_next_turn_works(memory, ask):
    @tool
    def lookup() -> str:
        """Look."""
        raise ConnectionError("down")

    model = Player(lines=[call("lookup", "t1")])
    agent = create_agent(model, [lookup], middleware=[remembers(memory)])
    with pytest.raises(ConnectionError):
        await ask(agent, "one")
    assert texts(await stored(memory)) == ["one"]
    await ask(agent, "two")
    assert texts(await stored(memory)) == ["one", "two", reply_to("two")]
    assert model.invalid == []


async def test_an_error_of_the_memory_reaches_the_caller(schema, make_memory, postgres_proxy, ask):
    told = []
    memory = await make_memory(
        postgres_proxy.url, pool_timeout=0.5, on_write_error=lambda error, _: told.append(type(error))
    )

    @tool
    def cut() -> str:
        """Cut the wire."""
        postgres_proxy.mode = "refuse"
        postgres_proxy.reset_all()
        return "cut"

    agent = create_agent(Player(lines=[call("cut", "t1")]), [cut], middleware=[remembers(memory)])
    with pytest.raises(StorageUnavailable):
        await ask(agent, "one")
    assert told == [StorageUnavailable]
    assert texts(await stored(await make_memory())) == ["one"]


async def test_an_interrupted_turn_that_goes_on_is_stored_once(memory, ask):
    @tool
    def approve(city: str) -> str:
        """Ask."""
        return interrupt(f"{city}?")

    @tool
    def book() -> str:
        """Book."""
        return "booked"

    model = Player(lines=[call("approve", "t1", city="Oslo"), call("book", "t2")])
    agent = create_agent(model, [approve, book], middleware=[remembers(memory)], checkpointer=InMemorySaver())
    await ask(agent, "go")
    assert texts(await stored(memory)) == ["go"]
    counters = memory.redis.health.counters
    reads, version = counters.hits + counters.misses, (await memory.get_conversation("c", **MINE)).version
    state = await ask(agent, Command(resume="yes"))
    assert await stored(memory) == state["messages"]
    assert [m.type for m in state["messages"]] == ["human", "ai", "tool", "ai", "tool", "ai"]
    assert counters.hits + counters.misses - reads == 1
    assert (await memory.get_conversation("c", **MINE)).version - version == 1
    assert model.invalid == []


@pytest.mark.parametrize("how", ["window", "log-only"])
async def test_beside_a_checkpointer_both_hold_the_same_messages(memory, ask, how):
    model, saver = Player(), InMemorySaver()
    agent = create_agent(model, [], middleware=[remembers(memory, mode=how)], checkpointer=saver)
    for said in ("one", "two", "three", "four", "five"):
        state = await ask(agent, said)
    assert await stored(memory) == state["messages"]
    assert texts(model.prompts[-1]) == texts(state["messages"])[:-1]  # nothing twice
    kept = saver.get_tuple(CONFIG).checkpoint["channel_values"]
    assert "convmemory_turn" not in kept


async def test_the_config_of_a_run_is_all_a_checkpointer_needs_and_two_users_share_no_thread(memory):
    model = Player()
    agent = create_agent(
        model, [], middleware=[remembers(memory, mode="log-only")], checkpointer=InMemorySaver()
    )
    for user, said in (("ana", "one"), ("ben", "mine"), ("ana", "two")):
        config = memory.run_config(conversation_id="vacation", user_id=user)
        await agent.ainvoke({"messages": [("human", said)]}, config)
    assert texts(model.prompts[1]) == ["mine"]
    assert texts(model.prompts[2]) == ["one", reply_to("one"), "two"]


async def test_log_only_shows_the_model_nothing(memory, ask):
    model = Player()
    agent = create_agent(model, [], middleware=[remembers(memory, mode="log-only")])
    for said in ("one", "two"):
        await ask(agent, said)
    assert texts(model.prompts[-1]) == ["two"]
    assert texts(await stored(memory)) == ["one", reply_to("one"), "two", reply_to("two")]


@pytest.mark.parametrize("ours_first", [True, False])
async def test_a_summary_is_nobodys_word_and_what_it_replaces_is_stored(memory, ask, ours_first):
    """The agent's state forgets, in the middle of a turn as well; the memory does not, and keeps no summary."""

    @tool
    def step(n: int) -> str:
        """Step."""
        return f"done {n}"

    lines = [AIMessage("a0"), AIMessage("a1")]
    lines += [call("step", f"t{n}", n=n) for n in range(6)] + [AIMessage("a2"), AIMessage("a3")]
    model, writer = Player(lines=list(lines)), Player(lines=[AIMessage("SUMMARY")] * 20)
    summary = SummarizationMiddleware(model=writer, trigger=("messages", 4), keep=("messages", 2))
    ours = remembers(memory, mode="log-only")
    agent = create_agent(
        model,
        [step],
        middleware=[ours, summary] if ours_first else [summary, ours],
        checkpointer=InMemorySaver(),
    )
    for said in ("q0", "q1", "q2", "q3"):
        state = await ask(agent, said)
    assert any(m.additional_kwargs.get("lc_source") == "summarization" for m in state["messages"])
    expected = ["q0", "a0", "q1", "a1", "q2"]
    expected += [text for n in range(6) for text in ("", f"done {n}")] + ["a2", "q3", "a3"]
    found = await stored(memory)
    assert texts(found) == expected
    assert pairing_errors(found) == model.invalid == []


async def test_a_prompt_that_others_cut_is_stored_uncut(memory, ask):
    class Redacts(AgentMiddleware):
        def wrap_model_call(self, request, handler):
            return handler(
                request.override(messages=[m.model_copy(update={"content": "*"}) for m in request.messages])
            )

        async def awrap_model_call(self, request, handler):
            return await handler(
                request.override(messages=[m.model_copy(update={"content": "*"}) for m in request.messages])
            )

    agent = create_agent(Player(lines=[AIMessage("ok")]), [], middleware=[Redacts(), remembers(memory)])
    await ask(agent, "secret")
    assert texts(await stored(memory)) == ["secret", "ok"]


async def test_input_of_several_messages_is_stored_as_it_was_given(memory, ask):
    given = [HumanMessage("a", id="1"), AIMessage("b", id="2"), HumanMessage("c", id="3")]
    agent = create_agent(Player(), [], middleware=[remembers(memory)])
    await ask(agent, {"messages": given})
    # a client that sends its whole transcript
    await ask(agent, {"messages": [*given, HumanMessage("d", id="4")]})
    assert texts(await stored(memory)) == ["a", "b", "c", reply_to("c"), "d", reply_to("d")]


async def test_tokens_latency_and_what_a_tool_retrieved_are_stored_beside_the_reply(memory, ask):
    spent = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    search = create_retriever_tool(Shelf(), "search", "Search.")
    lines = [call("search", "t1", query="leave"), AIMessage("20 days", usage_metadata=spent)]
    agent = create_agent(Player(lines=lines, pause=0.02), [search], middleware=[remembers(memory)])
    await ask(agent, "how many?")
    asked, calling, _, reply = await memory.get_messages("c", **MINE)
    assert (asked.latency_ms, calling.contexts) == (None, ())
    assert calling.latency_ms >= 20
    assert (reply.tokens_used, reply.facts["input_tokens"]) == (7, 3)
    assert [c.content for c in reply.contexts] == ["leave 1", "leave 2"]
    silent = create_agent(Player(), [], middleware=[remembers(memory, telemetry=False)])
    await ask(silent, "again")
    assert (await memory.get_messages("c", **MINE))[-1].latency_ms is None


async def test_a_streamed_turn_is_stored_as_messages(memory, mode):
    agent = create_agent(Player(), [], middleware=[remembers(memory)])
    given = {"messages": [HumanMessage("one")]}
    if mode == "ainvoke":
        chunks = [chunk async for chunk, _ in agent.astream(given, CONFIG, stream_mode="messages")]
    else:
        chunks = [chunk for chunk, _ in agent.stream(given, CONFIG, stream_mode="messages")]
    found = await stored(memory)
    assert [type(m) for m in found] == [HumanMessage, AIMessage]
    assert isinstance(chunks[-1], AIMessage | AIMessageChunk)
    assert found[-1].id == chunks[-1].id


async def test_the_ids_may_be_the_middlewares_own(memory, ask):
    agent = create_agent(Player(), [], middleware=[remembers(memory, conversation_id="c", user_id="ana")])
    await ask(agent, "one", {})
    assert texts(await stored(memory)) == ["one", reply_to("one")]


@pytest.mark.parametrize(
    ("config", "missing"), [({}, "conversation_id"), ({"conversation_id": "c"}, "user_id")]
)
async def test_a_run_that_names_no_conversation_says_what_to_pass(memory, ask, config, missing):
    agent = create_agent(Player(), [], middleware=[remembers(memory)])
    with pytest.raises(ConfigurationError, match=rf"^{missing}: .*memory\.run_config"):
        await ask(agent, "one", {"configurable": config})


async def test_a_thread_names_the_conversation_where_nothing_else_does(memory, ask):
    agent = create_agent(Player(), [], middleware=[remembers(memory)])
    await ask(agent, "one", {"configurable": {"thread_id": "c", "user_id": "ana"}})
    await ask(agent, "two", {"configurable": {"thread_id": "d", "conversation_id": "c", "user_id": "ana"}})
    assert texts(await stored(memory)) == ["one", reply_to("one"), "two", reply_to("two")]
    with pytest.raises(ConfigurationError, match=r"^user_id: the run does not say"):
        await ask(agent, "three", {"configurable": {"thread_id": "c"}})


async def test_a_session_where_a_conversation_is_meant_is_told_apart(memory, ask):
    agent = create_agent(Player(), [], middleware=[remembers(memory)])
    with pytest.raises(
        ConfigurationError, match=r"^conversation_id: .* session_id, which is a visit .*run_config"
    ):
        await ask(agent, "one", {"configurable": {"session_id": "c", "user_id": "ana"}})


@pytest.mark.parametrize("wrong", ["postgresql://app:s3cr3t@db/app", None, PostgresStore(), InMemorySaver()])
def test_what_is_no_memory_is_refused_and_never_shown(wrong):
    with pytest.raises(
        InvalidArgument, match=r"^memory: must be a ConversationMemory or an Async.*from_url"
    ) as told:
        ConversationMemoryMiddleware(wrong)
    assert type(wrong).__name__ in str(told.value)
    assert "s3cr3t" not in str(told.value)


@pytest.mark.parametrize("name", ["", 7])
async def test_a_run_with_a_bad_name_is_refused(memory, ask, name):
    agent = create_agent(Player(), [], middleware=[remembers(memory)])
    with pytest.raises(InvalidArgument, match="conversation_id"):
        await ask(agent, "one", {"configurable": {"conversation_id": name, "user_id": "ana"}})


async def test_somebody_elses_conversation_fails_the_turn(memory, ask):
    conversation = await memory.create_conversation("ben")
    agent = create_agent(Player(), [], middleware=[remembers(memory)])
    with pytest.raises(ConversationNotFound):
        await ask(
            agent, "one", memory.run_config(conversation_id=conversation.conversation_id, user_id="ana")
        )


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ({"max_tokens": 100}, "token_counter: needed"),
        ({"max_tokens": 0, "token_counter": len}, "max_tokens"),
        ({"max_turns": 0}, "max_turns"),
        ({"max_messages": -1}, "max_messages"),
        ({"max_messages": "6"}, "max_messages"),
        ({"max_tokens": 100, "token_counter": "model"}, "token_counter: must be a function"),
        ({"token_counter": 4}, "token_counter: must be a function"),
        ({"conversation_id": ""}, "conversation_id"),
        ({"conversation_id": 5}, "conversation_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": 5}, "user_id"),
    ],
)
def test_a_size_or_an_id_that_is_none_is_refused_before_there_is_a_turn(blocking_memory, size, why):
    with pytest.raises((InvalidArgument, ConfigurationError), match=f"^{why}"):
        ConversationMemoryMiddleware(blocking_memory, **size)


def test_a_mode_that_is_none_is_refused(blocking_memory):
    with pytest.raises(InvalidArgument, match="mode"):
        ConversationMemoryMiddleware(blocking_memory, mode="windows")


async def test_an_async_memory_names_what_to_call(memory, colour):
    if colour == "blocking":
        pytest.skip("it serves blocking calls")
    agent = create_agent(Player(), [], middleware=[remembers(memory)])
    with pytest.raises(AsyncOnly, match="ainvoke"):
        agent.invoke({"messages": [HumanMessage("one")]}, CONFIG)


TURNS = 200


async def test_two_hundred_turns_in_tasks_are_all_stored_in_pairs(memory, colour):
    if colour == "blocking":
        pytest.skip("threads have a test of their own")
    agent = create_agent(Player(), [], middleware=[remembers(memory)])
    said = [f"q{n}" for n in range(TURNS)]
    await asyncio.gather(*(agent.ainvoke({"messages": [HumanMessage(one)]}, CONFIG) for one in said))
    assert_each_has_its_reply(texts(await stored(memory)), said)


def test_two_hundred_turns_in_threads_are_all_stored_in_pairs(schema, blocking_memory):
    agent = create_agent(Player(), [], middleware=[ConversationMemoryMiddleware(blocking_memory)])
    said = [f"q{n}" for n in range(TURNS)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda one: agent.invoke({"messages": [HumanMessage(one)]}, CONFIG), said))
    found = texts(blocking_memory.get_messages("c", **MINE, limit=10_000))
    assert_each_has_its_reply(found, said)


def assert_each_has_its_reply(found, said):
    """Every message is stored once, with its reply after it; turns that overlap may come between."""
    assert sorted(found) == sorted([*said, *map(reply_to, said)])
    assert all(found.index(one) < found.index(reply_to(one)) for one in said)


async def test_a_window_that_the_state_has_in_part_is_shown_without_torn_calls(memory, ask):
    """What is left of the window after the state's own messages are taken out is whole again."""
    calling, result = call("step", "t1"), ToolMessage("done", tool_call_id="t1", id="r1")
    before = [
        HumanMessage("q", id="q1"),
        calling.model_copy(update={"id": "c1"}),
        result,
        AIMessage("a", id="a1"),
    ]
    await memory.save_messages("c", before, **MINE)
    model = Player()
    agent = create_agent(model, [], middleware=[remembers(memory)])
    await ask(agent, {"messages": [AIMessage("", id="c1"), HumanMessage("next")]})
    assert model.invalid == []
