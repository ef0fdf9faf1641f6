"""Calls and results in the shapes of providers: seen when a window is cut, and accepted when it is shown."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call

from convmemory.dialects.calls_and_results import calls_in
from convmemory.encoding.codec import encode
from convmemory.encoding.tool_blocks import begins_turn, call_ids, result_ids
from convmemory.ids import conversation_key
from convmemory.models import Draft
from convmemory.storage.postgres_rows import prepare
from convmemory.windows.cutting import recent, within_tokens
from convmemory.windows.tool_pairing import for_prompt, in_order
from pairing import pairing_errors


def parsed(*names):
    return [{"name": "f", "args": {}, "id": name} for name in names]


def block(kind, **about):
    return {"type": kind, **about}


class Shape(NamedTuple):
    """How a provider says that it calls a tool, and how it is told the result."""

    call: object
    result: object

    def calls(self, *names, text="let me look", with_fields=False) -> AIMessage:
        said = [block("text", text=text)] if text else []
        fields = {"tool_calls": parsed(*names)} if with_fields else {}
        return AIMessage([*said, *map(self.call, names)], **fields)

    def results(self, *names, said=()) -> BaseMessage:
        return HumanMessage([*map(self.result, names), *said])


def of_tool(name):
    return ToolMessage("r", tool_call_id=name)


SHAPES = {
    "anthropic": Shape(
        lambda n: block("tool_use", id=n, name="f", input={}),
        lambda n: block("tool_result", tool_use_id=n, content="r"),
    ),
    "responses": Shape(
        lambda n: block("function_call", id=f"fc_{n}", call_id=n, name="f", arguments="{}"),
        lambda n: block("function_call_output", call_id=n, output="r"),
    ),
    "responses, another tool": Shape(
        lambda n: block("computer_call", id=f"cc_{n}", call_id=n, action={}),
        lambda n: block("computer_call_output", call_id=n, output={}),
    ),
    "gemini": Shape(
        lambda n: {"function_call": {"id": n, "name": "f", "args": {}}},
        lambda n: {"function_response": {"id": n, "name": "f", "response": {}}},
    ),
    "gemini without ids": Shape(
        lambda n: {"functionCall": {"name": n, "args": {}}},
        lambda n: {"functionResponse": {"name": n, "response": {}}},
    ),
    "bedrock": Shape(
        lambda n: {"toolUse": {"toolUseId": n, "name": "f", "input": {}}},
        lambda n: {"toolResult": {"toolUseId": n, "content": []}},
    ),
    "v1": Shape(
        lambda n: block("tool_call", id=n, name="f", args={}),
        lambda n: block("non_standard", value=block("tool_result", tool_use_id=n, content="r")),
    ),
}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))


def types(messages):
    return [message.type for message in messages]


@shapes
def test_a_message_that_only_carries_results_is_no_beginning_of_a_turn(shape):
    person = HumanMessage([*shape.results("1").content, block("text", text="and hurry")])

    assert not begins_turn(shape.results("1", "2"))
    assert begins_turn(person)
    assert begins_turn(HumanMessage([block("text", text="hi")]))
    assert begins_turn(HumanMessage([]))
    assert (call_ids(shape.calls("1", "2")), result_ids(person)) == (["1", "2"], ["1"])
    assert encode(shape.results("1")).role == "tool"
    assert encode(person).role == encode(HumanMessage([block("text", text="")])).role == "human"


@pytest.mark.parametrize(
    "blank", ["", " \n", block("text", text=" "), {"text": ""}, {"cachePoint": {"type": "default"}}]
)
def test_what_says_nothing_beside_a_result_begins_nothing(blank):
    assert not begins_turn(SHAPES["anthropic"].results("1", said=[blank]))


@pytest.mark.parametrize(
    "word", ["hi", block("image", url="u"), {"type": 5}, {"type": ["x"]}, {}, block("tool_use", id="2")]
)
def test_anything_else_beside_a_result_does(word):
    assert begins_turn(SHAPES["anthropic"].results("1", said=[word]))


@shapes
@pytest.mark.parametrize("answer", ["human", "tool"])
@pytest.mark.parametrize("with_fields", [False, True])
def test_a_window_holds_whole_turns_and_a_prompt_keeps_them(shape, answer, with_fields):
    talk = []
    for turn in range(3):
        result = shape.results(f"{turn}") if answer == "human" else of_tool(f"{turn}")
        talk += [
            HumanMessage(f"q{turn}"),
            shape.calls(f"{turn}", with_fields=with_fields),
            result,
            AIMessage("a"),
        ]
    for size in range(1, 13):
        window = recent(talk, size, hard_max=100)

        assert window[0].text.startswith("q")
        assert len(window) == max(4, size - size % 4)
        assert pairing_errors(window) == []
        assert all(a is b for a, b in zip(for_prompt(window), window, strict=True))


@shapes
@pytest.mark.parametrize("with_fields", [False, True])
def test_what_a_crash_leaves_is_not_shown(shape, with_fields):
    start, call = HumanMessage("go"), shape.calls("1", "2", with_fields=with_fields)
    silent = shape.calls("1", text="", with_fields=with_fields)
    later = [HumanMessage("are you there?"), AIMessage("yes")]

    assert pairing_errors([start, call, *later]) != []
    [_, said, *_] = found = for_prompt([start, call, *later])
    assert (types(found), said.content) == (
        ["human", "ai", "human", "ai"],
        [block("text", text="let me look")],
    )
    assert (said.tool_calls, call_ids(said)) == ([], [])
    assert types(for_prompt([start, silent, *later])) == ["human", "human", "ai"]
    assert types(for_prompt([start, silent])) == ["human"]
    # one of two was answered
    [_, said, result, *_] = found = for_prompt([start, call, shape.results("1"), *later])
    assert (call_ids(said), result_ids(result), pairing_errors(found)) == (["1"], ["1"], [])
    assert call_ids(call) == ["1", "2"]  # what was given is as it was


@shapes
def test_a_result_without_its_call_is_not_shown(shape):
    lone, person = shape.results("1"), shape.results("1", said=[block("text", text="and hurry")])

    assert for_prompt([lone]) == []
    [left] = for_prompt([person])
    assert left.content == [block("text", text="and hurry")]
    assert [m.content for m in for_prompt([AIMessage("a"), lone, HumanMessage("q")])] == ["a", "q"]


@shapes
def test_turns_that_overlap_are_told_apart(shape):
    one, two = shape.calls("1"), shape.calls("2")
    overlapping = [
        HumanMessage("q1"),
        one,
        HumanMessage("q2"),
        two,
        shape.results("2"),
        shape.results("1"),
        AIMessage("a"),
    ]
    together = [HumanMessage("q1"), one, HumanMessage("q2"), two, shape.results("1", "2"), AIMessage("a")]

    found = for_prompt(overlapping)
    assert [result_ids(m) for m in found] == [[], [], ["1"], [], [], ["2"], []]
    assert [m.content for m in found] == [overlapping[at].content for at in (0, 1, 5, 2, 3, 4, 6)]
    assert [result_ids(m) for m in for_prompt(together)] == [[], [], ["1"], [], [], ["2"], []]


@shapes
def test_results_and_words_in_one_message_stay_together(shape):
    both = shape.results("1", "2", said=[block("text", text="and hurry")])
    talk = [HumanMessage("q"), shape.calls("1", "2"), both, AIMessage("a")]
    split = [
        HumanMessage("q"),
        shape.calls("1", "2"),
        shape.results("1", said=["wait"]),
        shape.results("2"),
        AIMessage("a"),
    ]

    assert pairing_errors(talk) == []
    assert all(a is b for a, b in zip(for_prompt(talk), talk, strict=True))
    found = for_prompt(split)
    assert [result_ids(m) for m in found] == [[], [], ["1"], ["2"], [], []]
    assert found[4].content == ["wait"]


@shapes
def test_calls_that_were_stored_one_by_one_are_one_message(shape):
    one, two = shape.calls("1"), shape.calls("2", text="")
    talk = [one, two, shape.results("1"), shape.results("2")]

    assert [call_ids(m) for m in for_prompt(talk)] == [["1", "2"], [], []]
    assert in_order(talk) == talk
    assert [call_ids(m) for m in for_prompt([one, shape.calls("2"), *talk[2:]])] == [["1"], [], ["2"], []]


@shapes
def test_tokens_are_cut_without_tearing_a_turn(shape):
    person = shape.results("1", said=[block("text", text="and hurry")])
    talk = [
        HumanMessage("q"),
        shape.calls("1"),
        person,
        AIMessage("a"),
        HumanMessage("q"),
        shape.calls("2"),
        shape.results("2"),
    ]

    def by_message(messages):
        return len(messages)

    assert types(within_tokens(talk, 3, by_message)) == ["human", "ai", "human"]
    assert types(within_tokens(talk[5:], 1, by_message)) == ["ai", "human"]  # nobody speaks: between blocks


def test_a_turn_begins_where_the_rows_say_it_does():
    key = conversation_key("c", "ada")
    shape = SHAPES["anthropic"]
    talk = [HumanMessage("go"), shape.calls("1"), shape.results("1")]
    batch = prepare(key, [Draft(m) for m in talk])
    alone = prepare(key, [Draft(talk[2])])

    assert (batch.parameters()["human"], batch.parameters()["roles"]) == (1, "{human,ai,tool}")
    assert (alone.parameters()["human"], alone.title()) == (0, None)


# what providers run themselves


def server(kind, answer, name="1"):
    key = "tool_use_id" if answer != "server_tool_result" else "tool_call_id"
    return block(kind, id=name, name="web_search", input={}), {"type": answer, key: name, "content": []}


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("server_tool_use", "web_search_tool_result"),
        ("server_tool_use", "bash_code_execution_tool_result"),
        ("mcp_tool_use", "mcp_tool_result"),
        ("server_tool_call", "server_tool_result"),
    ],
)
def test_a_providers_own_tools_answer_in_the_same_message(kind, answer):
    call, result = server(kind, answer)
    found = block("text", text="found")
    whole = AIMessage([call, result, found])

    assert for_prompt([whole]) == [whole]
    # a pause between them
    assert for_prompt([AIMessage([call]), AIMessage([result, found])])[0].content == [call]
    assert for_prompt([AIMessage([found, call])])[0].content == [found]  # a stream that broke off
    assert for_prompt([AIMessage([result, found])])[0].content == [found]
    assert for_prompt([HumanMessage("q"), AIMessage([block("thinking", thinking="hm"), call])]) == [
        HumanMessage("q")
    ]
    assert (call_ids(whole), result_ids(whole)) == ([], [])


def test_openais_own_tools_are_no_calls_to_answer():
    search = block("web_search_call", id="ws_1", status="completed")

    assert for_prompt([AIMessage([search, block("text", text="a")])])[0].content[0] == search


# thoughts


def test_thoughts_go_with_the_call_they_lead_to():
    thought, said = block("thinking", thinking="hm", signature="s"), block("text", text="one moment")
    calls = [block("tool_use", id=n, name="f", input={}) for n in ("1", "2")]
    message = AIMessage([thought, said, *calls])

    assert for_prompt([message])[0].content == [said]
    assert for_prompt([AIMessage([thought, *calls])]) == []
    assert for_prompt([message, of_tool("2")])[0].content == [thought, said, calls[1]]


def test_a_copy_has_its_calls_nowhere_else():
    raw = {"tool_calls": [{"id": "1"}], "mine": 1}
    message = AIMessage("wait", tool_calls=parsed("1"), additional_kwargs=raw, id="m")
    [copy] = for_prompt([message])

    assert copy == AIMessage("wait", additional_kwargs={"mine": 1}, id="m")
    assert message.additional_kwargs == raw


def test_a_block_without_an_id_is_the_call_beside_it():
    message = AIMessage([{"function_call": {"name": "f", "args": {}}}], tool_calls=parsed("1"))

    assert call_ids(message) == ["1"]
    assert for_prompt([message]) == []
    assert for_prompt([message, of_tool("1")])[0] is message


def test_anybody_may_call():
    message = ChatMessage([SHAPES["anthropic"].call("1")], role="assistant")

    assert for_prompt([message]) == []
    assert for_prompt([message, of_tool("1")]) == [message, of_tool("1")]


def test_calls_that_only_a_block_tells_of_are_not_lost_beside_those_in_fields():
    in_fields = SHAPES["anthropic"].calls("2", text="", with_fields=True)
    in_a_block = AIMessage([{"functionCall": {"name": "1", "args": {}}}])
    found = for_prompt([in_fields, in_a_block, SHAPES["anthropic"].results("1", "2")])

    assert pairing_errors(found) == []
    assert [name for message in found for name in call_ids(message)] == ["2", "1"]


def test_a_block_whose_type_is_no_word_is_no_thought():
    said = HumanMessage([{"type": []}, {"type": "tool_use"}, {"type": "text", "text": "q"}])

    assert said.content[0] in for_prompt([said])[0].content


# all of it, mixed

parts = st.sampled_from(["1", "2", "3"])
mixtures = st.lists(
    st.one_of(
        st.just(HumanMessage("q")),
        st.just(AIMessage("a")),
        st.builds(lambda s, n, f: s.calls(*n, text="", with_fields=f), st.sampled_from([*SHAPES.values()]),
                  st.lists(parts, min_size=1, max_size=2, unique=True), st.booleans()),
        st.builds(lambda s, n: s.results(*n), st.sampled_from([*SHAPES.values()]), st.lists(parts, min_size=1, max_size=3)),
        st.builds(lambda s, n: s.results(*n, said=["hurry"]), st.sampled_from([*SHAPES.values()]), st.lists(parts, min_size=1)),
        st.builds(of_tool, parts),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=150)
@given(mixtures, st.integers(1, 12))
def test_whatever_was_stored_a_prompt_pairs(messages, size):
    for found in (for_prompt(messages), for_prompt(recent(messages, size, hard_max=8))):
        assert pairing_errors(found) == []
        assert for_prompt(found) == found
    assert sum(begins_turn(m) for m in for_prompt(messages)) == sum(map(begins_turn, messages))


@pytest.mark.parametrize(
    ("message", "ids"),
    [
        (AIMessage([{"type": "tool_use", "id": "1", "name": "f", "input": {}}] * 2), ["1"]),
        (AIMessage([{"type": "function_call", "name": "f", "arguments": "{}"}]), ["f"]),
        (
            AIMessage([{"type": "tool_use", "name": "f", "input": {}}], tool_calls=[tool_call(name="f", args={}, id="1")]),
            ["1"],
        ),
        (
            AIMessage(
                [{"type": "tool_use", "id": "2", "name": "g", "input": {}}],
                tool_calls=[tool_call(name="f", args={}, id="1")] * 2,
                invalid_tool_calls=[invalid_tool_call(name="f", args="{", id="3")],
            ),
            ["1", "3", "2"],
        ),
        (HumanMessage("none"), []),
    ],
)  # fmt: skip
def test_the_calls_a_provider_waits_for_are_the_calls_it_is_shown(message, ids):
    assert call_ids(message) == ids == [call["id"] for call in calls_in(message)]
