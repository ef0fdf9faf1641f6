"""What is larger than the settings allow is refused before anything is stored, by a message that says what is."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from convmemory import Draft, InvalidArgument, RetrievedContext
from fix_memory import texts

ANA = {"user_id": "ana"}
LARGE = {
    "content": Draft(HumanMessage("é" * 60)),
    "metadata": Draft(HumanMessage("x"), metadata={"a": "é" * 60}),
    "contexts": Draft(HumanMessage("x"), contexts=[RetrievedContext("d" * 40), RetrievedContext("e" * 40)]),
}


@pytest.mark.parametrize("part", LARGE)
async def test_what_is_too_large_is_refused_and_nothing_of_its_batch_is_stored(schema, make_memory, part):
    memory = await make_memory(**{f"max_{part}_bytes": 100})
    await memory.save_messages("c", ["small"], **ANA)
    wanted = rf"^{part}: has \d+ bytes as it is stored, and max_{part}_bytes allows 100$"
    with pytest.raises(InvalidArgument, match=wanted):
        await memory.save_messages("c", ["before", LARGE[part]], **ANA)
    [found] = await memory.get_messages("c", **ANA)
    with pytest.raises(InvalidArgument, match=wanted):
        await memory.replace_message("c", found, LARGE[part], **ANA)

    assert texts(await memory.get_messages("c", **ANA)) == ["small"]
    others = [draft for name, draft in LARGE.items() if name != part]
    assert (await memory.save_messages("c", others, **ANA)).stored == 2


async def test_what_is_noted_of_a_message_bit_by_bit_counts_together(schema, make_memory):
    memory = await make_memory(max_metadata_bytes=100)
    unlimited = await make_memory()
    message = await memory.save_message("c", "user", "x", metadata={"a": "b" * 40}, **ANA)
    noted = await memory.annotate_message("c", message, {"c": "d" * 30}, **ANA)
    with pytest.raises(
        InvalidArgument, match=r"^metadata: has \d+ bytes as it is stored, and max_metadata_bytes allows 100$"
    ):
        await memory.annotate_message("c", message, {"e": "f" * 30}, **ANA)
    assert await memory.get_messages("c", **ANA) == [noted]

    larger = await unlimited.annotate_message("c", message, {"e": "f" * 300}, **ANA)
    smaller = await memory.annotate_message("c", message, {"a": None}, **ANA)
    assert larger.metadata.keys() - smaller.metadata.keys() == {"a"}, (
        "whoever takes something away is not kept from it"
    )


async def test_a_body_counts_as_content(schema, make_memory):
    memory = await make_memory(max_content_bytes=100)
    with pytest.raises(InvalidArgument, match=r"^content: "):
        await memory.save_message("c", AIMessage("x", additional_kwargs={"a": "b" * 100}), **ANA)


async def test_as_a_rule_there_is_no_limit(memory):
    await memory.save_message("c", "user", "x" * 3_000_000, metadata={"a": "b" * 1_000_000}, **ANA)

    assert len((await memory.get_messages("c", **ANA))[0].content) == 3_000_000
