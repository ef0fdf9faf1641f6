"""The fuzzing programs on what hypothesis makes up; scripts/fuzz runs them for as long as you like, on what atheris does."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from convmemory.encoding.codec import decode, encode
from security import fuzz_codec, fuzz_ids
from security.fuzz_tools import assert_harmless

HARNESSES = fuzz_codec.HARNESSES | fuzz_ids.HARNESSES
SEEDS = [
    b'{"c":"HumanMessage","d":{"id":"1"}}\nhi', b"\0", b"", b"\xff\xff", b'{"$cm":"map","v":[[1,2]]}\n',
    b"ana\xffsession-1\xff00000000-0000-0000-0000-000000000000\xffANA", b"127.0.0.1:26379,[::1]:1/main/0", b"hit\xff1\xff2\xff3\xff4",
]  # fmt: skip


@pytest.mark.parametrize("name", HARNESSES)
@settings(max_examples=150)
@given(data=st.one_of(st.sampled_from(SEEDS), st.binary(max_size=300)))
def test_no_input_breaks_a_promise(name, data):
    HARNESSES[name](data)


GADGETS = [
    {"lc": 1, "type": "secret", "id": ["CONVMEMORY_PROBE"]},
    {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain_core", "prompts", "PromptTemplate"],
        "kwargs": {"template": "x"},
    },
    {"lc": 2, "type": "constructor", "id": ["subprocess", "Popen"], "kwargs": {"args": ["true"]}},
    {"__reduce__": ["os.system", ["true"]]},
    {"py/object": "os.system", "py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["true"]}]},
    {"$cm": "os.system", "v": "true"},
    {"$cm": "document", "v": {"page_content": "x", "type": "Document", "__class__": "os.system"}},
    "!!python/object/apply:os.system [true]",
]


@pytest.mark.parametrize("gadget", GADGETS, ids=str)
@pytest.mark.parametrize(
    "place", ["additional_kwargs", "response_metadata", "content", "artifact", "tool_calls", "x"]
)
def test_a_stored_row_builds_nothing_but_messages_of_plain_values(gadget, place, monkeypatch):
    monkeypatch.setenv("CONVMEMORY_PROBE", "s3cr3t")
    opened = []
    monkeypatch.setattr(os, "system", opened.append)
    for kind in (
        "HumanMessage",
        "AIMessage",
        "ToolMessage",
        "PromptTemplate",
        "os.system",
        "langchain_core.load.load",
    ):
        for fields in ({place: {"a": gadget}}, {place: gadget}, {place: [gadget]}):
            back = decode(json.dumps({"c": kind, "d": fields}), "said")

            assert_harmless(back)
            assert "s3cr3t" not in repr(back)
    assert opened == []


@pytest.mark.parametrize("gadget", GADGETS[:5], ids=str)
def test_a_users_own_dict_that_looks_like_a_gadget_comes_back_as_it_was(gadget):
    message = HumanMessage("x", additional_kwargs={"a": gadget})
    stored = encode(message)

    assert decode(stored.body, stored.content) == message
