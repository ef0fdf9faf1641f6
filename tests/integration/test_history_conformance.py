"""What the tests of LangChain's own histories demand of a history, in both colours, with a window and without."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    messages_from_dict,
    messages_to_dict,
)
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from convmemory import AsyncOnly, TieredChatMessageHistory
from fix_memory import add, is_blocking, read, texts, wipe

ANIMALS = [SystemMessage("Meow"), AIMessage("woof"), HumanMessage("bark")]


@pytest.fixture(params=[6, None], ids=["a window of six", "all messages"])
def size(request):
    return request.param


@pytest.fixture
def make(memory, size):
    """A history of any name, of this test's colour and window."""
    return lambda name="s", **options: memory.history(name, user_id="ana", max_messages=size, **options)


@pytest.fixture
def history(make):
    return make()


async def test_it_is_a_chat_history_and_begins_empty(history):
    assert isinstance(history, BaseChatMessageHistory)
    assert await read(history) == []


async def test_messages_equal_what_was_added_ids_and_all(history):
    await add(history, ANIMALS)
    assert await read(history) == ANIMALS
    given = AIMessage("x", id="7", response_metadata={"a": 1}, additional_kwargs={"b": [2]}, name="bot")
    await add(history, [given])
    assert (await read(history))[-1] == given


async def test_the_same_messages_without_ids_are_stored_again(history):
    await add(history, ANIMALS)
    await add(history, ANIMALS)
    assert await read(history) == ANIMALS * 2


async def test_a_message_of_a_known_id_is_stored_once(history):
    given = HumanMessage("hi", id="h1")
    await add(history, [given, given])
    await add(history, [given])
    assert await read(history) == [given]


async def test_messages_are_added_one_by_one_and_by_their_text(history):
    if is_blocking(history):
        history.add_message(SystemMessage("system"))
        history.add_user_message("human 1")
        history.add_ai_message("ai")
        history.add_message(HumanMessage("human 2"))
        assert str(history) == "System: system\nHuman: human 1\nAI: ai\nHuman: human 2"
    else:
        for message in (
            SystemMessage("system"),
            HumanMessage("human 1"),
            AIMessage("ai"),
            HumanMessage("human 2"),
        ):
            await history.aadd_messages([message])
    assert texts(await read(history)) == ["system", "human 1", "ai", "human 2"]


async def test_a_text_may_be_blocks_and_a_chunk_is_taken_as_it_is(history):
    if not is_blocking(history):
        pytest.skip("add_user_message and add_ai_message are blocking calls")
    blocks = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    history.add_user_message(HumanMessage(blocks))
    history.add_ai_message(AIMessageChunk("part"))
    assert await read(history) == [HumanMessage(blocks), AIMessageChunk("part")]


async def test_nothing_to_add_changes_nothing(memory, history):
    await add(history, [])
    assert await read(history) == []
    assert await memory.list_user_conversations("ana") == []


async def test_awaited_calls_work_in_both_colours(history):
    await history.aadd_messages(ANIMALS)
    assert await history.aget_messages() == ANIMALS
    await history.aclear()
    assert await history.aget_messages() == []


async def test_blocking_calls_of_an_async_history_name_what_to_use(history):
    if is_blocking(history):
        pytest.skip("they are what it is for")
    calls = {
        "aget_messages": lambda: history.messages,
        "aadd_messages": lambda: history.add_messages(ANIMALS),
        "aclear": history.clear,
    }
    for instead, call in calls.items():
        with pytest.raises(AsyncOnly, match=instead):
            call()


async def test_clearing_empties_this_conversation_only(make):
    one, other = make("123"), make("456")
    await add(one, ANIMALS)
    await add(other, [HumanMessage("hello")])
    await wipe(one)
    assert await read(one) == []
    assert texts(await read(other)) == ["hello"]
    await add(one, [HumanMessage("again")])
    assert texts(await read(one)) == ["again"]


async def test_clearing_what_is_not_there_is_no_error(history):
    await wipe(history)
    assert await read(history) == []


async def test_two_objects_of_one_conversation_see_each_others_messages(make):
    one, two = make(), make()
    await add(one, [HumanMessage("hi!")])
    await add(two, [AIMessage("whats up?")])
    assert texts(await read(one)) == texts(await read(two)) == ["hi!", "whats up?"]
    await wipe(two)
    assert await read(one) == await read(two) == []


async def test_messages_come_back_in_the_order_they_were_added(history):
    said = ["First", "Second", "Third", "Fourth"]
    for at, text in enumerate(said):
        await add(history, [HumanMessage(text) if at % 2 == 0 else AIMessage(text)])
    assert texts(await read(history)) == said


async def test_messages_added_one_right_after_the_other_keep_their_order_and_go_together(
    memory, history, size
):
    said = [f"Message {n}" for n in range(60)]
    for text in said:
        await add(history, [HumanMessage(text)])
    assert texts(await read(history)) == (said if size is None else said[-size:])
    assert texts(await memory.get_messages("s", user_id="ana", limit=100)) == said
    await wipe(history)
    assert await read(history) == []


async def test_what_was_read_can_be_sent_elsewhere_as_json(history):
    await add(history, [*ANIMALS, ToolMessage("found", tool_call_id="c1")])
    found = await read(history)
    assert messages_from_dict(json.loads(json.dumps(messages_to_dict(found)))) == found


def test_messages_are_added_and_never_assigned(history):
    with pytest.raises(AttributeError):
        history.messages = [HumanMessage("hi")]


async def test_a_thousand_messages_are_stored(memory, history, size):
    said = [HumanMessage(f"Message {n}") for n in range(1000)]
    await add(history, said[:1])
    await add(history, said[1:])
    assert await read(history) == (said if size is None else said[-size:])
    assert (await memory.get_conversation("s", user_id="ana")).message_count == 1000


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage("Test content", id="m1"),
        AIMessage("Test content", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
        AIMessage("", tool_calls=[{"name": "search", "args": {"q": "x", "n": [1, None]}, "id": "c1"}]),
        AIMessage(
            [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "c1", "name": "f", "input": {}}]
        ),
        SystemMessage("Test content"),
        ToolMessage("Search results", tool_call_id="call_456", status="error", artifact={"rows": [1.5]}),
        FunctionMessage("Test content", name="f"),
        ChatMessage("Test content", role="critic"),
        AIMessageChunk("Test content", id="run-1"),
    ],
    ids=lambda message: message.type,
)
async def test_every_kind_of_message_comes_back_as_it_was(history, message):
    """A tool result on its own stays too: a history does not judge what it is given."""
    await add(history, [message])
    [back] = await read(history)
    assert type(back) is type(message)
    assert back == message


@pytest.mark.parametrize(
    "content",
    [
        "",
        "x" * 100_000,
        "Hello 世界! 🌍🚀 αβγδε ñáéíóú",
        'Test with "quotes", {braces}, [brackets], \\backslashes\\, \n newlines, \t tabs and %s @#$%^&*()',
        "nul \0 and a lone \ud800 surrogate",
        "'; DROP TABLE messages; --",
    ],
    ids=["empty", "100 KB", "unicode", "special", "unstorable", "sql"],
)
async def test_any_content_comes_back(history, content):
    await add(history, [HumanMessage(content), AIMessage(content)])
    assert texts(await read(history)) == [content, content]


@pytest.mark.parametrize(
    "name",
    [
        "550e8400-e29b-41d4-a716-446655440000",
        "session_测试_🚀",
        "a:b{c}*?[d]",
        "with space",
        "a/b\\c",
        "x" * 255,
    ],
)
async def test_any_name_is_a_conversation_of_its_own(make, name):
    await add(make("another"), [HumanMessage("not this")])
    await add(make(name), [HumanMessage("this")])
    assert texts(await read(make(name))) == ["this"]


@pytest.mark.parametrize("name", ["", None, "x" * 256, 7, b"bytes"])
def test_what_is_no_name_is_refused_when_the_history_is_made(make, name):
    with pytest.raises(ValueError, match="conversation_id"):
        make(name)


@pytest.mark.parametrize("user", ["", None])
def test_no_user_is_refused_when_the_history_is_made(memory, user):
    with pytest.raises(ValueError, match="user_id"):
        memory.history("s", user_id=user)


async def test_many_writers_of_one_conversation_lose_nothing(make, size):
    said = {f"{writer}-{n}" for writer in range(8) for n in range(5)}

    def write(writer):
        for n in range(5):
            make().add_messages([HumanMessage(f"{writer}-{n}")])

    async def awrite(writer):
        for n in range(5):
            await make().aadd_messages([HumanMessage(f"{writer}-{n}")])

    if is_blocking(make()):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
    else:
        await asyncio.gather(*map(awrite, range(8)))
    found = texts(await read(make()))
    assert len(found) == len(set(found)) == (40 if size is None else size)
    assert set(found) <= said


async def test_a_history_is_a_value_over_two_stores(memory):
    """The class itself, composed by hand, as the memory composes it."""
    postgres, redis = (getattr(store, "blocking", store) for store in (memory.postgres, memory.redis))
    history = TieredChatMessageHistory(str(uuid4()), user_id="ana", postgres=postgres, redis=redis)
    await add(history, ANIMALS)
    assert await read(history) == ANIMALS


# How RunnableWithMessageHistory is tested upstream: each shape of input and output, with a history per session.


def echo(messages):
    return "you said: " + "\n".join(m.content for m in messages if isinstance(m, HumanMessage))


def with_history(given):
    return echo([*given["history"], HumanMessage(given["input"])])


CHAINS = {
    "messages in, text out": (echo, {}, lambda text: [HumanMessage(text)]),
    "a key of messages": (
        lambda given: echo(given["messages"]),
        {"input_messages_key": "messages"},
        lambda text: {"messages": [HumanMessage(text)]},
    ),
    "a history key": (
        with_history,
        {"input_messages_key": "input", "history_messages_key": "history"},
        lambda text: {"input": text},
    ),
    "a message out": (
        lambda given: AIMessage(with_history(given)),
        {"input_messages_key": "input", "history_messages_key": "history"},
        lambda text: {"input": text},
    ),
    "messages out": (
        lambda given: [AIMessage(with_history(given))],
        {"input_messages_key": "input", "history_messages_key": "history"},
        lambda text: {"input": text},
    ),
    "messages under a key": (
        lambda given: {"output": [AIMessage(with_history(given))]},
        {"input_messages_key": "input", "history_messages_key": "history", "output_messages_key": "output"},
        lambda text: {"input": text},
    ),
}


@pytest.mark.parametrize("shape", CHAINS)
async def test_every_shape_of_chain_sees_what_was_said_before(make, colour, shape):
    answer, keys, given = CHAINS[shape]
    chain = RunnableWithMessageHistory(RunnableLambda(answer), make, **keys)
    said = []
    for text in ("hello", "good bye"):
        config = {"configurable": {"session_id": "1"}}
        if colour == "blocking":
            chain.invoke(given(text), config)
        else:
            await chain.ainvoke(given(text), config)
        said += [text, "you said: " + "\n".join([*said[::2], text])]
    found = await read(make("1"))
    assert texts(found) == said
    assert [type(message) for message in found] == [HumanMessage, AIMessage] * 2
