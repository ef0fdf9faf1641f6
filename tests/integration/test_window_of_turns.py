"""Windows counted in turns and tokens: whole turns, however many messages they are, in one read."""

from __future__ import annotations

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from convmemory import ConfigurationError, InvalidArgument
from convmemory.ids import conversation_key
from fix_agents import MINE, call, remembers
from fix_memory import is_blocking, read, texts
from scripted_agents import Player


def turn(n, steps=2):
    """A turn of 2 + 2 * steps messages."""
    said = [HumanMessage(f"q{n}")]
    for step in range(steps):
        name = f"{n}-{step}"
        said += [call("step", name), ToolMessage(f"did {name}", tool_call_id=name)]
    return [*said, AIMessage(f"a{n}")]


def flat(turns):
    return [message for one in turns for message in one]


async def questions(history):
    return [m.text for m in await read(history) if m.type == "human"]


@pytest.mark.parametrize("warm", [True, False])
async def test_the_newest_turns_are_shown_whole(memory, keyspace, warm):
    turns = [turn(n) for n in range(12)]
    for n, one in enumerate(turns):
        await memory.save_messages("c", one, **MINE)
        if warm:
            assert await read(memory.history("c", max_turns=6, **MINE)) == flat(turns[: n + 1][-6:])
    counters = memory.redis.health.counters
    misses = counters.misses
    for count in (1, 2, 6, 11, 12, 50):
        if not warm:
            keyspace.expire()
        assert await read(memory.history("c", max_turns=count, **MINE)) == flat(turns[-count:])
    assert counters.misses - misses == (0 if warm else 6)


async def test_a_window_that_others_filled_is_filled_again_once(memory, keyspace):
    turns = [turn(n) for n in range(12)]
    for one in turns:
        await memory.save_messages("c", one, **MINE)
    keyspace.expire()
    await read(memory.history("c", max_messages=6, **MINE))
    counters = memory.redis.health.counters
    misses = counters.misses
    for _ in range(3):
        assert await questions(memory.history("c", max_turns=6, **MINE)) == [f"q{n}" for n in range(6, 12)]
    assert counters.misses - misses == 1


async def test_turns_are_bounded_by_hard_max_and_by_max_messages(schema, make_memory):
    memory = await make_memory(hard_max_messages=20)
    for n in range(12):
        await memory.save_messages("c", turn(n), **MINE)
    for _ in range(2):
        assert await questions(memory.history("c", max_turns=6, **MINE)) == ["q9", "q10", "q11"]
        assert await questions(memory.history("c", max_turns=6, max_messages=13, **MINE)) == ["q10", "q11"]
        assert await questions(memory.history("c", max_turns=1, max_messages=13, **MINE)) == ["q11"]
    await memory.save_messages("d", turn(0, steps=20), **MINE)
    assert len(await read(memory.history("d", max_turns=6, **MINE))) == 20


async def test_what_comes_before_the_first_question_is_shown_while_all_turns_are(memory):
    await memory.save_messages("c", [AIMessage("welcome"), *turn(0), *turn(1)], **MINE)
    for _ in range(2):  # as it is filled, and as it is served
        assert (await read(memory.history("c", max_turns=2, **MINE)))[0].text == "welcome"
        assert (await read(memory.history("c", max_turns=1, **MINE)))[0].text == "q1"


def letters(messages):
    return sum(len(m.text) for m in messages)


async def test_tokens_bound_every_door_of_a_history(memory):
    for n in range(4):
        await memory.save_messages("c", [HumanMessage(f"{n}" * 10), AIMessage("a" * 10)], **MINE)
    history = memory.history("c", max_messages=None, max_tokens=45, token_counter=letters, **MINE)
    assert texts(await read(history)) == ["2" * 10, "a" * 10, "3" * 10, "a" * 10]
    window = history.window() if is_blocking(history) else await history.awindow()
    assert len(window) == 4
    with pytest.raises(ConfigurationError, match="token_counter"):
        memory.history("c", max_tokens=45, **MINE)
    with pytest.raises(InvalidArgument, match="max_turns"):
        memory.history("c", max_turns=0, **MINE)
    with pytest.raises(InvalidArgument, match="token_counter: must be a function"):
        memory.history("c", max_tokens=45, token_counter="model", **MINE)
    for budget, counter in ((0, letters), ("45", letters), (45, "model")):
        with pytest.raises(InvalidArgument, match=r"^(max_tokens|token_counter): must be"):
            await history.awindow(max_tokens=budget, token_counter=counter)


async def test_an_agent_is_shown_six_turns_in_one_read(memory, ask):
    @tool
    def step() -> str:
        """Step."""
        return "done"

    model = Player()
    agent = create_agent(model, [step], middleware=[remembers(memory)])
    for n in range(9):
        model.lines = [call("step", f"{n}-1"), call("step", f"{n}-2"), AIMessage(f"a{n}")]
        counters = memory.redis.health.counters
        reads = counters.hits + counters.misses
        await ask(agent, f"q{n}")
        assert counters.hits + counters.misses - reads == 1
    said = [m.text for m in model.prompts[-1] if m.type == "human"]
    assert said == [f"q{n}" for n in range(2, 9)]
    assert model.invalid == []


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ({"max_turns": 2}, ["q6", "q7", "q8"]),
        ({"max_messages": 2}, ["q7", "q8"]),
        ({"max_messages": None}, [f"q{n}" for n in range(9)]),
        ({"max_messages": None, "max_tokens": 8, "token_counter": letters}, ["q6", "q7", "q8"]),
    ],
    ids=["turns", "messages", "all", "tokens"],
)
async def test_an_agents_window_can_be_sized(memory, ask, size, said):
    model = Player()
    agent = create_agent(model, [], middleware=[remembers(memory, **size)])
    for n in range(9):
        model.lines = [AIMessage(f"a{n}")]
        await ask(agent, f"q{n}")
    assert [m.text for m in model.prompts[-1] if m.type == "human"] == said


async def test_results_in_a_human_message_begin_no_turn(memory):
    """Anthropic's shape: what only carries results is part of the turn that called."""

    def turn_of_blocks(n):
        blocks = [{"type": "tool_use", "id": f"t{n}", "name": "step", "input": {}}]
        calling = [{"name": "step", "args": {}, "id": f"t{n}"}]
        result = [{"type": "tool_result", "tool_use_id": f"t{n}", "content": "done"}]
        return [
            HumanMessage(f"q{n}"),
            AIMessage(blocks, tool_calls=calling),
            HumanMessage(result),
            AIMessage(f"a{n}"),
        ]

    turns = [turn_of_blocks(n) for n in range(5)]
    for n, one in enumerate(turns):
        await memory.save_messages("c", one, **MINE)
        assert await read(memory.history("c", max_turns=2, **MINE)) == flat(turns[max(0, n - 1) : n + 1])


BLOCKS = {
    "text": [{"type": "text", "text": "hello"}],
    "picture": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
    "about results": [{"type": "text", "text": "what is a tool_result?"}],
}


@pytest.mark.parametrize("kind", BLOCKS)
async def test_turns_of_blocks_are_turns_for_the_window_too(memory, kind):
    """No more is handed over than the turns that are asked for, unless a person speaks of what results of tools look like."""
    for n in range(40):
        await memory.save_messages("c", [HumanMessage(BLOCKS[kind]), AIMessage(f"a{n}")], **MINE)
    # as the first one of a new conversation does, this fills the window
    await read(memory.history("c", **MINE))
    counters, key = memory.redis.health.counters, conversation_key("c", "ana")
    misses = counters.misses
    snapshot = await memory._store.read(key, 50, 50, 3)
    if kind != "about results":
        assert (counters.misses - misses, len(snapshot.entries)) == (0, 6)
    assert 6 <= len(snapshot.entries) <= 50
    assert texts(await read(memory.history("c", max_turns=3, **MINE)))[1::2] == ["a37", "a38", "a39"]


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_never_fewer_turns_are_handed_over_than_are_there(memory, count):
    """Results of tools in a human message begin no turn, in whichever provider's words."""
    results = [
        {"type": "tool_result", "tool_use_id": "t", "content": "x"},
        {"functionResponse": {"name": "f", "response": {}}},
        {"function_response": {"name": "f", "response": {}}},
        {"toolResult": {"toolUseId": "t", "content": []}},
        {"type": "function_call_output", "call_id": "t", "output": "x"},
        {"type": "non_standard", "value": {"type": "tool_result", "tool_use_id": "t", "content": "x"}},
    ]
    for n in range(6):
        steps = [m for one in results for m in (AIMessage("calls"), HumanMessage([one]))]
        said = HumanMessage([{"type": "text", "text": f"q{n}"}] if n % 2 else f"q{n}")
        await memory.save_messages("c", [said, *steps[: 2 * n], AIMessage(f"a{n}")], **MINE)
    window = await read(memory.history("c", max_turns=count, **MINE))
    assert [m.text for m in window if m.text.startswith("q")] == [f"q{n}" for n in range(6 - count, 6)]
