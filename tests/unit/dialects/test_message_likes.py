"""What people pass where messages are asked for."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompt_values import StringPromptValue

from convmemory.dialects.message_likes import ROLES, as_messages
from convmemory.errors import InvalidArgument


def test_one_message_like_or_many():
    hi = HumanMessage("hi")
    for one in (
        hi,
        "hi",
        ("human", "hi"),
        ("user", "hi"),
        {"role": "user", "content": "hi"},
        StringPromptValue(text="hi"),
    ):
        assert as_messages(one) == [hi]
        assert as_messages([one] if not isinstance(one, StringPromptValue) else one) == [hi]
    many = ["hi", ("ai", "yes"), {"role": "system", "content": "s"}]
    assert as_messages(many) == [hi, AIMessage("yes"), SystemMessage("s")]
    assert as_messages(iter(many)) == as_messages(tuple(many)) == as_messages(many)
    assert as_messages(["human", "hi"]) == [HumanMessage("human"), hi]
    assert as_messages([]) == []


def test_a_message_comes_through_as_itself():
    message = AIMessage("x", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
    like = {"role": "user", "content": "hi", "name": "n"}
    before = dict(like)
    assert as_messages(message)[0] is message
    assert as_messages([like, message])[1] is message
    assert like == before


@pytest.mark.parametrize(
    "junk",
    [None, 5, b"hi", object(), [None], [5], [("human",)], [("human", "a", "b")], ("nobody", "hi"), {"role": "user"},
     {"content": "x"}, [{"role": "tool", "content": "x"}], {}, [[]], ("human", 5), [b"hi"], {"role": [], "content": "x"}],
)  # fmt: skip
def test_junk_is_refused_by_name(junk):
    with pytest.raises(InvalidArgument, match=r"^messages: ") as caught:
        as_messages(junk)
    assert caught.value.argument == "messages"


@pytest.mark.parametrize("role", ["Human", "USER", "Ai", "Assistant", "System", "Developer"])
def test_a_role_in_capitals_is_the_role(role):
    meant = as_messages((role.lower(), "hi"))

    assert as_messages((role, "hi")) == meant
    assert as_messages({"role": role, "content": "hi"}) == as_messages(
        {"role": role.lower(), "content": "hi"}
    )
    assert as_messages([("ai", "yes"), (role, "hi")])[1:] == meant


@pytest.mark.parametrize("role", ["bot", "Bot", "model", "chatbot", "agent"])
def test_the_model_by_a_name_it_has_elsewhere_is_told_its_name_here(role):
    for told in (
        (role, "x"),
        {"role": role, "content": "x"},
        {"role": role, "parts": ["x"]},
        [["ai", "x"], [role, "x"]],
    ):
        with pytest.raises(
            InvalidArgument, match=rf"has an unknown role '{role}': .*; for what a model said it is ai"
        ):
            as_messages(told)


def test_a_role_that_nobody_knows_is_answered_with_all_there_are():
    for told in (("nobody", "x"), {"role": "nobody", "content": "x"}):
        with pytest.raises(
            InvalidArgument, match="unknown role: there are human or user, ai or assistant, system"
        ) as caught:
            as_messages(told)
        assert all(role in str(caught.value) for role in ROLES)


def test_two_texts_that_pass_for_a_pair_are_not_repeated():
    with pytest.raises(InvalidArgument, match="unknown role: there are") as caught:
        as_messages(("My diagnosis is private.", "private"))
    assert "private" not in str(caught.value)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (("tool", "x"), "the role tool and no tool_call_id: pass a dict with"),
        ({"role": "tool", "content": "x"}, "the role tool and no tool_call_id"),
        (("function", "x"), "the role function and no name"),
        (("human", 5), "a content of type int: it must be a text or a list"),
        (("human", None), "no content: it must be a text or a list"),
        ({"role": "user", "content": 5}, "a content of type int"),
        ({"role": "user"}, "no content"),
        (
            {"type": "human", "data": {"content": "private"}},
            "is what messages_to_dict wrote: read it with .*from_dict",
        ),
    ],
)
def test_what_a_message_lacks_is_named(told, why):
    with pytest.raises(InvalidArgument, match=rf"^messages: item 0 \(\w+\) (has )?{why}") as caught:
        as_messages(told)
    assert "private" not in str(caught.value)
