"""The Agents SDK's own session as the measure: whatever a program does with either, the same items are in both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    Runner,
    SQLiteSession,
    function_tool,
    input_guardrail,
    output_guardrail,
    set_tracing_disabled,
)
from agents.memory import SessionSettings
from agents.testing import ScriptedModel, assistant_message, function_call

from convmemory.openai_agents import ConversationSession

set_tracing_disabled(True)
Drive = Callable[[Agent[Any], Any], Awaitable[list[Any]]]


@pytest.fixture
async def sessions(make_memory: Any, schema: str) -> AsyncIterator[list[Any]]:
    theirs = SQLiteSession("s", ":memory:")
    yield [theirs, ConversationSession(await make_memory(), "s", user_id="ana")]
    theirs.close()


@pytest.fixture
def colour() -> str:
    return "awaited"


@function_tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@function_tool
def fails() -> str:
    """Fail."""
    raise ValueError("no")


def calls(name: str, *made: dict[str, Any]) -> list[Any]:
    return [function_call(name, json.dumps(one), call_id=f"c{n}") for n, one in enumerate(made)]


TALKS: dict[str, Callable[[], list[Any]]] = {
    "words": lambda: [[assistant_message("a1")], [assistant_message("a2")]],
    "a call": lambda: [
        calls("add", {"a": 1, "b": 2}),
        [assistant_message("a1")],
        [assistant_message("a2")],
    ],
    "calls side by side": lambda: [
        calls("add", {"a": 1, "b": 2}, {"a": 3, "b": 4}),
        [assistant_message("a1")],
        [assistant_message("a2")],
    ],
    "a tool that fails": lambda: [calls("fails", {}), [assistant_message("a1")], [assistant_message("a2")]],
}


async def asked(agent: Agent[Any], session: Any, **options: Any) -> list[Any]:
    return [(await Runner.run(agent, said, session=session, **options)).final_output for said in ("q1", "q2")]


async def streamed(agent: Agent[Any], session: Any) -> list[Any]:
    answers = []
    for said in ("q1", "q2"):
        run = Runner.run_streamed(agent, said, session=session)
        async for _ in run.stream_events():
            pass
        answers.append(run.final_output)
    return answers


def cancelled(mode: Any) -> Drive:
    async def drive(agent: Agent[Any], session: Any) -> list[Any]:
        run = Runner.run_streamed(agent, "q1", session=session)
        seen = 0
        async for _ in run.stream_events():
            seen += 1
            if seen == 2:
                run.cancel(mode=mode)
        await asyncio.sleep(0.1)
        return [(await Runner.run(agent, "q2", session=session)).final_output is not None]

    return drive


async def stopped(agent: Agent[Any], session: Any) -> list[Any]:
    how: Any = "done"
    try:
        await Runner.run(agent, "q1", session=session, max_turns=1)
    except MaxTurnsExceeded as error:
        how = type(error).__name__
    return [how, (await Runner.run(agent, "q2", session=session)).final_output is not None]


async def merged(agent: Agent[Any], session: Any) -> list[Any]:
    config = RunConfig(session_input_callback=lambda history, new: history[-2:] + new)
    answers = []
    for said in ("q1", "q2"):
        given: list[Any] = [{"role": "user", "content": said}]
        answers.append((await Runner.run(agent, given, session=session, run_config=config)).final_output)
    return answers


async def limited(agent: Agent[Any], session: Any) -> list[Any]:
    return await asked(agent, session, run_config=RunConfig(session_settings=SessionSettings(limit=1)))


DRIVES: dict[str, Drive] = {
    "run": asked,
    "streamed": streamed,
    "cancelled": cancelled("immediate"),
    "cancelled after the turn": cancelled("after_turn"),
    "stopped": stopped,
    "merged": merged,
    "limited": limited,
}


def without_ids(items: Any) -> Any:
    """The SDK makes ids anew in each run."""
    if isinstance(items, dict):
        return {name: without_ids(value) for name, value in items.items() if name != "id"}
    return [without_ids(item) for item in items] if isinstance(items, list) else items


async def agree(sessions: list[Any], drive: Drive, make: Callable[[], Agent[Any]]) -> None:
    came = [(await drive(make(), session), without_ids(await session.get_items())) for session in sessions]
    assert came[1] == came[0]
    assert came[0][1]


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("drive", DRIVES)
async def test_a_run_leaves_the_same_items(sessions, talk, drive):
    await agree(
        sessions,
        DRIVES[drive],
        lambda: Agent(name="A", model=ScriptedModel(TALKS[talk]()), tools=[add, fails]),
    )


@pytest.mark.parametrize("drive", ["run", "streamed"])
async def test_a_hand_off_leaves_the_same_items(sessions, drive):
    def make():
        other = Agent(
            name="B", model=ScriptedModel([[assistant_message("from b")], [assistant_message("again")]])
        )
        first = ScriptedModel([calls("transfer_to_b", {}), [assistant_message("a2")]])
        return Agent(name="A", model=first, handoffs=[other])

    await agree(sessions, DRIVES[drive], make)


@input_guardrail
async def no_first_question(_context, _agent, given):
    return GuardrailFunctionOutput(output_info="", tripwire_triggered="q1" in str(given))


@output_guardrail
async def no_first_answer(_context, _agent, answer):
    return GuardrailFunctionOutput(output_info="", tripwire_triggered="a1" in str(answer))


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    "guards", [{"input_guardrails": [no_first_question]}, {"output_guardrails": [no_first_answer]}]
)
@pytest.mark.parametrize("talk", ["words", "a call"])
async def test_a_tripwire_leaves_the_same_items(sessions, talk, guards, streams):
    async def drive(agent, session):
        try:
            if streams:
                run = Runner.run_streamed(agent, "q1", session=session)
                async for _ in run.stream_events():
                    pass
            else:
                await Runner.run(agent, "q1", session=session)
        except (InputGuardrailTripwireTriggered, OutputGuardrailTripwireTriggered) as tripped:
            return [type(tripped)]
        return []

    def make():
        return Agent(name="A", model=ScriptedModel(TALKS[talk]()), tools=[add], **guards)

    came = [(await drive(make(), one), without_ids(await one.get_items())) for one in sessions]
    assert came[1] == came[0]
    assert came[0][0] != []


ITEMS: list[Any] = [
    {"role": "user", "content": "hi"},
    {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "a"},
            {"type": "input_image", "image_url": "data:x", "detail": "auto"},
        ],
    },
    {"type": "item_reference", "id": "x"},
    {"role": "developer", "content": "d"},
    {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "zz"},
    {"type": "mcp_call", "id": "m", "name": "n", "arguments": "{}", "server_label": "l"},
    {"type": "compaction", "id": "c", "encrypted_content": "e"},
    {
        "type": "apply_patch_call",
        "call_id": "p",
        "operation": {"type": "delete_file", "path": "a"},
        "status": "completed",
    },
    {"type": "apply_patch_call_output", "call_id": "p", "status": "completed"},
    {"role": "user", "content": "hi", "extra": None, "number": 1.5, "big": 2**70},
]


async def test_items_of_every_kind_are_read_limited_and_taken_back_alike(sessions):
    theirs, ours = sessions
    for session in sessions:
        await session.add_items(ITEMS)
        await session.add_items([])
    for limit in (None, 0, 1, 3, 99):
        assert await ours.get_items(limit) == await theirs.get_items(limit)
    (await ours.get_items())[1]["content"][0]["text"] = "changed by who read it"
    assert await ours.get_items() == ITEMS
    for _ in (*ITEMS, None):
        assert await ours.pop_item() == await theirs.pop_item()
    for session in sessions:
        await session.add_items(ITEMS[:2])
        await session.clear_session()
        assert await session.get_items() == []
