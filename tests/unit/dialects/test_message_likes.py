"""What people pass where messages are asked for."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompt_values import StringPromptValue

from convmemory.dialects.message_likes import as_messages
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
