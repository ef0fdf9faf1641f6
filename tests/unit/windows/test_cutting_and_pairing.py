"""The window: whole turns, never an orphan tool result, and the same answer from a tail as from everything."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    ToolMessageChunk,
)

from convmemory.encoding.codec import UNREADABLE_KEY
from convmemory.windows.cutting import recent, span, within_tokens
from convmemory.windows.tool_pairing import for_prompt, for_prompt_before, in_order
from pairing import pairing_errors


def says(text="q"):
    return HumanMessage(text)


def calls(*names, invalid=()):
    return AIMessage(
        "",
        tool_calls=[{"name": "f", "args": {}, "id": name} for name in names],
        invalid_tool_calls=[{"name": "f", "args": "{", "id": name, "error": "e"} for name in invalid],
    )


def result(name):
    return ToolMessage("r", tool_call_id=name)


def conversation(rng: random.Random, turns: int) -> list[BaseMessage]:
    """A conversation as agents have them: some with tools, some that crashed in the middle of a call."""
    messages: list[BaseMessage] = [SystemMessage("s")] if rng.random() < 0.3 else []
    for turn in range(turns):
        messages.append(says(f"q{turn}"))
        for step in range(rng.choice([0, 0, 1, 1, 2, 4])):
            names = [f"{turn}.{step}.{n}" for n in range(rng.choice([1, 1, 2, 3]))]
            messages += [calls(*names), *map(result, names)]
        messages.append(AIMessage(f"a{turn}"))
    if rng.random() < 0.15:
        messages += [says("last"), calls("crash")]
    return messages


KINDS = {
    "h": says, "H": lambda: HumanMessageChunk("q"), "a": lambda: AIMessage("a"), "s": lambda: SystemMessage("s"),
    "c": lambda: ChatMessage("c", role="user"), "1": lambda: calls("1"), "2": lambda: calls("1", "2"),
    "3": lambda: AIMessageChunk("", tool_calls=[{"name": "f", "args": {}, "id": "3"}]), "4": lambda: calls(invalid=["1"]),
    "x": lambda: result("1"), "y": lambda: result("2"), "z": lambda: ToolMessageChunk("r", tool_call_id="3"),
    "5": lambda: calls("2"), "r": lambda: RemoveMessage(id="1"),
    "u": lambda: ChatMessage("?", role="unreadable", response_metadata={UNREADABLE_KEY: "why"}),
    "n": lambda: AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": None}]),
}  # fmt: skip


def script(text: str) -> list[BaseMessage]:
    return [KINDS[letter]() for letter in text]


scripts = st.text(st.sampled_from([*KINDS]), max_size=30).map(script)
sizes = st.integers(1, 12)


def same_objects(a, b) -> bool:
    return [id(message) for message in a] == [id(message) for message in b]


def is_suffix(part, whole) -> bool:
    return same_objects(part, whole[len(whole) - len(part) :])


# recent


@pytest.mark.parametrize(
    ("messages", "size", "hard", "kept"),
    [
        ("", 6, 20, ""), ("x", 6, 20, "x"), ("s", 6, 20, "s"), ("sah", 6, 20, "sah"), ("sahsah", 6, 20, "sahsah"),
        ("haha", 4, 20, "haha"), ("haha", 3, 20, "ha"), ("hahaha", 4, 20, "haha"), ("ahahah", 3, 20, "hah"),
        ("ha1xa", 3, 20, "ha1xa"), ("ha1xa1xa", 3, 4, "xa1xa"[-4:]), ("haha1x1x1x", 4, 20, "ha1x1x1x"),
        ("ssss", 2, 20, "ss"), ("aaaa", 6, 3, "aaa"), ("ha1xh", 1, 20, "h"), ("ha1xh", 2, 20, "h"), ("haH", 2, 20, "H"),
    ],
)  # fmt: skip
def test_recent(messages, size, hard, kept):
    said = script(messages)
    window = recent(said, size, hard_max=hard)
    assert [m.type for m in window] == [m.type for m in script(kept)]
    assert is_suffix(window, said)


def test_no_limit_is_everything():
    messages = script("ha" * 300)
    assert same_objects(recent(messages, None, hard_max=5), messages)


@settings(max_examples=150)
@given(scripts, sizes, sizes)
def test_recent_is_a_bounded_end_of_the_conversation(messages, size, hard):
    window = recent(messages, size, hard_max=hard)
    assert is_suffix(window, messages)
    assert len(window) <= hard
    assert bool(window) is bool(messages)
    humans = [at for at, message in enumerate(messages) if isinstance(message, HumanMessage)]
    if humans and len(messages) - humans[-1] <= hard:
        assert any(message is messages[humans[-1]] for message in window)
    if len(messages) <= min(size, hard):
        assert same_objects(window, messages)
    elif humans and len(messages) - humans[-1] <= hard:
        assert isinstance(window[0], HumanMessage)
    if len(window) > size:
        assert sum(isinstance(message, HumanMessage) for message in window) <= 1


@settings(max_examples=150)
@given(scripts, sizes, sizes)
def test_a_larger_window_never_shows_less(messages, size, hard):
    smaller = recent(messages, size, hard_max=hard)
    if len(smaller) <= size:  # a turn kept whole is no function of the size
        assert len(recent(messages, size + 1, hard_max=hard)) >= len(smaller)


def newest_human(messages) -> int:
    return max((at for at, message in enumerate(messages, 1) if isinstance(message, HumanMessage)), default=0)


@settings(max_examples=150)
@given(scripts, sizes, sizes)
def test_the_tail_that_span_asks_for_answers_as_the_whole_does(messages, size, hard):
    start = span(len(messages), newest_human(messages), size, hard)
    tail = messages[start - 1 :]
    window = recent(tail, size, hard_max=hard, whole=start == 1)
    assert same_objects(window, recent(messages, size, hard_max=hard))
    assert len(tail) <= hard


@settings(max_examples=150)
@given(scripts, sizes, sizes, st.integers(0, 30))
def test_a_longer_tail_answers_as_well(messages, size, hard, more):
    start = max(1, span(len(messages), newest_human(messages), size, hard) - more)
    if start == 1 or newest_human(messages) >= start:
        window = recent(messages[start - 1 :], size, hard_max=hard, whole=start == 1)
        assert same_objects(window, recent(messages, size, hard_max=hard))


@settings(max_examples=150)
@given(scripts, sizes, sizes)
def test_span_asks_for_no_more_than_it_needs(messages, size, hard):
    start = span(len(messages), newest_human(messages), size, hard)
    if start > 1:
        needed = recent(messages, size, hard_max=hard)
        assert len(messages) - start + 1 <= max(len(needed), size)


@pytest.mark.parametrize(
    ("last", "human", "size", "hard", "start"),
    [(0, 0, 6, 20, 1), (3, 3, 6, 20, 1), (10, 9, 6, 20, 5), (10, 2, 6, 20, 2), (100, 2, 6, 20, 81), (100, 0, 6, 20, 95),
     (100, 99, 30, 20, 81), (6, 0, 6, 20, 1), (7, 0, 6, 20, 2)],
)  # fmt: skip
def test_span(last, human, size, hard, start):
    assert span(last, human, size, hard) == start


# for_prompt


@pytest.mark.parametrize(
    ("messages", "kept"),
    [
        ("", ""), ("ha", "ha"), ("h1xa", "h1xa"), ("h2xya", "h2xya"), ("h2yxa", "h2yxa"), ("xha", "ha"), ("hx", "h"),
        ("h1", "h"), ("h1ha", "hha"), ("h1xxa", "h1xa"), ("h2xxya", "h2xya"),
        ("h2xzya", "h2xya"), ("h3za", "h3za"), ("hza3", "ha"), ("h4a", "ha"), ("h4xa", "h4xa"), ("hna", "ha"),
        ("1x2xy1", "1x2xy"), ("s", "s"), ("cc", "cc"),
        ("h2xha", "h1xha"), ("h2xa", "h1xa"), ("h2ya", "h5ya"),  # one of two calls is answered
        ("h1ax", "h1xa"), ("h1hxa", "h1xha"), ("h2hyaxa", "h2yxhaa"), ("h1h1xx", "hh1x"),  # a result that comes late
        ("h15xy", "h2xy"), ("h15yx", "h2yx"), ("h15x", "h1x"), ("h1x5y", "h1x5y"), ("h1a5xy", "h1xa5y"),  # one by one
        ("h11x", "h1x"), ("r", ""), ("hura", "ha"),
    ],
)  # fmt: skip
def test_for_prompt(messages, kept):
    assert [repr(m) for m in for_prompt(script(messages))] == [repr(m) for m in script(kept)]


def said(messages) -> list[str]:
    """What the messages say beside calls and results."""
    return [
        m.text
        for m in messages
        if not isinstance(m, (RemoveMessage, ToolMessage)) and m.text != "?" and m.text
    ]


@settings(max_examples=300)
@given(scripts)
def test_what_is_for_a_prompt_pairs_and_keeps_the_rest(messages):
    kept = for_prompt(messages)
    assert pairing_errors(kept) == []
    assert for_prompt(kept) == kept
    assert said(kept) == said(messages)
    answered = sum(isinstance(message, ToolMessage) for message in kept)
    assert answered == sum(
        len(m.tool_calls) + len(m.invalid_tool_calls) for m in kept if isinstance(m, AIMessage)
    )
    if not pairing_errors(messages):
        assert same_objects(kept, [m for m in messages if m.type != "remove" and m.content != "?"])


@settings(max_examples=150)
@given(scripts)
def test_for_a_dialect_calls_stay_as_they_were_stored(messages):
    found = in_order(messages)
    assert for_prompt(found) == for_prompt(messages)
    alone = [m for m in found if any(m is one for one in messages)]
    # copies: calls are left out
    assert all(isinstance(m, AIMessage) for m in found if not any(m is one for one in alone))


@pytest.mark.parametrize(
    ("messages", "given_", "shown"),
    [
        ("h2", "xy", "h2"), ("h2", "x", "h1"), ("h2", "h", "h"), ("h2x", "y", "h2x"), ("h1a", "x", "ha"), ("h1ha", "x", "hha"),
        ("h1", "", "h"), ("h1", "xh", "h1"), ("ha", "x", "ha"),
    ],
)  # fmt: skip
def test_what_is_said_next_may_answer_the_last_calls(messages, given_, shown):
    found = for_prompt_before(script(messages), script(given_))
    assert [repr(m) for m in found] == [repr(m) for m in script(shown)]


@settings(max_examples=150)
@given(scripts, scripts)
def test_what_is_shown_before_more_pairs_with_it_wherever_it_can(messages, more):
    found = for_prompt_before(messages, more)
    assert pairing_errors([*found, *more]) == [] or found == for_prompt(messages)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ("h1xa", []), ("x", ["message 0 is a tool result without its call '1'"]),
        ("1h", ["message 1 comes before the result of tool call '1'"]),
        ("2x", ["the end comes before the result of tool call '2'"]),
        ("2xa", ["message 2 comes before the result of tool call '2'"]),
        ("1xx", ["message 2 is a tool result without its call '1'"]), ("4", ["the end comes before the result of tool call '1'"]),
        ("n", ["the end comes before the result of tool call None"]),
    ],
)  # fmt: skip
def test_pairing_errors(messages, said):
    assert pairing_errors(script(messages)) == said


# within_tokens


def by_message(messages):
    return 10 * len(messages)


@pytest.mark.parametrize(
    ("messages", "budget", "kept"),
    [
        ("haha", 40, 4), ("haha", 39, 2), ("haha", 20, 2), ("haha", 19, 2), ("haha", 0, 2), ("", 0, 0), ("saha", 40, 4),
        ("saha", 30, 2), ("ha1xa1xa", 10, 8), ("aaaa", 25, 2), ("aaaa", 0, 1), ("a1xa2xy", 40, 4), ("a2xy", 10, 3), ("xx", 10, 2),
    ],
)  # fmt: skip
def test_within_tokens(messages, budget, kept):
    messages = script(messages)
    window = within_tokens(messages, budget, by_message)
    assert same_objects(window, messages[len(messages) - kept :])


@settings(max_examples=150)
@given(scripts, st.integers(0, 200), st.lists(st.integers(0, 40), min_size=30, max_size=30))
def test_within_tokens_keeps_as_many_turns_as_fit(messages, budget, weights):
    weight = {id(message): weights[at] for at, message in enumerate(messages)}
    asked = []

    def count(part):
        asked.append(len(part))
        return sum(weight[id(message)] for message in part)

    window = within_tokens(messages, budget, count)
    tries = len(asked)
    assert is_suffix(window, messages)
    assert bool(window) is bool(messages)
    humans = [at for at, message in enumerate(messages) if isinstance(message, HumanMessage)]
    if humans:
        fitting = [at for at in [0, *humans] if count(messages[at:]) <= budget]
        assert len(window) == len(messages) - (fitting[0] if fitting else humans[-1])
    assert tries <= 7
    assert len(within_tokens(messages, budget + 10, count)) >= len(window)


# 2,000 conversations


@pytest.fixture(scope="module")
def conversations():
    rng = random.Random(7)  # noqa: S311 - a repeatable sample
    return [conversation(rng, rng.randint(1, 12)) for _ in range(2_000)]


@pytest.mark.parametrize("size", [2, 6, 20])
def test_two_thousand_conversations(conversations, size):
    for messages in conversations:
        window = recent(messages, size, hard_max=200)
        prompt = for_prompt(window)
        newest = [m for m in messages if isinstance(m, HumanMessage)][-1]
        assert prompt
        assert pairing_errors(prompt) == []
        assert any(m is newest for m in prompt)
        assert len(messages) <= size or isinstance(prompt[0], HumanMessage)
        crashed = messages[-1].tool_calls != []
        assert bool(pairing_errors(window)) is crashed


def test_the_sample_would_show_a_naive_cut(conversations):
    naive = [messages[-6:] for messages in conversations]
    assert sum(bool(pairing_errors(window)) for window in naive) > 500
    assert sum(not any(isinstance(m, HumanMessage) for m in window) for window in naive) > 200
    assert sum(len(recent(messages, 6, hard_max=200)) > 6 for messages in conversations) > 200


def test_span_over_two_thousand_conversations(conversations):
    for messages in conversations:
        start = span(len(messages), newest_human(messages), 6, 10)
        window = recent(messages[start - 1 :], 6, hard_max=10, whole=start == 1)
        assert same_objects(window, recent(messages, 6, hard_max=10))
