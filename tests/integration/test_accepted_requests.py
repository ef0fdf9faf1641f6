"""What goes to a model is accepted by it, whatever was stored and however it came to an end."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from api_rules import anthropic_refuses, openai_refuses
from convmemory import Draft, InvalidArgument
from convmemory.dialects.anthropic import anthropic_messages
from convmemory.dialects.openai_chat import chat_messages
from convmemory.windows.cutting import recent
from convmemory.windows.tool_pairing import for_prompt, in_order
from fix_memory import add, is_blocking, read, texts
from pairing import pairing_errors

ADA = {"user_id": "ada"}
RUNS = json.loads(
    Path(os.environ.get("CONVMEMORY_TEST_RUNS") or Path(__file__).with_name("recorded_runs.json")).read_text()
)
"""Recorded runs of agents, ``[{task_id, messages}]`` in the Chat Completions format; the variable names others."""
SIZES = (2, 6, None)


def calls(*names, text=""):
    return AIMessage(text, tool_calls=[{"name": "f", "args": {}, "id": name} for name in names])


def result(name):
    return ToolMessage(f"result of {name}", tool_call_id=name)


def use(name):
    return {"type": "tool_use", "id": name, "name": "f", "input": {}}


def told(name):
    return {"type": "tool_result", "tool_use_id": name, "content": f"result of {name}"}


async def shown(history):
    """What a chain's model is shown of earlier turns, the way this history's colour is run."""
    seen = []
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])

    def answer(prompted):
        seen.extend(prompted.to_messages())
        raise LookupError

    chain = RunnableWithMessageHistory(
        prompt | RunnableLambda(answer),
        lambda session_id: history,  # noqa: ARG005 - LangChain passes it by name
        input_messages_key="question",
        history_messages_key="history",
    )
    config = {"configurable": {"session_id": history.conversation_id}}
    with suppress(LookupError):  # so that nothing is stored
        if is_blocking(history):
            chain.invoke({"question": "and?"}, config)
        else:
            await chain.ainvoke({"question": "and?"}, config)
    return seen[:-1]


async def wrong_requests(memory, name, limit):
    """What a model would refuse of each way a conversation is read for one."""
    history = memory.history(name, **ADA, max_messages=limit)
    window = history.window() if is_blocking(history) else await history.awindow()
    chain = await shown(history)
    assert chain == window  # a chain's model sees the same
    return {
        "langchain": pairing_errors(await memory.get_history(name, limit, **ADA)),
        "openai": openai_refuses(await memory.get_history(name, limit, **ADA, format="openai")),
        "anthropic": anthropic_refuses(await memory.get_history(name, limit, **ADA, format="anthropic")),
        "window": pairing_errors(window),
        "chain": pairing_errors(chain),
    }


ACCEPTED = {"langchain": [], "openai": [], "anthropic": [], "window": [], "chain": []}


# Recorded runs, broken off


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"task-{run['task_id']}-{run.get('trial', 0)}")
async def test_a_run_that_breaks_off_anywhere_goes_on(make_memory, schema, run):
    """Stored message by message; after each the process is gone, and somebody else reads for the next request."""
    memory = await make_memory()
    broken = 0
    for told_ in run["messages"]:
        await memory.save_messages("run", told_, **ADA)
        for limit in SIZES:
            assert await wrong_requests(memory, "run", limit) == ACCEPTED
        broken += bool(pairing_errors(await read(memory.history("run", **ADA, max_messages=None))))
    unanswered = sum(len(m.get("tool_calls") or ()) for m in run["messages"])
    assert broken == unanswered  # what is stored has them all the same


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"task-{run['task_id']}-{run.get('trial', 0)}")
@pytest.mark.parametrize("question", [False, True])
def test_a_window_of_a_run_cut_anywhere_is_accepted(run, question):
    messages = convert_to_messages(run["messages"])
    for at in range(1, len(messages) + 1):
        talk = [*messages[:at], *([HumanMessage("are you there?")] if question else [])]
        for size in range(1, 12):
            window = recent(talk, size, hard_max=9)
            assert pairing_errors(for_prompt(window)) == []
            assert openai_refuses(chat_messages(in_order(window))) == []
            assert anthropic_refuses(anthropic_messages(in_order(window))) == []


# Situations


TALKS = {
    "a crash before the result": [HumanMessage("go"), calls("1"), HumanMessage("are you there?")],
    "a crash between two results": [HumanMessage("go"), calls("1", "2"), result("1"), HumanMessage("are you there?")],
    "turns that overlap": [HumanMessage("go"), calls("1"), HumanMessage("and"), result("1"), AIMessage("a"), AIMessage("b")],
    "calls stored one by one": [HumanMessage("go"), calls("1"), calls("2"), result("1"), result("2"), AIMessage("a")],
    "an id used again": [HumanMessage("q"), calls("1"), result("1"), HumanMessage("q"), calls("1"), HumanMessage("q"), calls("1"),
                         result("1")],
    "a result alone": [result("1"), HumanMessage("go")],
    "anthropic's, broken off": [HumanMessage("go"), AIMessage([{"type": "text", "text": "wait"}, use("1")]), HumanMessage("?")],
    "anthropic's, results in a human message": [HumanMessage("go"), AIMessage([use("1"), use("2")]),
                                                HumanMessage([told("1"), told("2")]), AIMessage("a")],
    "anthropic's, with words": [HumanMessage("go"), AIMessage([use("1")]),
                                HumanMessage([told("1"), {"type": "text", "text": "hurry"}]), AIMessage("a")],
    "a greeting first": [AIMessage("How can I help?"), HumanMessage("go"), AIMessage("")],
    "a system message": [SystemMessage("be brief"), HumanMessage("go"), AIMessage("a")],
    "a structured answer": [HumanMessage("go"), calls("1"), HumanMessage("and"), calls("2"), HumanMessage("and")],
}  # fmt: skip


@pytest.mark.parametrize("talk", TALKS.values(), ids=list(TALKS))
async def test_the_next_request_is_accepted(memory, talk):
    for message in talk:
        await memory.save_messages("c", message, **ADA)
    for limit in (*range(1, 9), None):
        for _ in range(2):  # from PostgreSQL, then from the window
            assert await wrong_requests(memory, "c", limit) == ACCEPTED
    assert await read(memory.history("c", **ADA, max_messages=None)) == talk


async def test_a_turn_longer_than_a_window_may_be_is_accepted(make_memory, schema):
    memory = await make_memory(hard_max_messages=7)
    talk = [HumanMessage("go")]
    for n in range(6):
        talk += [calls(f"{n}a", f"{n}b", text="next"), result(f"{n}a"), result(f"{n}b")]
        await memory.save_messages("c", talk[-3:] if n else talk, **ADA)
        for limit in SIZES:
            assert await wrong_requests(memory, "c", limit) == ACCEPTED


async def test_a_window_begins_where_a_person_speaks(memory):
    """Results in a human message, as Anthropic has them, begin nothing: in PostgreSQL, in Redis, and when popped."""
    for n in range(3):
        talk = [
            HumanMessage(f"q{n}"),
            AIMessage([use(f"{n}")]),
            HumanMessage([told(f"{n}")]),
            AIMessage(f"a{n}"),
        ]
        await memory.save_messages(
            "c", [m.model_copy(update={"id": f"{n}.{at}"}) for at, m in enumerate(talk)], **ADA
        )
        for limit in (1, 3, 4):
            found = await memory.get_history("c", limit, **ADA)
            assert [message.type for message in found] == ["human", "ai", "human", "ai"]
            assert found[0].content == f"q{n}"
    assert [m.role for m in await memory.get_messages("c", **ADA)] == ["human", "ai", "tool", "ai"] * 3
    again = [HumanMessage([told("2")], id="2.2"), AIMessage("a2", id="2.3"), AIMessage([use("3")], id="3.1"),
             HumanMessage([told("3")], id="3.2")]  # fmt: skip
    # some are there already: PostgreSQL looks for the newest turn itself
    await memory.save_messages("c", again, **ADA)
    assert texts(await memory.get_history("c", 2, **ADA))[0] == "q2"


async def test_a_turn_is_found_again_when_its_end_is_taken_back(memory):
    await memory.save_messages(
        "c", [HumanMessage("q0"), AIMessage("a0"), HumanMessage("q1"), AIMessage([use("1")])], **ADA
    )
    await memory.save_messages("c", [HumanMessage([told("1")]), HumanMessage("q2")], **ADA)
    await memory._store.pop(memory.history("c", **ADA)._key)

    assert texts(await memory.get_history("c", 1, **ADA))[0] == "q1"


async def test_a_conversation_of_anthropics_dicts_comes_back_as_it_was(memory):
    talk = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "text", "text": "let me look"}, use("t1")]},
        {"role": "user", "content": [told("t1")]},
        {"role": "assistant", "content": [{"type": "text", "text": "done"}]},
    ]
    await memory.save_messages("c", [{"role": "system", "content": "be brief"}, *talk], **ADA)
    found = await memory.get_history("c", **ADA, format="anthropic")

    assert found == talk
    assert found.system == [{"type": "text", "text": "be brief"}]
    assert await memory.for_user("ada").get_history("c", 3, format="anthropic") == talk
    assert openai_refuses(await memory.get_history("c", **ADA, format="openai")) == []
    assert (await memory.get_conversation("c", **ADA)).title == "go"


async def test_a_prompt_is_no_longer_than_its_budget_and_still_accepted(memory):
    both = HumanMessage([told("1"), {"type": "text", "text": "hurry"}])
    await memory.save_messages("c", [HumanMessage("go"), AIMessage([use("1")]), both, AIMessage("a")], **ADA)
    history = memory.history("c", **ADA)
    wanted = {"max_tokens": 2, "token_counter": len}
    found = history.window(**wanted) if is_blocking(history) else await history.awindow(**wanted)

    assert [message.text for message in found] == ["hurry", "a"]
    assert pairing_errors(found) == []


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: [HumanMessage("q"), m], lambda m: (m,), lambda m: {"role": "remove", "content": "", "id": m.id}])  # fmt: skip
async def test_an_order_to_delete_is_refused_and_nothing_is_stored(memory, wrap):
    await memory.save_messages("c", [HumanMessage("q", id="1"), AIMessage("a", id="2")], **ADA)
    history = memory.history("c", **ADA)
    with pytest.raises(InvalidArgument, match=r"^messages: item \d "):
        await memory.save_messages("c", wrap(RemoveMessage(id="2")), **ADA)
    with pytest.raises(InvalidArgument, match="RemoveMessage"):
        await add(history, [RemoveMessage(id="2")])
    with pytest.raises(InvalidArgument, match="RemoveMessage"):
        Draft(RemoveMessage(id="2"))

    assert texts(await memory.get_history("c", **ADA)) == ["q", "a"]


async def test_a_system_message_leaves_the_window_with_its_turn(memory):
    talk = [
        SystemMessage("be brief"),
        *(m for n in range(4) for m in (HumanMessage(f"q{n}"), AIMessage(f"a{n}"))),
    ]
    await memory.save_messages("c", talk[:5], **ADA)
    assert (await memory.get_history("c", **ADA))[0] == talk[0]
    await memory.save_messages("c", talk[5:], **ADA)

    assert texts(await memory.get_history("c", **ADA)) == ["q1", "a1", "q2", "a2", "q3", "a3"]
